//! Routes: the navigation tree and the gateway's route table.

use sqlx::types::Json;

use super::{
    bindings::ROUTES,
    db::Tx,
    error::Result,
    list::{List, Period, Plan, Sort, SortKey, Total},
    route_permissions,
    sql::{Ids, Page, Search, text},
    statement::Arg,
};
use crate::model::{
    ModuleId, NewRoute, PermissionId, RoleId, RoleInfo, Route, RouteId, RoutePatch, Timestamp, UpstreamName,
};

/// The columns of [`Route`].
macro_rules! columns {
    () => {
        "r.id, r.route, r.label, r.icon, r.is_active, r.is_sidebar, r.module_id, r.parent_id, r.priority,
         r.created_at, r.updated_at, r.host, r.upstream, r.strip_prefix, r.forward_authorization, r.operations,
         r.rate_limit, r.max_body_bytes, r.headers"
    };
}
pub(super) use columns;

/// The columns of [`Row`], of a `FROM` with `joins!()`.
macro_rules! row_columns {
    () => {
        concat!(
            columns!(),
            ", r.deleted_at, m.name AS module_name, p.route AS parent_route,
               (SELECT COUNT(*) FROM routes c WHERE c.parent_id = r.id AND c.deleted_at IS NULL) AS children_count"
        )
    };
}

/// What [`row_columns`] needs beside `routes r`.
macro_rules! joins {
    () => {
        " LEFT JOIN modules m ON m.id = r.module_id AND m.deleted_at IS NULL
          LEFT JOIN routes p ON p.id = r.parent_id AND p.deleted_at IS NULL "
    };
}

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
    /// When it was made.
    pub created: Period,
    /// Deleted ones too.
    pub include_deleted: bool,
    /// In another order than by priority.
    pub sort: Option<Sort>,
}

/// What routes can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "r.id"),
    SortKey::new("route", "r.route"),
    SortKey::new("label", "r.label"),
    SortKey::new("priority", "r.priority"),
    SortKey::new("module_id", "r.module_id"),
    SortKey::new("is_active", "r.is_active"),
    SortKey::new("is_sidebar", "r.is_sidebar"),
    SortKey::new("created_at", "r.created_at"),
];

impl Filter {
    fn list(&self) -> List {
        let mut list = List::of("routes r", "r.id", "r.priority, r.id");
        if !self.include_deleted {
            list.only("r.deleted_at IS NULL");
        }
        list.when("r.module_id = $1", self.module_id.map(|id| Arg::Number(id.0)));
        list.when("r.parent_id = $1", self.parent_id.map(|id| Arg::Number(id.0)));
        if self.top_level {
            list.only("r.parent_id IS NULL");
        }
        list.matching(
            Search::ascii(self.search.as_deref()),
            r"lower(r.route) LIKE $1 ESCAPE '\' OR lower(r.label) LIKE $1 ESCAPE '\'",
            ["_routes_search", "_routes_search.rowid", "_routes_search MATCH $1"],
        );
        list.when("r.is_active = $1", self.is_active.map(Arg::Flag));
        list.when("r.is_sidebar = $1", self.is_sidebar.map(Arg::Flag));
        list.within(self.created, "r.created_at", None);
        list
    }
}

/// A route as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// The route.
    pub route: Route,
    /// When it was deleted, if it was.
    pub deleted_at: Option<Timestamp>,
    /// Name of its module.
    pub module_name: Option<String>,
    /// Path of its parent.
    pub parent_route: Option<String>,
    /// How many undeleted children it has.
    pub children_count: i64,
    /// Who sees it.
    pub shown_to: ShownTo,
}

/// Who sees a route of the navigation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownTo {
    /// Undeleted roles bound to it, by id.
    pub roles: Vec<RoleInfo>,
    /// Undeleted permissions bound to it, sorted: whoever holds one of them sees it too.
    pub permission_ids: Vec<PermissionId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    route: Route,
    deleted_at: Option<Timestamp>,
    module_name: Option<String>,
    parent_route: Option<String>,
    children_count: i64,
}

