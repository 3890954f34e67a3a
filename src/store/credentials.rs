use super::{db::Tx, error::Result, sql::text};
use crate::model::{Email, Secret, Timestamp, UserId, Username};

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
    /// Whether the password is good for setting another one only.
    pub must_change_password: bool,
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
    must_change_password: bool,
}

impl From<Row> for Credentials {
    fn from(row: Row) -> Self {
        let Row { id, username, email, email_verified, password_hash, is_active, token_epoch, must_change_password } =
            row;
        let password_hash = Secret::new(password_hash);
        Self { id, username, email, email_verified, password_hash, is_active, token_epoch, must_change_password }
    }
}

/// The one spelling of a user name or mail address that [`credentials`] looks for.
///
/// An address is stored in its normal form; a user name has no `@`, so one text cannot mean two users.
pub fn normal(login: &str) -> String {
    Email::try_from(login).map_or_else(|_| text(login), String::from).to_lowercase()
}

/// Finds an undeleted user by user name or mail address, in any case.
///
/// # Errors
/// What the database refuses.
pub async fn credentials(tx: &mut Tx, login: &str) -> Result<Option<Credentials>> {
    let row = tx
        .query(
            "SELECT id, username, email, email_verified, password_hash, is_active, token_epoch, must_change_password
             FROM users
             WHERE deleted_at IS NULL AND (username = $1 OR email_lower = $1)",
        )
        .bind(normal(login))
        .fetch_optional::<Row>()
        .await?;
    Ok(row.map(Credentials::from))
}

/// Returns the credentials of an undeleted user.
///
/// # Errors
/// What the database refuses.
pub async fn credentials_of(tx: &mut Tx, id: UserId) -> Result<Option<Credentials>> {
    let row = tx
        .query(
            "SELECT id, username, email, email_verified, password_hash, is_active, token_epoch, must_change_password
             FROM users
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .fetch_optional::<Row>()
        .await?;
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
            "UPDATE users SET password_hash = $2, token_epoch = token_epoch + 1, must_change_password = FALSE, updated_at = $3
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(hash.expose().clone())
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
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

/// Replaces the hash of the same password by a better one; tokens stay valid. False when there is no such user.
///
/// # Errors
/// What the database refuses.
pub async fn rehash(tx: &mut Tx, id: UserId, hash: &Secret<String>) -> Result<bool> {
    let query = tx.query("UPDATE users SET password_hash = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(hash.expose().clone()).execute().await? > 0)
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
