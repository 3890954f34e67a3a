//! Sessions: families of refresh tokens.

use std::time::Duration;

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, Page, text},
};
use crate::model::{Timestamp, UserId};

/// For how long a session that was ended is kept, for whoever looks into what happened.
const KEPT_ENDED: Duration = Duration::from_hours(1);

/// A sign-in that can be renewed until it ends or is revoked.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Session {
    /// A UUID; `sid` in the tokens.
    pub id: String,
    /// Whose.
    pub user_id: UserId,
    /// The one refresh token that is good; an older one of this family was stolen or sent twice.
    pub refresh_jti: String,
    /// The one before it.
    pub previous_jti: Option<String>,
    /// When it took that one's place.
    pub rotated_at: Option<Timestamp>,
    /// The sign-in.
    pub created_at: Timestamp,
    /// The last renewal.
    pub last_seen_at: Timestamp,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    /// Where it was opened from.
    pub ip: Option<String>,
    /// By what.
    pub user_agent: Option<String>,
    /// When it was ended, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl Session {
    /// Whether it can still be used at `now`.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}

/// A session to be stored.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// A UUID.
    pub id: String,
    /// Whose.
    pub user_id: UserId,
    /// The first refresh token.
    pub refresh_jti: String,
    /// When it ends unless it is renewed.
    pub expires_at: Timestamp,
    /// When it ends at the latest.
    pub ends_at: Timestamp,
    /// Where it is opened from.
    pub ip: Option<String>,
    /// By what.
    pub user_agent: Option<String>,
}

/// Stores a session.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when there is no such user.
pub async fn insert(tx: &mut Tx, new: &NewSession, now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO sessions (id, user_id, refresh_jti, created_at, last_seen_at, expires_at, ip, user_agent, ends_at)
         VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)",
    )
    .bind(new.id.clone())
    .bind(new.user_id)
    .bind(new.refresh_jti.clone())
    .bind(now)
    .bind(new.expires_at)
    .bind(new.ip.clone())
    .bind(new.user_agent.as_deref().map(text))
    .bind(new.ends_at)
    .execute()
    .await
    .map(drop)
}

/// The sessions that `$rest` leaves.
macro_rules! sessions {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, refresh_jti, previous_jti, rotated_at, created_at, last_seen_at, expires_at,
                    COALESCE(ends_at, expires_at) AS ends_at, ip, user_agent, revoked_at
             FROM sessions WHERE ",
            $rest
        )
    };
}

/// Returns a session, ended or not.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Session>> {
    tx.query(sessions!("id = $1")).bind(text(id)).fetch_optional().await
}

/// Lists a user's sessions that are alive, the one used last first.
///
/// # Errors
/// What the database refuses.
pub async fn live(tx: &mut Tx, user: UserId, now: Timestamp, page: Page) -> Result<Vec<Session>> {
    tx.query(sessions!(
        "user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY last_seen_at DESC, id DESC LIMIT $3 OFFSET $4"
    ))
    .bind(user)
    .bind(now)
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all()
    .await
}

/// Counts what [`live`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count_live(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<i64> {
    tx.query("SELECT COUNT(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2")
        .bind(user)
        .bind(now)
        .fetch_value()
        .await
}

/// A refresh token that takes another's place.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'r> {
    /// The session.
    pub id: &'r str,
    /// The token that was presented.
    pub old: &'r str,
    /// The one that shall be good from now on.
    pub new: &'r str,
    /// When the session ends unless it is renewed again.
    pub expires_at: Timestamp,
}

/// Puts a new refresh token in the place of the good one; false when the old one is not that, or the session has ended.
///
/// # Errors
/// What the database refuses.
pub async fn rotate(tx: &mut Tx, rotation: Rotation<'_>, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE sessions
             SET previous_jti = refresh_jti, refresh_jti = $3, rotated_at = $4, last_seen_at = $4, expires_at = $5
             WHERE id = $1 AND refresh_jti = $2 AND revoked_at IS NULL AND expires_at > $4",
        )
        .bind(text(rotation.id))
        .bind(text(rotation.old))
        .bind(rotation.new.to_owned())
        .bind(now)
        .bind(rotation.expires_at)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Ends a session; false when there is none or it was ended before.
///
/// # Errors
/// What the database refuses.
pub async fn revoke(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE sessions SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
    Ok(query.bind(text(id)).bind(now).execute().await? > 0)
}

/// Ends all sessions of these users.
///
/// # Errors
/// What the database refuses.
pub async fn revoke_all(tx: &mut Tx, users: &[UserId], now: Timestamp) -> Result<()> {
    tx.query(
        "UPDATE sessions SET revoked_at = $2
         WHERE revoked_at IS NULL AND user_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(Ids::new(users.iter().map(|id| id.0)))
    .bind(now)
    .execute()
    .await
    .map(drop)
}

/// Forgets at most `limit` sessions whose time is over, oldest first, and returns how many.
///
/// One that was ended is forgotten sooner: a refresh token of no session is as void as one of a session that was ended,
/// and one user could make any number of them.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<u64> {
    let expired = tx
        .query(
            "DELETE FROM sessions WHERE id IN (
                 SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2)",
        )
        .bind(now)
        .bind(i64::from(limit))
        .execute()
        .await?;
    let ended = tx
        .query(
            "DELETE FROM sessions WHERE id IN (
                 SELECT id FROM sessions WHERE revoked_at <= $1 ORDER BY revoked_at, id LIMIT $2)",
        )
        .bind(now.minus(KEPT_ENDED))
        .bind(i64::from(limit))
        .execute()
        .await?;
    Ok(expired + ended)
}
