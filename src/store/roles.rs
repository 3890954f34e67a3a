//! Roles, what they inherit and the permissions granted to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    db::Tx,
    error::Result,
    list::{Arg, List, Period, Plan, Sort, SortKey, Total},
    sql::{Ids, Page, Search, text},
};
use crate::model::{
    NewRole, Permission, PermissionId, Role, RoleHead, RoleId, RoleInfo, RoleName, RolePatch, Timestamp, UserId,
};

/// Which roles to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the description, ASCII case ignored.
    pub search: Option<String>,
    /// Whether it is one of the system's.
    pub is_system_role: Option<bool>,
    /// Whether it grants anything.
    pub is_active: Option<bool>,
    /// When it was made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by id.
    pub sort: Option<Sort>,
}

/// What roles can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "roles.id"),
    SortKey::new("name", "roles.name"),
    SortKey::new("is_system_role", "roles.is_system_role"),
    SortKey::new("is_active", "roles.is_active"),
    SortKey::new("created_at", "roles.created_at"),
];

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("roles", "roles.id", "roles.id");
        if !self.include_deleted {
            list.only("roles.deleted_at IS NULL");
        }
        list.matching(
            Search::ascii(self.search.as_deref()),
            r"lower(roles.name) LIKE $1 ESCAPE '\' OR lower(roles.description) LIKE $1 ESCAPE '\'",
            ["_roles_search", "_roles_search.rowid", "_roles_search MATCH $1"],
        );
        list.when("roles.is_system_role = $1", self.is_system_role.map(Arg::Flag));
        list.when("roles.is_active = $1", self.is_active.map(Arg::Flag));
        list.within(self.created, "roles.created_at", None);
        list
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    head: RoleHead,
    deleted_at: Option<Timestamp>,
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

/// Grants permissions to a role that exists, and returns how many it did not have; ids of no permission are ignored.
///
/// # Errors
/// What the database refuses.
pub async fn grant_all(tx: &mut Tx, role: RoleId, permissions: &[PermissionId], now: Timestamp) -> Result<u64> {
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
}

/// Takes from a role every permission but these, and returns how many it had.
///
/// # Errors
/// What the database refuses.
pub async fn retain(tx: &mut Tx, role: RoleId, permissions: &[PermissionId]) -> Result<u64> {
    tx.query(
        "DELETE FROM role_permissions
         WHERE role_id = $1 AND permission_id NOT IN (SELECT CAST(key AS BIGINT) FROM json_each($2))",
    )
    .bind(role)
    .bind(Ids::new(permissions.iter().map(|id| id.0)))
    .execute()
    .await
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

/// Lists roles, by id unless sorted otherwise, with their permissions; the number of statements does not depend on the
/// number of roles.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<Role>> {
    let ids = filter.list().rows::<(RoleId,)>(tx, ("roles.id", ""), filter.sort, page, None).await?;
    let ids: Vec<RoleId> = ids.into_iter().map(|(id,)| id).collect();
    let mut roles = load(tx, &ids, filter.include_deleted).await?;
    Ok(ids.iter().filter_map(|id| roles.remove(id)).collect())
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
    filter.list().plan(tx, ("roles.id", ""), filter.sort, page, None).await
}

/// The undeleted ones of these roles, with their permissions.
pub(super) async fn of(tx: &mut Tx, ids: &[RoleId]) -> Result<BTreeMap<RoleId, Role>> {
    load(tx, ids, false).await
}

async fn load(tx: &mut Tx, ids: &[RoleId], include_deleted: bool) -> Result<BTreeMap<RoleId, Role>> {
    let ids = Ids::new(ids.iter().map(|id| id.0));
    let rows = tx
        .query(
            "SELECT id, name, description, is_system_role, is_active, deleted_at FROM roles
             WHERE ($2 OR deleted_at IS NULL) AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
        )
        .bind(ids.clone())
        .bind(include_deleted)
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
    let empty = |Row { head, deleted_at }| {
        let RoleHead { id, name, description, is_system_role, is_active } = head;
        (id, Role { name, description, id, is_system_role, permissions: Vec::new(), is_active, deleted_at })
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
    retain(tx, id, permissions).await?;
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

/// Those of `ids` that are undeleted roles, without their grants, by id.
///
/// # Errors
/// What the database refuses.
pub async fn heads(tx: &mut Tx, ids: &[RoleId]) -> Result<BTreeMap<RoleId, RoleHead>> {
    let heads = tx
        .query(
            "SELECT id, name, description, is_system_role, is_active FROM roles
             WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
        )
        .bind(Ids::new(ids.iter().map(|id| id.0)))
        .fetch_all::<RoleHead>()
        .await?;
    Ok(heads.into_iter().map(|head| (head.id, head)).collect())
}

/// Those of `ids` that an undeleted user holds at `now`, by id.
///
/// # Errors
/// What the database refuses.
pub async fn assigned(tx: &mut Tx, ids: &[RoleId], now: Timestamp) -> Result<BTreeSet<RoleId>> {
    let assigned = tx
        .query(
            "SELECT DISTINCT a.role_id FROM user_roles a JOIN users ON users.id = a.user_id
             WHERE users.deleted_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > $2)
               AND a.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
        )
        .bind(Ids::new(ids.iter().map(|id| id.0)))
        .bind(now)
        .fetch_values::<RoleId>()
        .await?;
    Ok(assigned.into_iter().collect())
}

/// Lists the undeleted users to whom a role is assigned, expired assignments included, by id.
///
/// # Errors
/// What the database refuses.
pub async fn holders(tx: &mut Tx, id: RoleId) -> Result<Vec<UserId>> {
    tx.query(
        "SELECT users.id FROM user_roles a JOIN users ON users.id = a.user_id
         WHERE a.role_id = $1 AND users.deleted_at IS NULL ORDER BY users.id",
    )
    .bind(id)
    .fetch_values()
    .await
}

/// Marks roles as deleted and returns how many were not.
///
/// # Errors
/// What the database refuses.
pub async fn delete_all(tx: &mut Tx, ids: &[RoleId], now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE roles SET deleted_at = $2
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .bind(now)
    .execute()
    .await
}

/// Returns the name of a role that is deleted.
///
/// # Errors
/// What the database refuses.
pub async fn deleted(tx: &mut Tx, id: RoleId) -> Result<Option<RoleName>> {
    let query = tx.query("SELECT name FROM roles WHERE id = $1 AND deleted_at IS NOT NULL").bind(id);
    Ok(query.fetch_optional::<(RoleName,)>().await?.map(|(name,)| name))
}

/// Takes back the deletion of a role, with its grants, parents and assignments; false when it is not deleted.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when another role has its name now.
pub async fn restore(tx: &mut Tx, id: RoleId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE roles SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Activates or deactivates undeleted roles, and returns how many of them that changes.
///
/// # Errors
/// What the database refuses.
pub async fn activate(tx: &mut Tx, ids: &[RoleId], is_active: bool, now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE roles SET is_active = $2, updated_at = $3
         WHERE deleted_at IS NULL AND is_active <> $2 AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .bind(is_active)
    .bind(now)
    .execute()
    .await
}
