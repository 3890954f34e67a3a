//! Tokens and sessions that were ended before their time.

use std::sync::Arc;

use imbl::HashMap;

use crate::model::{Claims, Timestamp, rules::Revocation};

/// All of them, by kind, so that a request's ids are looked up as they stand in its token.
#[derive(Clone, Debug, Default)]
pub(super) struct Revoked {
    sessions: HashMap<Arc<str>, Timestamp>,
    tokens: HashMap<Arc<str>, Timestamp>,
}

impl Revoked {
    pub(super) fn put(&mut self, revocation: &Revocation) {
        let Revocation { key, expires_at } = revocation;
        if let Some(id) = key.strip_prefix("sid:") {
            self.sessions.insert(id.into(), *expires_at);
        } else if let Some(id) = key.strip_prefix("jti:") {
            self.tokens.insert(id.into(), *expires_at);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len() + self.tokens.len()
    }

    pub(super) fn has(&self, claims: &Claims) -> bool {
        let listed = |ids: &HashMap<Arc<str>, Timestamp>, id: &Option<String>| {
            !ids.is_empty() && id.as_ref().is_some_and(|id| ids.contains_key(id.as_str()))
        };
        listed(&self.sessions, &claims.session_id) || listed(&self.tokens, &claims.token_id)
    }

    /// The same without what ended before `now`; `None` if nothing has.
    pub(super) fn without_expired(&self, now: Timestamp) -> Option<Self> {
        let mut all = self.sessions.values().chain(self.tokens.values());
        if !all.any(|expires_at| *expires_at <= now) {
            return None;
        }
        let mut left = self.clone();
        left.sessions.retain(|_, expires_at| *expires_at > now);
        left.tokens.retain(|_, expires_at| *expires_at > now);
        Some(left)
    }
}
