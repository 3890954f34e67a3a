//! Where one is signed in, and signing out: here, elsewhere, everywhere.

use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Auth;
use super::origin::Origin;
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::page::{Limits, Page, page};
use crate::admin::reply::{Listed, Message, Written};
use crate::model::{Secret, Timestamp};
use crate::store::{Total, activity::Action, changes::Change, sessions, sessions::Session, users};
use crate::telemetry::logs::SECURITY;

/// Longer than any session's id.
const LONGEST_ID: usize = 64;

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

/// Voids every token of the caller, this one among them.
pub(super) async fn logout_all(
    State(auth): State<Auth>,
    origin: Origin,
    call: Call,
) -> Result<Written<Message>, Error> {
    let (caller, _input) = call.signed_in();
    tracing::info!(target: SECURITY, { user.id = %caller.id() }, "signed out everywhere");
    let mut write = auth.control.write_as(caller.origin()).await?;
    let now = write.now();
    users::sign_out(write.tx(), caller.id(), now).await?;
    write.touch(Change::User(caller.id()));
    let did = origin.did(caller.id(), Action::Logout, true, now);
    auth.control.keep_activity(write.tx(), &did).await?;
    Ok(write.commit(Message::new("Successfully logged out everywhere")).await?.into())
}

/// A session as its owner sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(super) struct Shown {
    /// Identity.
    id: String,
    /// The sign-in.
    created_at: Timestamp,
    /// The last time that its tokens were renewed.
    last_seen_at: Timestamp,
    /// When it ends unless they are renewed again.
    expires_at: Timestamp,
    /// Where it was opened from.
    ip: Option<String>,
    /// By what.
    user_agent: Option<String>,
    /// Whether the request that asks belongs to it.
    current: bool,
}

pub(super) fn wanted(input: &mut Input) -> Valid<Page> {
    page(input, Limits::Lenient)
}

pub(super) async fn sessions(State(auth): State<Auth>, call: Call) -> Result<Listed<Shown>, Error> {
    let (caller, input) = call.signed_in();
    let page = input.read(wanted)?;
    let now = Timestamp::now();
    let mut tx = auth.control.read().await?;
    let rows = sessions::live(&mut tx, caller.id(), now, page.into()).await?;
    let count = sessions::count_live(&mut tx, caller.id(), now).await?;
    let current = caller.claims.session_id.as_deref();
    let shown = |session: Session| {
        let Session { id, created_at, last_seen_at, expires_at, ip, user_agent, .. } = session;
        let current = Some(id.as_str()) == current;
        Shown { id, created_at, last_seen_at, expires_at, ip, user_agent, current }
    };
    Ok(Listed { rows: rows.into_iter().map(shown).collect(), total: Total { count, is_capped: false } })
}

pub(super) fn named(input: &mut Input) -> Valid<String> {
    input.path::<String>("session_id")
}

/// Ends one of the caller's sessions; those of others are not there.
pub(super) async fn end_session(
    State(auth): State<Auth>,
    origin: Origin,
    call: Call,
) -> Result<Written<Message>, Error> {
    let (caller, input) = call.signed_in();
    let id = input.read(named)?;
    let mut write = auth.control.write_as(caller.origin()).await?;
    let now = write.now();
    let known = match id.len() {
        0..=LONGEST_ID => sessions::get(write.tx(), &id).await?,
        _ => None,
    };
    if !known.is_some_and(|known| known.user_id == caller.id() && known.is_alive(now)) {
        return Err(Error::NotFound("Session not found".into()));
    }
    tracing::info!(target: SECURITY, { user.id = %caller.id(), session.id = id }, "session ended");
    auth.revoke_session(&mut write, &id).await?;
    let did = origin.did(caller.id(), Action::Logout, true, now);
    auth.control.keep_activity(write.tx(), &did).await?;
    Ok(write.commit(Message::new("Session ended")).await?.into())
}
