//! Permissions.

mod bulk;
mod headings;

use axum::Json;
use axum::extract::{FromRef, State};

use super::endpoints::Access::{Needs, SignedIn};
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, created, page, search, sort};
use super::reply::{Listed, Message, Written};
use crate::admin::bulk::switched;
use crate::admin::record;
use crate::control::{self, Control, Write, is_system_permission};
use crate::model::{
    Category, NewPermission, Permission, PermissionId, PermissionName, PermissionPatch, SUPER_ROLE, Timestamp,
};
use crate::policy::CompileError;
use crate::store::{self, Tx, changes::Change, permissions, permissions::Filter, roles};

/// What the endpoints of permissions use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Permissions {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Permissions> {
    Endpoints::new("Permissions")
        .get("/permissions/", Needs("permission:read"), "List permissions", list)
        .reads(listing)
        .post("/permissions/", Needs("permission:create"), "Create a permission", create)
        .reads(new)
        .get("/permissions/count", Needs("permission:read"), "Count permissions", count)
        .reads(filter)
        .get("/permissions/categories", Needs("permission:read"), "List categories", headings::categories)
        .get(
            "/permissions/category/{category}",
            Needs("permission:read"),
            "List a category's permissions",
            headings::of_category,
        )
        .get(
            "/permissions/by-category/{category}",
            Needs("permission:read"),
            "List a category's permissions (other path)",
            headings::of_category,
        )
        .get(
            "/permissions/by-resource/{resource}",
            Needs("permission:read"),
            "List a resource's permissions",
            headings::of_resource,
        )
        .get("/permissions/grouped", Needs("permission:read"), "List permissions by category", headings::grouped)
        .get("/permissions/my-permissions", SignedIn, "List one's own permissions", headings::mine)
        .post("/permissions/bulk-delete", Needs("permission:delete"), "Delete several permissions", bulk::delete)
        .reads(bulk::named)
        .post(
            "/permissions/bulk-status",
            Needs("permission:update"),
            "Activate or deactivate several permissions",
            bulk::set_status,
        )
        .reads(switched::<PermissionId>)
        .get("/permissions/{permission_id}", Needs("permission:read"), "Get a permission", one)
        .put("/permissions/{permission_id}", Needs("permission:update"), "Change a permission", update)
        .reads(changes)
        .delete("/permissions/{permission_id}", Needs("permission:delete"), "Delete a permission", delete)
        .get("/permissions/get-one/{permission_id}", Needs("permission:read"), "Get a permission (older path)", one)
        .put(
            "/permissions/get-one/{permission_id}",
            Needs("permission:update"),
            "Change a permission (older path)",
            update,
        )
        .reads(changes)
        .patch(
            "/permissions/{permission_id}/toggle-status",
            Needs("permission:update"),
            "Flip whether a permission is active",
            toggle_status,
        )
        .post(
            "/permissions/{permission_id}/restore",
            Needs("permission:update"),
            "Bring a deleted permission back",
            restore,
        )
}

const DEFAULT_CATEGORY: &str = "general";
const SYSTEM_STAYS: &str = "System permissions cannot be modified";

fn not_found() -> Error {
    Error::NotFound("Permission not found".into())
}

fn taken(error: store::Error) -> Error {
    Error::taken(error, "Permission name already exists")
}

/// Commits a change to permissions. A verb goes away with the last permission that names it, and a hand-written policy
/// that uses the verb is then no longer valid.
async fn commit<T>(write: Write, value: T) -> Result<Written<T>, Error> {
    match write.commit(value).await {
        Err(control::Error::Rejected(CompileError::Policy(fault))) => {
            Err(Error::BadRequest(format!("Policy '{}' uses this permission's verb", fault.policy).into()))
        }
        outcome => Ok(outcome?.into()),
    }
}

async fn changed(mut write: Write, permission: Permission) -> Result<Written<Permission>, Error> {
    write.touch(Change::Permission(permission.id));
    record::after_permission(&mut write, permission.id).await?;
    commit(write, permission).await
}

/// The super role holds every permission, from its first moment on.
async fn grant_to_super_role(tx: &mut Tx, id: PermissionId, now: Timestamp) -> Result<(), Error> {
    if let Some(role) = roles::find(tx, SUPER_ROLE).await? {
        roles::grant(tx, role, id, now).await?;
    }
    Ok(())
}

async fn existing(tx: &mut Tx, id: PermissionId) -> Result<Permission, Error> {
    permissions::get(tx, id).await?.ok_or_else(not_found)
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let category = input.query::<String>("category").max_length(50).optional();
    let is_active = input.query::<bool>("is_active").optional();
    let (created, sort) = (created(input), sort(input, permissions::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let category = category?.filter(|name| !name.is_empty());
    let (search, is_active, include_deleted) = (search?, is_active?, include_deleted?);
    Some(Filter { search, category, is_active, created: created?, include_deleted, sort: sort? })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Lenient), filter(input));
    Some((page?, filter?))
}

