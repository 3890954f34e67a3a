//! The feed of changes that other nodes follow, and the two counters.

use super::{
    db::Tx,
    error::{Error, Result},
    sql::Ids,
};
use crate::model::{
    IssuerId, ModuleId, PermissionId, PolicyId, RoleId, RouteId, SigningKeyId, Timestamp, UpstreamId, UserId,
    rules::Revisions,
};

/// What a revision changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Anything of the rules: they are read again as a whole.
    Rules,
    /// The policy files of one node, of which no other knows anything.
    Files,
    /// A role, what is granted to it, or what it inherits from.
    Role(RoleId),
    /// A permission, or that it was granted to the super role as every new one is.
    Permission(PermissionId),
    /// A module.
    Module(ModuleId),
    /// A route that has or had an upstream, or the roles bound to it.
    Route(RouteId),
    /// An upstream.
    Upstream(UpstreamId),
    /// A hand-written policy.
    Policy(PolicyId),
    /// One user, or the roles assigned to it.
    User(UserId),
    /// An issuer whose tokens are believed.
    Issuer(IssuerId),
    /// A token or session became void; its key.
    Revocation(String),
    /// A key that tokens are signed with.
    Key(SigningKeyId),
}

impl Change {
    /// Whether it moves `policy_revision`.
    pub fn is_of_rules(&self) -> bool {
        !matches!(self, Self::User(_) | Self::Issuer(_) | Self::Revocation(_) | Self::Key(_))
    }

    /// Kind, entity and key in the feed. Parts of the rules are told by the key, so that a release that knows no parts
    /// reads all rules again.
    fn columns(&self) -> (&'static str, Option<i64>, Option<String>) {
        let part = |name: &str, id: i64| ("rules", Some(id), Some(name.to_owned()));
        match self {
            Self::Rules => ("rules", None, None),
            Self::Files => ("rules", None, Some("files".to_owned())),
            Self::Role(id) => part("role", id.0),
            Self::Permission(id) => part("permission", id.0),
            Self::Module(id) => part("module", id.0),
            Self::Route(id) => part("route", id.0),
            Self::Upstream(id) => part("upstream", id.0),
            Self::Policy(id) => part("policy", id.0),
            // No part of them, but told as one: a release that knows no keys then has nothing to do, since no rules
            // have moved, and goes on following.
            Self::Key(id) => part("key", id.0),
            Self::User(id) => ("user", Some(id.0), None),
            // A release that knows no issuers reads a user again, which does no harm.
            Self::Issuer(id) => ("user", Some(id.0), Some("issuer".to_owned())),
            Self::Revocation(key) => ("revocation", None, Some(key.clone())),
        }
    }
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
    let (kind, entity_id, key) = change.columns();
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

/// Appends several, users in one statement: there may be many of them.
///
/// # Errors
/// What the database refuses.
pub async fn append_all(tx: &mut Tx, revision: i64, changes: &[Change], now: Timestamp) -> Result<()> {
    let mut users = Vec::new();
    for change in changes {
        match change {
            Change::User(id) => users.push(id.0),
            other => append(tx, revision, other, now).await?,
        }
    }
    if users.is_empty() {
        return Ok(());
    }
    tx.query(
        "INSERT INTO changes (revision, kind, entity_id, at)
         SELECT $1, 'user', CAST(key AS BIGINT), $3 FROM json_each($2)",
    )
    .bind(revision)
    .bind(Ids::new(users))
    .bind(now)
    .execute()
    .await
    .map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    revision: i64,
    kind: String,
    entity_id: Option<i64>,
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
        ("rules", Some(id), Some(part)) => Ok(match part.as_str() {
            "role" => Change::Role(RoleId(id)),
            "permission" => Change::Permission(PermissionId(id)),
            "module" => Change::Module(ModuleId(id)),
            "route" => Change::Route(RouteId(id)),
            "upstream" => Change::Upstream(UpstreamId(id)),
            "policy" => Change::Policy(PolicyId(id)),
            "key" => Change::Key(SigningKeyId(id)),
            _ => Change::Rules,
        }),
        ("rules", None, Some(key)) if key == "files" => Ok(Change::Files),
        ("rules", _, _) => Ok(Change::Rules),
        ("user", Some(id), Some(key)) if key == "issuer" => Ok(Change::Issuer(IssuerId(id))),
        ("user", Some(id), _) => Ok(Change::User(UserId(id))),
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
