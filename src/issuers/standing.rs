//! How it stands with the keys of one issuer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeper::Terms;
use crate::jwt::{self, TrustedKey, Waiting};
use crate::model::Issuer;

/// What tokens may call themselves: what they always were called, and access tokens by RFC 9068.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// One issuer, its keys, and who waits for newer ones.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) issuer: Arc<Issuer>,
    pub(super) keys: Vec<TrustedKey>,
    /// The digest of what the keys were read from.
    pub(super) text: Option<[u8; 32]>,
    /// When they were last found to be these.
    pub(super) fetched: Option<Instant>,
    /// When an attempt last began.
    pub(super) tried: Option<Instant>,
    pub(super) is_fetching: bool,
    pub(super) fault: Option<String>,
    pub(super) waiting: Vec<Waiting<Arc<str>>>,
}

impl Standing {
    pub(super) fn new(issuer: &Arc<Issuer>) -> Self {
        Self {
            issuer: Arc::clone(issuer),
            keys: Vec::new(),
            text: None,
            fetched: None,
            tried: None,
            is_fetching: false,
            fault: None,
            waiting: Vec::new(),
        }
    }

    /// What the verifier is told.
    pub(super) fn trusted(&self) -> jwt::Issuer {
        let spec = self.issuer.spec();
        jwt::Issuer {
            name: spec.issuer.as_str().into(),
            audiences: spec.audiences.clone(),
            leeway: Duration::from_secs(spec.leeway_seconds.into()),
            types: TYPES.map(str::to_owned).into(),
            keys: self.keys.clone(),
        }
    }

    /// Whether it is time for the next attempt.
    pub(super) fn is_due(&self, terms: &Terms, now: Instant) -> bool {
        // Somebody waits, or the last attempt failed: as soon as may be.
        let is_urgent = !self.waiting.is_empty() || self.fault.is_some();
        let pause = if is_urgent { terms.refetch } else { terms.refresh };
        !self.is_fetching && self.tried.is_none_or(|tried| tried + pause <= now)
    }

    /// How long until an attempt that somebody waits for may begin.
    pub(super) fn pause(&self, terms: &Terms) -> Duration {
        let until = self.tried.map(|tried| (tried + terms.refetch).saturating_duration_since(Instant::now()));
        until.unwrap_or_default()
    }

    /// Whether keys are in use that could not be confirmed for too long.
    pub(super) fn is_stale(&self, terms: &Terms) -> bool {
        !self.keys.is_empty() && self.fetched.is_none_or(|fetched| fetched.elapsed() > terms.outage)
    }
}
