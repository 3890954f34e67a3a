//! Everything a compile needs, read at one moment.

use std::collections::BTreeMap;

use super::{db::Tx, error::Result, hierarchy, routes::columns};
use crate::model::{
    RoleId, RoleName, RouteId,
    rules::{RoleRule, Rules},
};

#[derive(sqlx::FromRow)]
struct Role {
    id: RoleId,
    name: RoleName,
    is_active: bool,
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
        upstreams: tx
            .query(
                "SELECT id, name, is_active, protocol, targets, balance, tls, host_header, timeouts, retries,
                        health_check, max_body_bytes
                 FROM upstreams WHERE deleted_at IS NULL ORDER BY id",
            )
            .fetch_all()
            .await?,
        policies: tx
            .query("SELECT name, source FROM policies WHERE deleted_at IS NULL AND is_active ORDER BY id")
            .fetch_all()
            .await?,
    })
}

async fn roles(tx: &mut Tx) -> Result<Vec<RoleRule>> {
    let roles = tx
        .query("SELECT id, name, is_active FROM roles WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all::<Role>()
        .await?;
    let mut parents: BTreeMap<RoleId, Vec<RoleId>> = BTreeMap::new();
    for (role, parent) in hierarchy::links(tx).await? {
        parents.entry(role).or_default().push(parent);
    }
    let rule = |Role { id, name, is_active }| {
        let parents = parents.remove(&id).unwrap_or_default();
        RoleRule { id, name, is_active, parents }
    };
    Ok(roles.into_iter().map(rule).collect())
}

async fn route_roles(tx: &mut Tx) -> Result<BTreeMap<RouteId, Vec<RoleId>>> {
    let bound = tx
        .query(
            "SELECT b.route_id, b.role_id
             FROM route_roles b JOIN routes r ON r.id = b.route_id JOIN modules m ON m.id = r.module_id
                  JOIN roles ON roles.id = b.role_id
             WHERE r.deleted_at IS NULL AND r.upstream IS NOT NULL AND m.deleted_at IS NULL
               AND roles.deleted_at IS NULL
             ORDER BY b.route_id, b.role_id",
        )
        .fetch_all::<(RouteId, RoleId)>()
        .await?;
    let mut of_route: BTreeMap<RouteId, Vec<RoleId>> = BTreeMap::new();
    for (route, role) in bound {
        of_route.entry(route).or_default().push(role);
    }
    Ok(of_route)
}
