//! Key pairs that tokens are signed with.

use super::{
    db::Tx,
    error::Result,
    sql::{Page, text},
};
use crate::model::{NewSigningKey, SigningKey, SigningKeyId, Timestamp};

/// All columns, for what `$rest` leaves.
macro_rules! keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, kid, algorithm, jwk, sealed, created_at, activated_at, retired_at FROM signing_keys ",
            $rest
        )
    };
}

/// Stores a key that signs from `activated_at` on.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when there is one of its name.
pub async fn insert(tx: &mut Tx, new: &NewSigningKey, activated_at: Timestamp, now: Timestamp) -> Result<SigningKeyId> {
    tx.query(
        "INSERT INTO signing_keys (kid, algorithm, jwk, sealed, created_at, activated_at)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind(new.kid.clone())
    .bind(new.algorithm.name())
    .bind(new.jwk.clone())
    .bind(new.sealed.expose().clone())
    .bind(now)
    .bind(activated_at)
    .fetch_value()
    .await
}

/// Returns the keys that are not retired, by the moment from which they sign.
///
/// # Errors
/// What the database refuses.
pub async fn live(tx: &mut Tx) -> Result<Vec<SigningKey>> {
    tx.query(keys!("WHERE retired_at IS NULL ORDER BY activated_at, id")).fetch_all().await
}

/// Returns a key, retired or not.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: SigningKeyId) -> Result<Option<SigningKey>> {
    tx.query(keys!("WHERE id = $1")).bind(id).fetch_optional().await
}

/// Returns the key of this name, retired or not.
///
/// # Errors
/// What the database refuses.
pub async fn by_kid(tx: &mut Tx, kid: &str) -> Result<Option<SigningKey>> {
    tx.query(keys!("WHERE kid = $1")).bind(text(kid)).fetch_optional().await
}

/// Returns keys with the retired ones, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, page: Page) -> Result<Vec<SigningKey>> {
    let query = tx.query(keys!("ORDER BY id DESC LIMIT $1 OFFSET $2"));
    query.bind(page.limit()).bind(page.offset()).fetch_all().await
}

/// Counts all keys.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx) -> Result<i64> {
    tx.query("SELECT COUNT(*) FROM signing_keys").fetch_value().await
}

/// Retires a key and forgets its private part; false when there is none, or it is retired.
///
/// # Errors
/// What the database refuses.
pub async fn retire(tx: &mut Tx, id: SigningKeyId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE signing_keys SET retired_at = $2, sealed = NULL WHERE id = $1 AND retired_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Forgets keys that were retired before this moment; returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, before: Timestamp) -> Result<u64> {
    tx.query("DELETE FROM signing_keys WHERE retired_at < $1").bind(before).execute().await
}
