//! Modules of the navigation tree.

use std::collections::BTreeMap;

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, Page, contains_ascii, text},
};
use crate::model::{Module, ModuleId, ModulePatch, NewModule, RoleId, RoleInfo, Timestamp};

/// Which modules to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name, the label or the front-end route, ASCII case ignored.
    pub search: Option<String>,
    /// Whether it is shown.
    pub is_active: Option<bool>,
}

/// A module as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleRow {
    /// The module.
    pub module: Module,
    /// How many undeleted routes it has.
    pub route_count: i64,
    /// Undeleted roles that see it, by id.
    pub roles: Vec<RoleInfo>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    module: Module,
    route_count: i64,
}

#[derive(sqlx::FromRow)]
struct RoleOf {
    module_id: ModuleId,
    #[sqlx(flatten)]
    role: RoleInfo,
}

/// Stores a module; ids of no role are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name is taken.
pub async fn insert(tx: &mut Tx, new: &NewModule, now: Timestamp) -> Result<ModuleId> {
    let id = tx
        .query(
            "INSERT INTO modules (name, label, icon, route, priority, is_active, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        )
        .bind(new.name.clone())
        .bind(new.label.clone())
        .bind(new.icon.clone())
        .bind(new.route.clone())
        .bind(new.priority)
        .bind(new.is_active)
        .bind(now)
        .fetch_value()
        .await?;
    show_to(tx, id, &new.role_ids).await?;
    Ok(id)
}

async fn show_to(tx: &mut Tx, id: ModuleId, roles: &[RoleId]) -> Result<()> {
    tx.query(
        "INSERT INTO module_roles (module_id, role_id)
         SELECT $1, id FROM roles
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
         ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(Ids::new(roles.iter().map(|id| id.0)))
    .execute()
    .await
    .map(drop)
}

/// Returns an undeleted module.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: ModuleId) -> Result<Option<Module>> {
    tx.query(
        "SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at FROM modules
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional()
    .await
}

/// Returns the undeleted roles that see a module, by id.
///
/// # Errors
/// What the database refuses.
pub async fn roles(tx: &mut Tx, id: ModuleId) -> Result<Vec<RoleInfo>> {
    tx.query(
        "SELECT roles.id, roles.name, roles.description
         FROM module_roles JOIN roles ON roles.id = module_roles.role_id
         WHERE module_roles.module_id = $1 AND roles.deleted_at IS NULL ORDER BY roles.id",
    )
    .bind(id)
    .fetch_all()
    .await
}

/// Lists undeleted modules by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<ModuleRow>> {
    let rows = tx
        .query(
            r"SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at,
                     (SELECT COUNT(*) FROM routes
                      WHERE routes.module_id = modules.id AND routes.deleted_at IS NULL) AS route_count
              FROM modules
              WHERE deleted_at IS NULL
                AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(label) LIKE $1 ESCAPE '\'
                     OR lower(route) LIKE $1 ESCAPE '\')
                AND ($2 IS NULL OR is_active = $2)
              ORDER BY priority, id LIMIT $3 OFFSET $4",
        )
        .bind(contains_ascii(filter.search.as_deref()))
        .bind(filter.is_active)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_all::<Row>()
        .await?;
    let seen_by = tx
        .query(
            "SELECT module_roles.module_id, roles.id, roles.name, roles.description
             FROM module_roles JOIN roles ON roles.id = module_roles.role_id
             WHERE roles.deleted_at IS NULL
               AND module_roles.module_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
             ORDER BY roles.id",
        )
        .bind(Ids::new(rows.iter().map(|row| row.module.id.0)))
        .fetch_all::<RoleOf>()
        .await?;
    let mut of_module: BTreeMap<ModuleId, Vec<RoleInfo>> = BTreeMap::new();
    for RoleOf { module_id, role } in seen_by {
        of_module.entry(module_id).or_default().push(role);
    }
    let row = |Row { module, route_count }| {
        let roles = of_module.remove(&module.id).unwrap_or_default();
        ModuleRow { module, route_count, roles }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    tx.query(
        r"SELECT COUNT(*) FROM modules
          WHERE deleted_at IS NULL
            AND ($1 IS NULL OR lower(name) LIKE $1 ESCAPE '\' OR lower(label) LIKE $1 ESCAPE '\'
                 OR lower(route) LIKE $1 ESCAPE '\')
            AND ($2 IS NULL OR is_active = $2)",
    )
    .bind(contains_ascii(filter.search.as_deref()))
    .bind(filter.is_active)
    .fetch_value()
    .await
}

/// Returns the id of the undeleted module of that name.
///
/// # Errors
/// What the database refuses.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<ModuleId>> {
    let query = tx.query("SELECT id FROM modules WHERE name = $1 AND deleted_at IS NULL").bind(text(name));
    Ok(query.fetch_optional::<(ModuleId,)>().await?.map(|(id,)| id))
}

/// Counts the undeleted routes of a module.
///
/// # Errors
/// What the database refuses.
pub async fn route_count(tx: &mut Tx, id: ModuleId) -> Result<i64> {
    tx.query("SELECT COUNT(*) FROM routes WHERE module_id = $1 AND deleted_at IS NULL").bind(id).fetch_value().await
}

/// Changes an undeleted module; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new name is taken.
pub async fn update(tx: &mut Tx, id: ModuleId, patch: &ModulePatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE modules
             SET name = COALESCE($2, name), label = COALESCE($3, label),
                 icon = CASE WHEN $4 THEN $5 ELSE icon END, route = COALESCE($6, route),
                 priority = COALESCE($7, priority), is_active = COALESCE($8, is_active), updated_at = $9
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.name.clone())
        .bind(patch.label.clone())
        .bind(patch.icon.is_some())
        .bind(patch.icon.clone().flatten())
        .bind(patch.route.clone())
        .bind(patch.priority)
        .bind(patch.is_active)
        .bind(now)
        .execute()
        .await?;
    if let Some(roles) = patch.role_ids.as_deref().filter(|_| changed > 0) {
        tx.query("DELETE FROM module_roles WHERE module_id = $1").bind(id).execute().await?;
        show_to(tx, id, roles).await?;
    }
    Ok(changed > 0)
}

/// Marks a module as deleted, which frees its name; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: ModuleId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE modules SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
