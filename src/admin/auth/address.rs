//! Showing that a mail address is one's own.

use axum::Json;
use axum::extract::State;

use super::Auth;
use super::origin::Origin;
use crate::admin::error::Error;
use crate::admin::input::{Input, Valid};
use crate::admin::reply::Message;
use crate::mail::{self, Letter};
use crate::model::{Email, Secret, Timestamp};
use crate::store::{
    activity::Action,
    mail_tokens::{self, Purpose},
    users,
};
use crate::telemetry::logs::SECURITY;

/// Longer than any token: hashing more is of no use.
pub(super) const LONGEST_TOKEN: usize = 128;

pub(super) fn token(input: &mut Input) -> Valid<Secret<String>> {
    input.body().required("token")
}

/// What a token is stored as; none for what cannot be one.
pub(super) fn stored(token: &Secret<String>) -> Result<String, Error> {
    if token.expose().len() > LONGEST_TOKEN { Err(void()) } else { Ok(mail::hash(token)) }
}

/// One answer for tokens that never were, were used, or are too old: whoever guesses learns nothing.
pub(super) fn void() -> Error {
    Error::BadRequest("Invalid or expired token".into())
}

pub(super) async fn verify(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Message>, Error> {
    let hash = stored(&input.read(token)?)?;
    let now = Timestamp::now();
    // Looked up first: guesses shall not wait for, nor hold up, whoever writes.
    let purpose = Purpose::Verification;
    let mut tx = auth.control.read().await?;
    mail_tokens::owner(&mut tx, &hash, purpose, now).await?.ok_or_else(void)?;
    drop(tx);
    let mut tx = auth.control.plain_write().await?;
    let user = mail_tokens::owner(&mut tx, &hash, purpose, now).await?.ok_or_else(void)?;
    if !mail_tokens::take(&mut tx, &hash, purpose).await? {
        return Err(void());
    }
    users::verify_email(&mut tx, user).await?;
    auth.control.keep_activity(&mut tx, &origin.did(user, Action::EmailVerification, true, now)).await?;
    tx.commit().await?;
    tracing::info!(target: SECURITY, client = %origin.client, user.id = %user, "mail address verified");
    Ok(Json(Message::new("Email address verified")))
}

pub(super) fn email(input: &mut Input) -> Valid<Email> {
    input.body().required("email")
}

pub(super) async fn resend(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Message>, Error> {
    let email = input.read(email)?;
    if !auth.mail.asks {
        return Err(Error::BadRequest("Email addresses are not verified here".into()));
    }
    auth.post(&Letter::Verification { email }, &origin).await?;
    Ok(Json(Message::new("If the address is waiting to be verified, a mail is on its way")))
}

impl Auth {
    /// Queues a letter that a stranger asks for. Whether the address is anybody's is found out when it is sent: here the
    /// same is done for every address, so that neither the answer nor its time tells.
    pub(super) async fn post(&self, letter: &Letter, origin: &Origin) -> Result<(), Error> {
        if !self.mail.outbox.is_open() {
            return Err(Error::BadRequest("This service sends no mail".into()));
        }
        if let Some(limits) = &self.limits {
            limits.mail(origin.client).map_err(Error::TooManyRequests)?;
        }
        let mut tx = self.control.plain_write().await?;
        self.mail.outbox.queue(&mut tx, letter, Timestamp::now()).await?;
        Ok(tx.commit().await?)
    }
}
