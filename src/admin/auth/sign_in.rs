//! Signing in.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::Auth;
use super::origin::Origin;
use super::session::{Pair, person};
use crate::admin::error::Error;
use crate::admin::input::{Input, Valid};
use crate::admin::users::{new_password, same_password, suits};
use crate::http::{Attempt, is_same_network};
use crate::mail::Letter;
use crate::model::{Secret, Timestamp, UserId, UserPatch};
use crate::password::{self, Policy, Verdict};
use crate::store::{Tx, activity, activity::Action, changes::Change, users, users::Credentials};
use crate::telemetry::logs::SECURITY;

/// Who signs in, with what, and the password that shall be good from now on, if it must be another.
pub(super) struct Presented {
    name: String,
    password: Secret<String>,
    new: Option<Secret<String>>,
}

pub(super) fn credentials(input: &mut Input, policy: Policy) -> Valid<Presented> {
    let mut body = input.body_or_form();
    let name = body.required::<String>("username");
    let password = body.required::<Secret<String>>("password");
    let new = new_password(&mut body, "new_password", policy);
    Some(Presented { name: name?, password: password?, new: new? })
}

pub(super) async fn login(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Pair>, Error> {
    let presented = input.read(|input| credentials(input, auth.policy))?;
    let outcome = auth.sign_in(presented, &origin).await;
    auth.metrics.login(match &outcome {
        Ok(_) => "success",
        Err(Error::Unauthorized { .. } | Error::Forbidden(_)) => "failure",
        Err(Error::TooManyRequests(_)) => "limited",
        Err(Error::Locked(_)) => "locked",
        Err(_) => "error",
    });
    outcome.map(Json)
}

impl Auth {
    async fn sign_in(&self, presented: Presented, origin: &Origin) -> Result<Pair, Error> {
        let Presented { name, password, new } = presented;
        let name = name.trim();
        let mut tx = self.control.read().await?;
        let known = users::credentials(&mut tx, name).await?;
        // One account, one limit, however it is spelt: name, address, `Somebody <address>`.
        let account = known.as_ref().map_or_else(|| users::bucket(name), |known| known.username.key());
        let forgiven = known.as_ref().and_then(|known| known.unlocked_at);
        let attempt = Attempt { account: &account, address: origin.client, forgiven, now: Timestamp::now() };
        if let Err(refusal) = self.let_try(&mut tx, known.as_ref(), &attempt).await {
            drop(tx);
            let alias = users::bucket(name);
            let is_alias = known.is_some() && alias != account && !matches!(refusal, Error::Unavailable(_));
            return Err(if is_alias { self.as_nobody(&alias, password, origin).await } else { refusal });
        }
        drop(tx);
        let user = known.as_ref().map(|known| known.id);
        let shown = password.clone();
        let verified = self.verify(known, password, origin).await;
        // Again: guesses that were verified at the same time may have used up the limit.
        self.failures.check(&attempt).map_err(Error::TooManyRequests)?;
        if matches!(verified, Err(Error::Unauthorized { .. })) {
            self.failed(&attempt, user, Action::Login, origin);
        }
        let known = verified?;
        self.failures.forget(&attempt);
        if self.mail.requires && !known.email_verified {
            return Err(Error::Forbidden("Email address is not verified".into()));
        }
        let epoch = match new {
            Some(new) => self.replace_password(&known, (&shown, new), origin).await?,
            None if known.must_change_password => return Err(Error::Forbidden("Password change required".into())),
            None => known.token_epoch,
        };
        let pair = self.open_session((known.id, &known.username), epoch, origin, Some(person(&known))).await?;
        tracing::info!(target: SECURITY, client = %origin.client, user.id = %known.id, "signed in");
        Ok(pair)
    }

    /// Sets another password for somebody who has shown the one before; returns the token epoch that begins with it.
    async fn replace_password(
        &self,
        known: &Credentials,
        (shown, new): (&Secret<String>, Secret<String>),
        origin: &Origin,
    ) -> Result<i64, Error> {
        suits(self.policy, "new_password", &new, (&known.username, &known.email))?;
        if new.expose() == shown.expose() {
            return Err(same_password("new_password"));
        }
        let hash = self.hasher.hash(new).await?;
        let mut write = self.control.write_as(origin.of(known.id)).await?;
        let now = write.now();
        // Under the writers' lock: somebody else may have set another since it was shown.
        let before = users::credentials_of(write.tx(), known.id).await?;
        let before = before.filter(|before| before.token_epoch == known.token_epoch).ok_or_else(wrong_credentials)?;
        users::set_password(write.tx(), known.id, &hash, now).await?;
        let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
        self.mail.tell(write.tx(), (&before, &patch), origin.scene(now)).await?;
        let did = origin.did(known.id, Action::PasswordChange, true, now);
        self.control.keep_activity(write.tx(), &did).await?;
        write.touch(Change::User(known.id));
        let after = users::credentials_of(write.tx(), known.id).await?.ok_or_else(wrong_credentials)?;
        write.commit(after.token_epoch).await.map(|written| written.value).map_err(Error::from)
    }

    /// Refuses one try too many.
    async fn let_try(&self, tx: &mut Tx, known: Option<&Credentials>, attempt: &Attempt<'_>) -> Result<(), Error> {
        self.failures.check(attempt).map_err(Error::TooManyRequests)?;
        self.open_here(tx, known, attempt).await
    }

    /// Answers a try for a mail address whose account is held up as one for an address that nobody has: or the refusal
    /// would tell whose address it is.
    async fn as_nobody(&self, alias: &str, password: Secret<String>, origin: &Origin) -> Error {
        let attempt = Attempt { account: alias, address: origin.client, forgiven: None, now: Timestamp::now() };
        if let Err(refusal) = self.failures.check(&attempt) {
            return Error::TooManyRequests(refusal);
        }
        if let Err(error) = self.verify(None, password, origin).await
            && !matches!(error, Error::Unauthorized { .. })
        {
            return error;
        }
        self.failures.record(&attempt);
        wrong_credentials()
    }

    /// Refuses a try for an account that is closed, unless its owner has signed in from there before. Names that nobody
    /// has are closed alike.
    pub(super) async fn open_here(
        &self,
        tx: &mut Tx,
        known: Option<&Credentials>,
        attempt: &Attempt<'_>,
    ) -> Result<(), Error> {
        let stored = known.and_then(|known| known.locked_until).map(|until| until.since(attempt.now));
        let closed = self.failures.closed(attempt).max(stored.filter(|left| !left.is_zero()));
        let Some(left) = closed else { return Ok(()) };
        // Nobody has the id 0: whether there is such an account must not show in how long this takes.
        let places = activity::places(tx, known.map_or(UserId(0), |known| known.id)).await?;
        let is_known = places.iter().any(|place| is_same_network(place, attempt.address));
        if is_known { Ok(()) } else { Err(Error::Locked(left)) }
    }

    /// Counts a wrong password, and has it noted.
    pub(super) fn failed(&self, attempt: &Attempt<'_>, user: Option<UserId>, action: Action, origin: &Origin) {
        let closed = self.failures.record(attempt);
        let Some(user) = user else { return };
        self.control.note_activity(origin.did(user, action, false, Timestamp::now()));
        if let Some(wait) = closed {
            self.close(user, wait, origin);
        }
    }

    /// Keeps on record that the account is closed; nobody waits for it, or it would show that there is one.
    fn close(&self, user: UserId, wait: Duration, origin: &Origin) {
        tracing::warn!(
            target: SECURITY,
            client = %origin.client,
            user.id = %user,
            seconds = wait.as_secs(),
            "account closed to unknown addresses: too many failed sign-ins"
        );
        let (control, outbox, now) = (self.control.clone(), self.mail.outbox.clone(), Timestamp::now());
        let scene = origin.scene(now);
        tokio::spawn(async move {
            let locked = async {
                let mut tx = control.plain_write().await?;
                users::lock(&mut tx, user, now.plus(wait)).await?;
                if let Some(owner) = users::credentials_of(&mut tx, user).await? {
                    outbox.queue(&mut tx, &Letter::Lockout { to: person(&owner), scene }, now).await?;
                }
                tx.commit().await.map_err(Error::from)
            };
            if let Err(error) = locked.await {
                tracing::warn!(%error, user.id = %user, "that an account is closed could not be kept");
            }
        });
    }

    async fn rehash(&self, known: &Credentials, password: Secret<String>) -> Result<(), Error> {
        let hash = self.hasher.hash(password).await?;
        let mut tx = self.control.plain_write().await?;
        users::rehash(&mut tx, known.id, &known.password_hash, &hash).await?;
        Ok(tx.commit().await?)
    }

    async fn verify(
        &self,
        known: Option<Credentials>,
        password: Secret<String>,
        origin: &Origin,
    ) -> Result<Credentials, Error> {
        // Too long to be hashed at all, and no secret of anybody: lengths are public.
        if password.expose().len() > password::MAX_PASSWORD_BYTES {
            return Err(wrong_credentials());
        }
        let stored = known.as_ref().map(|known| known.password_hash.clone());
        let verdict = self.hasher.verify(password.clone(), stored).await?;
        let Some(known) = known.filter(|_| verdict != Verdict::Mismatch) else {
            tracing::info!(target: SECURITY, client = %origin.client, "sign-in failed");
            return Err(wrong_credentials());
        };
        if !known.is_active {
            return Err(Error::Unauthorized { detail: "Account is disabled".into(), presented: false });
        }
        if verdict == Verdict::MatchOutdated
            && let Err(error) = self.rehash(&known, password).await
        {
            // The password is right nevertheless, and the next sign-in tries again.
            tracing::warn!(%error, user.id = %known.id, "an outdated password hash could not be replaced");
        }
        Ok(known)
    }
}

fn wrong_credentials() -> Error {
    Error::Unauthorized { detail: "Invalid username or password".into(), presented: false }
}
