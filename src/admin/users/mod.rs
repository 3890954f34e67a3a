//! Users and the roles assigned to them.

mod account;
mod bulk;
mod roles;
mod status;

use std::net::IpAddr;

use axum::extract::{FromRef, State};
use axum::http::Uri;
use axum::routing::{get, patch, post};
use axum::{Extension, Json};

pub(super) use account::{Account, flaw, new_password, profile};

use super::auth::{Scene, ask};
use super::client::ClientAddress;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, page, search};
use super::reply::{Message, Written};
use crate::admin::record;
use crate::control::{Control, Write};
use crate::model::{Email, RoleId, Timestamp, User, UserId, UserPatch, Username, stored_role_name};
use crate::password::{Hasher, Policy};
use crate::policy::Caller;
use crate::store::{self, Tx, changes::Change, users, users::Filter};
use account::MOST_IDS;

/// What the endpoints of this folder use.
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
        .at("/users/bulk-create", post(bulk::create))
        .at("/users/bulk-delete", post(bulk::delete))
        .at("/users/bulk-status", post(bulk::status))
        .at("/users/bulk-roles", post(bulk::roles))
        .at("/users/{user_id}", get(one).put(update).patch(status::set).delete(delete))
        .at("/users/get-one/{user_id}", get(one).put(update))
        .at("/users/{user_id}/toggle-status", patch(status::toggle))
        .at("/users/{user_id}/activate", post(status::activate))
        .at("/users/{user_id}/deactivate", post(status::deactivate))
        .at("/users/{user_id}/restore", post(status::restore))
        .at("/users/{user_id}/roles", get(roles::list))
        .at("/users/{user_id}/roles/{role_id}", post(roles::assign).delete(roles::unassign))
}

/// The user that must exist.
pub(super) async fn existing(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<User, Error> {
    users::get(tx, id, now).await?.ok_or_else(not_found)
}

fn not_found() -> Error {
    Error::NotFound("User not found".into())
}

/// What it means that a unique value of a user is taken.
pub(super) fn taken(error: store::Error) -> Error {
    Error::taken(error, "Username or email already exists")
}

/// Refuses the caller's own deactivation.
pub(super) fn keeps_himself(caller: &Caller, id: UserId, is_active: bool) -> Result<(), Error> {
    if caller.id() == id && !is_active {
        return Err(Error::BadRequest("You cannot deactivate your own account".into()));
    }
    Ok(())
}

/// Commits a change to the user and answers with the user.
pub(super) async fn changed(mut write: Write, id: UserId) -> Result<Written<User>, Error> {
    write.touch(Change::User(id));
    let now = write.now();
    let user = existing(write.tx(), id, now).await?;
    record::after_user(&mut write, id).await?;
    Ok(write.commit(user).await?.into())
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let role = input.query::<String>("role").max_length(50).optional();
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let role = role?.filter(|name| !name.is_empty()).map(|name| stored_role_name(&name).to_owned());
    Some(Filter { search: search?, is_active: is_active?, role, include_deleted: include_deleted? })
}

/// Deleted users are shown to whoever could have deleted them: everybody else asked for them to be gone.
fn may_see(gate: &Gate, caller: &Caller, filter: &Filter, (client, uri): (IpAddr, &Uri)) -> Result<(), Error> {
    const NEEDED: &str = "user:delete";
    let scene = Scene { client, method: "GET", path: uri.path(), owner: None };
    if filter.include_deleted && ask(gate, caller, NEEDED, &scene)?.is_some() {
        return Err(Error::permission(NEEDED));
    }
    Ok(())
}

async fn list(
    State(state): State<Users>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    uri: Uri,
    call: Call,
) -> Result<Json<Vec<User>>, Error> {
    let (caller, mut input) = call.permit("user:read")?;
    let (page, filter) = (page(&mut input, Limits::Lenient), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    may_see(&state.gate, &caller, &filter, (client, &uri))?;
    let mut tx = state.control.read().await?;
    Ok(Json(users::list(&mut tx, &filter, page.into(), Timestamp::now()).await?))
}

async fn count(
    State(state): State<Users>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    uri: Uri,
    call: Call,
) -> Result<Json<i64>, Error> {
    let (caller, mut input) = call.permit("user:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
    may_see(&state.gate, &caller, &filter, (client, &uri))?;
    let mut tx = state.control.read().await?;
    Ok(Json(users::count(&mut tx, &filter, Timestamp::now()).await?))
}

async fn one(State(state): State<Users>, call: Call) -> Result<Json<User>, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let id = input.path("user_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id, Timestamp::now()).await.map(Json)
}

async fn create(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, mut input) = call.permit("user:create")?;
    let account = Account::read(&mut input.body(), state.policy);
    let account = input.finish(|| account)?;
    account.make((&state.control, &state.hasher), Some(caller.origin()), taken).await
}

async fn update(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, mut input) = call.permit("user:update")?;
    let id = input.path::<UserId>("user_id");
    let mut body = input.body();
    let username = body.optional::<Username>("username");
    let email = body.optional::<Email>("email");
    let password = new_password(&mut body, "password", state.policy);
    let profile = profile(&mut body);
    let is_active = body.optional::<bool>("is_active");
    let role_ids = body.field::<Vec<RoleId>>("role_ids").max_items(MOST_IDS).optional();
    let read = || Some((id?, username?, email?, password?, profile?, is_active?, role_ids?));
    let (id, username, email, password, profile, is_active, role_ids) = input.finish(read)?;
    keeps_himself(&caller, id, is_active.unwrap_or(true))?;
    let password_hash = match password {
        Some(password) => Some(state.hasher.hash(password).await?),
        None => None,
    };
    let granted_by = Some(caller.id());
    let patch = UserPatch { username, email, password_hash, is_active, profile, role_ids, granted_by };
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, id).await?;
    let now = write.now();
    if !users::update(write.tx(), id, &patch, now).await.map_err(taken)? {
        return Err(not_found());
    }
    changed(write, id).await
}

async fn delete(State(state): State<Users>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("user:delete")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    if caller.id() == id {
        return Err(Error::BadRequest("You cannot delete your own account".into()));
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, id).await?;
    let now = write.now();
    if !users::delete(write.tx(), id, now).await? {
        return Err(not_found());
    }
    write.touch(Change::User(id));
    write.gone(record::USER, id.0);
    Ok(write.commit(Message::new("User deleted successfully")).await?.into())
}
