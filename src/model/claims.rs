use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{ClaimSet, UserId};

/// What a verified access token says.
///
/// Made by `jwt` only, after signature, type and times were checked; user state and revocation are checked
/// against the snapshot on every request.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// `sub`: the sign-in name.
    pub subject: String,
    /// `iss` of another issuer, whose subjects are none of our users by themselves; `None` is ourselves.
    pub issuer: Option<Arc<str>>,
    /// `uid`; absent in tokens of the predecessor.
    pub user_id: Option<UserId>,
    /// `jti`; for tokens that belong to no session of ours, what identifies the token instead.
    pub token_id: Option<String>,
    /// `sid`: the session the token belongs to.
    pub session_id: Option<String>,
    /// `ver`: the user's token epoch at issue; 0 when absent.
    pub epoch: i64,
    /// `exp`, in seconds since 1970.
    pub expires_at: i64,
    /// All claims as they stand in the token.
    pub all: ClaimSet,
    /// Room for whoever decides.
    pub noted: Noted,
}

impl Claims {
    /// The claims of nobody's token: a user who is asked about, not one who asks.
    pub fn none(username: &super::Username) -> Self {
        Self {
            subject: username.to_string(),
            issuer: None,
            user_id: None,
            token_id: None,
            session_id: None,
            epoch: 0,
            expires_at: 0,
            all: ClaimSet::default(),
            noted: Noted::default(),
        }
    }
}

/// What was found out about the bearer of a token, kept as long as its claims are: who finds it out again and again need
/// not do so. It is no part of the claims, so that copies of these begin without.
#[derive(Default)]
pub struct Noted(RwLock<Option<Arc<dyn Any + Send + Sync>>>);

impl Noted {
    /// What was put last, if that is a `T`.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.read().clone()?.downcast().ok()
    }

    /// Keeps `found` in place of what was put before.
    pub fn put<T: Send + Sync + 'static>(&self, found: Arc<T>) {
        let before = self.0.write().replace(found);
        // What it holds is given up after the lock.
        drop(before);
    }
}

impl Clone for Noted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Noted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noted")
    }
}
