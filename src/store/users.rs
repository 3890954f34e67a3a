//! Users, their credentials and the roles assigned to them.

use std::collections::BTreeMap;

use super::{
    assignments,
    db::Tx,
    error::Result,
    list::{Lead, List, MOST_COUNTED, Period, Plan, Sort, SortKey, Total},
    roles, sessions,
    sql::{Ids, Page, Search},
    statement::Arg,
};
use crate::model::{Email, Expiry, NewUser, Profile, RoleId, Timestamp, User, UserId, UserPatch, Username};

pub use super::assignments::{
    assign, assign_each, effective, granted, held, next_end, remove_ended, state, states, unassign, unassign_each,
};
pub use super::credentials::{
    Credentials, bucket, credentials, credentials_of, demand_new_password, fold_names, lock, named, rehash,
    set_password, unlock, verify_email,
};

/// Which users to list; an absent field does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the user name or the mail address, case ignored.
    pub search: Option<String>,
    /// Whether the user may act.
    pub is_active: Option<bool>,
    /// Name of an assigned role, exactly.
    pub role: Option<String>,
    /// When the user was made.
    pub created: Period,
    /// Whether deleted users are listed too.
    pub include_deleted: bool,
    /// In another order than by id.
    pub sort: Option<Sort>,
}

/// What users can be sorted by.
pub const SORT_KEYS: &[SortKey] = &[
    SortKey::new("id", "users.id"),
    SortKey::new("username", "users.username"),
    SortKey::new("email", "users.email_lower"),
    SortKey::new("is_active", "users.is_active"),
    SortKey::new("created_at", "users.created_at"),
    SortKey::nullable("updated_at", "users.updated_at"),
];

const COLUMNS: &str = "users.id, users.username, users.email, users.is_active, users.created_at, users.updated_at,
                       users.deleted_at, users.first_name, users.last_name, users.avatar,
                       users.must_change_password, users.locked_until";

impl Filter {
    async fn list(&self, tx: &mut Tx, now: Timestamp) -> Result<List> {
        let mut list = List::of("users", "users.id", "users.id");
        if !self.include_deleted {
            list.only("users.deleted_at IS NULL");
        }
        list.matching(
            Search::unicode(self.search.as_deref()),
            r"users.username LIKE $1 ESCAPE '\' OR users.email_lower LIKE $1 ESCAPE '\'",
            ["_users_search", "_users_search.rowid", "_users_search MATCH $1"],
        );
        if let Some(is_active) = self.is_active {
            list.led(
                "~users.is_active = $1",
                vec![Arg::Flag(is_active)],
                Some(Lead::Index { name: "users_active", order: "id" }),
            );
        }
        if let Some(name) = &self.role {
            // By id, whose frequency PostgreSQL knows. No role has the id 0.
            let role = roles::find(tx, name).await?.unwrap_or(RoleId(0));
            let args = vec![Arg::Number(role.0), Arg::Time(now)];
            let lead = Lead::Table {
                name: "user_roles",
                id: "user_roles.user_id",
                test: "user_roles.role_id = $1 AND (user_roles.expires_at IS NULL OR user_roles.expires_at > $2)",
                args: args.clone(),
                is_exact: true,
            };
            let test = "EXISTS (SELECT 1 FROM user_roles a WHERE a.user_id = users.id AND a.role_id = $1
                                  AND (a.expires_at IS NULL OR a.expires_at > $2))";
            list.led(test, args, Some(lead));
        }
        let created = Lead::Index { name: "users_created", order: "created_at" };
        list.within(self.created, "users.created_at", Some(created));
        Ok(list)
    }

    async fn total(&self, tx: &mut Tx, list: &List, now: Timestamp) -> Result<Total> {
        if self.is_kept() {
            return Ok(Total::exactly(kept(tx, self).await?));
        }
        match self.only_role() {
            Some(name) => total_of_role(tx, name, now).await,
            None => list.total(tx).await,
        }
    }

    /// The role, where that is all that is asked for.
    fn only_role(&self) -> Option<&str> {
        let Self { search, is_active, role, created, include_deleted, sort: _ } = self;
        let others = search.is_some() || is_active.is_some() || *created != Period::default() || *include_deleted;
        role.as_deref().filter(|_| !others)
    }

    /// Whether it is one of those whose numbers the database keeps.
    fn is_kept(&self) -> bool {
        let Self { search, is_active: _, role, created, include_deleted, sort: _ } = self;
        search.is_none() && role.is_none() && *created == Period::default() && !include_deleted
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: UserId,
    username: Username,
    email: Email,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    locked_until: Option<Timestamp>,
    #[sqlx(flatten)]
    profile: Profile,
    must_change_password: bool,
}

