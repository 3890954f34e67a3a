//! What users did with their accounts: the newest of each, for a while.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    db::Tx,
    error::Result,
    sql::{Page, text},
};
use crate::model::{Timestamp, UserId};

/// So much is kept of what one user did.
const KEPT: i64 = 1_000;
/// So much of what failed, which anybody can try for anybody: it must neither grow nor drive out the rest.
const KEPT_FAILURES: i64 = 100;

/// Something that a user did, or that was tried in the user's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Activity {
    /// Identity; what is newer has a greater one.
    pub id: i64,
    /// Whose account.
    pub user_id: UserId,
    /// `login`, `logout`, `password_change`, `password_reset` or `email_verification`; `refresh`, of which only those are
    /// kept that were refused.
    pub action: String,
    /// Whether it took place.
    pub success: bool,
    /// Where the request came from.
    pub ip: Option<String>,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

/// What can be done with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Signing in.
    Login,
    /// Signing out.
    Logout,
    /// Setting another password for oneself.
    PasswordChange,
    /// Staying signed in with a refresh token.
    Refresh,
    /// Setting another one by a link that was sent by mail.
    PasswordReset,
    /// Showing that the mail address is one's own.
    EmailVerification,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::PasswordChange => "password_change",
            Self::Refresh => "refresh",
            Self::PasswordReset => "password_reset",
            Self::EmailVerification => "email_verification",
        }
    }
}

/// An activity to be stored.
#[derive(Clone, Debug)]
pub struct NewActivity {
    /// Whose account.
    pub user_id: UserId,
    /// What.
    pub action: Action,
    /// Whether it took place.
    pub success: bool,
    /// Where the request came from.
    pub client: IpAddr,
    /// What the client called itself; bounded by whoever read it.
    pub user_agent: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Which activities to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these.
    pub action: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// Stores an activity, and forgets the user's oldest of the same outcome beyond what is kept.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when there is no such user.
pub async fn insert(tx: &mut Tx, new: &NewActivity) -> Result<()> {
    tx.query(
        "INSERT INTO user_activity (user_id, action, success, ip, user_agent, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.user_id)
    .bind(new.action.as_str().to_owned())
    .bind(new.success)
    .bind(new.client.to_string())
    .bind(new.user_agent.as_deref().map(text))
    .bind(new.at)
    .execute()
    .await?;
    tx.query(
        "DELETE FROM user_activity WHERE user_id = $1 AND success = $2 AND id <= (
             SELECT id FROM user_activity WHERE user_id = $1 AND success = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)",
    )
    .bind(new.user_id)
    .bind(new.success)
    .bind(if new.success { KEPT } else { KEPT_FAILURES })
    .execute()
    .await
    .map(drop)
}

/// Lists what a user did, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, user: UserId, filter: &Filter, page: Page) -> Result<Vec<Activity>> {
    tx.query(
        "SELECT id, user_id, action, success, ip, user_agent, created_at FROM user_activity
         WHERE user_id = $1 AND ($2 IS NULL OR action = $2) AND ($3 IS NULL OR created_at >= $3)
           AND ($4 IS NULL OR created_at < $4)
         ORDER BY id DESC LIMIT $5 OFFSET $6",
    )
    .bind(user)
    .bind(filter.action.as_deref().map(text))
    .bind(filter.from)
    .bind(filter.to)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all()
    .await
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, user: UserId, filter: &Filter) -> Result<i64> {
    tx.query(
        "SELECT COUNT(*) FROM user_activity
         WHERE user_id = $1 AND ($2 IS NULL OR action = $2) AND ($3 IS NULL OR created_at >= $3)
           AND ($4 IS NULL OR created_at < $4)",
    )
    .bind(user)
    .bind(filter.action.as_deref().map(text))
    .bind(filter.from)
    .bind(filter.to)
    .fetch_value()
    .await
}

/// Returns the addresses from which a user has signed in, as far as that is remembered.
///
/// # Errors
/// What the database refuses.
pub async fn places(tx: &mut Tx, user: UserId) -> Result<Vec<String>> {
    tx.query(
        "SELECT ip FROM (SELECT ip FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND ip IS NOT NULL
                          ORDER BY last_seen_at DESC, id DESC LIMIT 100) AS lately
         UNION
         SELECT ip FROM user_activity WHERE user_id = $1 AND action = 'login' AND success AND ip IS NOT NULL",
    )
    .bind(user)
    .fetch_values()
    .await
}

/// Forgets at most `limit` activities up to `until`, oldest first, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, until: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM user_activity WHERE id IN (
             SELECT id FROM user_activity WHERE created_at <= $1 ORDER BY created_at, id LIMIT $2)",
    )
    .bind(until)
    .bind(i64::from(limit))
    .execute()
    .await
}
