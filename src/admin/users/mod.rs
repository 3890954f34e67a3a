//! Users and the roles assigned to them.

mod account;
mod bulk;
mod mail;
mod roles;
mod sign_in;
mod status;

use std::net::IpAddr;

use axum::extract::{FromRef, State};
use axum::http::Uri;
use axum::{Extension, Json};

pub(super) use account::{Account, flaw, new_password, profile, same_password, suits};
pub use mail::Mail;
pub(super) use mail::scene;

use super::auth::{Scene, ask};
use super::client::ClientAddress;
use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Authorized, Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, created, page, search, sort};
use super::reply::{Listed, Message, Written};
use crate::admin::record;
use crate::control::{Control, Write};
use crate::model::{Email, RoleId, Secret, Timestamp, User, UserId, UserPatch, Username, stored_role_name};
use crate::password::{Hasher, Policy};
use crate::store::{self, Tx, changes::Change, users, users::Filter};
use account::MOST_IDS;

/// What the endpoints of this folder use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Users {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) hasher: Hasher,
    pub(super) policy: Policy,
    pub(super) mail: Mail,
}

pub(super) fn endpoints() -> Endpoints<Users> {
    Endpoints::new("Users")
        .get("/users/", Needs("user:read"), "List users", list)
        .reads(listing)
        .post("/users/", Needs("user:create"), "Create a user", create)
        .reads(|input| Account::read(&mut input.body(), Policy::default()))
        .get("/users/count", Needs("user:read"), "Count users", count)
        .reads(filter)
        .post("/users/bulk-create", Needs("user:create"), "Create several users, or none", bulk::create)
        .reads(|input| bulk::accounts(input, Policy::default()))
        .post("/users/bulk-delete", Needs("user:delete"), "Delete several users", bulk::delete)
        .reads(bulk::named)
        .post("/users/bulk-status", Needs("user:update"), "Activate or deactivate several users", bulk::status)
        .reads(bulk::switched)
        .post(
            "/users/bulk-roles",
            Needs("user:update"),
            "Assign roles to several users, or take them away",
            bulk::roles,
        )
        .reads(bulk::assigned)
        .get("/users/{user_id}", Needs("user:read"), "Get a user", one)
        .put("/users/{user_id}", Needs("user:update"), "Change a user", update)
        .reads(|input| changes(input, Policy::default()))
        .patch("/users/{user_id}", Needs("user:update"), "Activate or deactivate a user", status::set)
        .reads(status::wanted)
        .delete("/users/{user_id}", Needs("user:delete"), "Delete a user", delete)
        .get("/users/get-one/{user_id}", Needs("user:read"), "Get a user (older path)", one)
        .put("/users/get-one/{user_id}", Needs("user:update"), "Change a user (older path)", update)
        .reads(|input| changes(input, Policy::default()))
        .patch("/users/{user_id}/toggle-status", Needs("user:update"), "Flip whether a user is active", status::toggle)
        .post("/users/{user_id}/activate", Needs("user:update"), "Activate a user", status::activate)
        .post("/users/{user_id}/deactivate", Needs("user:update"), "Deactivate a user", status::deactivate)
        .post("/users/{user_id}/restore", Needs("user:update"), "Bring a deleted user back", status::restore)
        .post("/users/{user_id}/unlock", Needs("user:update"), "Let a user sign in again", sign_in::unlock)
        .post("/users/{user_id}/logout-all", Needs("user:update"), "Sign a user out everywhere", sign_in::logout_all)
        .get("/users/{user_id}/roles", Needs("user:read"), "List the roles assigned to a user", roles::list)
        .post("/users/{user_id}/roles/{role_id}", Needs("user:update"), "Assign a role to a user", roles::assign)
        .reads(roles::assignment)
        .delete("/users/{user_id}/roles/{role_id}", Needs("user:update"), "Take a role from a user", roles::unassign)
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
pub(super) fn keeps_himself(caller: &Authorized, id: UserId, is_active: bool) -> Result<(), Error> {
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
    let (created, sort) = (created(input), sort(input, users::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let role = role?.filter(|name| !name.is_empty()).map(|name| stored_role_name(&name).to_owned());
    let (search, is_active, include_deleted) = (search?, is_active?, include_deleted?);
    Some(Filter { search, is_active, role, created: created?, include_deleted, sort: sort? })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Lenient), filter(input));
    Some((page?, filter?))
}

/// Deleted users are shown to whoever could have deleted them: everybody else asked for them to be gone.
fn may_see(gate: &Gate, caller: &Authorized, filter: &Filter, (client, uri): (IpAddr, &Uri)) -> Result<(), Error> {
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
) -> Result<Listed<User>, Error> {
    let (caller, input) = call.permit("user:read")?;
    let (page, filter) = input.read(listing)?;
    may_see(&state.gate, &caller, &filter, (client, &uri))?;
    let mut tx = state.control.read().await?;
    let (rows, total) = users::counted(&mut tx, &filter, page.into(), Timestamp::now()).await?;
    Ok(Listed { rows, total })
}

async fn count(
    State(state): State<Users>,
    Extension(ClientAddress(client)): Extension<ClientAddress>,
    uri: Uri,
    call: Call,
) -> Result<Json<i64>, Error> {
    let (caller, input) = call.permit("user:read")?;
    let filter = input.read(filter)?;
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
    let (caller, input) = call.permit("user:create")?;
    let account = input.read(|input| Account::read(&mut input.body(), state.policy))?;
    account.make((&state.control, &state.hasher, &state.mail), Some(caller.origin()), taken).await
}

/// Who shall change, how, and the new password, which is still to be hashed.
fn changes(input: &mut Input, policy: Policy) -> Valid<(UserId, UserPatch, Option<Secret<String>>)> {
    let id = input.path::<UserId>("user_id");
    let mut body = input.body();
    let username = body.optional::<Username>("username");
    let email = body.optional::<Email>("email");
    let password = new_password(&mut body, "password", policy);
    let profile = profile(&mut body);
    let is_active = body.optional::<bool>("is_active");
    let role_ids = body.field::<Vec<RoleId>>("role_ids").max_items(MOST_IDS).optional();
    let must_change_password = body.optional::<bool>("must_change_password");
    let (username, email, profile, is_active, role_ids) = (username?, email?, profile?, is_active?, role_ids?);
    let must_change_password = must_change_password?;
    let patch =
        UserPatch { username, email, is_active, profile, must_change_password, role_ids, ..UserPatch::default() };
    Some((id?, patch, password?))
}

async fn update(State(state): State<Users>, call: Call) -> Result<Written<User>, Error> {
    let (caller, input) = call.permit("user:update")?;
    let (id, mut patch, password) = input.read(|input| changes(input, state.policy))?;
    keeps_himself(&caller, id, patch.is_active.unwrap_or(true))?;
    patch.granted_by = Some(caller.id());
    if let Some(password) = password {
        suited(&state, id, &patch, &password).await?;
        patch.password_hash = Some(state.hasher.hash(password).await?);
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_user(&mut write, id).await?;
    let now = write.now();
    let before = users::credentials_of(write.tx(), id).await?.ok_or_else(not_found)?;
    if !users::update(write.tx(), id, &patch, now).await.map_err(taken)? {
        return Err(not_found());
    }
    state.mail.tell(write.tx(), (&before, &patch), scene(&caller.origin(), now)).await?;
    changed(write, id).await
}

/// Refuses a new password that is not one for this user, by the name and address that the user will have.
async fn suited(state: &Users, id: UserId, patch: &UserPatch, password: &Secret<String>) -> Result<(), Error> {
    let mut tx = state.control.read().await?;
    // Who is not there is told so by the write.
    let Some(known) = users::credentials_of(&mut tx, id).await? else { return Ok(()) };
    let username = patch.username.as_ref().unwrap_or(&known.username);
    let email = patch.email.as_ref().unwrap_or(&known.email);
    suits(state.policy, "password", password, (username, email))
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
