//! The roles assigned to a user, for good or for a time.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Users, existing};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Object, Valid};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::control::{Origin, Write};
use crate::model::{AssignedRole, Expiry, RoleId, Timestamp, UserId};
use crate::store::{changes::Change, roles, users};

/// What a user has.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UserRoles")]
pub(super) struct Held {
    user_id: UserId,
    roles: Vec<AssignedRole>,
}

pub(super) async fn list(State(state): State<Users>, call: Call) -> Result<Json<Held>, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let now = Timestamp::now();
    let mut tx = state.control.read().await?;
    existing(&mut tx, id, now).await?;
    Ok(Json(Held { user_id: id, roles: users::held(&mut tx, id, now).await? }))
}

/// Reads when an assignment shall end: clients of old send no body, and mean nothing by it.
pub(super) fn expiry(body: &mut Object<'_>, now: Timestamp) -> Valid<Expiry> {
    let end = body.field::<Timestamp>("expires_at").must(|end| *end > now, "expires_at must be in the future");
    Some(match end.nullable()? {
        None => Expiry::Kept,
        Some(None) => Expiry::Never,
        Some(Some(end)) => Expiry::At(end),
    })
}

pub(super) fn assignment(input: &mut Input) -> Valid<(UserId, RoleId, Expiry)> {
    let (user, role) = (input.path::<UserId>("user_id"), input.path::<RoleId>("role_id"));
    let expiry = input.body_if_any().map_or(Some(Expiry::Kept), |mut body| expiry(&mut body, Timestamp::now()));
    Some((user?, role?, expiry?))
}

pub(super) async fn assign(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.permit("user:update")?;
    let (user, role, expiry) = input.read(assignment)?;
    let mut write = between(&state, caller.origin(), user, role).await?;
    let now = write.now();
    if users::assign(write.tx(), user, role, Some(caller.id()), expiry, now).await? {
        write.touch(Change::User(user));
    }
    record::after_user(&mut write, user).await?;
    Ok(write.commit(Message::new("Role assigned to user successfully")).await?.into())
}

pub(super) async fn unassign(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let (user, role) = (input.path::<UserId>("user_id"), input.path::<RoleId>("role_id"));
    let (user, role) = input.finish(|| Some((user?, role?)))?;
    let mut write = between(&state, caller.origin(), user, role).await?;
    if users::unassign(write.tx(), user, role).await? {
        write.touch(Change::User(user));
    }
    record::after_user(&mut write, user).await?;
    Ok(write.commit(Message::new("Role removed from user successfully")).await?.into())
}

/// A write in which both user and role exist.
async fn between(state: &Users, origin: Origin, user: UserId, role: RoleId) -> Result<Write, Error> {
    let mut write = state.control.write_as(origin).await?;
    record::before_user(&mut write, user).await?;
    let known = !users::existing(write.tx(), &[user]).await?.is_empty()
        && !roles::existing(write.tx(), &[role]).await?.is_empty();
    if known { Ok(write) } else { Err(Error::NotFound("User or role not found".into())) }
}
