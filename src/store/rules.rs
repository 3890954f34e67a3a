//! Everything a compile needs, read at one moment; or the part of it that has changed.

use std::collections::BTreeMap;

use super::{changes::Change, db::Tx, error::Result, routes::columns};
use crate::model::{
    ModuleId, PermissionId, RoleId, RoleName, Route, RouteId,
    rules::{ModuleRule, Part, PermissionRule, RoleRule, RouteRule, Rules},
};

#[derive(sqlx::FromRow)]
struct Role {
    id: RoleId,
    name: RoleName,
    is_active: bool,
    #[sqlx(rename = "is_system_role")]
    is_system: bool,
}

/// The undeleted upstreams that `$rest` leaves.
macro_rules! upstreams {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, is_active, protocol, targets, balance, tls, host_header, timeouts, retries,
                    health_check, max_body_bytes, hash_on, retry_budget_percent, ejection
             FROM upstreams WHERE deleted_at IS NULL ",
            $rest
        )
    };
}

/// Reads the rules in a fixed number of statements; every list is in the order of ids, so that equal data give
/// equal rules.
///
/// # Errors
/// What the database refuses.
pub async fn load(tx: &mut Tx) -> Result<Rules> {
    Ok(Rules {
        roles: roles(tx).await?,
        permissions: tx
            .query("SELECT id, name, is_active FROM permissions WHERE deleted_at IS NULL ORDER BY id")
            .fetch_all()
            .await?,
        grants: tx
            .query(
                "SELECT g.role_id, g.permission_id
                 FROM role_permissions g JOIN roles r ON r.id = g.role_id JOIN permissions p ON p.id = g.permission_id
                 WHERE r.deleted_at IS NULL AND p.deleted_at IS NULL ORDER BY g.role_id, g.permission_id",
            )
            .fetch_all()
            .await?,
        modules: tx
            .query("SELECT id, name, is_active FROM modules WHERE deleted_at IS NULL ORDER BY id")
            .fetch_all()
            .await?,
        routes: tx
            .query(concat!(
                "SELECT ",
                columns!(),
                " FROM routes r JOIN modules m ON m.id = r.module_id
                  WHERE r.deleted_at IS NULL AND r.upstream IS NOT NULL AND m.deleted_at IS NULL ORDER BY r.id"
            ))
            .fetch_all()
            .await?,
        route_roles: route_roles(tx).await?,
        upstreams: tx.query(upstreams!("ORDER BY id")).fetch_all().await?,
        policies: tx
            .query("SELECT id, name, source FROM policies WHERE deleted_at IS NULL AND is_active ORDER BY id")
            .fetch_all()
            .await?,
    })
}

