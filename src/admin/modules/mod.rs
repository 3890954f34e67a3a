//! Modules: the headings of the navigation tree.

mod bulk;
mod write;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::{get, patch, post};

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, MOST, created, page, search, sort};
use super::reply::Listed;
use super::views::{ModuleItem, ModuleView, RouteItem};
use crate::control::Control;
use crate::model::{Module, ModuleId};
use crate::store::{Page, Tx, modules, modules::Filter, routes};

pub(super) use write::role_ids;

/// What the endpoints of this resource use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Modules {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Modules> {
    Endpoints::new()
        .at("/modules/", get(list).post(write::create))
        .at("/modules/count", get(count))
        .at("/modules/active", get(active))
        .at("/modules/reorder", patch(bulk::reorder))
        .at("/modules/bulk-delete", post(bulk::delete))
        .at("/modules/bulk-status", post(bulk::set_status))
        .at("/modules/{module_id}", get(one).put(write::update).delete(write::delete))
        .at("/modules/get-one/{module_id}", get(one).put(write::update))
        .at("/modules/{module_id}/routes", get(routes_of))
        .at("/modules/{module_id}/toggle-status", patch(write::toggle_status))
        .at("/modules/{module_id}/restore", post(write::restore))
}

const NOT_FOUND: &str = "Module not found";

fn not_found() -> Error {
    Error::NotFound(NOT_FOUND.into())
}

async fn existing(tx: &mut Tx, id: ModuleId) -> Result<Module, Error> {
    modules::get(tx, id).await?.ok_or_else(not_found)
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let (created, sort) = (created(input), sort(input, modules::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let (search, is_active, include_deleted) = (search?, is_active?, include_deleted?);
    Some(Filter { search, is_active, created: created?, include_deleted, sort: sort? })
}

async fn list(State(state): State<Modules>, call: Call) -> Result<Listed<ModuleItem>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let (page, filter) = (page(&mut input, Limits::Strict(MOST)), filter(&mut input));
    let counted = input.query::<bool>("include_count").or(true);
    let (page, filter, counted) = input.finish(|| Some((page?, filter?, counted?)))?;
    let mut tx = state.control.read().await?;
    let rows = modules::list(&mut tx, &filter, page.into(), counted).await?;
    Ok(Listed { rows, total: modules::total(&mut tx, &filter).await? }.map(ModuleItem::from))
}

async fn count(State(state): State<Modules>, call: Call) -> Result<Json<i64>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(modules::count(&mut tx, &filter).await?))
}

async fn active(State(state): State<Modules>, call: Call) -> Result<Json<Vec<ModuleView>>, Error> {
    call.permit("module:read")?;
    let mut tx = state.control.read().await?;
    let filter = Filter { is_active: Some(true), ..Filter::default() };
    let rows = modules::list(&mut tx, &filter, Page::ALL, false).await?;
    Ok(Json(ModuleView::all(&mut tx, rows).await?))
}

async fn one(State(state): State<Modules>, call: Call) -> Result<Json<ModuleView>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let id = input.path("module_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    ModuleView::load(&mut tx, id).await?.map(Json).ok_or_else(not_found)
}

async fn routes_of(State(state): State<Modules>, call: Call) -> Result<Json<Vec<RouteItem>>, Error> {
    let (_, mut input) = call.permit("module:read")?;
    let id = input.path("module_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await?;
    let filter = routes::Filter { module_id: Some(id), ..routes::Filter::default() };
    Ok(Json(routes::list(&mut tx, &filter, Page::ALL).await?.into_iter().map(RouteItem::from).collect()))
}
