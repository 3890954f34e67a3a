//! Signing in, staying in and signing out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::{header, request::Parts};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Auth;
use crate::admin::client::ClientAddress;
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::reply::{Message, Written};
use crate::http::Refusal;
use crate::jwt::{self, Kind};
use crate::model::{Claims, Reason, Secret, Timestamp, UserId, Username, rules::Revocation};
use crate::password::{self, Verdict};
use crate::store::{changes::Change, revocations, sessions, sessions::NewSession, users, users::Credentials};
use crate::telemetry::logs::SECURITY;

/// An access token, and with a new session its refresh token.
#[derive(Serialize, JsonSchema)]
pub(super) struct Pair {
    access_token: String,
    refresh_token: Option<String>,
    token_type: &'static str,
    expires_in: u64,
}

/// Where a sign-in comes from, for the list of sessions.
pub(super) struct Origin {
    user_agent: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { user_agent: agent.map(|text| text.chars().take(512).collect()) })
    }
}

pub(super) fn credentials(input: &mut Input) -> Valid<(String, Secret<String>)> {
    let mut body = input.body_or_form();
    let name = body.required::<String>("username");
    let password = body.required::<Secret<String>>("password");
    Some((name?, password?))
}

pub(super) async fn login(
    State(auth): State<Auth>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    origin: Origin,
    input: Input,
) -> Result<Json<Pair>, Error> {
    let (name, password) = input.read(credentials)?;
    let mut tx = auth.control.read().await?;
    let known = users::credentials(&mut tx, name.trim()).await?;
    drop(tx);
    // One account, one limit, however it is spelt: name, address, `Somebody <address>`.
    let account = known.as_ref().map_or_else(|| users::normal_login(name.trim()), |known| known.username.to_string());
    let outcome = auth.sign_in(&account, known, password, client, origin).await;
    auth.metrics.login(match &outcome {
        Ok(_) => "success",
        Err(Error::Unauthorized { .. }) => "failure",
        Err(Error::TooManyRequests { .. }) => "limited",
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
        client: IpAddr,
        origin: Origin,
    ) -> Result<Pair, Error> {
        self.failures.check(account, client).map_err(limited)?;
        let verified = self.verify(known, password, client).await;
        // Again: guesses that were verified at the same time may have used up the limit.
        self.failures.check(account, client).map_err(limited)?;
        if matches!(verified, Err(Error::Unauthorized { .. })) {
            self.failures.record(account, client);
        }
        let known = verified?;
        self.open_session((known.id, &known.username), known.token_epoch, client, origin).await
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

    /// Makes a session and its first pair of tokens.
    async fn open_session(
        &self,
        user: (UserId, &Username),
        epoch: i64,
        client: IpAddr,
        origin: Origin,
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
            ip: Some(client.to_string()),
            user_agent: origin.user_agent,
        };
        let mut tx = self.control.plain_write().await?;
        sessions::insert(&mut tx, &new, now).await?;
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

    /// Ends the session of `claims`, or the token alone where it belongs to none.
    ///
    /// # Errors
    /// It has been ended already.
    async fn end(&self, claims: &Claims) -> Result<Written<Message>, Error> {
        let mut write = self.control.write().await?;
        let now = write.now();
        // Looked at under the writers' lock: somebody may have ended it since the request was let in.
        if write.base().is_revoked(claims) {
            return Err(Error::invalid_token("Invalid or expired token"));
        }
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
        Ok(write.commit(Message::new("Successfully logged out")).await?.into())
    }
}

/// The answer to one try too many.
pub(super) fn limited(refusal: Refusal) -> Error {
    let detail = format!("Rate limit exceeded. Max {} requests per {} seconds.", refusal.max, refusal.window.as_secs());
    Error::TooManyRequests { detail: detail.into(), retry_after: refusal.retry_after }
}

fn wrong_credentials() -> Error {
    Error::Unauthorized { detail: "Invalid username or password".into(), presented: false }
}

pub(super) fn refresh_token(input: &mut Input) -> Valid<Secret<String>> {
    input.body().required("refresh_token")
}

pub(super) async fn refresh(
    State(auth): State<Auth>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    origin: Origin,
    input: Input,
) -> Result<Json<Pair>, Error> {
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
    let epoch = snapshot.user(caller.id()).map_or(claims.epoch, |user| user.token_epoch);
    let user = (caller.id(), caller.username());
    let Some(session) = &claims.session_id else {
        // The predecessor's refresh tokens belong to no session: exchanged once for a pair that does.
        // It is ended first: of several exchanges at once, one finds it alive.
        auth.end(&claims).await?;
        return auth.open_session(user, epoch, client, origin).await.map(Json);
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

pub(super) async fn logout(State(auth): State<Auth>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, _input) = call.signed_in();
    tracing::info!(target: SECURITY, { user.id = %caller.id() }, "signed out");
    auth.end(&caller.claims).await
}
