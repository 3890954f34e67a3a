//! Modules: the headings of the navigation tree.

mod bulk;
mod write;

use axum::Json;
use axum::extract::{FromRef, State};

use super::bulk::switched;
use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{self, Limits, MOST, created, page, search, sort};
use super::places;
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
    Endpoints::new("Modules")
        .get("/modules/", Needs("module:read"), "List modules", list)
        .reads(listing)
        .post("/modules/", Needs("module:create"), "Create a module", write::create)
        .reads(write::read_create)
        .get("/modules/count", Needs("module:read"), "Count modules", count)
        .reads(filter)
        .get("/modules/active", Needs("module:read"), "List active modules with their routes", active)
        .patch("/modules/reorder", Needs("module:update"), "Put modules in order", bulk::reorder)
        .reads(places::read::<ModuleId>)
        .post("/modules/bulk-delete", Needs("module:delete"), "Delete several modules", bulk::delete)
        .reads(bulk::named)
        .post(
            "/modules/bulk-status",
            Needs("module:update"),
            "Activate or deactivate several modules",
            bulk::set_status,
        )
        .reads(switched::<ModuleId>)
        .get("/modules/{module_id}", Needs("module:read"), "Get a module with its routes", one)
        .put("/modules/{module_id}", Needs("module:update"), "Change a module", write::update)
        .reads(write::read_update)
        .delete("/modules/{module_id}", Needs("module:delete"), "Delete a module", write::delete)
        .get("/modules/get-one/{module_id}", Needs("module:read"), "Get a module with its routes (older path)", one)
        .put("/modules/get-one/{module_id}", Needs("module:update"), "Change a module (older path)", write::update)
        .reads(write::read_update)
        .get("/modules/{module_id}/routes", Needs("module:read"), "List a module's routes", routes_of)
        .patch(
            "/modules/{module_id}/toggle-status",
            Needs("module:update"),
            "Flip whether a module is active",
            write::toggle_status,
        )
        .post("/modules/{module_id}/restore", Needs("module:update"), "Bring a deleted module back", write::restore)
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

/// Which ones, and whether their routes are counted.
fn listing(input: &mut Input) -> Valid<(page::Page, Filter, bool)> {
    let (page, filter) = (page(input, Limits::Strict(MOST)), filter(input));
    let counted = input.query::<bool>("include_count").or(true);
    Some((page?, filter?, counted?))
}

async fn list(State(state): State<Modules>, call: Call) -> Result<Listed<ModuleItem>, Error> {
    let (_, input) = call.permit("module:read")?;
    let (page, filter, counted) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = modules::list(&mut tx, &filter, page.into(), counted).await?;
    Ok(Listed { rows, total: modules::total(&mut tx, &filter).await? }.map(ModuleItem::from))
}

async fn count(State(state): State<Modules>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("module:read")?;
    let filter = input.read(filter)?;
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
