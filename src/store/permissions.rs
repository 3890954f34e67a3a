//! Permissions.

use std::collections::BTreeMap;

use super::{
    db::Tx,
    error::Result,
    list::{Arg, List, Period, Plan, Sort, SortKey, Total},
    sql::{Ids, Page, Search, text},
};
use crate::model::{Category, NewPermission, Permission, PermissionId, PermissionPatch, RoleId, Timestamp};

/// Which permissions to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the description, ASCII case ignored.
    pub search: Option<String>,
    /// The category, exactly.
    pub category: Option<String>,
    /// Whether it grants anything.
    pub is_active: Option<bool>,
    /// When it was made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by id.
    pub sort: Option<Sort>,
}

/// What permissions can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "permissions.id"),
    SortKey::new("name", "permissions.name"),
    SortKey::nullable("category", "permissions.category"),
    SortKey::new("is_active", "permissions.is_active"),
    SortKey::new("created_at", "permissions.created_at"),
];

const COLUMNS: &str = "permissions.id, permissions.name, permissions.description, permissions.category,
                       permissions.is_active, permissions.deleted_at";

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("permissions", "permissions.id", "permissions.id");
        if !self.include_deleted {
            list.only("permissions.deleted_at IS NULL");
        }
        list.matching(
            Search::ascii(self.search.as_deref()),
            r"lower(permissions.name) LIKE $1 ESCAPE '\' OR lower(permissions.description) LIKE $1 ESCAPE '\'",
            ["_permissions_search", "_permissions_search.rowid", "_permissions_search MATCH $1"],
        );
        list.when("permissions.category = $1", self.category.as_deref().map(|name| Arg::Text(text(name))));
        list.when("permissions.is_active = $1", self.is_active.map(Arg::Flag));
        list.within(self.created, "permissions.created_at", None);
        list
    }
}

/// Stores a permission.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewPermission, now: Timestamp) -> Result<PermissionId> {
    tx.query("INSERT INTO permissions (name, description, category, created_at) VALUES ($1, $2, $3, $4) RETURNING id")
        .bind(new.name.clone())
        .bind(new.description.clone())
        .bind(new.category.clone())
        .bind(now)
        .fetch_value()
        .await
}

/// Returns an undeleted permission.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: PermissionId) -> Result<Option<Permission>> {
    tx.query("SELECT id, name, description, category, is_active FROM permissions WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional()
        .await
}

/// Lists permissions, by id unless sorted otherwise.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<Permission>> {
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

/// How the database would answer [`list`] and [`total`].
///
/// # Errors
/// What the database refuses.
pub async fn plan(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Plan> {
    filter.list().plan(tx, (COLUMNS, ""), filter.sort, page, None).await
}

/// Returns the id of the undeleted permission of that name.
///
/// # Errors
/// What the database refuses.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<PermissionId>> {
    let query = tx.query("SELECT id FROM permissions WHERE name = $1 AND deleted_at IS NULL").bind(text(name));
    Ok(query.fetch_optional::<(PermissionId,)>().await?.map(|(id,)| id))
}

/// Changes an undeleted permission; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: PermissionId, patch: &PermissionPatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE permissions
             SET name = COALESCE($2, name), description = COALESCE($3, description),
                 category = COALESCE($4, category), is_active = COALESCE($5, is_active), updated_at = $6
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.description.clone())
        .bind(patch.category.clone())
        .bind(patch.is_active)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Marks a permission as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: PermissionId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE permissions SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Counts the undeleted roles that hold a permission.
///
/// # Errors
/// What the database refuses.
pub async fn holders(tx: &mut Tx, id: PermissionId) -> Result<i64> {
    tx.query(
        "SELECT COUNT(*) FROM role_permissions JOIN roles ON roles.id = role_permissions.role_id
         WHERE role_permissions.permission_id = $1 AND roles.deleted_at IS NULL",
    )
    .bind(id)
    .fetch_value()
    .await
}

/// Lists the undeleted permissions on a resource: those of its category, and those named after it, by id.
///
/// # Errors
/// What the database refuses.
pub async fn of_resource(tx: &mut Tx, resource: &str) -> Result<Vec<Permission>> {
    let resource = text(resource);
    // All names that begin with `resource:`, as a range that the index on names serves; `;` follows `:` in ASCII.
    tx.query(
        "SELECT id, name, description, category, is_active FROM permissions
         WHERE deleted_at IS NULL AND (category = $1 OR (name >= $2 AND name < $3)) ORDER BY id",
    )
    .bind(resource.clone())
    .bind(format!("{resource}:"))
    .bind(format!("{resource};"))
    .fetch_all()
    .await
}

/// Lists the categories of undeleted permissions, in order.
///
/// # Errors
/// What the database refuses.
pub async fn categories(tx: &mut Tx) -> Result<Vec<Category>> {
    tx.query(
        "SELECT DISTINCT category FROM permissions
         WHERE deleted_at IS NULL AND category IS NOT NULL ORDER BY category",
    )
    .fetch_values()
    .await
}

/// Lists the undeleted permissions that are not granted to a role directly, by id.
///
/// # Errors
/// What the database refuses.
pub async fn not_granted(tx: &mut Tx, role: RoleId) -> Result<Vec<Permission>> {
    tx.query(
        "SELECT id, name, description, category, is_active FROM permissions
         WHERE deleted_at IS NULL AND id NOT IN (SELECT permission_id FROM role_permissions WHERE role_id = $1)
         ORDER BY id",
    )
    .bind(role)
    .fetch_all()
    .await
}

/// Those of `ids` that are undeleted permissions, by id.
///
/// # Errors
/// What the database refuses.
pub async fn of(tx: &mut Tx, ids: &[PermissionId]) -> Result<BTreeMap<PermissionId, Permission>> {
    let found = tx
        .query(
            "SELECT id, name, description, category, is_active FROM permissions
             WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
        )
        .bind(Ids::new(ids.iter().map(|id| id.0)))
        .fetch_all::<Permission>()
        .await?;
    Ok(found.into_iter().map(|permission| (permission.id, permission)).collect())
}

/// Takes permissions from all roles, marks them as deleted and returns how many were not.
///
/// # Errors
/// What the database refuses.
pub async fn delete_all(tx: &mut Tx, ids: &[PermissionId], now: Timestamp) -> Result<u64> {
    let ids = Ids::new(ids.iter().map(|id| id.0));
    tx.query(
        "DELETE FROM role_permissions
         WHERE permission_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(ids.clone())
    .execute()
    .await?;
    tx.query(
        "UPDATE permissions SET deleted_at = $2
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(ids)
    .bind(now)
    .execute()
    .await
}

/// Takes back the deletion of a permission; false when it is not deleted.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when another permission has its name now.
pub async fn restore(tx: &mut Tx, id: PermissionId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE permissions SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Activates or deactivates undeleted permissions, and returns how many of them that changes.
///
/// # Errors
/// What the database refuses.
pub async fn activate(tx: &mut Tx, ids: &[PermissionId], is_active: bool, now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE permissions SET is_active = $2, updated_at = $3
         WHERE deleted_at IS NULL AND is_active <> $2 AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .bind(is_active)
    .bind(now)
    .execute()
    .await
}
