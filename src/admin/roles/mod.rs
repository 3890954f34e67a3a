//! Roles, their grants and what they inherit.

mod bulk;
mod grants;
mod hierarchy;
mod patterns;

use axum::Json;
use axum::extract::{FromRef, State};

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, created, optional_page, search, sort};
use super::reply::{Listed, Message, Written};
use crate::admin::bulk::switched;
use crate::admin::record;
use crate::control::{Control, Write};
use crate::model::{NewRole, PermissionId, Role, RoleId, RoleName, RolePatch, SUPER_ROLE, SUPER_ROLE_ALIASES};
use crate::store::{Page, Tx, changes::Change, roles, roles::Filter};

/// What the endpoints of roles use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Roles {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Roles> {
    Endpoints::new("Roles")
        .get("/roles/", Needs("role:read"), "List roles", list)
        .reads(listing)
        .post("/roles/", Needs("role:create"), "Create a role", create)
        .reads(new)
        .get("/roles/count", Needs("role:read"), "Count roles", count)
        .reads(filter)
        .post(
            "/roles/create-minimal",
            Needs("role:create"),
            "Create a role like that of new users",
            patterns::create_minimal,
        )
        .reads(patterns::named)
        .get("/roles/templates", Needs("role:read"), "List role templates", patterns::list)
        .post(
            "/roles/from-template/{template}",
            Needs("role:create"),
            "Create a role from a template",
            patterns::create,
        )
        .reads(patterns::templated)
        .get("/roles/hierarchy", Needs("role:read"), "Show which roles inherit from which", hierarchy::tree)
        .post("/roles/bulk-delete", Needs("role:delete"), "Delete several roles", bulk::delete)
        .reads(bulk::named)
        .post("/roles/bulk-status", Needs("role:update"), "Activate or deactivate several roles", bulk::set_status)
        .reads(switched::<RoleId>)
        .get("/roles/{role_id}", Needs("role:read"), "Get a role", one)
        .put("/roles/{role_id}", Needs("role:update"), "Change a role", update)
        .reads(changes)
        .delete("/roles/{role_id}", Needs("role:delete"), "Delete a role", delete)
        .patch("/roles/{role_id}/toggle-status", Needs("role:update"), "Flip whether a role is active", toggle_status)
        .post("/roles/{role_id}/restore", Needs("role:update"), "Bring a deleted role back", restore)
        .get("/roles/{role_id}/permissions", Needs("role:read"), "List what is granted to a role", grants::held)
        .put("/roles/{role_id}/permissions", Needs("role:update"), "Replace what is granted to a role", grants::replace)
        .reads(grants::listed)
        .post(
            "/roles/{role_id}/permissions/bulk",
            Needs("role:update"),
            "Grant several permissions to a role",
            grants::grant_all,
        )
        .reads(grants::listed)
        .post(
            "/roles/{role_id}/permissions/{permission_id}",
            Needs("role:update"),
            "Grant a permission to a role",
            grants::grant,
        )
        .delete(
            "/roles/{role_id}/permissions/{permission_id}",
            Needs("role:update"),
            "Take a permission from a role",
            grants::revoke,
        )
        .get(
            "/roles/{role_id}/available-permissions",
            Needs("role:read"),
            "List what a role could be granted",
            grants::available,
        )
        .get(
            "/roles/{role_id}/effective-permissions",
            Needs("role:read"),
            "List what a role holds, and from where",
            hierarchy::effective,
        )
        .get(
            "/roles/{role_id}/parents",
            Needs("role:read"),
            "List the roles that a role inherits from",
            hierarchy::parents,
        )
        .post(
            "/roles/{role_id}/parents/{parent_id}",
            Needs("role:update"),
            "Let a role inherit from another",
            hierarchy::inherit,
        )
        .delete(
            "/roles/{role_id}/parents/{parent_id}",
            Needs("role:update"),
            "End that a role inherits from another",
            hierarchy::disinherit,
        )
}

const SUPER_STAYS_ACTIVE: &str = "Cannot deactivate the super role";

fn not_found() -> Error {
    Error::NotFound("Role not found".into())
}

fn exists(name: &RoleName) -> String {
    format!("Role with name '{name}' already exists")
}

/// A role of one of these names could not be told from the super role by its name.
fn refuse_alias(name: &RoleName) -> Result<(), Error> {
    if SUPER_ROLE_ALIASES.contains(&name.as_str()) { Err(Error::BadRequest(exists(name).into())) } else { Ok(()) }
}

/// Under another name a role would be out of reach of the policies that speak of it, a `forbid` too.
fn refuse_rename(write: &Write, from: &RoleName, to: Option<&RoleName>) -> Result<(), Error> {
    let policy = to.filter(|to| *to != from).and_then(|_| write.base().compiled().policy_naming_role(from));
    policy.map_or(Ok(()), |policy| Err(Error::named("Role", from.as_str(), policy)))
}

