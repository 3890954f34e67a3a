//! Signing in, staying in and signing out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::{header, request::Parts};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Auth;
use crate::admin::client::ClientAddress;
use crate::admin::error::Error;
use crate::admin::gate::{Authorized, Call};
use crate::admin::input::{Input, Valid};
use crate::admin::reply::{Message, Written};
use crate::control::Write;
use crate::jwt::{self, Kind};
use crate::model::{Claims, Reason, Secret, Timestamp, UserId, Username, rules::Revocation};
use crate::password::{self, Verdict};
use crate::store::{
    activity::{Action, NewActivity},
    changes::Change,
    revocations, sessions,
    sessions::NewSession,
    users,
    users::Credentials,
};
use crate::telemetry::logs::SECURITY;

/// An access token, and with a new session its refresh token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct Pair {
    access_token: String,
    refresh_token: Option<String>,
    token_type: &'static str,
    expires_in: u64,
}

/// Where a request comes from, for the list of sessions and of what was done.
pub(super) struct Origin {
    pub(super) client: IpAddr,
    user_agent: Option<String>,
}

impl Origin {
    /// What `user` did, or what was tried in that name.
    pub(super) fn did(&self, user_id: UserId, action: Action, success: bool, at: Timestamp) -> NewActivity {
        NewActivity { user_id, action, success, client: self.client, user_agent: self.user_agent.clone(), at }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let client = parts.extensions.get::<ClientAddress>().map_or(Ipv4Addr::UNSPECIFIED.into(), |client| client.0);
        Ok(Self { client, user_agent: agent.map(|text| text.chars().take(512).collect()) })
    }
}

pub(super) fn credentials(input: &mut Input) -> Valid<(String, Secret<String>)> {
    let mut body = input.body_or_form();
    let name = body.required::<String>("username");
    let password = body.required::<Secret<String>>("password");
    Some((name?, password?))
}

