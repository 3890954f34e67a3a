use super::{db::Tx, error::Result, sessions, sql::text};
use crate::model::{Email, Secret, Timestamp, UserId, Username, folded};

/// What a sign-in is checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Whose.
    pub id: UserId,
    /// Sign-in name.
    pub username: Username,
    /// Mail address.
    pub email: Email,
    /// Whether the user has shown that the address is the user's own.
    pub email_verified: bool,
    /// PHC string, or bcrypt's own form for imported users.
    pub password_hash: Secret<String>,
    /// An inactive user may not sign in.
    pub is_active: bool,
    /// Goes into the tokens.
    pub token_epoch: i64,
    /// Until then signing in is refused, but from where the user has signed in before.
    pub locked_until: Option<Timestamp>,
    /// Failures before this moment are forgotten.
    pub unlocked_at: Option<Timestamp>,
    /// Whether the password is good for setting another one only.
    pub must_change_password: bool,
}

impl Credentials {
    /// Whether there is a password at all: who came by another issuer has none, and gets none by mail.
    pub fn has_password(&self) -> bool {
        self.password_hash.expose().starts_with('$')
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: UserId,
    username: Username,
    email: Email,
    email_verified: bool,
    password_hash: String,
    is_active: bool,
    token_epoch: i64,
    locked_until: Option<Timestamp>,
    unlocked_at: Option<Timestamp>,
    must_change_password: bool,
}

impl From<Row> for Credentials {
    fn from(row: Row) -> Self {
        let Row { id, username, email, email_verified, password_hash, is_active, token_epoch, .. } = row;
        let Row { must_change_password, locked_until, unlocked_at, .. } = row;
        Self {
            id,
            username,
            email,
            email_verified,
            password_hash: Secret::new(password_hash),
            is_active,
            token_epoch,
            must_change_password,
            locked_until,
            unlocked_at,
        }
    }
}

/// The credentials that `$rest` leaves.
macro_rules! credentials {
    ($rest:literal) => {
        concat!(
            "SELECT id, username, email, email_verified, password_hash, is_active, token_epoch, must_change_password,
                    locked_until, unlocked_at
             FROM users WHERE ",
            $rest
        )
    };
}

/// The one spelling of a mail address, or lower case of a user name.
///
/// An address is stored in its normal form; a user name has no `@`, so one text cannot mean two users.
fn normal(login: &str) -> String {
    Email::try_from(login).map_or_else(|_| text(login), String::from).to_lowercase()
}

/// What failures to sign in as somebody unknown are counted under: one for all spellings of a name or an address.
pub fn bucket(login: &str) -> String {
    folded(&normal(login))
}

/// Finds an undeleted user by user name or mail address, in any case and Unicode form.
///
/// # Errors
/// What the database refuses.
pub async fn credentials(tx: &mut Tx, login: &str) -> Result<Option<Credentials>> {
    let row = tx
        .query(
            // Two names of the time before may be the same when folded: each is found as it is spelt.
            credentials!(
                "deleted_at IS NULL AND (username = $1 OR email_lower = $1 OR username_key = $2)
                 ORDER BY CASE WHEN username = $1 OR email_lower = $1 THEN 0 ELSE 1 END LIMIT 1"
            ),
        )
        .bind(normal(login))
        .bind(bucket(login))
        .fetch_optional::<Row>()
        .await?;
    Ok(row.map(Credentials::from))
}

/// Returns the credentials of an undeleted user.
///
/// # Errors
/// What the database refuses.
pub async fn credentials_of(tx: &mut Tx, id: UserId) -> Result<Option<Credentials>> {
    let row = tx.query(credentials!("id = $1 AND deleted_at IS NULL")).bind(id).fetch_optional::<Row>().await?;
    Ok(row.map(Credentials::from))
}

/// Sets a new password's hash, which voids the user's tokens, and with which nothing must be changed any more; false
/// when there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn set_password(tx: &mut Tx, id: UserId, hash: &Secret<String>, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE users SET password_hash = $2, token_epoch = token_epoch + 1, tokens_valid_from = $3,
                 must_change_password = FALSE, updated_at = $3
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(hash.expose().clone())
        .bind(now)
        .execute()
        .await?;
    sessions::revoke_all(tx, &[id], now).await?;
    Ok(changed > 0)
}

/// Refuses to let a user sign in until `until`, from where that is new; an earlier end of a lock gives way.
///
/// # Errors
/// What the database refuses.
pub async fn lock(tx: &mut Tx, id: UserId, until: Timestamp) -> Result<()> {
    tx.query(
        "UPDATE users SET locked_until = $2
         WHERE id = $1 AND deleted_at IS NULL AND (locked_until IS NULL OR locked_until < $2)",
    )
    .bind(id)
    .bind(until)
    .execute()
    .await
    .map(drop)
}

/// Ends a lock, and has failures up to `now` forgotten; false when there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn unlock(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE users SET locked_until = NULL, unlocked_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Folds at most `limit` names that no database could fold, with ids beyond `after`; returns the last id, if there was
/// any. A name that another user has already stays as it is spelt.
///
/// # Errors
/// What the database refuses.
pub async fn fold_names(tx: &mut Tx, after: UserId, limit: u32) -> Result<Option<UserId>> {
    let rows = tx
        .query("SELECT id, username FROM users WHERE username_key IS NULL AND id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all::<(UserId, Username)>()
        .await?;
    for (id, username) in &rows {
        tx.query(
            "UPDATE users SET username_key = $2
             WHERE id = $1 AND (deleted_at IS NOT NULL OR NOT EXISTS (
                 SELECT 1 FROM users other WHERE other.username_key = $2 AND other.deleted_at IS NULL))",
        )
        .bind(*id)
        .bind(username.key())
        .execute()
        .await?;
    }
    Ok(rows.last().map(|(id, _)| *id))
}

/// Notes that a user's address is the user's own; false when that was known, or there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn verify_email(tx: &mut Tx, id: UserId) -> Result<bool> {
    let query =
        tx.query("UPDATE users SET email_verified = TRUE WHERE id = $1 AND deleted_at IS NULL AND NOT email_verified");
    Ok(query.bind(id).execute().await? > 0)
}

/// Says whether a user must set another password at the next sign-in; false when there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn demand_new_password(tx: &mut Tx, id: UserId, demanded: bool) -> Result<bool> {
    let query = tx.query("UPDATE users SET must_change_password = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(demanded).execute().await? > 0)
}

/// Replaces the hash `old` by a better one of the same password; tokens stay valid. False when the user has another by
/// now, which must not give way to the password from before.
///
/// # Errors
/// What the database refuses.
pub async fn rehash(tx: &mut Tx, id: UserId, old: &Secret<String>, hash: &Secret<String>) -> Result<bool> {
    let query =
        tx.query("UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3 AND deleted_at IS NULL");
    let query = query.bind(id).bind(hash.expose().clone()).bind(old.expose().clone());
    Ok(query.execute().await? > 0)
}

/// Finds an undeleted user by user name, mail address or id, in this order.
///
/// # Errors
/// What the database refuses.
pub async fn named(tx: &mut Tx, text: &str) -> Result<Option<UserId>> {
    if let Some(found) = credentials(tx, text).await? {
        return Ok(Some(found.id));
    }
    let Some(id) = text.parse().ok().map(UserId) else {
        return Ok(None);
    };
    Ok(credentials_of(tx, id).await?.map(|found| found.id))
}
