//! Permissions.

use super::{
    db::Tx,
    error::Result,
    sql::{Page, contains_ascii, text},
};
use crate::model::{NewPermission, Permission, PermissionId, PermissionPatch, Timestamp};

/// Which permissions to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the description, ASCII case ignored.
    pub search: Option<String>,
    /// The category, exactly.
    pub category: Option<String>,
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

/// Lists undeleted permissions by id.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<Permission>> {
    tx.query(
        r"SELECT id, name, description, category, is_active FROM permissions
          WHERE deleted_at IS NULL
            AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(description) LIKE $1 ESCAPE '\')
            AND ($2 IS NULL OR category = $2)
          ORDER BY id LIMIT $3 OFFSET $4",
    )
    .bind(contains_ascii(filter.search.as_deref()))
    .bind(filter.category.as_deref().map(text))
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all()
    .await
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    tx.query(
        r"SELECT COUNT(*) FROM permissions
          WHERE deleted_at IS NULL
            AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(description) LIKE $1 ESCAPE '\')
            AND ($2 IS NULL OR category = $2)",
    )
    .bind(contains_ascii(filter.search.as_deref()))
    .bind(filter.category.as_deref().map(text))
    .fetch_value()
    .await
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
