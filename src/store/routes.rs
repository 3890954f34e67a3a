//! Routes: the navigation tree and the gateway's route table.

use std::collections::BTreeMap;

use sqlx::types::Json;

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, Page, contains_ascii, text},
};
use crate::model::{ModuleId, NewRoute, RoleId, RoleInfo, Route, RouteId, RoutePatch, Timestamp, UpstreamName};

/// The columns of [`Route`].
macro_rules! columns {
    () => {
        "r.id, r.route, r.label, r.icon, r.is_active, r.is_sidebar, r.module_id, r.parent_id, r.priority,
         r.created_at, r.updated_at, r.host, r.upstream, r.strip_prefix, r.forward_authorization, r.operations"
    };
}
pub(super) use columns;

/// Which routes to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Its module.
    pub module_id: Option<ModuleId>,
    /// Its parent.
    pub parent_id: Option<RouteId>,
    /// Only routes without a parent.
    pub top_level: bool,
    /// Part of the path or the label, ASCII case ignored.
    pub search: Option<String>,
    /// Whether it matches.
    pub is_active: Option<bool>,
    /// Whether the front end lists it.
    pub is_sidebar: Option<bool>,
}

/// A route as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// The route.
    pub route: Route,
    /// Name of its module.
    pub module_name: Option<String>,
    /// Path of its parent.
    pub parent_route: Option<String>,
    /// How many undeleted children it has.
    pub children_count: i64,
    /// Undeleted roles bound to it, by id.
    pub roles: Vec<RoleInfo>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    route: Route,
    module_name: Option<String>,
    parent_route: Option<String>,
    children_count: i64,
}

#[derive(sqlx::FromRow)]
struct RoleOf {
    route_id: RouteId,
    #[sqlx(flatten)]
    role: RoleInfo,
}

/// Stores a route; ids of no role are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the module has the path on that host,
/// [`Error::Reference`](super::Error::Reference) when there is no such module or parent.
pub async fn insert(tx: &mut Tx, new: &NewRoute, now: Timestamp) -> Result<RouteId> {
    let id = tx
        .query(
            "INSERT INTO routes (route, label, icon, is_active, is_sidebar, module_id, parent_id, priority, host,
                                 upstream, strip_prefix, forward_authorization, operations, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id",
        )
        .bind(new.route.clone())
        .bind(new.label.clone())
        .bind(new.icon.clone())
        .bind(new.is_active)
        .bind(new.is_sidebar)
        .bind(new.module_id)
        .bind(new.parent_id)
        .bind(new.priority)
        .bind(new.host.clone())
        .bind(new.upstream.clone())
        .bind(new.strip_prefix.clone())
        .bind(new.forward_authorization)
        .bind(Json(new.operations.clone()))
        .bind(now)
        .fetch_value()
        .await?;
    bind_roles(tx, id, &new.role_ids).await?;
    Ok(id)
}

async fn bind_roles(tx: &mut Tx, id: RouteId, roles: &[RoleId]) -> Result<()> {
    tx.query(
        "INSERT INTO route_roles (route_id, role_id)
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

/// Returns an undeleted route.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: RouteId) -> Result<Option<Route>> {
    tx.query(concat!("SELECT ", columns!(), " FROM routes r WHERE r.id = $1 AND r.deleted_at IS NULL"))
        .bind(id)
        .fetch_optional()
        .await
}

/// Returns the undeleted roles bound to a route, by id.
///
/// # Errors
/// What the database refuses.
pub async fn roles(tx: &mut Tx, id: RouteId) -> Result<Vec<RoleInfo>> {
    tx.query(
        "SELECT roles.id, roles.name, roles.description
         FROM route_roles JOIN roles ON roles.id = route_roles.role_id
         WHERE route_roles.route_id = $1 AND roles.deleted_at IS NULL ORDER BY roles.id",
    )
    .bind(id)
    .fetch_all()
    .await
}

/// Lists undeleted routes by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<RouteRow>> {
    let rows = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            r", m.name AS module_name, p.route AS parent_route,
               (SELECT COUNT(*) FROM routes c WHERE c.parent_id = r.id AND c.deleted_at IS NULL) AS children_count
              FROM routes r
              LEFT JOIN modules m ON m.id = r.module_id AND m.deleted_at IS NULL
              LEFT JOIN routes p ON p.id = r.parent_id AND p.deleted_at IS NULL
              WHERE r.deleted_at IS NULL
                AND ($1 IS NULL OR r.module_id = $1)
                AND ($2 IS NULL OR r.parent_id = $2)
                AND (NOT $3 OR r.parent_id IS NULL)
                AND ($4 IS NULL OR lower(r.route) LIKE $4 ESCAPE '\' OR lower(r.label) LIKE $4 ESCAPE '\')
                AND ($5 IS NULL OR r.is_active = $5)
                AND ($6 IS NULL OR r.is_sidebar = $6)
              ORDER BY r.priority, r.id LIMIT $7 OFFSET $8"
        ))
        .bind(filter.module_id)
        .bind(filter.parent_id)
        .bind(filter.top_level)
        .bind(contains_ascii(filter.search.as_deref()))
        .bind(filter.is_active)
        .bind(filter.is_sidebar)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_all::<Row>()
        .await?;
    let mut bound = roles_of(tx, Ids::new(rows.iter().map(|row| row.route.id.0))).await?;
    let row = |Row { route, module_name, parent_route, children_count }| {
        let roles = bound.remove(&route.id).unwrap_or_default();
        RouteRow { route, module_name, parent_route, children_count, roles }
    };
    Ok(rows.into_iter().map(row).collect())
}

