//! Tokens that were verified already.

use std::sync::Arc;

use foldhash::quality::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};
use serde_json::Value;

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

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Verified> for Bytes {
    fn weight(&self, token: &Box<str>, verified: &Verified) -> u64 {
        let claims = &verified.claims;
        let all: usize = claims.all.iter().map(|(name, value)| entry(name) + size(value)).sum();
        let texts = claims.subject.len() + length(claims.token_id.as_ref()) + length(claims.session_id.as_ref());
        (token.len() + all + texts + FIXED) as u64
    }
}

/// The entry of the cache and the claims themselves, with what the allocator adds.
const FIXED: usize = 512;

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

/// An entry of a map: key, value, hash, place.
fn entry(name: &str) -> usize {
    name.len() + 96
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + 16,
        Value::Array(values) => values.iter().map(|value| 48 + size(value)).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| entry(name) + size(value)).sum(),
    }
}

/// Bounded in bytes and keyed by the whole token: what one token says is never told of another (CVE-2026-33496).
pub(super) struct Remembered(Cache<Box<str>, Verified, Bytes, RandomState>);

impl Remembered {
    /// Room for about `entries` ordinary tokens.
    pub(super) fn new(entries: usize) -> Self {
        let weight = entries as u64 * ORDINARY;
        Self(Cache::with(entries, weight, Bytes, RandomState::default(), DefaultLifecycle::default()))
    }

    /// The token, if the key set of this `version` has verified it.
    pub(super) fn get(&self, token: &str, version: u64) -> Option<Verified> {
        self.0.get(token).filter(|verified| verified.version == version)
    }

    pub(super) fn put(&self, token: &str, verified: Verified) {
        self.0.insert(token.into(), verified);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.0.weight()
    }
}
