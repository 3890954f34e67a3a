//! Many roles at once.

use std::collections::BTreeMap;

use axum::extract::State;

use super::Roles;
use crate::admin::bulk::{Batch, MOST, Outcome, switched};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::Written;
use crate::control::{Origin, Write};
use crate::model::{RoleHead, RoleId, SUPER_ROLE};
use crate::store::{changes::Change, roles};

type Heads = BTreeMap<RoleId, RoleHead>;

pub(super) fn named(input: &mut Input) -> Valid<Vec<RoleId>> {
    input.body().field::<Vec<RoleId>>("role_ids").max_items(MOST).required()
}

pub(super) async fn delete(State(state): State<Roles>, call: Call) -> Result<Written<Outcome<RoleId>>, Error> {
    let (caller, input) = call.permit("role:delete")?;
    let ids = input.read(named)?;
    let (mut write, mut batch, heads) = known(&state, caller.origin(), ids).await?;
    let now = write.now();
    let assigned = roles::assigned(write.tx(), batch.ids(), now).await?;
    batch.keep_sound("delete", |id| {
        let is_system_role = heads.get(id).is_some_and(|head| head.is_system_role);
        let flaw = is_system_role.then_some("Cannot delete system roles");
        flaw.or_else(|| assigned.contains(id).then_some("Cannot delete role that is assigned to users"))
    })?;
    roles::delete_all(write.tx(), batch.ids(), now).await?;
    write.touch_all(batch.ids().iter().copied().map(Change::Role));
    record::many(&mut write, record::ROLE, batch.ids().iter().map(|id| id.0), None)?;
    Ok(write.commit(batch.done("deleted")).await?.into())
}

pub(super) async fn set_status(State(state): State<Roles>, call: Call) -> Result<Written<Outcome<RoleId>>, Error> {
    let (caller, input) = call.permit("role:update")?;
    let (ids, is_active) = input.read(switched)?;
    let (mut write, mut batch, heads) = known(&state, caller.origin(), ids).await?;
    batch.keep_sound("update", |id| {
        let is_super = heads.get(id).is_some_and(|head| head.name.as_str() == SUPER_ROLE);
        (is_super && !is_active).then_some(super::SUPER_STAYS_ACTIVE)
    })?;
    let now = write.now();
    if roles::activate(write.tx(), batch.ids(), is_active, now).await? > 0 {
        write.touch_all(batch.ids().iter().copied().map(Change::Role));
    }
    record::many(&mut write, record::ROLE, batch.ids().iter().map(|id| id.0), Some(&("is_active", is_active.into())))?;
    Ok(write.commit(batch.done("updated")).await?.into())
}

/// A write, and those of `ids` that exist.
async fn known(state: &Roles, origin: Origin, ids: Vec<RoleId>) -> Result<(Write, Batch<RoleId>, Heads), Error> {
    let mut batch = Batch::new("role", ids)?;
    let mut write = state.control.write_as(origin).await?;
    let heads = roles::heads(write.tx(), batch.ids()).await?;
    batch.keep_known("Role not found", |id| heads.contains_key(id))?;
    Ok((write, batch, heads))
}
