//! Tokens that were verified already.

use std::{
    hash::{BuildHasher as _, Hash, Hasher},
    sync::Arc,
};

use foldhash::{fast, quality};
use quick_cache::{
    Equivalent, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::model::Claims;

/// Bytes that are reserved for one ordinary token with its claims.
const ORDINARY: u64 = 2 * 1024;

/// A verified token.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    pub(super) not_before: Option<i64>,
    /// In seconds: what its issuer is allowed.
    pub(super) leeway: i64,
    /// The key set it was verified by.
    pub(super) version: u64,
}

/// A token that is kept, with its hash: to look at all of a long text again, wherever it lies, takes longer than to find it.
struct Token {
    hash: u64,
    text: Box<str>,
}

/// A token that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'t> {
    hash: u64,
    text: &'t str,
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Token {}

impl Equivalent<Token> for Sought<'_> {
    fn equivalent(&self, token: &Token) -> bool {
        self.hash == token.hash && self.text == &*token.text
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Token, Verified> for Bytes {
    fn weight(&self, token: &Token, verified: &Verified) -> u64 {
        let claims = &verified.claims;
        let texts = claims.subject.len() + length(claims.token_id.as_ref()) + length(claims.session_id.as_ref());
        (token.text.len() + claims.all.size() + texts + FIXED) as u64
    }
}

/// The entry of the cache, the claims themselves and what is noted beside them, with what the allocator adds.
const FIXED: usize = 1024;

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

/// Bounded in bytes and keyed by the whole token: what one token says is never told of another (CVE-2026-33496).
pub(super) struct Remembered {
    cache: Cache<Token, Verified, Bytes, fast::RandomState>,
    /// Clients choose the tokens, so that they must not know what these hash to.
    hasher: quality::RandomState,
}

impl Remembered {
    /// Room for about `entries` ordinary tokens.
    pub(super) fn new(entries: usize) -> Self {
        let weight = entries as u64 * ORDINARY;
        let (states, lifecycle) = (fast::RandomState::default(), DefaultLifecycle::default());
        let cache = Cache::with(entries, weight, Bytes, states, lifecycle);
        Self { cache, hasher: quality::RandomState::default() }
    }

    /// How to look for this token.
    pub(super) fn sought<'t>(&self, text: &'t str) -> Sought<'t> {
        Sought { hash: self.hasher.hash_one(text), text }
    }

    /// The token, if the key set of this `version` has verified it.
    pub(super) fn get(&self, token: Sought<'_>, version: u64) -> Option<Verified> {
        self.cache.get(&token).filter(|verified| verified.version == version)
    }

    pub(super) fn put(&self, token: Sought<'_>, verified: Verified) {
        self.cache.insert(Token { hash: token.hash, text: token.text.into() }, verified);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClaimSet, Noted};

    #[test]
    fn tokens_of_the_same_hash_are_told_apart() {
        let remembered = Remembered::new(100);
        let verified = |subject: &str| {
            let subject = subject.to_owned();
            let (user_id, token_id, session_id) = (None, None, None);
            let (epoch, expires_at, all, noted) = (0, 0, ClaimSet::default(), Noted::default());
            let claims = Claims { subject, issuer: None, user_id, token_id, session_id, epoch, expires_at, all, noted };
            Verified { claims: Arc::new(claims), not_before: None, leeway: 0, version: 1 }
        };
        let sought = |text| Sought { hash: 7, text };
        remembered.put(sought("a"), verified("anna"));
        remembered.put(sought("b"), verified("bert"));
        let found = |text| Some(remembered.get(sought(text), 1)?.claims.subject.clone());
        assert_eq!(found("a").as_deref(), Some("anna"));
        assert_eq!(found("b").as_deref(), Some("bert"));
        assert_eq!(found("c"), None);
        assert!(remembered.get(sought("a"), 2).is_none());
    }
}
