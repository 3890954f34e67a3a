//! Tokens and sessions that are void before their natural end.

use super::{db::Tx, error::Result, sql::text};
use crate::model::{Timestamp, rules::Revocation};

/// Stores a revocation; of two with one key the later end holds.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, revocation: &Revocation) -> Result<()> {
    tx.query(
        "INSERT INTO revocations (key, expires_at) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET expires_at = excluded.expires_at
         WHERE revocations.expires_at < excluded.expires_at",
    )
    .bind(revocation.key.clone())
    .bind(revocation.expires_at)
    .execute()
    .await
    .map(drop)
}

/// Returns the revocations that still matter, by key.
///
/// # Errors
/// What the database refuses.
pub async fn live(tx: &mut Tx, now: Timestamp) -> Result<Vec<Revocation>> {
    tx.query("SELECT key, expires_at FROM revocations WHERE expires_at > $1 ORDER BY key").bind(now).fetch_all().await
}

/// Returns one revocation, expired or not.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, key: &str) -> Result<Option<Revocation>> {
    tx.query("SELECT key, expires_at FROM revocations WHERE key = $1").bind(text(key)).fetch_optional().await
}

/// Forgets at most `limit` expired revocations, oldest first, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM revocations WHERE key IN (
             SELECT key FROM revocations WHERE expires_at <= $1 ORDER BY expires_at, key LIMIT $2)",
    )
    .bind(now)
    .bind(i64::from(limit))
    .execute()
    .await
}
