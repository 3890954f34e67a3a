//! The gateway's refusals as documents and challenges.

use serde::Serialize;

use crate::model::Reason;

/// An RFC 9457 problem document: the body of the gateway's own refusals.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
    request_id: &'a str,
    policy_revision: Option<i64>,
}

impl<'a> Problem<'a> {
    /// The media type of the document.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The document for `reason`; the revision is that of the rules the request was decided with, if any.
    pub fn new(reason: Reason, request_id: &'a str, policy_revision: Option<i64>) -> Self {
        let status = reason.status();
        let title = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
        Self {
            r#type: "about:blank",
            title: title.unwrap_or("Error"),
            status,
            detail: reason.detail(),
            reason: reason.code(),
            request_id,
            policy_revision,
        }
    }

    /// The document as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The challenge that accompanies a refusal for `reason` (RFC 6750 3), if one does.
pub fn challenge(reason: Reason) -> Option<&'static str> {
    match reason.status() {
        401 if reason == Reason::NoCredentials => Some("Bearer realm=\"cedargate\""),
        401 => Some("Bearer realm=\"cedargate\", error=\"invalid_token\""),
        403 => Some("Bearer realm=\"cedargate\", error=\"insufficient_scope\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document() {
        let body = Problem::new(Reason::NoGrant, "r", Some(7)).to_bytes();
        let expected = concat!(
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"No policy permits this request.","#,
            r#""reason":"no_grant","request_id":"r","policy_revision":7}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn challenges() {
        assert_eq!(challenge(Reason::NoCredentials), Some("Bearer realm=\"cedargate\""));
        assert!(challenge(Reason::ExpiredToken).unwrap().contains("invalid_token"));
        assert!(challenge(Reason::NoGrant).unwrap().contains("insufficient_scope"));
        assert_eq!(challenge(Reason::UnknownRoute), None);
    }
}
