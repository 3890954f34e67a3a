//! Staying signed in: sessions, the tokens that belong to them, and how they end.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::Auth;
use super::origin::Origin;
use crate::admin::error::Error;
use crate::admin::gate::Authorized;
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::control::Write;
use crate::http::is_same_network;
use crate::jwt::{self, Kind, NewToken};
use crate::mail::{Letter, Person};
use crate::model::{Claims, Reason, Secret, Timestamp, UserId, Username, rules::Revocation};
use crate::store::{
    self, Page, Tx, activity,
    activity::Action,
    changes::Change,
    revocations, sessions,
    sessions::{NewSession, Rotation, Session},
    users,
    users::Credentials,
};
use crate::telemetry::logs::SECURITY;

/// How many sessions a user has, and how long they last.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// Sessions of one user at the same time; a further one ends the one used longest ago.
    pub most: u32,
    /// None lasts longer, however often it is renewed.
    pub longest: Duration,
    /// For so long the refresh token before the current one is taken for a request sent twice.
    pub grace: Duration,
}

/// An access token, and the refresh token that is good from now on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct Pair {
    access_token: String,
    refresh_token: Option<String>,
    token_type: &'static str,
    expires_in: u64,
}

/// For whom tokens are made.
#[derive(Clone, Copy)]
struct Holder<'h> {
    user: (UserId, &'h Username),
    epoch: i64,
    session: &'h str,
}

