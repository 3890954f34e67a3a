//! Modules: the headings of the navigation tree.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::get;

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Object, Valid};
use super::page::{Limits, MOST, page, search};
use super::reply::{Message, Written};
use super::views::{ModuleItem, ModuleView};
use crate::control::{Control, Write};
use crate::model::{Icon, Label, ModuleId, ModuleName, ModulePatch, NewModule, RoleId};
use crate::store::{Tx, changes::Change, modules, modules::Filter, roles};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Modules {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Modules> {
    Endpoints::new()
        .at("/modules/", get(list).post(create))
        .at("/modules/count", get(count))
        .at("/modules/{module_id}", get(one).put(update).delete(delete))
        .at("/modules/get-one/{module_id}", get(one).put(update))
}

fn not_found() -> Error {
    Error::NotFound("Module not found".into())
}

fn exists(name: &ModuleName) -> String {
    format!("Module name '{name}' already exists")
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    Some(Filter { search: search?, is_active: is_active? })
}

async fn list(State(state): State<Modules>, call: Call) -> Result<Json<Vec<ModuleItem>>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let (page, filter) = (page(&mut input, Limits::Strict(MOST)), filter(&mut input));
    let counted = input.query::<bool>("include_count").or(true);
    let (page, filter, counted) = input.finish(|| Some((page?, filter?, counted?)))?;
    let mut tx = state.control.read().await?;
    let rows = modules::list(&mut tx, &filter, page.into()).await?.into_iter().map(ModuleItem::from);
    Ok(Json(if counted { rows.collect() } else { rows.map(ModuleItem::uncounted).collect() }))
}

async fn count(State(state): State<Modules>, call: Call) -> Result<Json<i64>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(modules::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Modules>, call: Call) -> Result<Json<ModuleView>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let id = input.path("module_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    ModuleView::load(&mut tx, id).await?.map(Json).ok_or_else(not_found)
}

/// Ids of roles, which must be positive.
pub(super) fn role_ids(body: &mut Object<'_>) -> Valid<Option<Vec<RoleId>>> {
    let positive = |ids: &Vec<RoleId>| ids.iter().all(|id| id.0 > 0);
    body.field("role_ids").must(positive, "All role IDs must be positive integers").optional()
}

async fn refuse_unknown_roles(tx: &mut Tx, ids: &[RoleId]) -> Result<(), Error> {
    let known = roles::existing(tx, ids).await?;
    let unknown: Vec<String> = ids.iter().filter(|id| !known.contains(id)).map(ToString::to_string).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::BadRequest(format!("Role IDs not found: [{}]", unknown.join(", ")).into()))
}

async fn create(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (_, mut input) = call.permit("module:create")?;
    let mut body = input.body();
    let name = body.required::<ModuleName>("name");
    let label = body.required::<Label>("label");
    let icon = body.optional::<Icon>("icon");
    let route = body.field::<String>("route").min_length(1).max_length(255).optional();
    let priority = body.field::<i64>("priority").or(0);
    let is_active = body.field::<bool>("is_active").or(true);
    let role_ids = role_ids(&mut body);
    let read = || {
        let name = name?;
        // Front ends of the predecessor's first release send none.
        let route = route?.unwrap_or_else(|| format!("/{name}"));
        let (priority, is_active, role_ids) = (priority?, is_active?, role_ids?.unwrap_or_default());
        Some(NewModule { name, label: label?, icon: icon?, route, priority, is_active, role_ids })
    };
    let new = input.finish(read)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    refuse_unknown_roles(write.tx(), &new.role_ids).await?;
    let id = modules::insert(write.tx(), &new, now).await.map_err(|error| Error::taken(error, exists(&new.name)))?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: ModuleId) -> Result<Written<ModuleView>, Error> {
    write.touch(Change::Rules);
    let view = ModuleView::load(write.tx(), id).await?.ok_or_else(not_found)?;
    Ok(write.commit(view.counted()).await?.into())
}

async fn update(State(state): State<Modules>, call: Call) -> Result<Written<ModuleView>, Error> {
    let (_, mut input) = call.permit("module:update")?;
    let id = input.path::<ModuleId>("module_id");
    let mut body = input.body();
    let name = body.unless_absent::<ModuleName>("name");
    let label = body.unless_absent::<Label>("label");
    let icon = body.nullable::<Icon>("icon");
    let route = body.field::<String>("route").min_length(1).max_length(255).unless_absent();
    let priority = body.field::<i64>("priority").at_least(0).optional();
    let is_active = body.optional::<bool>("is_active");
    let role_ids = role_ids(&mut body);
    let read = || {
        let (icon, route, priority, is_active, role_ids) = (icon?, route?, priority?, is_active?, role_ids?);
        Some((id?, ModulePatch { name: name?, label: label?, icon, route, priority, is_active, role_ids }))
    };
    let (id, patch) = input.finish(read)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    if modules::get(write.tx(), id).await?.is_none() {
        return Err(not_found());
    }
    refuse_unknown_roles(write.tx(), patch.role_ids.as_deref().unwrap_or_default()).await?;
    let updated = modules::update(write.tx(), id, &patch, now).await;
    updated.map_err(|error| Error::taken(error, patch.name.as_ref().map(exists).unwrap_or_default()))?;
    changed(write, id).await
}

async fn delete(State(state): State<Modules>, call: Call) -> Result<Written<Message>, Error> {
    let (_, mut input) = call.permit("module:delete")?;
    let id = input.path::<ModuleId>("module_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    if modules::get(write.tx(), id).await?.is_none() {
        return Err(not_found());
    }
    if modules::route_count(write.tx(), id).await? > 0 {
        return Err(Error::BadRequest("Cannot delete module that has associated routes".into()));
    }
    modules::delete(write.tx(), id, now).await?;
    write.touch(Change::Rules);
    Ok(write.commit(Message::new("Module deleted successfully")).await?.into())
}