async fn roles_of(tx: &mut Tx, routes: Ids) -> Result<BTreeMap<RouteId, Vec<RoleInfo>>> {
    let rows = tx
        .query(
            "SELECT route_roles.route_id, roles.id, roles.name, roles.description
             FROM route_roles JOIN roles ON roles.id = route_roles.role_id
             WHERE roles.deleted_at IS NULL
               AND route_roles.route_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
             ORDER BY roles.id",
        )
        .bind(routes)
        .fetch_all::<RoleOf>()
        .await?;
    let mut of_route: BTreeMap<RouteId, Vec<RoleInfo>> = BTreeMap::new();
    for RoleOf { route_id, role } in rows {
        of_route.entry(route_id).or_default().push(role);
    }
    Ok(of_route)
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    tx.query(
        r"SELECT COUNT(*) FROM routes r
          WHERE r.deleted_at IS NULL
            AND ($1 IS NULL OR r.module_id = $1)
            AND ($2 IS NULL OR r.parent_id = $2)
            AND (NOT $3 OR r.parent_id IS NULL)
            AND ($4 IS NULL OR lower(r.route) LIKE $4 ESCAPE '\' OR lower(r.label) LIKE $4 ESCAPE '\')
            AND ($5 IS NULL OR r.is_active = $5)
            AND ($6 IS NULL OR r.is_sidebar = $6)",
    )
    .bind(filter.module_id)
    .bind(filter.parent_id)
    .bind(filter.top_level)
    .bind(contains_ascii(filter.search.as_deref()))
    .bind(filter.is_active)
    .bind(filter.is_sidebar)
    .fetch_value()
    .await
}

/// Returns the undeleted routes of a module by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn of_module(tx: &mut Tx, module: ModuleId) -> Result<Vec<Route>> {
    tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM routes r WHERE r.module_id = $1 AND r.deleted_at IS NULL ORDER BY r.priority, r.id"
    ))
    .bind(module)
    .fetch_all()
    .await
}

/// Returns the undeleted children of a route by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn children(tx: &mut Tx, parent: RouteId) -> Result<Vec<Route>> {
    tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM routes r WHERE r.parent_id = $1 AND r.deleted_at IS NULL ORDER BY r.priority, r.id"
    ))
    .bind(parent)
    .fetch_all()
    .await
}

/// Returns the undeleted routes that lead to an upstream, by id.
///
/// # Errors
/// What the database refuses.
pub async fn using_upstream(tx: &mut Tx, upstream: &UpstreamName) -> Result<Vec<Route>> {
    tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM routes r WHERE r.upstream = $1 AND r.deleted_at IS NULL ORDER BY r.id"
    ))
    .bind(upstream.clone())
    .fetch_all()
    .await
}

/// Whether another undeleted route of the module has this path on this host.
///
/// # Errors
/// What the database refuses.
pub async fn same_path(
    tx: &mut Tx,
    module: ModuleId,
    host: Option<&str>,
    route: &str,
    except: Option<RouteId>,
) -> Result<bool> {
    let found = tx
        .query(
            "SELECT COUNT(*) FROM routes
             WHERE module_id = $1 AND COALESCE(host, '') = COALESCE($2, '') AND route = $3
               AND ($4 IS NULL OR id <> $4) AND deleted_at IS NULL",
        )
        .bind(module)
        .bind(host.map(text))
        .bind(text(route))
        .bind(except)
        .fetch_value::<i64>()
        .await?;
    Ok(found > 0)
}

/// Changes an undeleted route; false when there is none.
///
/// # Errors
/// As [`insert`].
pub async fn update(tx: &mut Tx, id: RouteId, patch: &RoutePatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE routes
             SET route = COALESCE($2, route), label = COALESCE($3, label),
                 icon = CASE WHEN $4 THEN $5 ELSE icon END,
                 is_active = COALESCE($6, is_active), is_sidebar = COALESCE($7, is_sidebar),
                 module_id = COALESCE($8, module_id),
                 parent_id = CASE WHEN $9 THEN $10 ELSE parent_id END,
                 priority = COALESCE($11, priority),
                 host = CASE WHEN $12 THEN $13 ELSE host END,
                 upstream = CASE WHEN $14 THEN $15 ELSE upstream END,
                 strip_prefix = CASE WHEN $16 THEN $17 ELSE strip_prefix END,
                 forward_authorization = COALESCE($18, forward_authorization),
                 operations = COALESCE($19, operations), updated_at = $20
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.route.clone())
        .bind(patch.label.clone())
        .bind(patch.icon.is_some())
        .bind(patch.icon.clone().flatten())
        .bind(patch.is_active)
        .bind(patch.is_sidebar)
        .bind(patch.module_id)
        .bind(patch.parent_id.is_some())
        .bind(patch.parent_id.flatten())
        .bind(patch.priority)
        .bind(patch.host.is_some())
        .bind(patch.host.clone().flatten())
        .bind(patch.upstream.is_some())
        .bind(patch.upstream.clone().flatten())
        .bind(patch.strip_prefix.is_some())
        .bind(patch.strip_prefix.clone().flatten())
        .bind(patch.forward_authorization)
        .bind(patch.operations.clone().map(Json))
        .bind(now)
        .execute()
        .await?;
    if let Some(roles) = patch.role_ids.as_deref().filter(|_| changed > 0) {
        tx.query("DELETE FROM route_roles WHERE route_id = $1").bind(id).execute().await?;
        bind_roles(tx, id, roles).await?;
    }
    Ok(changed > 0)
}

/// Marks a route as deleted, which frees its path; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: RouteId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE routes SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
