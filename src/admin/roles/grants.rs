//! What is granted to a role.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Roles, changed, existing};
use crate::admin::bulk;
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::control::Write;
use crate::model::{Permission, PermissionId, Role, RoleId, RoleName, SUPER_ROLE};
use crate::store::{changes::Change, permissions, roles};

/// What a role holds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RolePermissions")]
pub(super) struct Held {
    role_id: RoleId,
    role_name: RoleName,
    permissions: Vec<Permission>,
    permissions_count: usize,
}

/// What a role could be granted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AvailablePermissions")]
pub(super) struct Free {
    role_id: RoleId,
    role_name: RoleName,
    available_permissions: Vec<Permission>,
    available_count: usize,
}

fn not_found() -> Error {
    Error::NotFound("Role or permission not found".into())
}

pub(super) async fn held(State(state): State<Roles>, call: Call) -> Result<Json<Held>, Error> {
    let (_, mut input) = call.permit("role:read")?;
    let id = input.path("role_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let Role { id, name, permissions, .. } = existing(&mut tx, id).await?;
    Ok(Json(Held { role_id: id, role_name: name, permissions_count: permissions.len(), permissions }))
}

pub(super) async fn available(State(state): State<Roles>, call: Call) -> Result<Json<Free>, Error> {
    let (_, mut input) = call.permit("role:read")?;
    let id = input.path("role_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let Role { id, name, .. } = existing(&mut tx, id).await?;
    let free = permissions::not_granted(&mut tx, id).await?;
    Ok(Json(Free { role_id: id, role_name: name, available_count: free.len(), available_permissions: free }))
}

pub(super) async fn grant(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, permission) = pair(&state, call).await?;
    let now = write.now();
    if roles::grant(write.tx(), role.id, permission.id, now).await? {
        write.touch(Change::Role(role.id));
    }
    let message = format!("Permission {} added to role {}", permission.id, role.id);
    record::after_role(&mut write, role.id).await?;
    Ok(write.commit(Message::new(message)).await?.into())
}

pub(super) async fn revoke(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, permission) = pair(&state, call).await?;
    refuse_to_weaken(&role)?;
    if roles::revoke(write.tx(), role.id, permission.id).await? {
        write.touch(Change::Role(role.id));
    }
    let message = format!("Permission {} removed from role {}", permission.id, role.id);
    record::after_role(&mut write, role.id).await?;
    Ok(write.commit(Message::new(message)).await?.into())
}

pub(super) async fn grant_all(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (mut write, role, ids) = several(&state, call).await?;
    let now = write.now();
    if roles::grant_all(write.tx(), role.id, &ids, now).await? == 0 {
        return Ok(write.commit(role).await?.into());
    }
    changed(write, role.id).await
}

pub(super) async fn replace(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (mut write, role, ids) = several(&state, call).await?;
    let now = write.now();
    let removed = roles::retain(write.tx(), role.id, &ids).await?;
    if removed > 0 {
        refuse_to_weaken(&role)?;
    }
    if removed + roles::grant_all(write.tx(), role.id, &ids, now).await? == 0 {
        return Ok(write.commit(role).await?.into());
    }
    changed(write, role.id).await
}

fn refuse_to_weaken(role: &Role) -> Result<(), Error> {
    let refusal = || Error::BadRequest("Cannot remove permissions from the super role".into());
    if role.name.as_str() == SUPER_ROLE { Err(refusal()) } else { Ok(()) }
}

/// A write in which both the role and the permission of the path exist.
async fn pair(state: &Roles, call: Call) -> Result<(Write, Role, Permission), Error> {
    let (caller, mut input) = call.permit("role:update")?;
    let (role, permission) = (input.path::<RoleId>("role_id"), input.path::<PermissionId>("permission_id"));
    let (role, permission) = input.finish(|| Some((role?, permission?)))?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_role(&mut write, role).await?;
    let role = roles::get(write.tx(), role).await?;
    let permission = permissions::get(write.tx(), permission).await?;
    let (role, permission) = role.zip(permission).ok_or_else(not_found)?;
    Ok((write, role, permission))
}

/// The role of the path and the permissions of the body.
pub(super) fn listed(input: &mut Input) -> Valid<(RoleId, Vec<PermissionId>)> {
    let role = input.path::<RoleId>("role_id");
    let ids = input.list::<PermissionId>().max_items(bulk::MOST).required();
    Some((role?, ids?))
}

/// A write in which the role of the path and all permissions of the body exist.
async fn several(state: &Roles, call: Call) -> Result<(Write, Role, Vec<PermissionId>), Error> {
    let (caller, input) = call.permit("role:update")?;
    let (role, ids) = input.read(listed)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_role(&mut write, role).await?;
    let role = roles::get(write.tx(), role).await?.ok_or_else(not_found)?;
    let known = permissions::of(write.tx(), &ids).await?;
    if ids.iter().all(|id| known.contains_key(id)) { Ok((write, role, ids)) } else { Err(not_found()) }
}