/// Stores a user with the assignments; ids of no role are ignored.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the user name or the mail address is taken.
pub async fn insert(tx: &mut Tx, new: &NewUser, now: Timestamp) -> Result<UserId> {
    let id = tx
        .query(
            // Tokens that name a user only are the predecessor's, and of epoch 0: nobody of that name, deleted, renamed
            // or never here, has left any to a user who is made now.
            "INSERT INTO users (username, username_key, email, email_lower, password_hash, is_active, created_at, token_epoch)
             VALUES ($1, $7, $2, $3, $4, $5, $6,
                 (SELECT COALESCE(MAX(token_epoch), 0) + 1 FROM users WHERE username = $1)) RETURNING id",
        )
        .bind(new.username.clone())
        .bind(new.email.clone())
        .bind(new.email.as_str().to_lowercase())
        .bind(new.password_hash.expose().clone())
        .bind(new.is_active)
        .bind(now)
        .bind(new.username.key())
        .fetch_value()
        .await?;
    assign_each(tx, &[id], &new.role_ids, new.granted_by, Expiry::Kept, now).await?;
    Ok(id)
}

/// Lets tokens that name the user only be the user's own: of accounts that the predecessor has too.
///
/// # Errors
/// What the database refuses.
pub async fn honour_old_tokens(tx: &mut Tx, id: UserId) -> Result<()> {
    tx.query(
        "UPDATE users SET token_epoch = (SELECT COALESCE(MAX(namesake.token_epoch), 0) FROM users namesake
                                         WHERE namesake.username = users.username AND namesake.id <> users.id)
         WHERE id = $1",
    )
    .bind(id)
    .execute()
    .await
    .map(drop)
}

/// Returns an undeleted user with the roles of this moment and their permissions, by id.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<Option<User>> {
    let row = tx
        .query(
            "SELECT id, username, email, is_active, created_at, updated_at, deleted_at, first_name,
                    last_name, avatar, must_change_password, locked_until FROM users
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .fetch_optional::<Row>()
        .await?;
    Ok(with_roles(tx, row.into_iter().collect(), now).await?.pop())
}

/// Returns those of `ids` that are undeleted users, by id.
///
/// # Errors
/// What the database refuses.
pub async fn existing(tx: &mut Tx, ids: &[UserId]) -> Result<Vec<UserId>> {
    tx.query(
        "SELECT id FROM users
         WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1)) ORDER BY id",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .fetch_values()
    .await
}

/// Lists users, by id unless sorted otherwise, with the roles of this moment and their permissions; the number of
/// statements does not depend on the number of users.
///
/// # Errors
/// What the database refuses.
pub async fn list(tx: &mut Tx, filter: &Filter, page: Page, now: Timestamp) -> Result<Vec<User>> {
    Ok(counted(tx, filter, page, now).await?.0)
}

/// As [`list`], with what [`count`] says, but not beyond [`MOST_COUNTED`] where that would take
/// long.
///
/// # Errors
/// What the database refuses.
pub async fn counted(tx: &mut Tx, filter: &Filter, page: Page, now: Timestamp) -> Result<(Vec<User>, Total)> {
    let list = filter.list(tx, now).await?;
    let total = filter.total(tx, &list, now).await?;
    let rows = list.rows(tx, (COLUMNS, ""), filter.sort, page, Some(total)).await?;
    Ok((with_roles(tx, rows, now).await?, total))
}

