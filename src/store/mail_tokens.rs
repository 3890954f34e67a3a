//! One-time tokens that were sent by mail: what is stored are their hashes.

use super::{db::Tx, error::Result, sql::text};
use crate::model::{Email, Timestamp, UserId};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Showing that an address is one's own.
    Verification,
    /// Setting a password without knowing the one before.
    Reset,
}

impl Purpose {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::Reset => "reset",
        }
    }
}

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its hash.
    pub hash: String,
    /// What for.
    pub purpose: Purpose,
    /// Whose.
    pub user_id: UserId,
    /// The address it is sent to.
    pub email: Email,
    /// The mail it is in.
    pub outbox_id: i64,
    /// When it is good for nothing any more.
    pub expires_at: Timestamp,
}

/// Stores a token in place of the user's others for the same purpose; false when a later mail has one already.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when there is no such user.
pub async fn replace(tx: &mut Tx, new: &NewToken) -> Result<bool> {
    tx.query("DELETE FROM mail_tokens WHERE user_id = $1 AND purpose = $2 AND outbox_id <= $3")
        .bind(new.user_id)
        .bind(new.purpose.as_str().to_owned())
        .bind(new.outbox_id)
        .execute()
        .await?;
    let stored = tx
        .query(
            "INSERT INTO mail_tokens (hash, purpose, user_id, email, outbox_id, expires_at)
             SELECT $1, $2, $3, $4, $5, $6
             WHERE NOT EXISTS (SELECT 1 FROM mail_tokens WHERE user_id = $3 AND purpose = $2)",
        )
        .bind(new.hash.clone())
        .bind(new.purpose.as_str().to_owned())
        .bind(new.user_id)
        .bind(new.email.as_str().to_lowercase())
        .bind(new.outbox_id)
        .bind(new.expires_at)
        .execute()
        .await?;
    Ok(stored > 0)
}

/// Whose token this is, if it is good at `now`: the user is active, and has the address that it was sent to.
///
/// # Errors
/// What the database refuses.
pub async fn owner(tx: &mut Tx, hash: &str, purpose: Purpose, now: Timestamp) -> Result<Option<UserId>> {
    let found: Option<(UserId,)> = tx
        .query(
            "SELECT users.id FROM mail_tokens JOIN users ON users.id = mail_tokens.user_id
             WHERE mail_tokens.hash = $1 AND mail_tokens.purpose = $2 AND mail_tokens.expires_at > $3
               AND users.deleted_at IS NULL AND users.is_active AND users.email_lower = mail_tokens.email",
        )
        .bind(text(hash))
        .bind(purpose.as_str().to_owned())
        .bind(now)
        .fetch_optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// Uses a token up: of several who present it at once, one is told true.
///
/// # Errors
/// What the database refuses.
pub async fn take(tx: &mut Tx, hash: &str, purpose: Purpose) -> Result<bool> {
    let query = tx.query("DELETE FROM mail_tokens WHERE hash = $1 AND purpose = $2");
    Ok(query.bind(text(hash)).bind(purpose.as_str().to_owned()).execute().await? > 0)
}

/// Makes all tokens of a user void, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn void(tx: &mut Tx, user: UserId) -> Result<u64> {
    tx.query("DELETE FROM mail_tokens WHERE user_id = $1").bind(user).execute().await
}

/// Forgets at most `limit` tokens that ended by `now`, oldest first, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM mail_tokens WHERE hash IN (
             SELECT hash FROM mail_tokens WHERE expires_at <= $1 ORDER BY expires_at, hash LIMIT $2)",
    )
    .bind(now)
    .bind(i64::from(limit))
    .execute()
    .await
}
