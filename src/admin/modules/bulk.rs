//! Several modules are deleted, switched or put in order.

use axum::extract::State;

use super::{Modules, NOT_FOUND, not_found};
use crate::admin::bulk::{Batch, MOST, Outcome, switched};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::reply::{Message, Written};
use crate::admin::{places, record};
use crate::control::{Origin, Write};
use crate::model::ModuleId;
use crate::store::{changes::Change, modules};

pub(super) const OCCUPIED: &str = "Cannot delete module that has associated routes";

/// A write, and those of `ids` that exist.
async fn known(state: &Modules, origin: Origin, ids: Vec<ModuleId>) -> Result<(Write, Batch<ModuleId>), Error> {
    let mut batch = Batch::new("module", ids)?;
    let mut write = state.control.write_as(origin).await?;
    let found = modules::get_many(write.tx(), batch.ids()).await?;
    batch.keep_known(NOT_FOUND, |id| found.iter().any(|module| module.id == *id))?;
    Ok((write, batch))
}

pub(super) fn named(input: &mut Input) -> Valid<Vec<ModuleId>> {
    input.body().field::<Vec<ModuleId>>("module_ids").max_items(MOST).required()
}

pub(super) async fn delete(State(state): State<Modules>, call: Call) -> Result<Written<Outcome<ModuleId>>, Error> {
    let (caller, input) = call.permit("module:delete")?;
    let ids = input.read(named)?;
    let (mut write, mut batch) = known(&state, caller.origin(), ids).await?;
    let now = write.now();
    let occupied = modules::occupied(write.tx(), batch.ids()).await?;
    batch.keep_sound("delete", |id| occupied.contains(id).then_some(OCCUPIED))?;
    modules::delete_many(write.tx(), batch.ids(), now).await?;
    write.touch_all(batch.ids().iter().copied().map(Change::Module));
    record::many(&mut write, record::MODULE, batch.ids().iter().map(|id| id.0), None)?;
    Ok(write.commit(batch.done("deleted")).await?.into())
}

pub(super) async fn set_status(State(state): State<Modules>, call: Call) -> Result<Written<Outcome<ModuleId>>, Error> {
    let (caller, input) = call.permit("module:update")?;
    let (ids, is_active) = input.read(switched)?;
    let (mut write, batch) = known(&state, caller.origin(), ids).await?;
    let now = write.now();
    if modules::set_active(write.tx(), batch.ids(), is_active, now).await? > 0 {
        write.touch_all(batch.ids().iter().copied().map(Change::Module));
    }
    let set = Some(&("is_active", is_active.into()));
    record::many(&mut write, record::MODULE, batch.ids().iter().map(|id| id.0), set)?;
    Ok(write.commit(batch.done("updated")).await?.into())
}

pub(super) async fn reorder(State(state): State<Modules>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.permit("module:update")?;
    let places = input.read(places::read::<ModuleId>)?;
    if places.is_empty() {
        return Err(Error::BadRequest("No module IDs provided".into()));
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let placed = modules::reorder(write.tx(), &places, now).await?;
    if placed < places.len() as u64 {
        return Err(not_found());
    }
    Ok(write.commit(Message::new(format!("{placed} module(s) reordered successfully"))).await?.into())
}
