//! Roles, what they inherit and the permissions granted to them.

use std::collections::BTreeMap;

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, Page, contains_ascii, text},
};
use crate::model::{NewRole, Permission, PermissionId, Role, RoleId, RoleInfo, RoleName, RolePatch, Timestamp};

/// Which roles to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the description, ASCII case ignored.
    pub search: Option<String>,
    /// Whether it is one of the system's.
    pub is_system_role: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: RoleId,
    name: RoleName,
    description: Option<String>,
    is_system_role: bool,
    is_active: bool,
}

#[derive(sqlx::FromRow)]
struct Grant {
    role_id: RoleId,
    #[sqlx(flatten)]
    permission: Permission,
}

/// Stores a role with its grants; ids of no permission are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewRole, now: Timestamp) -> Result<RoleId> {
    let id = tx
        .query("INSERT INTO roles (name, description, created_at) VALUES ($1, $2, $3) RETURNING id")
        .bind(new.name.clone())
        .bind(new.description.clone())
        .bind(now)
        .fetch_value()
        .await?;
    grant_all(tx, id, &new.permission_ids, now).await?;
    Ok(id)
}

async fn grant_all(tx: &mut Tx, role: RoleId, permissions: &[PermissionId], now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO role_permissions (role_id, permission_id, granted_at)
         SELECT $1, id, $3 FROM permissions
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
         ON CONFLICT DO NOTHING",
    )
    .bind(role)
    .bind(Ids::new(permissions.iter().map(|id| id.0)))
    .bind(now)
    .execute()
    .await
    .map(drop)
}

/// Makes a role one of those that cannot be changed or deleted.
///
/// # Errors
/// What the database refuses.
pub async fn protect(tx: &mut Tx, id: RoleId) -> Result<()> {
    tx.query("UPDATE roles SET is_system_role = TRUE WHERE id = $1").bind(id).execute().await.map(drop)
}

/// Returns an undeleted role.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: RoleId) -> Result<Option<Role>> {
    Ok(of(tx, &[id]).await?.into_values().next())
}

/// Lists undeleted roles by id, with their permissions; the number of statements does not depend on the number of
/// roles.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<Role>> {
    let ids = tx
        .query(
            r"SELECT id FROM roles
              WHERE deleted_at IS NULL
                AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(description) LIKE $1 ESCAPE '\')
                AND ($2 IS NULL OR is_system_role = $2)
              ORDER BY id LIMIT $3 OFFSET $4",
        )
        .bind(contains_ascii(filter.search.as_deref()))
        .bind(filter.is_system_role)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_values::<RoleId>()
        .await?;
    Ok(of(tx, &ids).await?.into_values().collect())
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    tx.query(
        r"SELECT COUNT(*) FROM roles
          WHERE deleted_at IS NULL
            AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(description) LIKE $1 ESCAPE '\')
            AND ($2 IS NULL OR is_system_role = $2)",
    )
    .bind(contains_ascii(filter.search.as_deref()))
    .bind(filter.is_system_role)
    .fetch_value()
    .await
}

/// The undeleted ones of these roles, with their permissions.
pub(super) async fn of(tx: &mut Tx, ids: &[RoleId]) -> Result<BTreeMap<RoleId, Role>> {
    let ids = Ids::new(ids.iter().map(|id| id.0));
    let rows = tx
        .query(
            "SELECT id, name, description, is_system_role, is_active FROM roles
             WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
        )
        .bind(ids.clone())
        .fetch_all::<Row>()
        .await?;
    let grants = tx
        .query(
            "SELECT role_permissions.role_id, p.id, p.name, p.description, p.category, p.is_active
             FROM role_permissions JOIN permissions p ON p.id = role_permissions.permission_id
             WHERE p.deleted_at IS NULL
               AND role_permissions.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
             ORDER BY role_permissions.role_id, p.id",
        )
        .bind(ids)
        .fetch_all::<Grant>()
        .await?;
    Ok(assemble(rows, grants))
}

fn assemble(rows: Vec<Row>, grants: Vec<Grant>) -> BTreeMap<RoleId, Role> {
    let empty = |Row { id, name, description, is_system_role, is_active }| {
        (id, Role { name, description, id, is_system_role, is_active, permissions: Vec::new() })
    };
    let mut roles: BTreeMap<RoleId, Role> = rows.into_iter().map(empty).collect();
    for Grant { role_id, permission } in grants {
        if let Some(role) = roles.get_mut(&role_id) {
            role.permissions.push(permission);
        }
    }
    roles
}

/// Returns the id of the undeleted role of that name.
///
/// # Errors
/// What the database refuses.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<RoleId>> {
    let query = tx.query("SELECT id FROM roles WHERE name = $1 AND deleted_at IS NULL").bind(text(name));
    Ok(query.fetch_optional::<(RoleId,)>().await?.map(|(id,)| id))
}