/// A refresh token to be made.
#[derive(Clone, Copy)]
struct Renewal<'r> {
    id: &'r str,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Auth {
    /// Makes a session and its first pair of tokens; `signs_in` is who does, if somebody does.
    pub(super) async fn open_session(
        &self,
        user: (UserId, &Username),
        epoch: i64,
        origin: &Origin,
        signs_in: Option<Person>,
    ) -> Result<Pair, Error> {
        let now = Timestamp::now();
        let session = Uuid::now_v7().to_string();
        let ends_at = now.plus(self.sessions.longest);
        let (refresh, expires_at) = (Uuid::now_v7().to_string(), self.renewed_until(ends_at, now));
        let pair = self.pair(
            Holder { user, epoch, session: &session },
            Renewal { id: &refresh, issued_at: now, expires_at },
            now,
        )?;
        let new = NewSession {
            id: session,
            user_id: user.0,
            refresh_jti: refresh,
            expires_at,
            ends_at,
            ip: Some(origin.client.to_string()),
            user_agent: origin.user_agent.clone(),
        };
        let mut tx = self.control.plain_write().await?;
        if let Some(person) = signs_in {
            self.tell_of_new_place(&mut tx, (user.0, person), origin, now).await?;
            self.control.keep_activity(&mut tx, &origin.did(user.0, Action::Login, true, now)).await?;
        }
        sessions::insert(&mut tx, &new, now).await?;
        let is_one_too_many = !self.surplus(&mut tx, user.0, now).await?.is_empty();
        tx.commit().await?;
        if is_one_too_many {
            self.end_surplus(user.0).await?;
        }
        Ok(pair)
    }

    /// Tells who has signed in elsewhere before that somebody signs in here.
    async fn tell_of_new_place(
        &self,
        tx: &mut Tx,
        (user, to): (UserId, Person),
        origin: &Origin,
        now: Timestamp,
    ) -> Result<(), Error> {
        let places = activity::places(tx, user).await?;
        let is_known = places.is_empty() || places.iter().any(|place| is_same_network(place, origin.client));
        if !is_known {
            self.mail.outbox.queue(tx, &Letter::NewSignIn { to, scene: origin.scene(now) }, now).await?;
        }
        Ok(())
    }

    fn renewed_until(&self, ends_at: Timestamp, now: Timestamp) -> Timestamp {
        now.plus(self.minter.life(Kind::Refresh)).min(ends_at)
    }

    /// The sessions beyond what a user may have, one of them more than is looked at being enough to find the next time.
    async fn surplus(&self, tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<Session>, store::Error> {
        sessions::live(tx, user, now, Page { skip: i64::from(self.sessions.most), limit: 100 }).await
    }

    async fn end_surplus(&self, user: UserId) -> Result<(), Error> {
        let mut write = self.control.write().await?;
        let now = write.now();
        for session in self.surplus(write.tx(), user, now).await? {
            self.revoke_session(&mut write, &session.id).await?;
        }
        write.commit(()).await?;
        Ok(())
    }

    fn pair(&self, holder: Holder<'_>, renewal: Renewal<'_>, now: Timestamp) -> Result<Pair, Error> {
        let Holder { user, epoch, session } = holder;
        let life = self.minter.life(Kind::Access);
        let new = NewToken {
            kind: Kind::Access,
            user,
            epoch,
            session,
            id: &Uuid::now_v7().to_string(),
            issued_at: now,
            expires_at: now.plus(life),
        };
        let access = self.minter.mint(&new).map_err(Error::internal)?;
        let Renewal { id, issued_at, expires_at } = renewal;
        let new = NewToken { kind: Kind::Refresh, id, issued_at, expires_at, ..new };
        let refresh = self.minter.mint(&new).map_err(Error::internal)?;
        Ok(Pair {
            access_token: access.expose().clone(),
            refresh_token: Some(refresh.expose().clone()),
            token_type: "bearer",
            expires_in: life.as_secs(),
        })
    }

    /// Ends the session of `claims`, or the token alone where it belongs to none, once the write is committed.
    ///
    /// # Errors
    /// It has been ended already.
    pub(super) async fn end(&self, claims: &Claims) -> Result<Write, Error> {
        let mut write = self.control.write().await?;
        // Looked at under the writers' lock: somebody may have ended it since the request was let in.
        if write.base().is_revoked(claims) {
            return Err(Error::invalid_token("Invalid or expired token"));
        }
        self.revoke(&mut write, claims).await?;
        Ok(write)
    }

    pub(super) async fn revoke(&self, write: &mut Write, claims: &Claims) -> Result<(), Error> {
        if let Some(session) = &claims.session_id {
            return self.revoke_session(write, session).await;
        }
        let now = write.now();
        let left = claims.expires_at.saturating_sub(now.unix_seconds());
        let until = now.plus_seconds(left).plus(self.gate.verifier.leeway());
        void(write, format!("jti:{}", claims.token_id.as_deref().unwrap_or_default()), until).await
    }

    pub(super) async fn revoke_session(&self, write: &mut Write, id: &str) -> Result<(), Error> {
        let now = write.now();
        sessions::revoke(write.tx(), id, now).await?;
        // As long as an access token of it would be accepted; what its refresh tokens are good for, its row says.
        let until = now.plus(self.minter.life(Kind::Access) + self.gate.verifier.leeway());
        void(write, format!("sid:{id}"), until).await
    }

    /// What `token` says, if it is a refresh token of the caller that is worth ending.
    pub(super) fn other_session(&self, caller: &Authorized, token: &Secret<String>) -> Option<Claims> {
        let now = Timestamp::now();
        let claims = self.gate.verifier.verify_refresh(token.expose(), now).ok()?;
        let is_other = claims.session_id.is_none() || claims.session_id != caller.claims.session_id;
        // A stranger's is none of the caller's business, however it was come by.
        let owner = self.gate.snapshots.load().caller(&Arc::new(claims.clone()), now).ok()?;
        (is_other && owner.user_id() == Some(caller.id())).then_some(claims)
    }

    /// Exchanges a refresh token of a session for a pair.
    ///
    /// Of several requests with one token, one puts another in its place; the others, if they are not late, are given
    /// that one too. A token that was replaced longer ago is known to two parties, so the session ends (RFC 9700, 4.14.2).
    async fn renew(&self, holder: Holder<'_>, token_id: &str, origin: &Origin) -> Result<Pair, Error> {
        let now = Timestamp::now();
        let mut tx = self.control.plain_write().await?;
        let Some(known) = sessions::get(&mut tx, holder.session).await?.filter(|known| known.is_alive(now)) else {
            return Err(ended());
        };
        let (new, expires_at) = (Uuid::now_v7().to_string(), self.renewed_until(known.ends_at, now));
        let rotation = Rotation { id: holder.session, old: token_id, new: &new, expires_at };
        if sessions::rotate(&mut tx, rotation, now).await? {
            tx.commit().await?;
            return self.pair(holder, Renewal { id: &new, issued_at: now, expires_at }, now);
        }
        // Another request may have replaced it since it was looked at.
        let known = sessions::get(&mut tx, holder.session).await?.filter(|known| known.is_alive(now));
        drop(tx);
        let Some(known) = known else { return Err(ended()) };
        let rotated_at = known.rotated_at.unwrap_or(known.created_at);
        if known.previous_jti.as_deref() == Some(token_id) && now.since(rotated_at) <= self.sessions.grace {
            let current = Renewal { id: &known.refresh_jti, issued_at: rotated_at, expires_at: known.expires_at };
            return self.pair(holder, current, now);
        }
        self.end_stolen(&known, origin).await?;
        Err(ended())
    }

    async fn end_stolen(&self, session: &Session, origin: &Origin) -> Result<(), Error> {
        tracing::warn!(
            target: SECURITY,
            client = %origin.client,
            user.id = %session.user_id,
            session.id = session.id,
            "session ended: a refresh token was used again after it had been replaced"
        );
        let mut write = self.control.write().await?;
        let now = write.now();
        write.witness(origin.witness());
        let on_record = |ended: Option<&str>| json!({ "id": session.id, "user_id": session.user_id, "created_at": session.created_at, "ended": ended });
        write.leaves(record::SESSION, session.id.as_str(), &on_record(None));
        self.revoke_session(&mut write, &session.id).await?;
        write.becomes(record::SESSION, session.id.as_str(), &on_record(Some("a refresh token was used twice")));
        let did = origin.did(session.user_id, Action::Refresh, false, now);
        self.control.keep_activity(write.tx(), &did).await?;
        if let Some(owner) = users::credentials_of(write.tx(), session.user_id).await? {
            let letter = Letter::SessionsEnded { to: person(&owner), scene: origin.scene(now) };
            self.mail.outbox.queue(write.tx(), &letter, now).await?;
        }
        write.commit(()).await?;
        Ok(())
    }
}

