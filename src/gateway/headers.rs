//! Header fields a client may not send, and those that never reach an upstream.

use http::{HeaderMap, header};
use pingora::http::RequestHeader;
use smallvec::SmallVec;

use crate::http::bytes;

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
    // RFC 9440 (2.4): back ends take them for the word of whoever ended TLS.
    "client-cert",
    "client-cert-chain",
    "forwarded",
    // CGI would make it the proxy of the back end's own requests (CVE-2016-5385).
    "proxy",
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

/// Content lengths of more digits do not fit every parser's integer.
const MAX_LENGTH_DIGITS: usize = 16;

/// Whether `name` (in lower case) is stripped from every request.
pub fn is_reserved(name: &str) -> bool {
    // Nearly every name there is begins otherwise.
    matches!(name.as_bytes().first(), Some(b'c' | b'x' | b'f' | b'p'))
        && (RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Refuses fields that no two parsers would treat alike.
///
/// # Errors
/// Control characters in a value (CVE-2019-9900); a name that becomes a reserved or framing name where back
/// ends map `_`, or like CGI every punctuation mark, to one character (CVE-2025-64484, CVE-2026-39858); more
/// than one content length, or one that is no plain number (CVE-2021-21299).
pub fn check(headers: &HeaderMap) -> Result<(), BadHeader> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    // The raw head was checked already; lengths and values are for HTTP/2, whose library reads the first length only.
    if lengths.next().is_some_and(|length| self::length(length.as_bytes()).is_none()) || lengths.next().is_some() {
        return Err(BadHeader);
    }
    for (name, value) in headers {
        if has_controls(value.as_bytes()) {
            return Err(BadHeader);
        }
        let name = name.as_str();
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        if name.contains(is_odd) {
            let dashed = name.replace(is_odd, "-");
            if is_reserved(&dashed) || FRAMING.contains(&dashed.as_str()) {
                return Err(BadHeader);
            }
        }
    }
    Ok(())
}

/// Name and value of one line of header fields or trailers (RFC 9112 5).
///
/// # Errors
/// No colon, a name that is no token, control characters in the value. A folded line begins with a blank, which is no
/// token; a name with a blank before its colon is none either.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), BadHeader> {
    let colon = memchr::memchr(b':', line).ok_or(BadHeader)?;
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    let is_well_formed = !name.is_empty() && bytes::all(name, bytes::token) && !has_controls(value);
    if is_well_formed { Ok((name, value)) } else { Err(BadHeader) }
}

/// Without the blanks around it (`OWS` of RFC 9110 5.6.3): a carriage return or form feed is none.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether `value` has control characters; without an early end, so that it is looked at many bytes at a time.
pub fn has_controls(value: &[u8]) -> bool {
    !bytes::all(value, |b| !b.is_ascii_control() || b == b'\t')
}

/// A content length that every parser reads alike.
pub fn length(value: &[u8]) -> Option<u64> {
    let is_plain = value.len() <= MAX_LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_plain)?.parse().ok()
}

/// Whether the last coding is that of chunks.
pub fn is_chunked(fields: &HeaderMap) -> bool {
    let last = fields.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|codings| codings.as_bytes().rsplit(|b| *b == b',').next());
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Hands the parts of one line of header fields to `put`, one after the other.
pub(super) fn line(mut put: impl FnMut(&[u8]), name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        put(part);
    }
}

/// Takes every reserved field off a request that is about to be forwarded.
pub fn strip(request: &mut RequestHeader) {
    let found: SmallVec<[http::HeaderName; 4]> =
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
            "X.Auth.User",
            "X!Forwarded~For",
            "Client_Cert",
        ] {
            assert_eq!(check_one(bad, b"1"), Err(BadHeader), "{bad}");
        }
        for good in ["X-Auth-User", "My_Header", "my.header", "X-Forwarded-For"] {
            assert_eq!(check_one(good, b"a\tb \xe9"), Ok(()), "{good}");
        }
    }

    #[test]
    fn one_plain_length() {
        let lengths = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            check(&headers)
        };
        assert_eq!(lengths(&["5"]), Ok(()));
        for bad in [&["5", "5"][..], &["5", "0"], &["5, 5"], &["+5"], &[""], &["12345678901234567"]] {
            assert_eq!(lengths(bad), Err(BadHeader), "{bad:?}");
        }
    }

    #[test]
    fn what_is_reserved_is_not_a_routes_to_change() {
        let prefixed = RESERVED_PREFIXES.iter().map(|prefix| format!("{prefix}x"));
        for name in RESERVED.iter().chain(FRAMING).map(ToString::to_string).chain(prefixed) {
            let rules = serde_json::json!({ "request": { "set": { name.as_str(): "1" } } });
            assert!(serde_json::from_value::<crate::model::HeaderRules>(rules).is_err(), "{name}");
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
            "Proxy",
            "Client-Cert",
            "Client-Cert-Chain",
        ] {
            request.append_header(name, HeaderValue::from_static("a")).unwrap();
            request.append_header(name, HeaderValue::from_static("b")).unwrap();
        }
        request.append_header("Accept", "x").unwrap();
        strip(&mut request);
        assert_eq!(request.headers.len(), 1);
    }
}
