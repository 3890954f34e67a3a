//! Mails that wait to be sent, and those that were, for a while.

use super::{db::Tx, error::Result, sql::text};
use crate::model::{Email, Timestamp};

/// A mail to be stored.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// Part of its Message-ID.
    pub message_id: String,
    /// Which kind of mail it is.
    pub kind: &'static str,
    /// To whom.
    pub recipient: Email,
    /// What it says.
    pub letter: String,
}

/// How many mails may be stored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// To one recipient, of one kind, since [`since`](Self::since).
    pub per_recipient: i64,
    /// From when on those are counted.
    pub since: Timestamp,
    /// Waiting, altogether.
    pub waiting: i64,
}

/// A mail that is the caller's to send, until [`claim`]'s lease is over.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Claimed {
    /// Identity; what was queued later has a greater one.
    pub id: i64,
    /// Part of its Message-ID.
    pub message_id: String,
    /// Which kind of mail it is.
    pub kind: String,
    /// What it says.
    pub letter: String,
    /// How often it was claimed, this time included.
    pub attempts: i64,
    /// When it was queued.
    pub created_at: Timestamp,
}

/// How a mail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The mail server took it.
    Sent,
    /// It was given up.
    Failed,
    /// There was nothing to send, or nobody to send it to.
    Dropped,
}

impl Ending {
    /// The word for it, in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Stores a mail, to be sent at once; false when that is more than `bounds` allow, and nothing was stored.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: &NewMail, bounds: Bounds, now: Timestamp) -> Result<bool> {
    let stored = tx
        .query(
            "INSERT INTO outbox (message_id, kind, recipient, letter, next_attempt_at, created_at)
             SELECT $1, $2, $3, $4, $5, $5
             WHERE (SELECT COUNT(*) FROM outbox WHERE recipient = $3 AND kind = $2 AND created_at > $6) < $7
               AND (SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE done_at IS NULL LIMIT $8) AS waiting) < $8",
        )
        .bind(new.message_id.clone())
        .bind(new.kind.to_owned())
        .bind(new.recipient.as_str().to_lowercase())
        .bind(new.letter.clone())
        .bind(now)
        .bind(bounds.since)
        .bind(bounds.per_recipient)
        .bind(bounds.waiting)
        .execute()
        .await?;
    Ok(stored > 0)
}

/// Takes at most `limit` mails that are due, the longest due first; nobody else gets them before `until`.
///
/// # Errors
/// What the database refuses.
pub async fn claim(tx: &mut Tx, until: Timestamp, limit: u32, now: Timestamp) -> Result<Vec<Claimed>> {
    tx.query(
        // Both conditions twice: PostgreSQL looks at a row again that another node took meanwhile, but at the outer ones only.
        "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = $2
         WHERE done_at IS NULL AND next_attempt_at <= $1 AND id IN (
             SELECT id FROM outbox WHERE done_at IS NULL AND next_attempt_at <= $1
             ORDER BY next_attempt_at, id LIMIT $3)
         RETURNING id, message_id, kind, letter, attempts, created_at",
    )
    .bind(now)
    .bind(until)
    .bind(i64::from(limit))
    .fetch_all()
    .await
}

/// Counts the mails that are due, as far as there is one.
///
/// # Errors
/// What the database refuses.
pub async fn due(tx: &mut Tx, now: Timestamp) -> Result<i64> {
    tx.query(
        "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE done_at IS NULL AND next_attempt_at <= $1 LIMIT 1) AS first",
    )
    .bind(now)
    .fetch_value()
    .await
}

/// Whether a mail is still the caller's to send: neither somebody else's by now, nor withdrawn.
///
/// # Errors
/// What the database refuses.
pub async fn is_held(tx: &mut Tx, mail: &Claimed) -> Result<bool> {
    // Writes, so that on PostgreSQL whoever withdraws it meanwhile waits, or is waited for.
    let query = tx.query("UPDATE outbox SET attempts = attempts WHERE id = $1 AND attempts = $2 AND done_at IS NULL");
    Ok(query.bind(mail.id).bind(mail.attempts).execute().await? > 0)
}

/// Notes how a mail ended, and forgets what it said; false when it is somebody else's by now, or was withdrawn.
///
/// # Errors
/// What the database refuses.
pub async fn finish(tx: &mut Tx, mail: &Claimed, ending: Ending, error: Option<&str>, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE outbox SET done_at = $3, result = $4, last_error = $5, letter = NULL
             WHERE id = $1 AND attempts = $2 AND done_at IS NULL",
        )
        .bind(mail.id)
        .bind(mail.attempts)
        .bind(now)
        .bind(ending.as_str().to_owned())
        .bind(error.map(text))
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Notes why a mail could not be sent, and when to try again; false when it is somebody else's by now.
///
/// # Errors
/// What the database refuses.
pub async fn postpone(tx: &mut Tx, mail: &Claimed, error: &str, until: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE outbox SET next_attempt_at = $3, last_error = $4
             WHERE id = $1 AND attempts = $2 AND done_at IS NULL",
        )
        .bind(mail.id)
        .bind(mail.attempts)
        .bind(until)
        .bind(text(error))
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Takes back the mails of one kind to `recipient` that are not done with; returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn withdraw(tx: &mut Tx, kind: &str, recipient: &Email) -> Result<u64> {
    tx.query("DELETE FROM outbox WHERE recipient = $1 AND kind = $2 AND done_at IS NULL")
        .bind(recipient.as_str().to_lowercase())
        .bind(kind.to_owned())
        .execute()
        .await
}

/// Counts the mails that are not done with.
///
/// # Errors
/// What the database refuses.
pub async fn waiting(tx: &mut Tx) -> Result<i64> {
    tx.query("SELECT COUNT(*) FROM outbox WHERE done_at IS NULL").fetch_value().await
}

/// Forgets at most `limit` mails that were done with by `until`, oldest first, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, until: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM outbox WHERE id IN (
             SELECT id FROM outbox WHERE done_at IS NOT NULL AND done_at <= $1 ORDER BY done_at, id LIMIT $2)",
    )
    .bind(until)
    .bind(i64::from(limit))
    .execute()
    .await
}
