//! Identity providers whose tokens are believed, and whom they call what.

use sqlx::types::Json;

use super::{
    db::Tx,
    error::Result,
    sql::{Ids, text},
};
use crate::model::{IssuerId, IssuerSpec, Timestamp, UserId, Username};

/// An issuer as stored: a release that knows other keys may have written it, so that what it says is read by who uses it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct IssuerRow {
    /// Identity.
    pub id: IssuerId,
    /// What it says.
    #[sqlx(json)]
    pub spec: serde_json::Value,
    /// Whether its tokens are believed.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
}

/// Stores an issuer.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name or the `iss` is taken.
pub async fn insert(tx: &mut Tx, spec: &IssuerSpec, is_active: bool, now: Timestamp) -> Result<IssuerId> {
    tx.query("INSERT INTO issuers (name, issuer, spec, is_active, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING id")
        .bind(spec.name.clone())
        .bind(spec.issuer.clone())
        .bind(Json(spec.clone()))
        .bind(is_active)
        .bind(now)
        .fetch_value()
        .await
}

/// Returns an undeleted issuer.
///
/// # Errors
/// What the database refuses.
pub async fn get(tx: &mut Tx, id: IssuerId) -> Result<Option<IssuerRow>> {
    tx.query("SELECT id, spec, is_active, created_at, updated_at FROM issuers WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional()
        .await
}

/// Returns all undeleted issuers, by id; there are few.
///
/// # Errors
/// What the database refuses.
pub async fn all(tx: &mut Tx) -> Result<Vec<IssuerRow>> {
    tx.query("SELECT id, spec, is_active, created_at, updated_at FROM issuers WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all()
        .await
}

/// Replaces what an undeleted issuer says; false when there is none.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when the name or the `iss` is taken.
pub async fn update(tx: &mut Tx, id: IssuerId, spec: &IssuerSpec, is_active: bool, now: Timestamp) -> Result<bool> {
    let changed = tx
        .query(
            "UPDATE issuers SET name = $2, issuer = $3, spec = $4, is_active = $5, updated_at = $6
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .bind(spec.name.clone())
        .bind(spec.issuer.clone())
        .bind(Json(spec.clone()))
        .bind(is_active)
        .bind(now)
        .execute()
        .await?;
    Ok(changed > 0)
}

/// Marks an issuer as deleted, which frees name and `iss`; false when there is none.
///
/// # Errors
/// What the database refuses.
pub async fn delete(tx: &mut Tx, id: IssuerId, now: Timestamp) -> Result<bool> {
    let query = tx.query("UPDATE issuers SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL");
    Ok(query.bind(id).bind(now).execute().await? > 0)
}

/// Whom an issuer calls `subject`, deleted users included.
///
/// # Errors
/// What the database refuses.
pub async fn linked(tx: &mut Tx, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    let query = tx.query("SELECT user_id FROM user_identities WHERE issuer = $1 AND subject = $2");
    let found = query.bind(text(issuer)).bind(text(subject)).fetch_optional::<(UserId,)>().await?;
    Ok(found.map(|(id,)| id))
}

/// Notes whom an issuer calls `subject`, once and for all, and whether the account was made for that.
///
/// # Errors
/// [`Error::Conflict`](super::Error::Conflict) when that is somebody already, or the issuer calls the user something else.
pub async fn link(
    tx: &mut Tx,
    (issuer, subject): (&str, &str),
    user: UserId,
    is_made: bool,
    now: Timestamp,
) -> Result<()> {
    tx.query("INSERT INTO user_identities (issuer, subject, user_id, is_made, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(issuer.to_owned())
        .bind(subject.to_owned())
        .bind(user)
        .bind(is_made)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

/// What an issuer calls a user.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct IdentityRow {
    /// Whom.
    pub user_id: UserId,
    /// The issuer's `iss`.
    pub issuer: String,
    /// Its `sub`.
    pub subject: String,
    /// Tokens of other issuers that were made no later than that are void.
    pub tokens_valid_from: Option<Timestamp>,
}

/// What issuers call these users, undeleted ones only.
///
/// # Errors
/// What the database refuses.
pub async fn identities(tx: &mut Tx, users: &[UserId]) -> Result<Vec<IdentityRow>> {
    tx.query(
        "SELECT i.user_id, i.issuer, i.subject, u.tokens_valid_from FROM user_identities i JOIN users u ON u.id = i.user_id
         WHERE u.deleted_at IS NULL AND i.user_id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))
         ORDER BY i.user_id, i.issuer, i.subject",
    )
    .bind(Ids::new(users.iter().map(|id| id.0)))
    .fetch_all()
    .await
}

/// The same for everybody.
///
/// # Errors
/// What the database refuses.
pub async fn all_identities(tx: &mut Tx) -> Result<Vec<IdentityRow>> {
    tx.query(
        "SELECT i.user_id, i.issuer, i.subject, u.tokens_valid_from FROM user_identities i JOIN users u ON u.id = i.user_id
         WHERE u.deleted_at IS NULL ORDER BY i.user_id, i.issuer, i.subject",
    )
    .fetch_all()
    .await
}

/// The undeleted user of this name, or with this verified mail address in lower case, active or not, whom somebody new
/// at `issuer` can be: nobody whom that issuer calls something else, and nobody who was made for a token.
///
/// # Errors
/// What the database refuses.
pub async fn account(tx: &mut Tx, issuer: &str, name: Option<&str>, mail: Option<&str>) -> Result<Option<UserId>> {
    let found = tx
        .query(
            "SELECT id FROM users
             WHERE deleted_at IS NULL
               AND (username = $1 OR (email_lower = $2 AND email_verified))
               AND NOT EXISTS (SELECT 1 FROM user_identities i
                               WHERE i.user_id = users.id AND (i.is_made OR i.issuer = $3))
             ORDER BY id LIMIT 2",
        )
        .bind(name.map(text))
        .bind(mail.map(text))
        .bind(text(issuer))
        .fetch_values::<UserId>()
        .await?;
    // Two of them: neither can be meant.
    Ok(match found.as_slice() {
        [one] => Some(*one),
        _ => None,
    })
}

/// Whether no undeleted user has this name, or one that people take for the same.
///
/// # Errors
/// What the database refuses.
pub async fn is_name_free(tx: &mut Tx, name: &Username) -> Result<bool> {
    let query = tx.query(
        "SELECT id FROM users WHERE (username_key = $1 OR username = $2) AND deleted_at IS NULL ORDER BY id LIMIT 1",
    );
    Ok(query.bind(name.key()).bind(name.clone()).fetch_optional::<(UserId,)>().await?.is_none())
}

/// Whether no undeleted user has this mail address, in lower case, verified or not.
///
/// # Errors
/// What the database refuses.
pub async fn is_mail_free(tx: &mut Tx, mail: &str) -> Result<bool> {
    let query = tx.query("SELECT id FROM users WHERE email_lower = $1 AND deleted_at IS NULL").bind(text(mail));
    Ok(query.fetch_optional::<(UserId,)>().await?.is_none())
}

/// Notes that a user's mail address is known to be the user's.
///
/// # Errors
/// What the database refuses.
pub async fn verify_mail(tx: &mut Tx, id: UserId) -> Result<()> {
    tx.query("UPDATE users SET email_verified = TRUE WHERE id = $1").bind(id).execute().await.map(drop)
}
