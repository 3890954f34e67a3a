//! The audit trail: what was changed, by whom, from where, from what to what.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::{
    db::Tx,
    error::Result,
    list::{Arg, Lead, List, Period, Plan, Sort, SortKey, Total},
    sql::{Page, text},
};
use crate::model::{Timestamp, UserId};

/// One change of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct AuditRecord {
    /// Identity; later changes have greater ones.
    pub id: i64,
    /// Who changed it; none for the command line and the program itself.
    pub actor_id: Option<UserId>,
    /// The actor's name at that time.
    pub actor: Option<String>,
    /// `create`, `update` or `delete`.
    pub action: String,
    /// The kind of entity, as `user`.
    pub resource: String,
    /// Which one.
    pub resource_id: Option<String>,
    /// The entity before, null for a new one.
    #[sqlx(json)]
    pub before: Value,
    /// The entity after, null for one that is gone.
    #[sqlx(json)]
    pub after: Value,
    /// Where the request came from.
    pub ip: Option<String>,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The revision from which on the change has effect.
    pub revision: Option<i64>,
    /// When.
    pub created_at: Timestamp,
}

/// A record to be stored.
#[derive(Clone, Debug)]
pub struct NewAuditRecord {
    /// Who changed it.
    pub actor_id: Option<UserId>,
    /// The actor's name.
    pub actor: Option<String>,
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// The kind of entity.
    pub resource: &'static str,
    /// Which one.
    pub resource_id: String,
    /// The entity before.
    pub before: Value,
    /// The entity after.
    pub after: Value,
    /// Where the request came from.
    pub ip: Option<String>,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The revision of the change.
    pub revision: i64,
}

/// Which records to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By this user.
    pub actor_id: Option<UserId>,
    /// About this kind of entity.
    pub resource: Option<String>,
    /// About the one of this id.
    pub resource_id: Option<String>,
    /// `create`, `update` or `delete`.
    pub action: Option<String>,
    /// When.
    pub period: Period,
    /// In another order than the newest first.
    pub sort: Option<Sort>,
}

/// What records can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[SortKey::new("created_at", "created_at"), SortKey::new("id", "id")];

/// By time, which the indexes of all filters follow.
const NEWEST: Sort = Sort { key: SORT_KEYS[0], descending: true };

const COLUMNS: &str = "id, actor_id, actor, action, resource, resource_id, before, after, ip, user_agent, request_id,
                       revision, created_at";

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("audit_records", "id", "id");
        let by = |name| Some(Lead::Index { name, order: "created_at" });
        let text = |value: &Option<String>| value.as_deref().map(text).map(Arg::Text);
        list.led(
            "~actor_id = $1",
            self.actor_id.iter().map(|id| Arg::Number(id.0)).collect(),
            by("audit_records_actor"),
        );
        let (kind, id) = (text(&self.resource), text(&self.resource_id));
        if kind.is_some() && id.is_some() {
            list.led(
                "~resource = $1 AND ~resource_id = $2",
                kind.into_iter().chain(id).collect(),
                by("audit_records_resource"),
            );
        } else {
            list.led("~resource = $1", kind.into_iter().collect(), by("audit_records_kind"));
            list.when("~resource_id = $1", id);
        }
        list.when("action = $1", text(&self.action));
        list.within(self.period, "created_at", by("audit_records_time"));
        list
    }
}

/// Stores a record.
///
/// # Errors
/// What the database refuses.
pub async fn insert(tx: &mut Tx, new: NewAuditRecord, now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO audit_records (actor_id, actor, action, resource, resource_id, success, before, after, ip,
             user_agent, request_id, revision, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(new.actor_id)
    .bind(new.actor)
    .bind(new.action.to_owned())
    .bind(new.resource.to_owned())
    .bind(new.resource_id)
    .bind(true)
    .bind(Json(new.before))
    .bind(Json(new.after))
    .bind(new.ip)
    .bind(new.user_agent.as_deref().map(text))
    .bind(new.request_id)
    .bind(new.revision)
    .bind(now)
    .execute()
    .await
    .map(drop)
}

/// Returns a record.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: i64) -> Result<Option<AuditRecord>> {
    tx.query(
        "SELECT id, actor_id, actor, action, resource, resource_id, before, after, ip, user_agent, request_id, revision,
             created_at
         FROM audit_records WHERE id = $1",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Lists records, the newest first unless sorted otherwise.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<AuditRecord>> {
    filter.list().rows(tx, (COLUMNS, ""), Some(filter.sort.unwrap_or(NEWEST)), page, None).await
}

/// Counts what [`list`] would return without a page, but not beyond [`MOST_COUNTED`](super::MOST_COUNTED).
///
/// # Errors
/// What the database refuses.
pub async fn total(tx: &mut Tx, filter: &Filter) -> Result<Total> {
    filter.list().total(tx).await
}

/// How the database would answer [`list`] and [`total`].
///
/// # Errors
/// What the database refuses.
pub async fn plan(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Plan> {
    filter.list().plan(tx, (COLUMNS, ""), Some(filter.sort.unwrap_or(NEWEST)), page, None).await
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    filter.list().count(tx).await
}

/// Removes at most `limit` records from before `time`, oldest first, and returns how many.
///
/// # Errors
/// What the database refuses.
pub async fn purge(tx: &mut Tx, time: Timestamp, limit: u32) -> Result<u64> {
    tx.query(
        "DELETE FROM audit_records WHERE id IN (
             SELECT id FROM audit_records WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    )
    .bind(time)
    .bind(i64::from(limit))
    .execute()
    .await
}
