//! One module is made, changed, deleted or restored.

use axum::extract::State;

use super::{Modules, existing, not_found};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Object, Valid};
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::admin::views::ModuleView;
use crate::control::Write;
use crate::model::{Icon, Label, Module, ModuleId, ModuleName, ModulePatch, NewModule, RoleId};
use crate::store::{Tx, changes::Change, modules, roles};

const MOST_ROLES: usize = 1_000;

fn exists(name: &ModuleName) -> String {
    format!("Module name '{name}' already exists")
}

/// Ids of roles, which must be positive.
pub(crate) fn role_ids(body: &mut Object<'_>) -> Valid<Option<Vec<RoleId>>> {
    let positive = |ids: &Vec<RoleId>| ids.iter().all(|id| id.0 > 0);
    let ids = body.field::<Vec<RoleId>>("role_ids").max_items(MOST_ROLES);
    ids.must(positive, "All role IDs must be positive integers").optional()
}

async fn refuse_unknown_roles(tx: &mut Tx, ids: &[RoleId]) -> Result<(), Error> {
    let known = roles::existing(tx, ids).await?;
    let unknown: Vec<String> = ids.iter().filter(|id| !known.contains(id)).map(ToString::to_string).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::BadRequest(format!("Role IDs not found: [{}]", unknown.join(", ")).into()))
}

/// Under another name a module would be out of reach of the policies that speak of it, a `forbid` too.
fn refuse_rename(write: &Write, from: &ModuleName, to: Option<&ModuleName>) -> Result<(), Error> {
    let policy = to.filter(|to| *to != from).and_then(|_| write.base().compiled().policy_naming_module(from));
    policy.map_or(Ok(()), |policy| Err(Error::named("Module", from.as_str(), policy)))
}

pub(super) fn read_create(input: &mut Input) -> Valid<NewModule> {
    let mut body = input.body();
    let name = body.required::<ModuleName>("name");
    let label = body.required::<Label>("label");
    let icon = body.optional::<Icon>("icon");
    let route = body.field::<String>("route").min_length(1).max_length(255).optional();
    let priority = body.field::<i64>("priority").or(0);
    let is_active = body.field::<bool>("is_active").or(true);
    let role_ids = role_ids(&mut body);
    let name = name?;
    // Front ends of the predecessor's first release send none.
    let route = route?.unwrap_or_else(|| format!("/{name}"));
    let (priority, is_active, role_ids) = (priority?, is_active?, role_ids?.unwrap_or_default());
    Some(NewModule { name, label: label?, icon: icon?, route, priority, is_active, role_ids })
}

pub(super) async fn create(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (caller, input) = call.permit("module:create")?;
    let new = input.read(read_create)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    refuse_unknown_roles(write.tx(), &new.role_ids).await?;
    let id = modules::insert(write.tx(), &new, now).await.map_err(|error| Error::taken(error, exists(&new.name)))?;
    write.touch(Change::Module(id));
    finish(write, id).await
}

async fn finish(mut write: Write, id: ModuleId) -> Result<Written<ModuleView>, Error> {
    let view = ModuleView::load(write.tx(), id).await?.ok_or_else(not_found)?;
    record::after_module(&mut write, id).await?;
    Ok(write.commit(view.counted()).await?.into())
}

pub(super) fn read_update(input: &mut Input) -> Valid<(ModuleId, ModulePatch)> {
    let id = input.path("module_id");
    let mut body = input.body();
    let name = body.unless_absent::<ModuleName>("name");
    let label = body.unless_absent::<Label>("label");
    let icon = body.nullable::<Icon>("icon");
    let route = body.field::<String>("route").min_length(1).max_length(255).unless_absent();
    let priority = body.field::<i64>("priority").at_least(0).optional();
    let is_active = body.optional::<bool>("is_active");
    let role_ids = role_ids(&mut body);
    let (icon, route, priority, is_active, role_ids) = (icon?, route?, priority?, is_active?, role_ids?);
    Some((id?, ModulePatch { name: name?, label: label?, icon, route, priority, is_active, role_ids }))
}

pub(super) async fn update(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (caller, input) = call.permit("module:update")?;
    let (id, patch) = input.read(read_update)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_module(&mut write, id).await?;
    let current = existing(write.tx(), id).await?;
    refuse_unknown_roles(write.tx(), patch.role_ids.as_deref().unwrap_or_default()).await?;
    refuse_rename(&write, &current.name, patch.name.as_ref())?;
    change(write, &current, &patch).await
}

pub(super) async fn toggle_status(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (caller, mut input) = call.permit("module:update")?;
    let id = input.path("module_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_module(&mut write, id).await?;
    let current = existing(write.tx(), id).await?;
    change(write, &current, &ModulePatch { is_active: Some(!current.is_active), ..ModulePatch::default() }).await
}

async fn change(mut write: Write, current: &Module, patch: &ModulePatch) -> Result<Written<ModuleView>, Error> {
    let now = write.now();
    let updated = modules::update(write.tx(), current.id, patch, now).await;
    updated.map_err(|error| Error::taken(error, patch.name.as_ref().map(exists).unwrap_or_default()))?;
    if existing(write.tx(), current.id).await?.differs_in_rules(current) {
        write.touch(Change::Module(current.id));
    }
    finish(write, current.id).await
}

pub(super) async fn delete(State(state): State<Modules>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("module:delete")?;
    let id = input.path::<ModuleId>("module_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_module(&mut write, id).await?;
    let now = write.now();
    existing(write.tx(), id).await?;
    if modules::route_count(write.tx(), id).await? > 0 {
        return Err(Error::BadRequest(super::bulk::OCCUPIED.into()));
    }
    modules::delete(write.tx(), id, now).await?;
    write.touch(Change::Module(id));
    write.gone(record::MODULE, id.0);
    Ok(write.commit(Message::new("Module deleted successfully")).await?.into())
}

pub(super) async fn restore(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (caller, mut input) = call.permit("module:update")?;
    let id = input.path::<ModuleId>("module_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if modules::get(write.tx(), id).await?.is_some() {
        return Err(Error::BadRequest("Module is not deleted".into()));
    }
    let name = modules::deleted_name(write.tx(), id).await?.ok_or_else(not_found)?;
    modules::restore(write.tx(), id, now).await.map_err(|error| Error::taken(error, exists(&name)))?;
    write.touch(Change::Module(id));
    finish(write, id).await
}
