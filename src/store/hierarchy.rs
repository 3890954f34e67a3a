//! Which roles inherit from which, and what follows from it.
//!
//! Every walk is one recursive statement that ends whatever the rows say: a cycle that was written past this program
//! must not hang it.

use super::{db::Tx, error::Result};
use crate::model::{
    EffectivePermission, MAX_INHERITANCE, PermissionName, RoleHead, RoleId, RoleInfo, Timestamp, UserId,
};

/// Lists what every undeleted role inherits from directly: role and parent, in the order of ids.
///
/// # Errors
/// What the database refuses.
pub async fn links(tx: &mut Tx) -> Result<Vec<(RoleId, RoleId)>> {
    tx.query(
        "SELECT i.role_id, i.parent_id
         FROM role_parents i JOIN roles r ON r.id = i.role_id JOIN roles p ON p.id = i.parent_id
         WHERE r.deleted_at IS NULL AND p.deleted_at IS NULL ORDER BY i.role_id, i.parent_id",
    )
    .fetch_all()
    .await
}

/// Lists all undeleted roles without their grants, by id.
///
/// # Errors
/// What the database refuses.
pub async fn roles(tx: &mut Tx) -> Result<Vec<RoleHead>> {
    tx.query("SELECT id, name, description, is_system_role, is_active FROM roles WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all()
        .await
}

/// Lists the undeleted roles that a role inherits from directly, by id.
///
/// # Errors
/// What the database refuses.
pub async fn parents(tx: &mut Tx, role: RoleId) -> Result<Vec<RoleInfo>> {
    tx.query(
        "SELECT r.id, r.name, r.description FROM role_parents i JOIN roles r ON r.id = i.parent_id
         WHERE i.role_id = $1 AND r.deleted_at IS NULL ORDER BY r.id",
    )
    .bind(role)
    .fetch_all()
    .await
}

/// Lists an undeleted role and every one it inherits from, each with the most steps that lead there.
///
/// A role of a cycle is found with one step more than [`MAX_INHERITANCE`], as is what lies too far away.
///
/// # Errors
/// What the database refuses.
pub async fn above(tx: &mut Tx, role: RoleId) -> Result<Vec<(RoleId, i64)>> {
    tx.query(
        "WITH RECURSIVE reached (id, steps) AS (
             SELECT id, CAST(0 AS BIGINT) FROM roles WHERE id = $1 AND deleted_at IS NULL
             UNION
             SELECT r.id, reached.steps + 1
             FROM reached JOIN role_parents i ON i.role_id = reached.id JOIN roles r ON r.id = i.parent_id
             WHERE r.deleted_at IS NULL AND reached.steps <= $2
         )
         SELECT id, MAX(steps) FROM reached GROUP BY id ORDER BY id",
    )
    .bind(role)
    .bind(MAX_INHERITANCE)
    .fetch_all()
    .await
}

/// As [`above`], for every role that inherits from this one.
///
/// # Errors
/// What the database refuses.
pub async fn below(tx: &mut Tx, role: RoleId) -> Result<Vec<(RoleId, i64)>> {
    tx.query(
        "WITH RECURSIVE reached (id, steps) AS (
             SELECT id, CAST(0 AS BIGINT) FROM roles WHERE id = $1 AND deleted_at IS NULL
             UNION
             SELECT r.id, reached.steps + 1
             FROM reached JOIN role_parents i ON i.parent_id = reached.id JOIN roles r ON r.id = i.role_id
             WHERE r.deleted_at IS NULL AND reached.steps <= $2
         )
         SELECT id, MAX(steps) FROM reached GROUP BY id ORDER BY id",
    )
    .bind(role)
    .bind(MAX_INHERITANCE)
    .fetch_all()
    .await
}

/// Lists what a role grants, its own and inherited, by id; nothing that is inactive, or is reached through an
/// inactive role only.
///
/// # Errors
/// What the database refuses.
pub async fn permissions(tx: &mut Tx, role: RoleId) -> Result<Vec<EffectivePermission>> {
    let mut found = tx
        .query(
            "WITH RECURSIVE reached (id, steps) AS (
                 SELECT id, CAST(0 AS BIGINT) FROM roles WHERE id = $1 AND is_active AND deleted_at IS NULL
                 UNION
                 SELECT r.id, reached.steps + 1
                 FROM reached JOIN role_parents i ON i.role_id = reached.id JOIN roles r ON r.id = i.parent_id
                 WHERE r.is_active AND r.deleted_at IS NULL AND reached.steps < $2
             )
             SELECT p.id, p.name, p.description, p.category, p.is_active, r.name AS source_role
             -- SQLite keeps this order, which begins with the few that were reached.
             FROM reached CROSS JOIN roles r CROSS JOIN role_permissions g CROSS JOIN permissions p
             WHERE r.id = reached.id AND g.role_id = reached.id AND p.id = g.permission_id
               AND p.is_active AND p.deleted_at IS NULL
             ORDER BY p.id, reached.steps, r.id",
        )
        .bind(role)
        .bind(MAX_INHERITANCE)
        .fetch_all::<EffectivePermission>()
        .await?;
    found.dedup_by_key(|entry| entry.permission.id);
    Ok(found)
}

/// Lists the names of what a user is granted at `now` through active roles, assigned and inherited, in order.
///
/// # Errors
/// What the database refuses.
pub async fn permissions_of(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<PermissionName>> {
    tx.query(
        "WITH RECURSIVE held (id) AS (
             SELECT r.id FROM user_roles a JOIN roles r ON r.id = a.role_id
             WHERE a.user_id = $1 AND (a.expires_at IS NULL OR a.expires_at > $2)
               AND r.is_active AND r.deleted_at IS NULL
             UNION
             SELECT r.id FROM held JOIN role_parents i ON i.role_id = held.id JOIN roles r ON r.id = i.parent_id
             WHERE r.is_active AND r.deleted_at IS NULL
         )
         SELECT DISTINCT p.name
         FROM held CROSS JOIN role_permissions g CROSS JOIN permissions p
         WHERE g.role_id = held.id AND p.id = g.permission_id AND p.is_active AND p.deleted_at IS NULL ORDER BY p.name",
    )
    .bind(user)
    .bind(now)
    .fetch_values()
    .await
}
