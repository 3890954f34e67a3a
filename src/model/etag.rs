//! Strong entity tags (RFC 9110 8.8.3): one for each state of what is answered.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// The tag of one representation: `"…"`, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(String);

impl Etag {
    /// The tag of these bytes; equal bytes have equal tags on every node.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16])))
    }

    /// As the header field carries it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Etags {
    /// `*`: whatever there is.
    Any,
    /// One of these, as they were sent.
    List(Vec<String>),
}

impl Etags {
    /// Reads a field's value; what is no tag matches nothing.
    pub fn parse(value: &str) -> Self {
        if value.trim() == "*" {
            return Self::Any;
        }
        // Our own tags contain no comma, so a part of a tag that does matches nothing either.
        Self::List(value.split(',').map(|tag| tag.trim().to_owned()).collect())
    }

    /// The comparison of `If-Match` (RFC 9110 13.1.1): a weak tag matches nothing.
    pub fn match_strongly(&self, tag: &Etag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|sent| sent == tag.as_str()),
        }
    }

    /// The comparison of `If-None-Match` (RFC 9110 13.1.2): whether a tag is weak makes no difference.
    pub fn match_weakly(&self, tag: &Etag) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|sent| sent.strip_prefix("W/").unwrap_or(sent) == tag.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_match() {
        let tag = Etag::of(b"a");
        let sent = |text: String| Etags::parse(&text);
        let own = tag.as_str().to_owned();
        for (value, strong, weak) in [
            ("*".to_owned(), true, true),
            (own.clone(), true, true),
            (format!("\"x\", {own}"), true, true),
            (format!("W/{own}"), false, true),
            ("\"x\"".to_owned(), false, false),
            (String::new(), false, false),
            (own.trim_matches('"').to_owned(), false, false),
        ] {
            assert_eq!(
                (sent(value.clone()).match_strongly(&tag), sent(value.clone()).match_weakly(&tag)),
                (strong, weak),
                "{value}"
            );
        }
        assert_ne!(Etag::of(b"b"), tag);
    }
}
