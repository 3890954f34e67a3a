//! The feed of changes that other nodes follow, and the two counters.

use super::{
    db::Tx,
    error::{Error, Result},
};
use crate::model::{Timestamp, UserId, rules::Revisions};

/// What a revision changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Roles, permissions, modules, routes, upstreams or policies.
    Rules,
    /// One user, or the roles assigned to it.
    User(UserId),
    /// A token or session became void; its key.
    Revocation(String),
}

/// Moves `revision` and returns the new counters.
///
/// The row stays locked until the transaction ends, which puts the writers of all nodes in one order.
///
/// # Errors
/// [`Error::Unavailable`] when another writer does not finish.
pub async fn lock(tx: &mut Tx) -> Result<Revisions> {
    tx.query("UPDATE revisions SET revision = revision + 1 WHERE id = 1 RETURNING revision, policy_revision")
        .fetch_one()
        .await
}

/// Takes back what [`lock`] did, in a transaction that turned out to change nothing that is followed.
///
/// # Errors
/// What the database refuses.
pub async fn unlock(tx: &mut Tx) -> Result<()> {
    tx.query("UPDATE revisions SET revision = revision - 1 WHERE id = 1").execute().await.map(drop)
}

/// Moves `policy_revision` and returns it; to be called after [`lock`].
///
/// # Errors
/// What the database refuses.
pub async fn bump_policy(tx: &mut Tx) -> Result<i64> {
    tx.query("UPDATE revisions SET policy_revision = policy_revision + 1 WHERE id = 1 RETURNING policy_revision")
        .fetch_value()
        .await
}

/// Returns the counters without a lock.
///
/// # Errors
/// What the database refuses.
pub async fn current(tx: &mut Tx) -> Result<Revisions> {
    tx.query("SELECT revision, policy_revision FROM revisions WHERE id = 1").fetch_one().await
}

/// Appends to the feed.
///
/// # Errors
/// What the database refuses.
pub async fn append(tx: &mut Tx, revision: i64, change: &Change, now: Timestamp) -> Result<()> {
    let (kind, entity_id, key) = match change {
        Change::Rules => ("rules", None, None),
        Change::User(id) => ("user", Some(*id), None),
        Change::Revocation(key) => ("revocation", None, Some(key.clone())),
    };
    tx.query("INSERT INTO changes (revision, kind, entity_id, key, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(revision)
        .bind(kind)
        .bind(entity_id)
        .bind(key)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    revision: i64,
    kind: String,
    entity_id: Option<UserId>,
    key: Option<String>,
}

/// Returns what came after `revision`, in order.
///
/// # Errors
/// [`Error::Database`] when a newer release wrote a kind of change that this one does not know.
pub async fn since(tx: &mut Tx, revision: i64) -> Result<Vec<(i64, Change)>> {
    let rows = tx
        .query("SELECT revision, kind, entity_id, key FROM changes WHERE revision > $1 ORDER BY revision, id")
        .bind(revision)
        .fetch_all::<Row>()
        .await?;
    rows.into_iter().map(|row| Ok((row.revision, change(row)?))).collect()
}

fn change(row: Row) -> Result<Change> {
    match (row.kind.as_str(), row.entity_id, row.key) {
        ("rules", _, _) => Ok(Change::Rules),
        ("user", Some(id), _) => Ok(Change::User(id)),
        ("revocation", _, Some(key)) => Ok(Change::Revocation(key)),
        (kind, _, _) => Err(Error::Database(sqlx::Error::Decode(
            format!("unknown change '{kind}' in revision {}", row.revision).into(),
        ))),
    }
}

/// Returns the oldest revision still in the feed; a node that is behind it must load everything.
///
/// # Errors
/// What the database refuses.
pub async fn oldest(tx: &mut Tx) -> Result<Option<i64>> {
    tx.query("SELECT MIN(revision) FROM changes").fetch_value().await
}

/// Forgets the feed up to and including `revision`, and returns how many entries that were.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, revision: i64) -> Result<u64> {
    tx.query("DELETE FROM changes WHERE revision <= $1").bind(revision).execute().await
}