pub(super) async fn login(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Pair>, Error> {
    let (name, password) = input.read(credentials)?;
    let mut tx = auth.control.read().await?;
    let known = users::credentials(&mut tx, name.trim()).await?;
    drop(tx);
    // One account, one limit, however it is spelt: name, address, `Somebody <address>`.
    let account = known.as_ref().map_or_else(|| users::normal_login(name.trim()), |known| known.username.to_string());
    let outcome = auth.sign_in(&account, known, password, &origin).await;
    auth.metrics.login(match &outcome {
        Ok(_) => "success",
        Err(Error::Unauthorized { .. }) => "failure",
        Err(Error::TooManyRequests(_)) => "limited",
        Err(_) => "error",
    });
    outcome.map(Json)
}

impl Auth {
    async fn sign_in(
        &self,
        account: &str,
        known: Option<Credentials>,
        password: Secret<String>,
        origin: &Origin,
    ) -> Result<Pair, Error> {
        let (client, user) = (origin.client, known.as_ref().map(|known| known.id));
        self.failures.check(account, client).map_err(Error::TooManyRequests)?;
        let verified = self.verify(known, password, client).await;
        // Again: guesses that were verified at the same time may have used up the limit.
        self.failures.check(account, client).map_err(Error::TooManyRequests)?;
        if matches!(verified, Err(Error::Unauthorized { .. })) {
            self.failures.record(account, client);
            if let Some(user) = user {
                self.control.note_activity(origin.did(user, Action::Login, false, Timestamp::now()));
            }
        }
        let known = verified?;
        self.open_session((known.id, &known.username), known.token_epoch, origin, true).await
    }

    async fn verify(
        &self,
        known: Option<Credentials>,
        password: Secret<String>,
        client: IpAddr,
    ) -> Result<Credentials, Error> {
        // Too long to be hashed at all, and no secret of anybody: lengths are public.
        if password.expose().len() > password::MAX_PASSWORD_BYTES {
            return Err(wrong_credentials());
        }
        let stored = known.as_ref().map(|known| known.password_hash.clone());
        let verdict = self.hasher.verify(password.clone(), stored).await?;
        let Some(known) = known.filter(|_| verdict != Verdict::Mismatch) else {
            tracing::info!(target: SECURITY, client = %client, "sign-in failed");
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
        tracing::info!(target: SECURITY, client = %client, user.id = %known.id, "signed in");
        Ok(known)
    }

    /// Makes a session and its first pair of tokens; `signs_in` says whether somebody does.
    async fn open_session(
        &self,
        user: (UserId, &Username),
        epoch: i64,
        origin: &Origin,
        signs_in: bool,
    ) -> Result<Pair, Error> {
        let now = Timestamp::now();
        let session = Uuid::now_v7().to_string();
        let access = self.minter.mint(Kind::Access, user, epoch, &session, now).map_err(Error::internal)?;
        let refresh = self.minter.mint(Kind::Refresh, user, epoch, &session, now).map_err(Error::internal)?;
        let new = NewSession {
            id: session,
            user_id: user.0,
            refresh_jti: refresh.id,
            expires_at: refresh.expires_at,
            ip: Some(origin.client.to_string()),
            user_agent: origin.user_agent.clone(),
        };
        let mut tx = self.control.plain_write().await?;
        sessions::insert(&mut tx, &new, now).await?;
        if signs_in {
            self.control.keep_activity(&mut tx, &origin.did(user.0, Action::Login, true, now)).await?;
        }
        tx.commit().await?;
        Ok(self.pair(&access.token, Some(&refresh.token)))
    }

    fn pair(&self, access: &Secret<String>, refresh: Option<&Secret<String>>) -> Pair {
        Pair {
            access_token: access.expose().clone(),
            refresh_token: refresh.map(|token| token.expose().clone()),
            token_type: "bearer",
            expires_in: self.minter.life(Kind::Access).as_secs(),
        }
    }

    /// Ends the session of `claims`, or the token alone where it belongs to none, once the write is committed.
    ///
    /// # Errors
    /// It has been ended already.
    async fn end(&self, claims: &Claims) -> Result<Write, Error> {
        let mut write = self.control.write().await?;
        // Looked at under the writers' lock: somebody may have ended it since the request was let in.
        if write.base().is_revoked(claims) {
            return Err(Error::invalid_token("Invalid or expired token"));
        }
        self.revoke(&mut write, claims).await?;
        Ok(write)
    }

    async fn revoke(&self, write: &mut Write, claims: &Claims) -> Result<(), Error> {
        let now = write.now();
        // As long as any of its tokens would be accepted, or it would come back to life.
        let verifier = &self.gate.verifier;
        let longest = self.minter.life(Kind::Refresh).max(self.minter.life(Kind::Access)) + verifier.leeway();
        let longest = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX);
        let (key, expires_at) = match (&claims.session_id, &claims.token_id) {
            (Some(session), _) => {
                sessions::revoke(write.tx(), session, now).await?;
                (format!("sid:{session}"), now.plus_seconds(longest))
            }
            (None, id) => {
                let id = id.as_deref().unwrap_or_default();
                let left = claims.expires_at.saturating_sub(now.unix_seconds());
                let leeway = i64::try_from(verifier.leeway().as_secs()).unwrap_or(i64::MAX);
                (format!("jti:{id}"), now.plus_seconds(left.saturating_add(leeway)))
            }
        };
        revocations::insert(write.tx(), &Revocation { key: key.clone(), expires_at }).await?;
        write.touch(Change::Revocation(key));
        Ok(())
    }

    /// What `token` says, if it is a refresh token of the caller that is worth ending.
    fn other_session(&self, caller: &Authorized, token: &Secret<String>) -> Option<Claims> {
        let now = Timestamp::now();
        let claims = self.gate.verifier.verify_refresh(token.expose(), now).ok()?;
        let is_other = claims.session_id.is_none() || claims.session_id != caller.claims.session_id;
        // A stranger's is none of the caller's business, however it was come by.
        let owner = self.gate.snapshots.load().caller(&Arc::new(claims.clone()), now).ok()?;
        (is_other && owner.user_id() == Some(caller.id())).then_some(claims)
    }
}

fn wrong_credentials() -> Error {
    Error::Unauthorized { detail: "Invalid username or password".into(), presented: false }
}

pub(super) fn refresh_token(input: &mut Input) -> Valid<Secret<String>> {
    input.body().required("refresh_token")
}

pub(super) async fn refresh(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Pair>, Error> {
    let token = input.read(refresh_token)?;
    let refused = |detail: &'static str| Error::invalid_token(detail);
    let now = Timestamp::now();
    let claims = auth.gate.verifier.verify_refresh(token.expose(), now).map_err(|error| {
        tracing::debug!(%error, "refresh token refused");
        refused(if error == jwt::Error::Kind { "Invalid token type" } else { "Invalid or expired token" })
    })?;
    let snapshot = auth.gate.snapshots.load();
    let claims = Arc::new(claims);
    let caller = snapshot.caller(&claims, now).map_err(|reason| match reason {
        Reason::UserInactive | Reason::InvalidToken => refused("User account not found or inactive"),
        _ => refused("Invalid or expired token"),
    })?;
    let account = caller.account().ok_or_else(|| refused("User account not found or inactive"))?;
    let (epoch, user) = (account.token_epoch, (account.id, &account.username));
    let Some(session) = &claims.session_id else {
        // The predecessor's refresh tokens belong to no session: exchanged once for a pair that does.
        // It is ended first: of several exchanges at once, one finds it alive.
        auth.end(&claims).await?.commit(()).await?;
        return auth.open_session(user, epoch, &origin, false).await.map(Json);
    };
    let mut tx = auth.control.plain_write().await?;
    let known = sessions::get(&mut tx, session).await?;
    let alive = known.is_some_and(|known| known.revoked_at.is_none() && known.expires_at > now);
    if !alive {
        return Err(refused("Invalid or expired token"));
    }
    sessions::touch(&mut tx, session, now).await?;
    tx.commit().await?;
    let access = auth.minter.mint(Kind::Access, user, epoch, session, now).map_err(Error::internal)?;
    Ok(Json(auth.pair(&access.token, None)))
}

/// A refresh token that shall end too, if the body holds one.
pub(super) fn other_token(input: &mut Input) -> Valid<Option<Secret<String>>> {
    input.optional_body().optional("refresh_token")
}

/// Ends the caller's session, and that of a refresh token which the body may hold: the predecessor's belong to no session,
/// so they would outlive it.
pub(super) async fn logout(State(auth): State<Auth>, origin: Origin, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.signed_in();
    let token = input.read(other_token)?;
    tracing::info!(target: SECURITY, { user.id = %caller.id() }, "signed out");
    let mut write = auth.end(&caller.claims).await?;
    if let Some(other) = token.and_then(|token| auth.other_session(&caller, &token)) {
        auth.revoke(&mut write, &other).await?;
    }
    let did = origin.did(caller.id(), Action::Logout, true, write.now());
    auth.control.keep_activity(write.tx(), &did).await?;
    Ok(write.commit(Message::new("Successfully logged out")).await?.into())
}