/// Who is written to.
pub(super) fn person(known: &Credentials) -> Person {
    Person { username: known.username.clone(), email: known.email.clone() }
}

async fn void(write: &mut Write, key: String, until: Timestamp) -> Result<(), Error> {
    revocations::insert(write.tx(), &Revocation { key: key.clone(), expires_at: until }).await?;
    write.touch(Change::Revocation(key));
    Ok(())
}

fn ended() -> Error {
    Error::invalid_token("Invalid or expired token")
}

pub(super) fn refresh_token(input: &mut Input) -> Valid<Secret<String>> {
    input.body().required("refresh_token")
}

pub(super) async fn refresh(State(auth): State<Auth>, origin: Origin, input: Input) -> Result<Json<Pair>, Error> {
    let token = input.read(refresh_token)?;
    let now = Timestamp::now();
    let claims = auth.gate.verifier.verify_refresh(token.expose(), now).map_err(|error| {
        tracing::debug!(%error, "refresh token refused");
        if error == jwt::Error::Kind { Error::invalid_token("Invalid token type") } else { ended() }
    })?;
    let snapshot = auth.gate.snapshots.load();
    let claims = Arc::new(claims);
    let caller = snapshot.caller(&claims, now).map_err(|reason| match reason {
        Reason::UserInactive | Reason::InvalidToken => Error::invalid_token("User account not found or inactive"),
        _ => ended(),
    })?;
    let account = caller.account().ok_or_else(|| Error::invalid_token("User account not found or inactive"))?;
    let (epoch, user) = (account.token_epoch, (account.id, &account.username));
    let Some(session) = &claims.session_id else {
        // The predecessor's refresh tokens belong to no session: exchanged once for a pair that does.
        // It is ended first: of several exchanges at once, one finds it alive.
        auth.end(&claims).await?.commit(()).await?;
        return auth.open_session(user, epoch, &origin, None).await.map(Json);
    };
    let token_id = claims.token_id.as_deref().unwrap_or_default();
    auth.renew(Holder { user, epoch, session }, token_id, &origin).await.map(Json)
}