async fn list(State(state): State<Permissions>, call: Call) -> Result<Listed<Permission>, Error> {
    let (_, input) = call.permit("permission:read")?;
    let (page, filter) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = permissions::list(&mut tx, &filter, page.into()).await?;
    Ok(Listed { rows, total: permissions::total(&mut tx, &filter).await? })
}

async fn count(State(state): State<Permissions>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("permission:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(permissions::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Permissions>, call: Call) -> Result<Json<Permission>, Error> {
    let (_, mut input) = call.permit("permission:read")?;
    let id = input.path("permission_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

fn new(input: &mut Input) -> Valid<NewPermission> {
    let mut body = input.body();
    let name = body.required::<PermissionName>("name");
    let description = body.optional::<String>("description");
    let category = body.optional::<Category>("category");
    Some(NewPermission { name: name?, description: description?, category: category? })
}

async fn create(State(state): State<Permissions>, call: Call) -> Result<Written<Permission>, Error> {
    let (caller, input) = call.permit("permission:create")?;
    let mut new = input.read(new)?;
    new.category = new.category.or_else(|| Category::try_from(DEFAULT_CATEGORY).ok());
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let id = permissions::insert(write.tx(), &new, now).await.map_err(taken)?;
    grant_to_super_role(write.tx(), id, now).await?;
    let permission = existing(write.tx(), id).await?;
    changed(write, permission).await
}

fn changes(input: &mut Input) -> Valid<(PermissionId, PermissionPatch)> {
    let id = input.path::<PermissionId>("permission_id");
    let mut body = input.body();
    let name = body.optional::<PermissionName>("name");
    let description = body.optional::<String>("description");
    let category = body.optional::<Category>("category");
    let is_active = body.optional::<bool>("is_active");
    let (description, category) = (description?, category?);
    Some((id?, PermissionPatch { name: name?, description, category, is_active: is_active? }))
}

async fn update(State(state): State<Permissions>, call: Call) -> Result<Written<Permission>, Error> {
    let (caller, input) = call.permit("permission:update")?;
    let (id, patch) = input.read(changes)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_permission(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    let renamed = patch.name.as_ref().is_some_and(|name| *name != current.name);
    if is_system_permission(&current.name) && (renamed || patch.is_active == Some(false)) {
        return Err(Error::BadRequest(SYSTEM_STAYS.into()));
    }
    permissions::update(write.tx(), id, &patch, now).await.map_err(taken)?;
    let permission = existing(write.tx(), id).await?;
    changed(write, permission).await
}

async fn toggle_status(State(state): State<Permissions>, call: Call) -> Result<Written<Permission>, Error> {
    let (caller, mut input) = call.permit("permission:update")?;
    let id = input.path::<PermissionId>("permission_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_permission(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    if current.is_active && is_system_permission(&current.name) {
        return Err(Error::BadRequest(SYSTEM_STAYS.into()));
    }
    permissions::activate(write.tx(), &[id], !current.is_active, now).await?;
    let permission = existing(write.tx(), id).await?;
    changed(write, permission).await
}

async fn delete(State(state): State<Permissions>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("permission:delete")?;
    let id = input.path::<PermissionId>("permission_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_permission(&mut write, id).await?;
    let now = write.now();
    let permission = existing(write.tx(), id).await?;
    // The super role holds everything and so does not count.
    if let Some(role) = roles::find(write.tx(), SUPER_ROLE).await? {
        roles::revoke(write.tx(), role, id).await?;
    }
    if is_system_permission(&permission.name) || permissions::holders(write.tx(), id).await? > 0 {
        return Err(Error::BadRequest("Permission cannot be deleted".into()));
    }
    permissions::delete(write.tx(), id, now).await?;
    write.gone(record::PERMISSION, id.0);
    write.touch(Change::Permission(id));
    commit(write, Message::new("Permission deleted successfully")).await
}

async fn restore(State(state): State<Permissions>, call: Call) -> Result<Written<Permission>, Error> {
    let (caller, mut input) = call.permit("permission:update")?;
    let id = input.path::<PermissionId>("permission_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let restored = permissions::restore(write.tx(), id, now).await.map_err(taken)?;
    let permission = existing(write.tx(), id).await?;
    if !restored {
        return Err(Error::BadRequest("Permission is not deleted".into()));
    }
    grant_to_super_role(write.tx(), id, now).await?;
    changed(write, permission).await
}
