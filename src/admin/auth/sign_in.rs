//! Signing in.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::Auth;
use super::origin::Origin;
use super::session::Pair;
use crate::admin::error::Error;
use crate::admin::input::{Input, Valid};
use crate::http::{Attempt, is_same_network};
use crate::model::{Secret, Timestamp, UserId};
use crate::password::{self, Verdict};
use crate::store::{Tx, activity, activity::Action, users, users::Credentials};
use crate::telemetry::logs::SECURITY;

pub(super) fn credentials(input: &mut Input) -> Valid<(String, Secret<String>)> {
    let mut body = input.body_or_form();
    let name = body.required::<String>("username");
    let password = body.required::<Secret<String>>("password");
    Some((name?, password?))
}

pub(super) async fn login(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Pair>, Error> {
    let (name, password) = input.read(credentials)?;
    let outcome = auth.sign_in(name.trim(), password, &origin).await;
    auth.metrics.login(match &outcome {
        Ok(_) => "success",
        Err(Error::Unauthorized { .. }) => "failure",
        Err(Error::TooManyRequests(_)) => "limited",
        Err(Error::Locked(_)) => "locked",
        Err(_) => "error",
    });
    outcome.map(Json)
}

impl Auth {
    async fn sign_in(&self, name: &str, password: Secret<String>, origin: &Origin) -> Result<Pair, Error> {
        let mut tx = self.control.read().await?;
        let known = users::credentials(&mut tx, name).await?;
        // One account, one limit, however it is spelt: name, address, `Somebody <address>`.
        let account = known.as_ref().map_or_else(|| users::bucket(name), |known| known.username.key());
        let forgiven = known.as_ref().and_then(|known| known.unlocked_at);
        let attempt = Attempt { account: &account, address: origin.client, forgiven, now: Timestamp::now() };
        self.failures.check(&attempt).map_err(Error::TooManyRequests)?;
        self.open_here(&mut tx, known.as_ref(), &attempt).await?;
        drop(tx);
        let user = known.as_ref().map(|known| known.id);
        let verified = self.verify(known, password, origin).await;
        // Again: guesses that were verified at the same time may have used up the limit.
        self.failures.check(&attempt).map_err(Error::TooManyRequests)?;
        if matches!(verified, Err(Error::Unauthorized { .. })) {
            self.failed(&attempt, user, Action::Login, origin);
        }
        let known = verified?;
        self.failures.forget(&attempt);
        self.open_session((known.id, &known.username), known.token_epoch, origin, true).await
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
        let control = self.control.clone();
        tokio::spawn(async move {
            let locked = async {
                let mut tx = control.plain_write().await?;
                users::lock(&mut tx, user, Timestamp::now().plus(wait)).await?;
                tx.commit().await.map_err(Error::from)
            };
            if let Err(error) = locked.await {
                tracing::warn!(%error, user.id = %user, "that an account is closed could not be kept");
            }
        });
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
        if verdict == Verdict::MatchOutdated {
            let hash = self.hasher.hash(password).await?;
            let mut tx = self.control.plain_write().await?;
            users::rehash(&mut tx, known.id, &hash).await?;
            tx.commit().await?;
        }
        tracing::info!(target: SECURITY, client = %origin.client, user.id = %known.id, "signed in");
        Ok(known)
    }
}

fn wrong_credentials() -> Error {
    Error::Unauthorized { detail: "Invalid username or password".into(), presented: false }
}