/// Counts what [`list`] would return without a page.
///
/// # Errors
/// What the database refuses.
pub async fn count(tx: &mut Tx, filter: &Filter, now: Timestamp) -> Result<i64> {
    if filter.is_kept() {
        return kept(tx, filter).await;
    }
    filter.list(tx, now).await?.count(tx).await
}

/// Looks at the role's assignments, and at which users are deleted: not at every user who has it.
async fn total_of_role(tx: &mut Tx, name: &str, now: Timestamp) -> Result<Total> {
    let role = roles::find(tx, name).await?;
    let count = tx
        .query(
            "SELECT COUNT(*) FROM (
                 SELECT 1 FROM user_roles a
                 WHERE a.role_id = $1 AND (a.expires_at IS NULL OR a.expires_at > $2)
                   AND NOT EXISTS (SELECT 1 FROM users d WHERE d.id = a.user_id AND d.deleted_at IS NOT NULL)
                 LIMIT $3) AS bounded",
        )
        .bind(role)
        .bind(now)
        .bind(MOST_COUNTED + 1)
        .fetch_value()
        .await?;
    Ok(Total::up_to_bound(count))
}

async fn kept(tx: &mut Tx, filter: &Filter) -> Result<i64> {
    tx.query("SELECT CAST(COALESCE(SUM(users), 0) AS BIGINT) FROM user_totals WHERE ($1 IS NULL OR is_active = $1)")
        .bind(filter.is_active)
        .fetch_value()
        .await
}

/// How the database would answer [`counted`].
///
/// # Errors
/// What the database refuses.
pub async fn plan(tx: &mut Tx, filter: &Filter, page: Page, now: Timestamp) -> Result<Plan> {
    let list = filter.list(tx, now).await?;
    let total = filter.total(tx, &list, now).await?;
    list.plan(tx, (COLUMNS, ""), filter.sort, page, Some(total)).await
}

async fn with_roles(tx: &mut Tx, rows: Vec<Row>, now: Timestamp) -> Result<Vec<User>> {
    let assigned = tx
        .query(
            "SELECT user_id, role_id FROM user_roles
             WHERE user_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
               AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY user_id, role_id",
        )
        .bind(Ids::new(rows.iter().map(|row| row.id.0)))
        .bind(now)
        .fetch_all::<(UserId, RoleId)>()
        .await?;
    let mut ids: Vec<RoleId> = assigned.iter().map(|(_, role)| *role).collect();
    ids.sort_unstable();
    ids.dedup();
    let roles = roles::of(tx, &ids).await?;
    let mut of_user: BTreeMap<UserId, Vec<_>> = BTreeMap::new();
    for (user, role) in assigned {
        of_user.entry(user).or_default().extend(roles.get(&role).cloned());
    }
    let user = |row: Row| {
        let Row { id, username, email, is_active, created_at, updated_at, deleted_at, profile, .. } = row;
        User {
            id,
            username,
            email,
            is_active,
            created_at,
            updated_at,
            roles: of_user.remove(&id).unwrap_or_default(),
            profile,
            must_change_password: row.must_change_password,
            locked_until: row.locked_until.filter(|until| *until > now),
            deleted_at,
        }
    };
    Ok(rows.into_iter().map(user).collect())
}

