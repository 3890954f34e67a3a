//! Sessions: families of refresh tokens.

use super::{db::Tx, error::Result, sql::text};
use crate::model::{Timestamp, UserId};

/// A sign-in that can be renewed until it ends or is revoked.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Session {
    /// A UUID; `sid` in the tokens.
    pub id: String,
    /// Whose.
    pub user_id: UserId,
    /// The one refresh token that is good; an older one of this family was stolen or sent twice.
    pub refresh_jti: String,
    /// The sign-in.
    pub created_at: Timestamp,
    /// The last renewal.
    pub last_seen_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it was opened from.
    pub ip: Option<String>,
    /// By what.
    pub user_agent: Option<String>,
    /// When it was ended, if it was.
    pub revoked_at: Option<Timestamp>,
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
    /// When it ends by itself.
    pub expires_at: Timestamp,
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
        "INSERT INTO sessions (id, user_id, refresh_jti, created_at, last_seen_at, expires_at, ip, user_agent)
         VALUES ($1, $2, $3, $4, $4, $5, $6, $7)",
    )
    .bind(new.id.clone())
    .bind(new.user_id)
    .bind(new.refresh_jti.clone())
    .bind(now)
    .bind(new.expires_at)
    .bind(new.ip.clone())
    .bind(new.user_agent.as_deref().map(text))
    .execute()
    .await
    .map(drop)
}

/// Returns a session, ended or not.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Session>> {
    tx.query(
        "SELECT id, user_id, refresh_jti, created_at, last_seen_at, expires_at, ip, user_agent, revoked_at
         FROM sessions WHERE id = $1",
    )
    .bind(text(id))
    .fetch_optional()
    .await
}

/// Notes that a session was used; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn touch(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1").bind(text(id)).bind(now);
    Ok(query.execute().await? > 0)
}

/// Puts refresh token `new` in the place of `old`; false when `old` is not the good one or the session is revoked.
///
/// # Errors
/// What the database refuses.
pub async fn rotate(tx: &mut Tx, id: &str, old: &str, new: &str, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE sessions SET refresh_jti = $3, last_seen_at = $4
             WHERE id = $1 AND refresh_jti = $2 AND revoked_at IS NULL",
        )
        .bind(text(id))
        .bind(text(old))
        .bind(new.to_owned())
        .bind(now)
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

/// Forgets at most `limit` sessions whose time is over, oldest first, and returns how many.
///
/// A revoked session is kept until then: its refresh tokens must be recognised.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2)",
    )
    .bind(now)
    .bind(i64::from(limit))
    .execute()
    .await
}