/// Stores a route; ids of no role are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the module has the path on that host,
/// [`Error::Reference`](super::Error::Reference) when there is no such module or parent.
pub async fn insert(tx: &mut Tx, new: &NewRoute, now: Timestamp) -> Result<RouteId> {
    let id: RouteId = tx
        .query(
            "INSERT INTO routes (route, label, icon, is_active, is_sidebar, module_id, parent_id, priority, host,
                                 upstream, strip_prefix, forward_authorization, operations, created_at, rate_limit,
                                 max_body_bytes, headers)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) RETURNING id",
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
        .bind(new.rate_limit.map(Json))
        .bind(new.max_body_bytes)
        .bind(Json(new.headers.clone()))
        .fetch_value()
        .await?;
    ROUTES.add(tx, id.0, &new.role_ids).await?;
    Ok(id)
}

fn set(ids: &[RouteId]) -> Ids {
    Ids::new(ids.iter().map(|id| id.0))
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

/// Returns those of these routes that are not deleted, by id.
///
/// # Errors
/// What the database refuses.
pub async fn get_many(tx: &mut Tx, ids: &[RouteId]) -> Result<Vec<Route>> {
    tx.query(concat!(
        "SELECT ",
        columns!(),
        " FROM routes r
         WHERE r.id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND r.deleted_at IS NULL ORDER BY r.id"
    ))
    .bind(set(ids))
    .fetch_all()
    .await
}

/// Returns the undeleted roles bound to a route, by id.
///
/// # Errors
/// What the database refuses.
pub async fn roles(tx: &mut Tx, id: RouteId) -> Result<Vec<RoleInfo>> {
    Ok(ROUTES.of(tx, [id.0]).await?.remove(&id.0).unwrap_or_default())
}

/// Adds to each route who sees it.
///
/// # Errors
/// What the database refuses.
pub async fn with_bindings(tx: &mut Tx, found: Vec<Route>) -> Result<Vec<(Route, ShownTo)>> {
    let mut bound = ROUTES.of(tx, found.iter().map(|route| route.id.0)).await?;
    let mut permissions = route_permissions::of(tx, found.iter().map(|route| route.id)).await?;
    let with_its_own = |route: Route| {
        let roles = bound.remove(&route.id.0).unwrap_or_default();
        let permission_ids = permissions.remove(&route.id).unwrap_or_default();
        (route, ShownTo { roles, permission_ids })
    };
    Ok(found.into_iter().map(with_its_own).collect())
}

/// Binds an undeleted role to a route; false when it was bound already.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when there is no such route.
pub async fn bind(tx: &mut Tx, id: RouteId, role: RoleId) -> Result<bool> {
    Ok(ROUTES.add(tx, id.0, &[role]).await? > 0)
}

/// Takes a role off a route; false when it was not bound.
///
/// # Errors
/// What the database refuses.
pub async fn unbind(tx: &mut Tx, id: RouteId, role: RoleId) -> Result<bool> {
    ROUTES.remove(tx, id.0, role).await
}

/// Lists routes, by priority unless sorted otherwise.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Vec<RouteRow>> {
    let rows = filter.list().rows::<Row>(tx, (row_columns!(), joins!()), filter.sort, page, None).await?;
    complete(tx, rows).await
}

/// Returns those of these routes that are not deleted as lists show them, by id.
///
/// # Errors
/// What the database refuses.
pub async fn rows(tx: &mut Tx, ids: &[RouteId]) -> Result<Vec<RouteRow>> {
    let rows = tx
        .query(concat!(
            "SELECT ",
            row_columns!(),
            " FROM routes r",
            joins!(),
            "WHERE r.id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND r.deleted_at IS NULL ORDER BY r.id"
        ))
        .bind(set(ids))
        .fetch_all::<Row>()
        .await?;
    complete(tx, rows).await
}

async fn complete(tx: &mut Tx, rows: Vec<Row>) -> Result<Vec<RouteRow>> {
    let mut bound = ROUTES.of(tx, rows.iter().map(|row| row.route.id.0)).await?;
    let mut permissions = route_permissions::of(tx, rows.iter().map(|row| row.route.id)).await?;
    let row = |Row { route, deleted_at, module_name, parent_route, children_count }| {
        let roles = bound.remove(&route.id.0).unwrap_or_default();
        let permission_ids = permissions.remove(&route.id).unwrap_or_default();
        let shown_to = ShownTo { roles, permission_ids };
        RouteRow { route, deleted_at, module_name, parent_route, children_count, shown_to }
    };
    Ok(rows.into_iter().map(row).collect())
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
    filter.list().plan(tx, (row_columns!(), joins!()), filter.sort, page, None).await
}