/// Changes an undeleted user; false when there is none.
///
/// A new password voids the user's tokens, a new address is unverified. New roles replace the old ones; those kept keep their date and expiry.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the new user name or mail address is taken.
pub async fn update(tx: &mut Tx, id: UserId, patch: &UserPatch, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE users
             SET username = COALESCE($2, username), username_key = COALESCE($12, username_key), email = COALESCE($3, email),
                 email_lower = COALESCE($4, email_lower),
                 email_verified = email_verified AND COALESCE($4, email_lower) = email_lower,
                 must_change_password = COALESCE($11, must_change_password), password_hash = COALESCE($5, password_hash),
                 token_epoch = token_epoch + CASE
                     WHEN $5 IS NOT NULL OR ($2 IS NOT NULL AND $2 <> username AND token_epoch = 0) THEN 1 ELSE 0 END,
                 tokens_valid_from = CASE WHEN $5 IS NULL THEN tokens_valid_from ELSE $7 END,
                 is_active = COALESCE($6, is_active), updated_at = $7,
                 first_name = NULLIF(COALESCE($8, first_name), ''),
                 last_name = NULLIF(COALESCE($9, last_name), ''), avatar = NULLIF(COALESCE($10, avatar), '')
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(patch.username.clone())
        .bind(patch.email.clone())
        .bind(patch.email.as_ref().map(|email| email.as_str().to_lowercase()))
        .bind(patch.password_hash.as_ref().map(|hash| hash.expose().clone()))
        .bind(patch.is_active)
        .bind(now)
        .bind(patch.profile.first_name.clone())
        .bind(patch.profile.last_name.clone())
        .bind(patch.profile.avatar.clone())
        .bind(patch.must_change_password)
        .bind(patch.username.as_ref().map(Username::key))
        .execute()
        .await?;
    if patch.password_hash.is_some() && changed > 0 {
        sessions::revoke_all(tx, &[id], now).await?;
    }
    if let Some(roles) = patch.role_ids.as_deref().filter(|_| changed > 0) {
        assignments::replace(tx, id, roles, patch.granted_by, now).await?;
    }
    Ok(changed > 0)
}

/// Lets users act or not; returns those for whom that is a change.
///
/// # Errors
/// What the database refuses.
pub async fn set_active(tx: &mut Tx, ids: &[UserId], is_active: bool, now: Timestamp) -> Result<Vec<UserId>> {
    tx.query(
        "UPDATE users SET is_active = $2, updated_at = $3
         WHERE deleted_at IS NULL AND is_active <> $2 AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
         RETURNING id",
    )
    .bind(Ids::new(ids.iter().map(|id| id.0)))
    .bind(is_active)
    .bind(now)
    .fetch_values()
    .await
}

/// Marks a user as deleted, which voids the tokens and frees name and address; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool> {
    Ok(!delete_each(tx, &[id], now).await?.is_empty())
}

/// The same for several; returns those that were there.
///
/// # Errors
/// What the database refuses.
pub async fn delete_each(tx: &mut Tx, ids: &[UserId], now: Timestamp) -> Result<Vec<UserId>> {
    let deleted = tx
        .query(
            "UPDATE users SET deleted_at = $2, token_epoch = token_epoch + 1, tokens_valid_from = $2
             WHERE deleted_at IS NULL AND id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
             RETURNING id",
        )
        .bind(Ids::new(ids.iter().map(|id| id.0)))
        .bind(now)
        .fetch_values()
        .await?;
    sessions::revoke_all(tx, &deleted, now).await?;
    Ok(deleted)
}

/// Voids all tokens of a user and ends the sessions; false when there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn sign_out(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool> {
    let query = tx.query(
        "UPDATE users SET token_epoch = token_epoch + 1, tokens_valid_from = $2 WHERE id = $1 AND deleted_at IS NULL",
    );
    let changed = query.bind(id).bind(now).execute().await? > 0;
    sessions::revoke_all(tx, &[id], now).await?;
    Ok(changed)
}

/// Brings a deleted user back with the assignments that have not ended; tokens from before stay void. False when
/// there is none that is deleted.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the user name or the mail address is taken by now.
pub async fn restore(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            // As for a new user: tokens of a namesake that name the user only must not become this user's.
            "UPDATE users
             SET deleted_at = NULL, updated_at = $2,
                 token_epoch = (SELECT MAX(namesake.token_epoch) FROM users namesake
                                WHERE namesake.username = users.username)
             WHERE id = $1 AND deleted_at IS NOT NULL",
        )
        .bind(id)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}
