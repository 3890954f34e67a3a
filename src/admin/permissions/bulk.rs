//! Many permissions at once.

use std::collections::BTreeMap;

use axum::extract::State;

use super::{Permissions, SYSTEM_STAYS, commit};
use crate::admin::bulk::{Batch, MOST, Outcome, switched};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::record;
use crate::admin::reply::Written;
use crate::control::{Origin, Write, is_system_permission};
use crate::model::{Permission, PermissionId};
use crate::store::{changes::Change, permissions};

type Known = BTreeMap<PermissionId, Permission>;

pub(super) fn named(input: &mut Input) -> Valid<Vec<PermissionId>> {
    input.body().field::<Vec<PermissionId>>("permission_ids").max_items(MOST).required()
}

/// Deletes permissions, also those that roles hold: these lose them.
pub(super) async fn delete(
    State(state): State<Permissions>,
    call: Call,
) -> Result<Written<Outcome<PermissionId>>, Error> {
    let (caller, input) = call.permit("permission:delete")?;
    let ids = input.read(named)?;
    let (mut write, mut batch, known) = known(&state, caller.origin(), ids).await?;
    batch.keep_sound("delete", |id| is_system(&known, *id).then_some("Permission cannot be deleted"))?;
    let now = write.now();
    permissions::delete_all(write.tx(), batch.ids(), now).await?;
    record::many(&mut write, record::PERMISSION, batch.ids().iter().map(|id| id.0), None)?;
    write.touch_all(batch.ids().iter().copied().map(Change::Permission));
    commit(write, batch.done("deleted")).await
}

pub(super) async fn set_status(
    State(state): State<Permissions>,
    call: Call,
) -> Result<Written<Outcome<PermissionId>>, Error> {
    let (caller, input) = call.permit("permission:update")?;
    let (ids, is_active) = input.read(switched)?;
    let (mut write, mut batch, known) = known(&state, caller.origin(), ids).await?;
    batch.keep_sound("update", |id| (!is_active && is_system(&known, *id)).then_some(SYSTEM_STAYS))?;
    let now = write.now();
    let changes = permissions::activate(write.tx(), batch.ids(), is_active, now).await?;
    record::many(
        &mut write,
        record::PERMISSION,
        batch.ids().iter().map(|id| id.0),
        Some(&("is_active", is_active.into())),
    )?;
    if changes > 0 {
        write.touch_all(batch.ids().iter().copied().map(Change::Permission));
    }
    commit(write, batch.done("updated")).await
}

fn is_system(known: &Known, id: PermissionId) -> bool {
    known.get(&id).is_some_and(|permission| is_system_permission(&permission.name))
}

/// A write, and those of `ids` that exist.
async fn known(
    state: &Permissions,
    origin: Origin,
    ids: Vec<PermissionId>,
) -> Result<(Write, Batch<PermissionId>, Known), Error> {
    let mut batch = Batch::new("permission", ids)?;
    let mut write = state.control.write_as(origin).await?;
    let known = permissions::of(write.tx(), batch.ids()).await?;
    batch.keep_known("Permission not found", |id| known.contains_key(id))?;
    Ok((write, batch, known))
}
