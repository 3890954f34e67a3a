//! What a request presents as proof of who asks.

use http::{HeaderMap, header};

use crate::http::bytes;
use crate::model::Reason;

/// The console's session cookie; it never counts as a credential here.
pub const SESSION_COOKIE: &str = "cedargate_session";
/// The longest accepted token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The bearer token of a request, if it presents one.
///
/// A token in the query (RFC 6750 2.3) is not looked at.
///
/// # Errors
/// `BadRequest` for several `Authorization` fields, or one beside the console's cookie: which of them
/// counts would be a guess. `InvalidToken` for anything that is not one bearer token: what is malformed is
/// refused, never treated as absent (CVE-2026-25748).
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Reason::BadRequest);
    }
    let token = parse(field.as_bytes()).ok_or(Reason::InvalidToken)?;
    if has_session_cookie(headers) {
        return Err(Reason::BadRequest);
    }
    Ok(Some(token))
}

/// `token68` of RFC 9110 11.2, but for the padding at its end.
fn is_token68(byte: u8) -> bool {
    bytes::alphanumeric(byte) | bytes::one_of(byte, b"-._~+/")
}

fn parse(field: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(field).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let well_formed =
        !token.is_empty() && token.len() <= MAX_TOKEN && bytes::all(token.trim_end_matches('=').as_bytes(), is_token68);
    (scheme.eq_ignore_ascii_case("bearer") && well_formed).then_some(token)
}

/// Whether the console's session cookie is among the cookies.
pub fn has_session_cookie(headers: &HeaderMap) -> bool {
    cookies(headers).any(is_session)
}

/// All cookies but the console's, as one field.
pub fn without_session_cookie(headers: &HeaderMap) -> Vec<u8> {
    cookies(headers).filter(|pair| !is_session(pair)).collect::<Vec<_>>().join(&b"; "[..])
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn is_session(pair: &[u8]) -> bool {
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(SESSION_COOKIE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn presented(value: &str) -> Result<Option<String>, Reason> {
        bearer(&headers(&[("authorization", value)])).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn one_bearer_token() {
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
        for good in ["Bearer a.b-c_d~e+f/g==", "bearer a.b-c_d~e+f/g==", "BEARER  a.b-c_d~e+f/g=="] {
            assert_eq!(presented(good), Ok(Some("a.b-c_d~e+f/g==".to_owned())), "{good}");
        }
    }

    #[test]
    fn malformed_is_not_absent() {
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Basic YTpi",
            "Bearer a=b",
            "Bearer \u{e9}",
            "a.b.c",
            &long,
        ] {
            assert_eq!(presented(bad), Err(Reason::InvalidToken), "{bad}");
        }
    }

    #[test]
    fn two_claims_to_an_identity_are_refused() {
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert_eq!(bearer(&twice), Err(Reason::BadRequest));
        for cookie in ["cedargate_session=x", "a=b; cedargate_session=x", "a=b;Cedargate_Session"] {
            let both = headers(&[("authorization", "Bearer a"), ("cookie", cookie)]);
            assert_eq!(bearer(&both), Err(Reason::BadRequest), "{cookie}");
            assert_eq!(bearer(&headers(&[("cookie", cookie)])), Ok(None));
        }
        let other = headers(&[("authorization", "Bearer a"), ("cookie", "not_cedargate_session=x")]);
        assert!(bearer(&other).is_ok());
    }

    #[test]
    fn the_session_is_taken_out() {
        let cookie = headers(&[("cookie", "a=b; cedargate_session=x;c=d"), ("cookie", "e=f")]);
        assert_eq!(without_session_cookie(&cookie), b"a=b; c=d; e=f");
        assert!(without_session_cookie(&headers(&[("cookie", "cedargate_session=x")])).is_empty());
    }
}