async fn existing(tx: &mut Tx, id: RoleId) -> Result<Role, Error> {
    roles::get(tx, id).await?.ok_or_else(not_found)
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_system_role = input.query::<bool>("is_system_role").optional();
    let is_active = input.query::<bool>("is_active").optional();
    let (created, sort) = (created(input), sort(input, roles::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let (is_system_role, is_active, include_deleted) = (is_system_role?, is_active?, include_deleted?);
    Some(Filter { search: search?, is_system_role, is_active, created: created?, include_deleted, sort: sort? })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (optional_page(input, Limits::Lenient), filter(input));
    Some((page?.map_or(Page::ALL, Page::from), filter?))
}

async fn list(State(state): State<Roles>, call: Call) -> Result<Listed<Role>, Error> {
    let (_, input) = call.permit("role:read")?;
    let (page, filter) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = roles::list(&mut tx, &filter, page).await?;
    Ok(Listed { rows, total: roles::total(&mut tx, &filter).await? })
}

async fn count(State(state): State<Roles>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("role:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(roles::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Roles>, call: Call) -> Result<Json<Role>, Error> {
    let (_, mut input) = call.permit("role:read")?;
    let id = input.path("role_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

fn new(input: &mut Input) -> Valid<NewRole> {
    let mut body = input.body();
    let name = body.required::<RoleName>("name");
    let description = body.optional::<String>("description");
    let permission_ids = body.optional::<Vec<PermissionId>>("permission_ids");
    Some(NewRole { name: name?, description: description?, permission_ids: permission_ids?.unwrap_or_default() })
}

async fn create(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, input) = call.permit("role:create")?;
    let new = input.read(new)?;
    refuse_alias(&new.name)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let id = roles::insert(write.tx(), &new, now).await.map_err(|error| Error::taken(error, exists(&new.name)))?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: RoleId) -> Result<Written<Role>, Error> {
    write.touch(Change::Role(id));
    let role = existing(write.tx(), id).await?;
    record::after_role(&mut write, id).await?;
    Ok(write.commit(role).await?.into())
}

fn changes(input: &mut Input) -> Valid<(RoleId, RolePatch)> {
    let id = input.path::<RoleId>("role_id");
    let mut body = input.body();
    let name = body.optional::<RoleName>("name");
    let description = body.optional::<String>("description");
    let is_active = body.optional::<bool>("is_active");
    let permission_ids = body.optional::<Vec<PermissionId>>("permission_ids");
    let (description, permission_ids) = (description?, permission_ids?);
    Some((id?, RolePatch { name: name?, description, is_active: is_active?, permission_ids }))
}

async fn update(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, input) = call.permit("role:update")?;
    let (id, patch) = input.read(changes)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_role(&mut write, id).await?;
    let now = write.now();
    let role = existing(write.tx(), id).await?;
    if role.is_system_role {
        return Err(Error::BadRequest("Cannot update system roles".into()));
    }
    refuse_rename(&write, &role.name, patch.name.as_ref())?;
    patch.name.as_ref().map_or(Ok(()), refuse_alias)?;
    let updated = roles::update(write.tx(), id, &patch, now).await;
    updated.map_err(|error| Error::taken(error, patch.name.as_ref().map(exists).unwrap_or_default()))?;
    changed(write, id).await
}

async fn toggle_status(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, mut input) = call.permit("role:update")?;
    let id = input.path::<RoleId>("role_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_role(&mut write, id).await?;
    let now = write.now();
    let role = existing(write.tx(), id).await?;
    if role.is_active && role.name.as_str() == SUPER_ROLE {
        return Err(Error::BadRequest(SUPER_STAYS_ACTIVE.into()));
    }
    roles::activate(write.tx(), &[id], !role.is_active, now).await?;
    changed(write, id).await
}

async fn delete(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("role:delete")?;
    let id = input.path::<RoleId>("role_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_role(&mut write, id).await?;
    let now = write.now();
    if existing(write.tx(), id).await?.is_system_role {
        return Err(Error::BadRequest("Cannot delete system roles".into()));
    }
    if !roles::assigned(write.tx(), &[id], now).await?.is_empty() {
        return Err(Error::BadRequest("Cannot delete role that is assigned to users".into()));
    }
    roles::delete(write.tx(), id, now).await?;
    write.touch(Change::Role(id));
    write.gone(record::ROLE, id.0);
    Ok(write.commit(Message::new(format!("Role {id} deleted successfully"))).await?.into())
}

/// Brings a role back with its grants, its place among other roles and the users who still have it.
async fn restore(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, mut input) = call.permit("role:update")?;
    let id = input.path::<RoleId>("role_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let Some(name) = roles::deleted(write.tx(), id).await? else {
        existing(write.tx(), id).await?;
        return Err(Error::BadRequest("Role is not deleted".into()));
    };
    roles::restore(write.tx(), id, now).await.map_err(|error| Error::taken(error, exists(&name)))?;
    // Others may have been linked since, without looking at this one.
    hierarchy::refuse_tangle(write.tx(), id).await?;
    // Users who were restored while it was deleted are known without it.
    for user in roles::holders(write.tx(), id).await? {
        write.touch(Change::User(user));
    }
    changed(write, id).await
}
