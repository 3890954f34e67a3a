//! The navigation tree: what a caller's roles make visible, and the way from a route up to its root.

use std::collections::{HashMap, HashSet};

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, text},
};
use crate::model::{Icon, Label, Module, ModuleId, ModuleName, PathTemplate, RoleId, RouteId};

/// A route as menus show it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    /// The route.
    pub id: RouteId,
    /// Its path.
    pub route: PathTemplate,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Its module.
    pub module_id: ModuleId,
    /// Name of its module.
    pub module_name: ModuleName,
    /// Its parent.
    pub parent_id: Option<RouteId>,
    /// Order, smallest first.
    pub priority: i64,
}

/// Whether the route `r` is shown to the roles of `$2`: one is bound to it, or holds a permission that is.
macro_rules! is_shown {
    () => {
        "(EXISTS (SELECT 1 FROM route_roles b WHERE b.route_id = r.id
                    AND b.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($2)))
          OR EXISTS (SELECT 1 FROM route_permissions b JOIN permissions p ON p.id = b.permission_id
                       JOIN role_permissions g ON g.permission_id = p.id
                     WHERE b.route_id = r.id AND p.deleted_at IS NULL AND p.is_active
                       AND g.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))))"
    };
}

fn set(roles: &[RoleId]) -> Ids {
    Ids::new(roles.iter().map(|id| id.0))
}

/// Returns the active modules that one of these roles sees, by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn modules(tx: &mut Tx, roles: &[RoleId]) -> Result<Vec<Module>> {
    tx.query(
        "SELECT id, name, label, icon, route, priority, is_active, created_at, updated_at FROM modules
         WHERE deleted_at IS NULL AND is_active
           AND EXISTS (SELECT 1 FROM module_roles b WHERE b.module_id = modules.id
                         AND b.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)))
         ORDER BY priority, id",
    )
    .bind(set(roles))
    .fetch_all()
    .await
}

/// Returns the active routes of these modules that menus list and that one of these roles sees, by priority, then id:
/// whether their parents are among them is not looked at.
///
/// # Errors
/// What the database refuses.
pub async fn entries(tx: &mut Tx, modules: &[ModuleId], roles: &[RoleId]) -> Result<Vec<Entry>> {
    tx.query(concat!(
        "SELECT r.id, r.route, r.label, r.icon, r.module_id, m.name AS module_name, r.parent_id, r.priority
         FROM routes r JOIN modules m ON m.id = r.module_id
         WHERE r.deleted_at IS NULL AND r.is_active AND r.is_sidebar
           AND r.module_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
           AND ",
        is_shown!(),
        " ORDER BY r.priority, r.id",
    ))
    .bind(Ids::new(modules.iter().map(|id| id.0)))
    .bind(set(roles))
    .fetch_all()
    .await
}

/// Returns the active routes of active modules that menus list, whoever looks, by name of the module, then label.
///
/// # Errors
/// What the database refuses.
pub async fn all_entries(tx: &mut Tx) -> Result<Vec<Entry>> {
    tx.query(
        "SELECT r.id, r.route, r.label, r.icon, r.module_id, m.name AS module_name, r.parent_id, r.priority
         FROM routes r JOIN modules m ON m.id = r.module_id
         WHERE r.deleted_at IS NULL AND r.is_active AND r.is_sidebar AND m.deleted_at IS NULL AND m.is_active
         ORDER BY m.name, r.label, r.id",
    )
    .fetch_all()
    .await
}

/// Whether one of these roles sees an active route of exactly this path, in an active module, that the gateway
/// does not forward.
///
/// # Errors
/// What the database refuses.
pub async fn shows(tx: &mut Tx, path: &str, roles: &[RoleId]) -> Result<bool> {
    let found = tx
        .query(concat!(
            "SELECT COUNT(*) FROM routes r JOIN modules m ON m.id = r.module_id
             WHERE r.route = $1 AND r.upstream IS NULL AND r.deleted_at IS NULL AND r.is_active
               AND m.deleted_at IS NULL AND m.is_active AND ",
            is_shown!(),
        ))
        .bind(text(path))
        .bind(set(roles))
        .fetch_value::<i64>()
        .await?;
    Ok(found > 0)
}

/// Returns an undeleted route and all that it lies below, itself first and its root last.
///
/// # Errors
/// What the database refuses.
pub async fn ancestry(tx: &mut Tx, id: RouteId) -> Result<Vec<RouteId>> {
    let steps = tx
        // UNION without ALL: it ends in a circle too.
        .query(
            "WITH RECURSIVE up (id, parent_id) AS (
                 SELECT id, parent_id FROM routes WHERE id = $1 AND deleted_at IS NULL
                 UNION
                 SELECT p.id, p.parent_id FROM routes p JOIN up ON p.id = up.parent_id WHERE p.deleted_at IS NULL
             )
             SELECT id, parent_id FROM up",
        )
        .bind(id)
        .fetch_all::<(RouteId, Option<RouteId>)>()
        .await?;
    let parent: HashMap<RouteId, Option<RouteId>> = steps.into_iter().collect();
    let mut seen = HashSet::new();
    let above = |at: &RouteId| parent.get(at).copied().flatten();
    let way = std::iter::successors(Some(id), above).take_while(|at| parent.contains_key(at) && seen.insert(*at));
    Ok(way.collect())
}
