//! The audit trail: what was changed, by whom, from where, from what to what.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use super::{
    db::{Query, Tx},
    error::Result,
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
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
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

impl Filter {
    /// Binds what [`list`] and [`count`] compare with.
    fn bind<'t>(&self, query: Query<'t>) -> Query<'t> {
        query
            .bind(self.actor_id)
            .bind(self.resource.as_deref().map(text))
            .bind(self.resource_id.as_deref().map(text))
            .bind(self.action.as_deref().map(text))
            // Always a range, so that the index of times serves both the range and the order.
            .bind(self.from.unwrap_or(Timestamp::FIRST))
            .bind(self.to.unwrap_or(Timestamp::LAST))
    }
}

/// Lists records, the newest first.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<AuditRecord>> {
    let query = tx.query(
        "SELECT id, actor_id, actor, action, resource, resource_id, before, after, ip, user_agent, request_id, revision,
             created_at
         FROM audit_records
         WHERE ($1 IS NULL OR actor_id = $1) AND ($2 IS NULL OR resource = $2) AND ($3 IS NULL OR resource_id = $3)
           AND ($4 IS NULL OR action = $4) AND created_at >= $5 AND created_at < $6
         ORDER BY created_at DESC, id DESC LIMIT $7 OFFSET $8",
    );
    filter.bind(query).bind(page.limit()).bind(page.offset()).fetch_all().await
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    let query = tx.query(
        "SELECT COUNT(*) FROM audit_records
         WHERE ($1 IS NULL OR actor_id = $1) AND ($2 IS NULL OR resource = $2) AND ($3 IS NULL OR resource_id = $3)
           AND ($4 IS NULL OR action = $4) AND created_at >= $5 AND created_at < $6",
    );
    filter.bind(query).fetch_value().await
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