async fn roles(tx: &mut Tx) -> Result<Vec<RoleRule>> {
    let roles = tx
        .query("SELECT id, name, is_active, is_system_role FROM roles WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all::<Role>()
        .await?;
    let mut parents: BTreeMap<RoleId, Vec<RoleId>> = BTreeMap::new();
    let links = tx.query("SELECT role_id, parent_id FROM role_parents ORDER BY role_id, parent_id");
    for (role, parent) in links.fetch_all().await? {
        parents.entry(role).or_default().push(parent);
    }
    let rule = |Role { id, name, is_active, is_system }| {
        let parents = parents.remove(&id).unwrap_or_default();
        RoleRule { id, name, is_active, is_system_role: is_system, parents }
    };
    Ok(roles.into_iter().map(rule).collect())
}

async fn route_roles(tx: &mut Tx) -> Result<BTreeMap<RouteId, Vec<RoleId>>> {
    let bound = tx
        .query(
            "SELECT b.route_id, b.role_id
             FROM route_roles b JOIN routes r ON r.id = b.route_id JOIN modules m ON m.id = r.module_id
             WHERE r.deleted_at IS NULL AND r.upstream IS NOT NULL AND m.deleted_at IS NULL
             ORDER BY b.route_id, b.role_id",
        )
        .fetch_all::<(RouteId, RoleId)>()
        .await?;
    Ok(by_route(bound))
}

fn by_route(bound: Vec<(RouteId, RoleId)>) -> BTreeMap<RouteId, Vec<RoleId>> {
    let mut of_route: BTreeMap<RouteId, Vec<RoleId>> = BTreeMap::new();
    for (route, role) in bound {
        of_route.entry(route).or_default().push(role);
    }
    of_route
}

/// Reads what a part of the rules has become; `None` for what is no part of them, or all of them.
///
/// # Errors
/// What the database refuses.
pub async fn part(tx: &mut Tx, change: &Change) -> Result<Option<Part>> {
    Ok(match change {
        Change::Role(id) => Some(Part::Role(*id, role(tx, *id).await?)),
        Change::Permission(id) => Some(Part::Permission(*id, permission(tx, *id).await?)),
        Change::Module(id) => Some(Part::Module(*id, module(tx, *id).await?)),
        Change::Route(id) => Some(Part::Route(*id, route(tx, *id).await?)),
        Change::Upstream(id) => {
            Some(Part::Upstream(*id, tx.query(upstreams!("AND id = $1")).bind(*id).fetch_optional().await?))
        }
        Change::Policy(id) => Some(Part::Policy(
            *id,
            tx.query("SELECT name, source FROM policies WHERE id = $1 AND deleted_at IS NULL AND is_active")
                .bind(*id)
                .fetch_optional()
                .await?,
        )),
        Change::Rules
        | Change::Files
        | Change::User(_)
        | Change::Issuer(_)
        | Change::Revocation(_)
        | Change::Key(_) => None,
    })
}

async fn role(tx: &mut Tx, id: RoleId) -> Result<Option<(RoleRule, Vec<PermissionId>)>> {
    let found = tx
        .query("SELECT id, name, is_active, is_system_role FROM roles WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional::<Role>()
        .await?;
    let Some(Role { id, name, is_active, is_system }) = found else { return Ok(None) };
    let parents = tx
        .query("SELECT parent_id FROM role_parents WHERE role_id = $1 ORDER BY parent_id")
        .bind(id)
        .fetch_values()
        .await?;
    let granted = tx
        .query(
            "SELECT g.permission_id FROM role_permissions g JOIN permissions p ON p.id = g.permission_id
             WHERE g.role_id = $1 AND p.deleted_at IS NULL ORDER BY g.permission_id",
        )
        .bind(id)
        .fetch_values()
        .await?;
    Ok(Some((RoleRule { id, name, is_active, is_system_role: is_system, parents }, granted)))
}

async fn permission(tx: &mut Tx, id: PermissionId) -> Result<Option<(PermissionRule, Vec<RoleId>)>> {
    let rule = tx
        .query("SELECT id, name, is_active FROM permissions WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional()
        .await?;
    let Some(rule) = rule else { return Ok(None) };
    let holders = tx
        .query(
            "SELECT g.role_id FROM role_permissions g JOIN roles r ON r.id = g.role_id
             WHERE g.permission_id = $1 AND r.deleted_at IS NULL ORDER BY g.role_id",
        )
        .bind(id)
        .fetch_values()
        .await?;
    Ok(Some((rule, holders)))
}

async fn module(tx: &mut Tx, id: ModuleId) -> Result<Option<(ModuleRule, Vec<RouteRule>)>> {
    let rule = tx
        .query("SELECT id, name, is_active FROM modules WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional()
        .await?;
    let Some(rule) = rule else { return Ok(None) };
    let routes = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            " FROM routes r WHERE r.module_id = $1 AND r.deleted_at IS NULL AND r.upstream IS NOT NULL ORDER BY r.id"
        ))
        .bind(id)
        .fetch_all::<Route>()
        .await?;
    let bound = tx
        .query(
            "SELECT b.route_id, b.role_id FROM route_roles b JOIN routes r ON r.id = b.route_id
             WHERE r.module_id = $1 AND r.deleted_at IS NULL AND r.upstream IS NOT NULL ORDER BY b.route_id, b.role_id",
        )
        .bind(id)
        .fetch_all()
        .await?;
    let mut roles = by_route(bound);
    let route = |route: Route| RouteRule { roles: roles.remove(&route.id).unwrap_or_default(), route };
    Ok(Some((rule, routes.into_iter().map(route).collect())))
}

async fn route(tx: &mut Tx, id: RouteId) -> Result<Option<RouteRule>> {
    let route = tx
        .query(concat!(
            "SELECT ",
            columns!(),
            " FROM routes r JOIN modules m ON m.id = r.module_id
              WHERE r.id = $1 AND r.deleted_at IS NULL AND r.upstream IS NOT NULL AND m.deleted_at IS NULL"
        ))
        .bind(id)
        .fetch_optional()
        .await?;
    let Some(route) = route else { return Ok(None) };
    let roles = tx
        .query("SELECT role_id FROM route_roles WHERE route_id = $1 ORDER BY role_id")
        .bind(id)
        .fetch_values()
        .await?;
    Ok(Some(RouteRule { route, roles }))
}
