//! Users and the roles assigned to them.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::{get, patch, post};

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Object, Valid};
use super::page::{Limits, page, search};
use super::reply::{Message, Written};
use crate::control::{Control, Write};
use crate::model::{DEFAULT_ROLE, Email, NewUser, RoleId, Secret, User, UserId, UserPatch, Username, stored_role_name};
use crate::password::{Hasher, Policy};
use crate::store::{self, Tx, changes::Change, roles, users, users::Filter};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Users {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) hasher: Hasher,
    pub(super) policy: Policy,
}

pub(super) fn endpoints() -> Endpoints<Users> {
    Endpoints::new()
        .at("/users/", get(list).post(create))
        .at("/users/count", get(count))
        .at("/users/{user_id}", get(one).put(update).delete(delete))
        .at("/users/get-one/{user_id}", get(one).put(update))
        .at("/users/{user_id}/toggle-status", patch(toggle_status))
        .at("/users/{user_id}/roles/{role_id}", post(assign).delete(unassign))
}

/// The user that must exist.
pub(super) async fn existing(tx: &mut Tx, id: UserId) -> Result<User, Error> {
    users::get(tx, id).await?.ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::NotFound("User not found".into())
}

fn taken(error: store::Error) -> Error {
    Error::taken(error, "Username or email already exists")
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let role = input.query::<String>("role").max_length(50).optional();
    let role = role?.filter(|name| !name.is_empty()).map(|name| stored_role_name(&name).to_owned());
    Some(Filter { search: search?, is_active: is_active?, role })
}

async fn list(State(state): State<Users>, call: Call) -> Result<Json<Vec<User>>, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let (page, filter) = (page(&mut input, Limits::Lenient), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    let mut tx = state.control.read().await?;
    Ok(Json(users::list(&mut tx, &filter, page.into()).await?))
}

async fn count(State(state): State<Users>, call: Call) -> Result<Json<i64>, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(users::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Users>, call: Call) -> Result<Json<User>, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let id = input.path("user_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

/// Reads a new password and holds it to the policy.
fn password(body: &mut Object<'_>, policy: Policy) -> Valid<Option<Secret<String>>> {
    let field = body.field::<Secret<String>>("password");
    field.check(|secret| flaw(policy, secret)).optional()
}

fn flaw(policy: Policy, secret: &Secret<String>) -> Result<(), Flaw> {
    if secret.expose().chars().count() < policy.min_length {
        return Err(Flaw::too_short(policy.min_length));
    }
    policy.check(secret.expose()).map_err(Flaw::value)
}

async fn create(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (_, mut input) = call.permit("user:create")?;
    let mut body = input.body();
    let username = body.required::<Username>("username");
    let email = body.required::<Email>("email");
    let password = body.field::<Secret<String>>("password").check(|secret| flaw(state.policy, secret)).required();
    let role_ids = body.optional::<Vec<RoleId>>("role_ids");
    let role_names = body.optional::<Vec<String>>("role_names");
    let is_active = body.field::<bool>("is_active").optional();
    let read = || Some((username?, email?, password?, role_ids?, role_names?, is_active?));
    let (username, email, password, role_ids, role_names, is_active) = input.finish(read)?;
    let password_hash = state.hasher.hash(password).await?;
    let mut write = state.control.write().await?;
    let role_ids = chosen_roles(write.tx(), role_ids, role_names).await?;
    let is_active = is_active.unwrap_or(true);
    let new = NewUser { username, email, password_hash, is_active, role_ids };
    let now = write.now();
    let id = users::insert(write.tx(), &new, now).await.map_err(taken)?;
    changed(write, id).await
}

/// Ids win over names; without either it is the default role.
async fn chosen_roles(tx: &mut Tx, ids: Option<Vec<RoleId>>, names: Option<Vec<String>>) -> Result<Vec<RoleId>, Error> {
    if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
        return Ok(ids);
    }
    let names = names.filter(|names| !names.is_empty()).unwrap_or_else(|| vec![DEFAULT_ROLE.to_owned()]);
    let mut found = Vec::new();
    for name in names.iter().take(1_000) {
        found.extend(roles::find(tx, stored_role_name(name)).await?);
    }
    Ok(found)
}

/// Commits a change to the user and answers with the user.
async fn changed(mut write: Write, id: UserId) -> Result<Written<User>, Error> {
    write.touch(Change::User(id));
    let user = existing(write.tx(), id).await?;
    Ok(write.commit(user).await?.into())
}

async fn update(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let mut body = input.body();
    let username = body.optional::<Username>("username");
    let email = body.optional::<Email>("email");
    let password = password(&mut body, state.policy);
    let is_active = body.optional::<bool>("is_active");
    let role_ids = body.optional::<Vec<RoleId>>("role_ids");
    let read = || Some((id?, username?, email?, password?, is_active?, role_ids?));
    let (id, username, email, password, is_active, role_ids) = input.finish(read)?;
    if is_active == Some(false) && caller.id() == id {
        return Err(Error::BadRequest("You cannot deactivate your own account".into()));
    }
    let password_hash = match password {
        Some(password) => Some(state.hasher.hash(password).await?),
        None => None,
    };
    let patch = UserPatch { username, email, password_hash, is_active, role_ids };
    let mut write = state.control.write().await?;
    let now = write.now();
    if !users::update(write.tx(), id, &patch, now).await.map_err(taken)? {
        return Err(not_found());
    }
    changed(write, id).await
}

async fn toggle_status(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write().await?;
    let user = existing(write.tx(), id).await?;
    if user.is_active && caller.id() == id {
        return Err(Error::BadRequest("You cannot deactivate your own account".into()));
    }
    let patch = UserPatch { is_active: Some(!user.is_active), ..UserPatch::default() };
    let now = write.now();
    users::update(write.tx(), id, &patch, now).await?;
    changed(write, id).await
}

async fn delete(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("user:delete")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    if caller.id() == id {
        return Err(Error::BadRequest("You cannot delete your own account".into()));
    }
    let mut write = state.control.write().await?;
    let now = write.now();
    if !users::delete(write.tx(), id, now).await? {
        return Err(not_found());
    }
    write.touch(Change::User(id));
    Ok(write.commit(Message::new("User deleted successfully")).await?.into())
}

async fn assign(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let granted_by = call.caller_id();
    let (mut write, user, role) = assignment(&state, call).await?;
    let now = write.now();
    users::assign(write.tx(), user, role, Some(granted_by), None, now).await?;
    write.touch(Change::User(user));
    Ok(write.commit(Message::new("Role assigned to user successfully")).await?.into())
}

async fn unassign(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, user, role) = assignment(&state, call).await?;
    users::unassign(write.tx(), user, role).await?;
    write.touch(Change::User(user));
    Ok(write.commit(Message::new("Role removed from user successfully")).await?.into())
}

/// A write in which both the user and the role of the path exist.
async fn assignment(state: &Users, call: Call) -> Result<(Write, UserId, RoleId), Error> {
    let (_, mut input) = call.permit("user:update")?;
    let (user, role) = (input.path::<UserId>("user_id"), input.path::<RoleId>("role_id"));
    let (user, role) = input.finish(|| Some((user?, role?)))?;
    let mut write = state.control.write().await?;
    let known = users::get(write.tx(), user).await?.is_some() && roles::get(write.tx(), role).await?.is_some();
    if known { Ok((write, user, role)) } else { Err(Error::NotFound("User or role not found".into())) }
}