/// Returns the undeleted routes of these modules with who sees them, by priority, then id.
///
/// # Errors
/// What the database refuses.
pub async fn of_modules(tx: &mut Tx, modules: &[ModuleId]) -> Result<Vec<(Route, ShownTo)>> {
    let found = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            " FROM routes r
             WHERE r.module_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND r.deleted_at IS NULL
             ORDER BY r.priority, r.id"
        ))
        .bind(Ids::new(modules.iter().map(|id| id.0)))
        .fetch_all()
        .await?;
    with_bindings(tx, found).await
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

/// Returns the undeleted children of these routes: parent and child, by parent.
///
/// # Errors
/// What the database refuses.
pub async fn children_of(tx: &mut Tx, parents: &[RouteId]) -> Result<Vec<(RouteId, RouteId)>> {
    tx.query(
        "SELECT parent_id, id FROM routes
         WHERE parent_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND deleted_at IS NULL
         ORDER BY parent_id, id",
    )
    .bind(set(parents))
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
                 operations = COALESCE($19, operations), updated_at = $20,
                 rate_limit = CASE WHEN $21 THEN $22 ELSE rate_limit END,
                 max_body_bytes = CASE WHEN $23 THEN $24 ELSE max_body_bytes END,
                 headers = COALESCE($25, headers)
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
        .bind(patch.rate_limit.is_some())
        .bind(patch.rate_limit.flatten().map(Json))
        .bind(patch.max_body_bytes.is_some())
        .bind(patch.max_body_bytes.flatten())
        .bind(patch.headers.clone().map(Json))
        .execute()
        .await?;
    if let Some(roles) = patch.role_ids.as_deref().filter(|_| changed > 0) {
        ROUTES.replace(tx, id.0, roles).await?;
    }
    Ok(changed > 0)
}

/// Switches undeleted routes on or off; returns how many that changed.
///
/// # Errors
/// What the database refuses.
pub async fn set_active(tx: &mut Tx, ids: &[RouteId], is_active: bool, now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE routes SET is_active = $2, updated_at = $3
         WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND is_active <> $2 AND deleted_at IS NULL",
    )
    .bind(set(ids))
    .bind(is_active)
    .bind(now)
    .execute()
    .await
}

/// Gives undeleted routes their places; returns how many there are.
///
/// # Errors
/// What the database refuses.
pub async fn reorder(tx: &mut Tx, places: &[(RouteId, i64)], now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE routes SET priority = place.priority, updated_at = $2
         FROM (SELECT CAST(key AS BIGINT) AS id, CAST(CAST(value AS TEXT) AS BIGINT) AS priority
               FROM json_each($1)) AS place
         WHERE routes.id = place.id AND routes.deleted_at IS NULL",
    )
    .bind(Ids::with_numbers(places.iter().map(|(id, priority)| (id.0, *priority))))
    .bind(now)
    .execute()
    .await
}

/// Marks a route as deleted, which frees its path; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: RouteId, now: Timestamp) -> Result<bool> {
    Ok(delete_many(tx, &[id], now).await? > 0)
}

/// Marks routes as deleted, which frees their paths; returns how many there were.
///
/// # Errors
/// What the database refuses.
pub async fn delete_many(tx: &mut Tx, ids: &[RouteId], now: Timestamp) -> Result<u64> {
    tx.query(
        "UPDATE routes SET deleted_at = $2
         WHERE id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) AND deleted_at IS NULL",
    )
    .bind(set(ids))
    .bind(now)
    .execute()
    .await
}

/// Takes a deletion back; false when there is no deleted route of that id.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the module has another route of that path and host by now.
pub async fn restore(tx: &mut Tx, id: RouteId, now: Timestamp) -> Result<bool> {
    let query =
        tx.query("UPDATE routes SET deleted_at = NULL, updated_at = $2 WHERE id = $1 AND deleted_at IS NOT NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}
