//! Setting a password without knowing the one before.

use axum::Json;
use axum::extract::State;

use super::Auth;
use super::address::{email, stored, void};
use super::origin::Origin;
use crate::admin::error::Error;
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::admin::users::{flaw, suits};
use crate::mail::Letter;
use crate::model::{Secret, Timestamp, UserPatch};
use crate::password::Policy;
use crate::store::{
    activity::Action,
    changes::Change,
    mail_tokens::{self, Purpose},
    users,
};
use crate::telemetry::logs::SECURITY;

pub(super) async fn forgot(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Message>, Error> {
    let email = input.read(email)?;
    auth.post(&Letter::Reset { email }, &origin).await?;
    tracing::info!(target: SECURITY, client = %origin.client, "a password reset was asked for");
    Ok(Json(Message::new("If the address belongs to an account, a mail is on its way")))
}

pub(super) fn asked(input: &mut Input, policy: Policy) -> Valid<(Secret<String>, Secret<String>)> {
    let mut body = input.body();
    let token = body.required("token");
    let new = body.field::<Secret<String>>("new_password").check(|secret| flaw(policy, secret)).required();
    Some((token?, new?))
}

pub(super) async fn reset(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Written<Message>, Error> {
    let (token, new) = input.read(|input| asked(input, auth.policy))?;
    let hash = stored(&token)?;
    let now = Timestamp::now();
    let mut tx = auth.control.read().await?;
    // Before anything dear is done for whoever guesses.
    let user = mail_tokens::owner(&mut tx, &hash, Purpose::Reset, now).await?.ok_or_else(void)?;
    let known =
        users::credentials_of(&mut tx, user).await?.filter(users::Credentials::has_password).ok_or_else(void)?;
    drop(tx);
    suits(auth.policy, "new_password", &new, (&known.username, &known.email))?;
    let password_hash = auth.hasher.hash(new).await?;
    let did = origin.did(user, Action::PasswordReset, true, now);
    let mut write = auth.control.write_as(origin.of(user)).await?;
    // Under the writers' lock: of several who came with the same token, one goes on.
    let owner = mail_tokens::owner(write.tx(), &hash, Purpose::Reset, now).await?;
    if owner != Some(user) || !mail_tokens::take(write.tx(), &hash, Purpose::Reset).await? {
        return Err(void());
    }
    record::before_user(&mut write, user).await?;
    let known = users::credentials_of(write.tx(), user).await?.ok_or_else(void)?;
    users::set_password(write.tx(), user, &password_hash, now).await?;
    // Whoever has read the mail has shown that, too.
    users::verify_email(write.tx(), user).await?;
    // Who has a mailbox and a new password is let in from anywhere, however many have guessed the one before.
    users::unlock(write.tx(), user, now).await?;
    let known = users::Credentials { email_verified: true, ..known };
    let patch = UserPatch { password_hash: Some(password_hash), ..UserPatch::default() };
    auth.mail.tell(write.tx(), (&known, &patch), origin.scene(now)).await?;
    auth.control.keep_activity(write.tx(), &did).await?;
    write.touch(Change::User(user));
    record::after_user(&mut write, user).await?;
    let changed = write.commit(Message::new("Password reset successfully")).await?;
    tracing::info!(target: SECURITY, client = %origin.client, user.id = %user, "password reset");
    Ok(changed.into())
}
