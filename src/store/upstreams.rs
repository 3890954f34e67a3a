//! Upstreams.

use sqlx::types::Json;

use super::{
    db::Tx,
    error::Result,
    list::{List, Period, Sort, SortKey, Total},
    sql::{Page, Search, text},
    statement::Arg,
};
use crate::model::{NewUpstream, Timestamp, Upstream, UpstreamId, UpstreamPatch};

/// Which upstreams to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name, case ignored.
    pub search: Option<String>,
    /// Whether routes may lead there.
    pub is_active: Option<bool>,
    /// When it was made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by id.
    pub sort: Option<Sort>,
}

/// What upstreams can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "id"),
    SortKey::new("name", "name"),
    SortKey::new("is_active", "is_active"),
    SortKey::new("created_at", "created_at"),
];

const COLUMNS: &str =
    "id, name, is_active, protocol, targets, balance, tls, host_header, timeouts, retries, health_check,
                       max_body_bytes, hash_on, retry_budget_percent, ejection, deleted_at";

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("upstreams", "id", "id");
        if !self.include_deleted {
            list.only("deleted_at IS NULL");
        }
        // Few, and without an index for it.
        let search = Search::ascii(self.search.as_deref());
        list.when(r"name LIKE $1 ESCAPE '\'", search.map(|search| Arg::Text(search.pattern)));
        list.when("is_active = $1", self.is_active.map(Arg::Flag));
        list.within(self.created, "created_at", None);
        list
    }
}

/// An upstream as lists show it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct UpstreamRow {
    /// The upstream.
    #[sqlx(flatten)]
    pub upstream: Upstream,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Stores an upstream.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewUpstream, now: Timestamp) -> Result<UpstreamId> {
    tx.query(
        "INSERT INTO upstreams (name, is_active, protocol, targets, balance, tls, host_header, timeouts, retries,
                                max_body_bytes, created_at, hash_on, retry_budget_percent, health_check, ejection)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id",
    )
    .bind(new.name.clone())
    .bind(new.is_active)
    .bind(Json(new.protocol))
    .bind(Json(new.targets.clone()))
    .bind(Json(new.balance))
    .bind(Json(new.tls.clone()))
    .bind(new.host_header.clone())
    .bind(Json(new.timeouts))
    .bind(new.retries)
    .bind(new.max_body_bytes)
    .bind(now)
    .bind(Json(new.hash_on.clone()))
    .bind(new.retry_budget_percent)
    .bind(Json(new.health_check.clone()))
    .bind(Json(new.ejection))
    .fetch_value()
    .await
}

/// Returns an undeleted upstream.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: UpstreamId) -> Result<Option<Upstream>> {
    tx.query(
        "SELECT id, name, is_active, protocol, targets, balance, tls, host_header, timeouts, retries, health_check,
                max_body_bytes, hash_on, retry_budget_percent, ejection
         FROM upstreams WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Lists upstreams, by id unless sorted otherwise.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<UpstreamRow>> {
    filter.list().rows(tx, (COLUMNS, ""), filter.sort, page, None).await
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    filter.list().count(tx).await
}

/// As [`count`], but not beyond [`MOST_COUNTED`](super::MOST_COUNTED).
///
/// # Errors
/// What the database refuses.
pub async fn total(tx: &mut Tx, filter: &Filter) -> Result<Total> {
    filter.list().total(tx).await
}

/// Returns the id of the undeleted upstream of that name.
///
/// # Errors
/// What the database refuses.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<UpstreamId>> {
    let query = tx.query("SELECT id FROM upstreams WHERE name = $1 AND deleted_at IS NULL").bind(text(name));
    Ok(query.fetch_optional::<(UpstreamId,)>().await?.map(|(id,)| id))
}

/// Changes an undeleted upstream; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: UpstreamId, patch: &UpstreamPatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE upstreams
             SET name = COALESCE($2, name), is_active = COALESCE($3, is_active), targets = COALESCE($4, targets),
                 tls = COALESCE($5, tls), host_header = CASE WHEN $6 THEN $7 ELSE host_header END,
                 timeouts = COALESCE($8, timeouts), retries = COALESCE($9, retries),
                 max_body_bytes = CASE WHEN $10 THEN $11 ELSE max_body_bytes END, updated_at = $12,
                 protocol = COALESCE($13, protocol), balance = COALESCE($14, balance),
                 hash_on = COALESCE($15, hash_on), retry_budget_percent = COALESCE($16, retry_budget_percent),
                 health_check = COALESCE($17, health_check), ejection = COALESCE($18, ejection)
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.is_active)
        .bind(patch.targets.clone().map(Json))
        // Cleared, it is JSON's null, which is not SQL's: COALESCE takes it.
        .bind(patch.tls.clone().map(Json))
        .bind(patch.host_header.is_some())
        .bind(patch.host_header.clone().flatten())
        .bind(patch.timeouts.map(Json))
        .bind(patch.retries)
        .bind(patch.max_body_bytes.is_some())
        .bind(patch.max_body_bytes.flatten())
        .bind(now)
        .bind(patch.protocol.map(Json))
        .bind(patch.balance.map(Json))
        .bind(patch.hash_on.clone().map(Json))
        .bind(patch.retry_budget_percent)
        .bind(patch.health_check.clone().map(Json))
        .bind(patch.ejection.map(Json))
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Marks an upstream as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: UpstreamId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE upstreams SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Takes a deletion back; false when there is no deleted upstream of that id.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name was given to another meanwhile.
pub async fn restore(tx: &mut Tx, id: UpstreamId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE upstreams SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
