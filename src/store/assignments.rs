use std::collections::BTreeMap;

use super::{db::Tx, error::Result, sql::Ids};
use crate::model::{
    RoleId, Timestamp, UserId, Username,
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

pub(super) async fn add(tx: &mut Tx, user: UserId, roles: &[RoleId], now: Timestamp) -> Result<()> {
    tx.query(
        "INSERT INTO user_roles (user_id, role_id, granted_at)
         SELECT $1, id, $3 FROM roles
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($2))
         ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(Ids::new(roles.iter().map(|id| id.0)))
    .bind(now)
    .execute()
    .await
    .map(drop)
}

pub(super) async fn replace(tx: &mut Tx, user: UserId, roles: &[RoleId], now: Timestamp) -> Result<()> {
    tx.query(
        "DELETE FROM user_roles
         WHERE user_id = $1 AND role_id NOT IN (SELECT CAST(key AS BIGINT) FROM json_each($2))",
    )
    .bind(user)
    .bind(Ids::new(roles.iter().map(|id| id.0)))
    .execute()
    .await?;
    add(tx, user, roles, now).await
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
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .query(
            "INSERT INTO user_roles (user_id, role_id, granted_by, granted_at, expires_at)
             SELECT users.id, roles.id, $3, $4, $5 FROM users CROSS JOIN roles
             WHERE users.id = $1 AND users.deleted_at IS NULL AND roles.id = $2 AND roles.deleted_at IS NULL
             ON CONFLICT (user_id, role_id) DO UPDATE
             SET granted_by = excluded.granted_by, granted_at = excluded.granted_at, expires_at = excluded.expires_at
             WHERE user_roles.expires_at IS DISTINCT FROM excluded.expires_at",
        )
        .bind(user)
        .bind(role)
        .bind(granted_by)
        .bind(now)
        .bind(expires_at)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Takes a role from a user; false when the user did not have it.
///
/// # Errors
/// What the database refuses.
pub async fn unassign(tx: &mut Tx, user: UserId, role: RoleId) -> Result<bool> {
    let query = tx.query("DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2");
    Ok(query.bind(user).bind(role).execute().await? > 0)
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
