//! Permissions that show a route of the navigation to whoever holds one of them.

use std::collections::BTreeMap;

use super::{db::Tx, error::Result, sql::Ids};
use crate::model::{PermissionId, RouteId};

/// Binds these permissions to a route and no others; ids of no permission are ignored.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when there is no such route.
pub async fn replace(tx: &mut Tx, id: RouteId, permissions: &[PermissionId]) -> Result<()> {
    tx.query("DELETE FROM route_permissions WHERE route_id = $1").bind(id).execute().await?;
    tx.query(
        "INSERT INTO route_permissions (route_id, permission_id)
         SELECT $1, id FROM permissions
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
         ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(Ids::new(permissions.iter().map(|id| id.0)))
    .execute()
    .await
    .map(drop)
}

/// Returns the undeleted permissions of each of these routes that has any, by id.
///
/// # Errors
/// What the database refuses.
pub async fn of(
    tx: &mut Tx,
    routes: impl IntoIterator<Item = RouteId>,
) -> Result<BTreeMap<RouteId, Vec<PermissionId>>> {
    let rows = tx
        .query(
            "SELECT b.route_id, b.permission_id FROM route_permissions b JOIN permissions p ON p.id = b.permission_id
             WHERE p.deleted_at IS NULL AND b.route_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
             ORDER BY b.permission_id",
        )
        .bind(Ids::new(routes.into_iter().map(|id| id.0)))
        .fetch_all::<(RouteId, PermissionId)>()
        .await?;
    let mut of_route: BTreeMap<RouteId, Vec<PermissionId>> = BTreeMap::new();
    for (route, permission) in rows {
        of_route.entry(route).or_default().push(permission);
    }
    Ok(of_route)
}
