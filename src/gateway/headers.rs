//! Header fields a client may not send, and those that never reach an upstream.

use http::HeaderMap;
use pingora::http::RequestHeader;

/// A header field that is malformed, or that back ends would confuse with one the gateway sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed or ambiguous header field")]
pub struct BadHeader;

/// Proves to the admin service that a request came through this process.
pub const MOUNT: &str = "x-cedargate-mount";

/// Names that say who asks or what was asked: the gateway sets them or nobody does.
///
/// The method overrides are among them because what is forwarded must be what was authorised.
const RESERVED: &[&str] = &[
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-request-id",
    "x-middleware-subrequest",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
const RESERVED_PREFIXES: &[&str] = &["x-auth-", "x-forwarded-", "x-original-", "x-rewrite-", "x-cedargate-"];
/// Framing fields, which CGI-like back ends read from `Content_Length` too.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// Whether `name` (in lower case) is stripped from every request.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses fields that no two parsers would treat alike.
///
/// # Errors
/// Control characters in a value (CVE-2019-9900); a name with `_` that becomes a reserved or framing name
/// where back ends map `_` to `-` (CVE-2025-64484, CVE-2026-39858).
pub fn check(headers: &HeaderMap) -> Result<(), BadHeader> {
    for (name, value) in headers {
        // The raw head was checked already; this is for HTTP/2.
        if value.as_bytes().iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return Err(BadHeader);
        }
        let name = name.as_str();
        if name.contains('_') {
            let dashed = name.replace('_', "-");
            if is_reserved(&dashed) || FRAMING.contains(&dashed.as_str()) {
                return Err(BadHeader);
            }
        }
    }
    Ok(())
}

/// Takes every reserved field off a request that is about to be forwarded.
pub fn strip(request: &mut RequestHeader) {
    let found: Vec<http::HeaderName> =
        request.headers.keys().filter(|name| is_reserved(name.as_str())).cloned().collect();
    for name in &found {
        request.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn check_one(name: &str, value: &[u8]) -> Result<(), BadHeader> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value).unwrap();
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        check(&headers)
    }

    #[test]
    fn underscored_reserved_names_are_refused() {
        for bad in [
            "X_Auth_User",
            "X-Auth_User-Id",
            "X_Forwarded_For",
            "x_request_id",
            "X_Original_Url",
            "Content_Length",
            "Transfer_Encoding",
            "X_HTTP_Method_Override",
        ] {
            assert_eq!(check_one(bad, b"1"), Err(BadHeader), "{bad}");
        }
        for good in ["X-Auth-User", "My_Header", "X-Forwarded-For"] {
            assert_eq!(check_one(good, b"a\tb \xe9"), Ok(()), "{good}");
        }
    }

    #[test]
    fn reserved_names_are_stripped() {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for name in [
            "X-Auth-User-Id",
            "x-auth-anything",
            "X-Forwarded-For",
            "X-Forwarded-Uri",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-Original-Uri",
            "X-Rewrite-URL",
            "X-Middleware-Subrequest",
            "X-Request-Id",
            "X-Cedargate-Mount",
            "X-HTTP-Method-Override",
        ] {
            request.append_header(name, HeaderValue::from_static("a")).unwrap();
            request.append_header(name, HeaderValue::from_static("b")).unwrap();
        }
        request.append_header("Accept", "x").unwrap();
        strip(&mut request);
        assert_eq!(request.headers.len(), 1);
    }
}
