//! Request ids.

use uuid::Uuid;

/// The longest id that is kept from a trusted proxy.
const MAX: usize = 64;

/// Names one request in its answer, in the log, and towards the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; MAX],
    len: usize,
}

impl RequestId {
    /// A new id, ordered by time (UUID version 7).
    pub fn fresh() -> Self {
        let mut text = [0; MAX];
        let len = Uuid::now_v7().hyphenated().encode_lower(&mut text).len();
        Self { text, len }
    }

    /// An id given by a trusted proxy, if it is well formed: 1 to 64 of `[A-Za-z0-9._-]`.
    pub fn given(id: &[u8]) -> Option<Self> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        if id.is_empty() || !id.iter().all(plain) {
            return None;
        }
        let mut text = [0; MAX];
        text.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { text, len: id.len() })
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh_or_well_formed() {
        assert_eq!(RequestId::fresh().as_str().len(), 36);
        assert_ne!(RequestId::fresh(), RequestId::fresh());
        assert_eq!(RequestId::given(b"a-1_B.c").unwrap().as_str(), "a-1_B.c");
        for bad in [&b""[..], b"a b", b"a\n", &[b'a'; 65], "\u{e9}".as_bytes()] {
            assert!(RequestId::given(bad).is_none());
        }
    }
}
