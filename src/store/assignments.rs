use std::collections::BTreeMap;

use super::{db::Tx, error::Result, roles, sql::Ids};
use crate::model::{
    AssignedRole, Expiry, PermissionName, RoleId, RoleInfo, Timestamp, UserId, Username,
    rules::{Assignment, UserState},
};

#[derive(sqlx::FromRow)]
struct StateRow {
    id: UserId,
    username: Username,
    is_active: bool,
    token_epoch: i64,
}

type AssignmentRow = (UserId, RoleId, Option<Timestamp>);

#[derive(sqlx::FromRow)]
struct Held {
    role_id: RoleId,
    expires_at: Option<Timestamp>,
    granted_at: Timestamp,
    granted_by: Option<UserId>,
}

pub(super) async fn replace(
    tx: &mut Tx,
    user: UserId,
    roles: &[RoleId],
    granted_by: Option<UserId>,
    now: Timestamp,
) -> Result<()> {
    tx.query(
        "DELETE FROM user_roles
         WHERE user_id = $1 AND role_id NOT IN (SELECT CAST(key AS BIGINT) FROM json_each($2))",
    )
    .bind(user)
    .bind(Ids::new(roles.iter().map(|id| id.0)))
    .execute()
    .await?;
    assign_each(tx, &[user], roles, granted_by, Expiry::Kept, now).await.map(drop)
}

/// Assigns a role, or gives an assignment another end; false when nothing changed: the user had it with the same
/// end, or one of the two is not there.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when `granted_by` is no user.
pub async fn assign(
    tx: &mut Tx,
    user: UserId,
    role: RoleId,
    granted_by: Option<UserId>,
    expiry: Expiry,
    now: Timestamp,
) -> Result<bool> {
    Ok(!assign_each(tx, &[user], &[role], granted_by, expiry, now).await?.is_empty())
}

/// Assigns each of `roles` to each of `users`; returns the users for whom that changed anything, by id. Ids of no
/// undeleted user or role are ignored. An assignment that has ended is made anew.
///
/// # Errors
/// [`Error::Reference`](super::Error::Reference) when `granted_by` is no user.
pub async fn assign_each(
    tx: &mut Tx,
    users: &[UserId],
    roles: &[RoleId],
    granted_by: Option<UserId>,
    expiry: Expiry,
    now: Timestamp,
) -> Result<Vec<UserId>> {
    let expires_at = if let Expiry::At(end) = expiry { Some(end) } else { None };
    let changed = tx
        .query(
            "INSERT INTO user_roles (user_id, role_id, granted_by, granted_at, expires_at)
             SELECT users.id, roles.id, $3, $4, $5 FROM users CROSS JOIN roles
             WHERE users.deleted_at IS NULL AND users.id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
               AND roles.deleted_at IS NULL AND roles.id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
             ON CONFLICT (user_id, role_id) DO UPDATE
             SET granted_by = excluded.granted_by, granted_at = excluded.granted_at, expires_at = excluded.expires_at
             WHERE user_roles.expires_at <= excluded.granted_at
                OR ($6 AND user_roles.expires_at IS DISTINCT FROM excluded.expires_at)
             RETURNING user_id",
        )
        .bind(Ids::new(users.iter().map(|id| id.0)))
        .bind(Ids::new(roles.iter().map(|id| id.0)))
        .bind(granted_by)
        .bind(now)
        .bind(expires_at)
        .bind(expiry != Expiry::Kept)
        .fetch_values::<UserId>()
        .await?;
    Ok(distinct(changed))
}

fn distinct(mut users: Vec<UserId>) -> Vec<UserId> {
    users.sort_unstable();
    users.dedup();
    users
}

/// Takes a role from a user; false when the user did not have it.
///
/// # Errors
/// What the database refuses.
pub async fn unassign(tx: &mut Tx, user: UserId, role: RoleId) -> Result<bool> {
    Ok(!unassign_each(tx, &[user], &[role]).await?.is_empty())
}

/// Takes each of `roles` from each of `users`; returns the users who had any, by id.
///
/// # Errors
/// What the database refuses.
pub async fn unassign_each(tx: &mut Tx, users: &[UserId], roles: &[RoleId]) -> Result<Vec<UserId>> {
    let changed = tx
        .query(
            "DELETE FROM user_roles
             WHERE user_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
               AND role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
             RETURNING user_id",
        )
        .bind(Ids::new(users.iter().map(|id| id.0)))
        .bind(Ids::new(roles.iter().map(|id| id.0)))
        .fetch_values::<UserId>()
        .await?;
    Ok(distinct(changed))
}