/// Returns name and id of each undeleted role that is called one of `names`.
///
/// # Errors
/// What the database refuses.
pub async fn named(tx: &mut Tx, names: &[&str]) -> Result<Vec<(RoleName, RoleId)>> {
    tx.query(
        "SELECT name, id FROM roles WHERE deleted_at IS NULL AND name IN (SELECT key FROM json_each($1)) ORDER BY id",
    )
    .bind(Ids::names(names.iter().copied()))
    .fetch_all()
    .await
}

/// Lists all undeleted roles in brief, by id.
///
/// # Errors
/// What the database refuses.
pub async fn infos(tx: &mut Tx) -> Result<Vec<RoleInfo>> {
    tx.query("SELECT id, name, description FROM roles WHERE deleted_at IS NULL ORDER BY id").fetch_all().await
}

/// Returns those of `ids` that are undeleted roles, by id.
///
/// # Errors
/// What the database refuses.
pub async fn existing(tx: &mut Tx, ids: &[RoleId]) -> Result<Vec<RoleId>> {
    tx.query(
        "SELECT id FROM roles
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .fetch_values()
    .await
}

/// Changes an undeleted role; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: RoleId, patch: &RolePatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE roles
             SET name = COALESCE($2, name), description = COALESCE($3, description),
                 is_active = COALESCE($4, is_active), updated_at = $5
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.description.clone())
        .bind(patch.is_active)
        .bind(now)
        .execute()
        .await?;
    let Some(permissions) = patch.permission_ids.as_deref().filter(|_| changed > 0) else { return Ok(changed > 0) };
    tx.query(
        "DELETE FROM role_permissions
         WHERE role_id = $1 AND permission_id NOT IN (SELECT CAST(key AS BIGINT) FROM json_each($2))",
    )
    .bind(id)
    .bind(Ids::new(permissions.iter().map(|id| id.0)))
    .execute()
    .await?;
    grant_all(tx, id, permissions, now).await?;
    Ok(true)
}

/// Marks a role as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: RoleId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE roles SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Grants a permission to a role; false when nothing changed: it had it, or one of the two is not there.
///
/// # Errors
/// What the database refuses.
pub async fn grant(tx: &mut Tx, role: RoleId, permission: PermissionId, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "INSERT INTO role_permissions (role_id, permission_id, granted_at)
             SELECT roles.id, permissions.id, $3 FROM roles CROSS JOIN permissions
             WHERE roles.id = $1 AND roles.deleted_at IS NULL
               AND permissions.id = $2 AND permissions.deleted_at IS NULL
             ON CONFLICT DO NOTHING",
        )
        .bind(role)
        .bind(permission)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Takes a permission from a role; false when it did not have it.
///
/// # Errors
/// What the database refuses.
pub async fn revoke(tx: &mut Tx, role: RoleId, permission: PermissionId) -> Result<bool> {
    let query = tx.query("DELETE FROM role_permissions WHERE role_id = $1 AND permission_id = $2");
    Ok(query.bind(role).bind(permission).execute().await? > 0)
}

/// Lets a role inherit from another; false when nothing changed. Cycles are the caller's to refuse.
///
/// # Errors
/// What the database refuses: a role cannot be its own parent.
pub async fn inherit(tx: &mut Tx, role: RoleId, parent: RoleId) -> Result<bool> {
    let changed = tx
        .query(
            "INSERT INTO role_parents (role_id, parent_id)
             SELECT child.id, parent.id FROM roles child CROSS JOIN roles parent
             WHERE child.id = $1 AND child.deleted_at IS NULL AND parent.id = $2 AND parent.deleted_at IS NULL
             ON CONFLICT DO NOTHING",
        )
        .bind(role)
        .bind(parent)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Ends an inheritance; false when there was none.
///
/// # Errors
/// What the database refuses.
pub async fn disinherit(tx: &mut Tx, role: RoleId, parent: RoleId) -> Result<bool> {
    let query = tx.query("DELETE FROM role_parents WHERE role_id = $1 AND parent_id = $2");
    Ok(query.bind(role).bind(parent).execute().await? > 0)
}

/// Counts the undeleted users to whom a role is assigned.
///
/// # Errors
/// What the database refuses.
pub async fn assigned_users(tx: &mut Tx, role: RoleId) -> Result<i64> {
    tx.query(
        "SELECT COUNT(*) FROM user_roles JOIN users ON users.id = user_roles.user_id
         WHERE user_roles.role_id = $1 AND users.deleted_at IS NULL",
    )
    .bind(role)
    .fetch_value()
    .await
}
