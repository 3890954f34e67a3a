//! Hand-written policies.

use super::{
    db::Tx,
    error::Result,
    list::{List, Period, Sort, SortKey, Total},
    sql::{Page, Search},
    statement::Arg,
};
use crate::model::{NewPolicy, Policy, PolicyId, PolicyPatch, Timestamp};

/// Which policies to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name, case ignored.
    pub search: Option<String>,
    /// Whether they decide.
    pub is_active: Option<bool>,
    /// When they were made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by id.
    pub sort: Option<Sort>,
}

/// What policies can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "id"),
    SortKey::new("name", "name"),
    SortKey::new("is_active", "is_active"),
    SortKey::new("created_at", "created_at"),
    SortKey::nullable("updated_at", "updated_at"),
];

const COLUMNS: &str = "id, name, description, source, is_active, created_at, updated_at, deleted_at";

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("policies", "id", "id");
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

/// A policy as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct PolicyRow {
    /// The policy.
    #[sqlx(flatten)]
    pub policy: Policy,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
}

/// Stores a policy.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewPolicy, now: Timestamp) -> Result<PolicyId> {
    tx.query(
        "INSERT INTO policies (name, description, source, is_active, created_at)
         VALUES ($1, $2, $3, $4, $5) RETURNING id",
    )
    .bind(new.name.clone())
    .bind(new.description.clone())
    .bind(new.source.clone())
    .bind(new.is_active)
    .bind(now)
    .fetch_value()
    .await
}

/// Returns an undeleted policy.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: PolicyId) -> Result<Option<Policy>> {
    tx.query(
        "SELECT id, name, description, source, is_active, created_at, updated_at
         FROM policies WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Returns a deleted policy.
///
/// # Errors
/// What the database refuses.
pub async fn get_deleted(tx: &mut Tx, id: PolicyId) -> Result<Option<Policy>> {
    tx.query(
        "SELECT id, name, description, source, is_active, created_at, updated_at
         FROM policies WHERE id = $1 AND deleted_at IS NOT NULL",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Lists policies, by id unless sorted otherwise.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<PolicyRow>> {
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

/// Changes an undeleted policy; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: PolicyId, patch: &PolicyPatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE policies
             SET name = COALESCE($2, name), description = CASE WHEN $3 THEN $4 ELSE description END,
                 source = COALESCE($5, source), is_active = COALESCE($6, is_active), updated_at = $7
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.description.is_some())
        .bind(patch.description.clone().flatten())
        .bind(patch.source.clone())
        .bind(patch.is_active)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Marks a policy as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: PolicyId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE policies SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Takes a deletion back; false when there is no deleted policy of that id.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name was given to another meanwhile.
pub async fn restore(tx: &mut Tx, id: PolicyId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE policies SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