/// Returns the roles that a user has at `now`, by id, with what is known of their assignment.
///
/// # Errors
/// What the database refuses.
pub async fn held(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<AssignedRole>> {
    let rows = tx
        .query(
            "SELECT role_id, expires_at, granted_at, granted_by FROM user_roles
             WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY role_id",
        )
        .bind(user)
        .bind(now)
        .fetch_all::<Held>()
        .await?;
    let ids: Vec<RoleId> = rows.iter().map(|row| row.role_id).collect();
    let mut roles = roles::of(tx, &ids).await?;
    let assigned = |Held { role_id, expires_at, granted_at, granted_by }| {
        Some(AssignedRole { role: roles.remove(&role_id)?, expires_at, granted_at, granted_by })
    };
    Ok(rows.into_iter().filter_map(assigned).collect())
}

/// Returns the active roles that count for a user at `now`, inherited ones included, by id.
///
/// # Errors
/// What the database refuses.
pub async fn effective(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<RoleInfo>> {
    tx.query(
        // UNION drops what was found before, so that a cycle ends too.
        "WITH RECURSIVE effective (role_id) AS (
             SELECT a.role_id FROM user_roles a JOIN roles r ON r.id = a.role_id
             WHERE a.user_id = $1 AND (a.expires_at IS NULL OR a.expires_at > $2)
               AND r.deleted_at IS NULL AND r.is_active
             UNION
             SELECT i.parent_id
             FROM effective e JOIN role_parents i ON i.role_id = e.role_id JOIN roles r ON r.id = i.parent_id
             WHERE r.deleted_at IS NULL AND r.is_active)
         SELECT id, name, description FROM roles WHERE id IN (SELECT role_id FROM effective) ORDER BY id",
    )
    .bind(user)
    .bind(now)
    .fetch_all()
    .await
}

/// Returns the names of the active permissions that any of these roles is granted directly, sorted.
///
/// # Errors
/// What the database refuses.
pub async fn granted(tx: &mut Tx, roles: &[RoleId]) -> Result<Vec<PermissionName>> {
    tx.query(
        "SELECT DISTINCT p.name
         FROM role_permissions g JOIN permissions p ON p.id = g.permission_id
         WHERE p.deleted_at IS NULL AND p.is_active
           AND g.role_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
         ORDER BY p.name",
    )
    .bind(Ids::new(roles.iter().map(|id| id.0)))
    .fetch_values()
    .await
}

/// Returns when the next assignment ends, or ended, if any does.
///
/// # Errors
/// What the database refuses.
pub async fn next_end(tx: &mut Tx) -> Result<Option<Timestamp>> {
    let query = tx.query("SELECT expires_at FROM user_roles WHERE expires_at IS NOT NULL ORDER BY expires_at LIMIT 1");
    Ok(query.fetch_optional::<(Timestamp,)>().await?.map(|(end,)| end))
}

/// Removes at most `limit` assignments that have ended, oldest first, and returns user and role of each.
///
/// # Errors
/// What the database refuses.
pub async fn remove_ended(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<Vec<(UserId, RoleId)>> {
    tx.query(
        "DELETE FROM user_roles WHERE (user_id, role_id) IN (
             SELECT user_id, role_id FROM user_roles WHERE expires_at <= $1
             ORDER BY expires_at, user_id, role_id LIMIT $2)
         RETURNING user_id, role_id",
    )
    .bind(now)
    .bind(i64::from(limit))
    .fetch_all()
    .await
}

/// Returns what the data plane needs to know about one undeleted user.
///
/// # Errors
/// What the database refuses.
pub async fn state(tx: &mut Tx, id: UserId) -> Result<Option<UserState>> {
    let user = tx
        .query("SELECT id, username, is_active, token_epoch FROM users WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_all::<StateRow>()
        .await?;
    let roles = tx
        .query(
            "SELECT user_roles.user_id, user_roles.role_id, user_roles.expires_at
             FROM user_roles JOIN roles ON roles.id = user_roles.role_id
             WHERE user_roles.user_id = $1 AND roles.deleted_at IS NULL ORDER BY user_roles.role_id",
        )
        .bind(id)
        .fetch_all::<AssignmentRow>()
        .await?;
    Ok(assemble(user, roles).pop())
}

/// Returns what the data plane needs to know about every undeleted user, by id.
///
/// # Errors
/// What the database refuses.
pub async fn states(tx: &mut Tx) -> Result<Vec<UserState>> {
    let users = tx
        .query("SELECT id, username, is_active, token_epoch FROM users WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all::<StateRow>()
        .await?;
    let roles = tx
        .query(
            "SELECT user_roles.user_id, user_roles.role_id, user_roles.expires_at
             FROM user_roles JOIN roles ON roles.id = user_roles.role_id
             WHERE roles.deleted_at IS NULL ORDER BY user_roles.user_id, user_roles.role_id",
        )
        .fetch_all::<AssignmentRow>()
        .await?;
    Ok(assemble(users, roles))
}

fn assemble(users: Vec<StateRow>, assigned: Vec<AssignmentRow>) -> Vec<UserState> {
    let mut of_user: BTreeMap<UserId, Vec<Assignment>> = BTreeMap::new();
    for (user, role_id, expires_at) in assigned {
        of_user.entry(user).or_default().push(Assignment { role_id, expires_at });
    }
    let state = |StateRow { id, username, is_active, token_epoch }| {
        let roles = of_user.remove(&id).unwrap_or_default();
        UserState { id, username, is_active, token_epoch, roles }
    };
    users.into_iter().map(state).collect()
}
