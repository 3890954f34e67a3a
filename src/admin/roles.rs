//! Roles and their grants.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::{get, post};

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, optional_page, search};
use super::reply::{Message, Written};
use crate::control::{Control, Write};
use crate::model::{
    NewRole, Permission, PermissionId, Role, RoleId, RoleName, RolePatch, SUPER_ROLE, SUPER_ROLE_ALIASES,
};
use crate::store::{Page, Tx, changes::Change, permissions, roles, roles::Filter};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Roles {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Roles> {
    Endpoints::new()
        .at("/roles/", get(list).post(create))
        .at("/roles/count", get(count))
        .at("/roles/{role_id}", get(one).put(update).delete(delete))
        .at("/roles/{role_id}/permissions/{permission_id}", post(grant).delete(revoke))
}

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

async fn existing(tx: &mut Tx, id: RoleId) -> Result<Role, Error> {
    roles::get(tx, id).await?.ok_or_else(not_found)
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_system_role = input.query::<bool>("is_system_role").optional();
    Some(Filter { search: search?, is_system_role: is_system_role? })
}

async fn list(State(state): State<Roles>, call: Call) -> Result<Json<Vec<Role>>, Error> {
    let (_, mut input) = call.permit("role:read")?;
    let (page, filter) = (optional_page(&mut input, Limits::Lenient), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    let page = page.map_or(Page::ALL, Page::from);
    let mut tx = state.control.read().await?;
    Ok(Json(roles::list(&mut tx, &filter, page).await?))
}

async fn count(State(state): State<Roles>, call: Call) -> Result<Json<i64>, Error> {
    let (_, mut input) = call.permit("role:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
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

async fn create(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (_, mut input) = call.permit("role:create")?;
    let mut body = input.body();
    let name = body.required::<RoleName>("name");
    let description = body.optional::<String>("description");
    let permission_ids = body.optional::<Vec<PermissionId>>("permission_ids");
    let read = || {
        Some(NewRole { name: name?, description: description?, permission_ids: permission_ids?.unwrap_or_default() })
    };
    let new = input.finish(read)?;
    refuse_alias(&new.name)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    let id = roles::insert(write.tx(), &new, now).await.map_err(|error| Error::taken(error, exists(&new.name)))?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: RoleId) -> Result<Written<Role>, Error> {
    write.touch(Change::Rules);
    let role = existing(write.tx(), id).await?;
    Ok(write.commit(role).await?.into())
}

async fn update(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (_, mut input) = call.permit("role:update")?;
    let id = input.path::<RoleId>("role_id");
    let mut body = input.body();
    let name = body.optional::<RoleName>("name");
    let description = body.optional::<String>("description");
    let is_active = body.optional::<bool>("is_active");
    let permission_ids = body.optional::<Vec<PermissionId>>("permission_ids");
    let read = || {
        let (description, permission_ids) = (description?, permission_ids?);
        Some((id?, RolePatch { name: name?, description, is_active: is_active?, permission_ids }))
    };
    let (id, patch) = input.finish(read)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    if existing(write.tx(), id).await?.is_system_role {
        return Err(Error::BadRequest("Cannot update system roles".into()));
    }
    patch.name.as_ref().map_or(Ok(()), refuse_alias)?;
    let updated = roles::update(write.tx(), id, &patch, now).await;
    updated.map_err(|error| Error::taken(error, patch.name.as_ref().map(exists).unwrap_or_default()))?;
    changed(write, id).await
}

async fn delete(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (_, mut input) = call.permit("role:delete")?;
    let id = input.path::<RoleId>("role_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    if existing(write.tx(), id).await?.is_system_role {
        return Err(Error::BadRequest("Cannot delete system roles".into()));
    }
    if roles::assigned_users(write.tx(), id).await? > 0 {
        return Err(Error::BadRequest("Cannot delete role that is assigned to users".into()));
    }
    roles::delete(write.tx(), id, now).await?;
    write.touch(Change::Rules);
    Ok(write.commit(Message::new(format!("Role {id} deleted successfully"))).await?.into())
}

async fn grant(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, permission) = pair(&state, call).await?;
    let now = write.now();
    if roles::grant(write.tx(), role.id, permission.id, now).await? {
        write.touch(Change::Rules);
    }
    let message = format!("Permission {} added to role {}", permission.id, role.id);
    Ok(write.commit(Message::new(message)).await?.into())
}

async fn revoke(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, permission) = pair(&state, call).await?;
    if role.name.as_str() == SUPER_ROLE {
        return Err(Error::BadRequest("Cannot remove permissions from the super role".into()));
    }
    if roles::revoke(write.tx(), role.id, permission.id).await? {
        write.touch(Change::Rules);
    }
    let message = format!("Permission {} removed from role {}", permission.id, role.id);
    Ok(write.commit(Message::new(message)).await?.into())
}

/// A write in which both the role and the permission of the path exist.
async fn pair(state: &Roles, call: Call) -> Result<(Write, Role, Permission), Error> {
    let (_, mut input) = call.permit("role:update")?;
    let (role, permission) = (input.path::<RoleId>("role_id"), input.path::<PermissionId>("permission_id"));
    let (role, permission) = input.finish(|| Some((role?, permission?)))?;
    let mut write = state.control.write().await?;
    let role = roles::get(write.tx(), role).await?;
    let permission = permissions::get(write.tx(), permission).await?;
    match role.zip(permission) {
        Some((role, permission)) => Ok((write, role, permission)),
        None => Err(Error::NotFound("Role or permission not found".into())),
    }
}
