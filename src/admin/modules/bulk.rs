//! Several modules are deleted, switched or put in order.

use axum::extract::State;

use super::{Modules, NOT_FOUND, not_found};
use crate::admin::bulk::{self, Failed, Outcome};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::model::ModuleId;
use crate::store::{Tx, changes::Change, modules};

const KIND: &str = "module";
pub(super) const OCCUPIED: &str = "Cannot delete module that has associated routes";

/// Those of `ids` that exist; the others are put into `failed`.
async fn found(tx: &mut Tx, ids: &[ModuleId], failed: &mut Vec<Failed>) -> Result<Vec<ModuleId>, Error> {
    bulk::refuse_none(ids, KIND)?;
    let found: Vec<ModuleId> = modules::get_many(tx, ids).await?.into_iter().map(|module| module.id).collect();
    if found.is_empty() {
        return Err(bulk::none_found(KIND));
    }
    failed.extend(ids.iter().filter(|id| !found.contains(id)).map(|id| Failed::new(id.0, NOT_FOUND)));
    Ok(found)
}

pub(super) async fn delete(State(state): State<Modules>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, mut input) = call.permit("module:delete")?;
    let ids = bulk::ids(&mut input.body(), "module_ids");
    let ids = input.finish(|| ids)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let mut failed = Vec::new();
    let mut found = found(write.tx(), &ids, &mut failed).await?;
    let occupied = modules::occupied(write.tx(), &found).await?;
    failed.extend(occupied.iter().map(|id| Failed::new(id.0, OCCUPIED)));
    found.retain(|id| !occupied.contains(id));
    if found.is_empty() {
        return Err(Error::BadRequest("No valid modules to delete".into()));
    }
    modules::delete_many(write.tx(), &found, now).await?;
    write.touch(Change::Rules);
    record::many(&mut write, record::MODULE, found.iter().map(|id| id.0), None)?;
    Ok(write.commit(Outcome::new(found.len(), KIND, "deleted", failed)).await?.into())
}

pub(super) async fn set_status(State(state): State<Modules>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, mut input) = call.permit("module:update")?;
    let read = bulk::status::<ModuleId>(&mut input);
    let (ids, is_active) = input.finish(|| read)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let mut failed = Vec::new();
    let found = found(write.tx(), &ids, &mut failed).await?;
    if modules::set_active(write.tx(), &found, is_active, now).await? > 0 {
        write.touch(Change::Rules);
    }
    record::many(&mut write, record::MODULE, found.iter().map(|id| id.0), Some(("is_active", is_active.into())))?;
    Ok(write.commit(Outcome::new(found.len(), KIND, bulk::switched(is_active), failed)).await?.into())
}

pub(super) async fn reorder(State(state): State<Modules>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("module:update")?;
    let places = bulk::places::<ModuleId>(&mut input);
    let places = input.finish(|| places)?;
    bulk::refuse_none(&places, KIND)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let placed = modules::reorder(write.tx(), &places, now).await?;
    if placed < places.len() as u64 {
        return Err(not_found());
    }
    Ok(write.commit(Message::new(format!("{placed} {KIND}(s) reordered successfully"))).await?.into())
}
