use std::sync::Arc;

use super::UserId;

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
    pub all: serde_json::Map<String, serde_json::Value>,
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
            all: serde_json::Map::new(),
        }
    }
}
