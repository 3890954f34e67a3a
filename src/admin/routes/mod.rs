//! Routes: entries of the navigation tree and, with an upstream, of the gateway's route table.

mod body;
mod bulk;
mod navigation;
mod reach;
mod write;

pub(super) use reach::is_ambiguous;

use axum::Json;
use axum::extract::{FromRef, State};

use super::bulk::switched;
use super::endpoints::Access::{Needs, SignedIn};
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, MOST_ROUTES, created, page, search, sort};
use super::places;
use super::reply::Listed;
use super::views::{RouteItem, RouteView};
use crate::control::Control;
use crate::model::{ModuleId, Route, RouteId};
use crate::store::{Page, Tx, routes, routes::Filter};

/// What the endpoints of this resource use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Routes {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Routes> {
    Endpoints::new("Routes")
        .get("/routes/", Needs("route:read"), "List routes", list)
        .reads(listing)
        .post("/routes/", Needs("route:create"), "Create a route", write::create)
        .reads(body::create)
        .get("/routes/count", Needs("route:read"), "Count routes", count)
        .reads(filter)
        .get("/routes/sidebar", SignedIn, "Get the navigation that one may see", navigation::sidebar)
        .reads(navigation::is_flat)
        .get("/routes/tree", Needs("route:read"), "Get routes as a tree", navigation::tree)
        .reads(navigation::module)
        .get("/routes/check", SignedIn, "Ask whether one may go where a path leads", reach::check)
        .reads(reach::asked)
        .get("/routes/top-level", Needs("route:read"), "List routes without a parent", top_level)
        .reads(highest)
        .get("/routes/module/{module_id}", Needs("route:read"), "List the routes of a module", of_module)
        .get("/routes/parent/{parent_id}/children", Needs("route:read"), "List the children of a route", of_parent)
        .patch("/routes/reorder", Needs("route:update"), "Put routes in order", bulk::reorder)
        .reads(places::read::<RouteId>)
        .post("/routes/bulk-delete", Needs("route:delete"), "Delete several routes", bulk::delete)
        .reads(bulk::named)
        .post("/routes/bulk-status", Needs("route:update"), "Activate or deactivate several routes", bulk::set_status)
        .reads(switched::<RouteId>)
        .get("/routes/{route_id}", Needs("route:read"), "Get a route", one)
        .put("/routes/{route_id}", Needs("route:update"), "Change a route", write::update)
        .reads(body::update)
        .delete("/routes/{route_id}", Needs("route:delete"), "Delete a route", write::delete)
        .get("/routes/get-one/{route_id}", Needs("route:read"), "Get a route (older path)", one)
        .put("/routes/get-one/{route_id}", Needs("route:update"), "Change a route (older path)", write::update)
        .reads(body::update)
        .get(
            "/routes/{route_id}/breadcrumbs",
            Needs("route:read"),
            "List the way down to a route",
            navigation::breadcrumbs,
        )
        .patch(
            "/routes/{route_id}/toggle-status",
            Needs("route:update"),
            "Flip whether a route is active",
            write::toggle_status,
        )
        .patch(
            "/routes/{route_id}/toggle-sidebar",
            Needs("route:update"),
            "Flip whether a route is in the sidebar",
            write::toggle_sidebar,
        )
        .post("/routes/{route_id}/restore", Needs("route:update"), "Bring a deleted route back", write::restore)
        .post("/routes/{route_id}/roles/{role_id}", Needs("route:update"), "Show a route to a role", write::bind)
        .delete("/routes/{route_id}/roles/{role_id}", Needs("route:update"), "Hide a route from a role", write::unbind)
}

fn not_found(id: RouteId) -> Error {
    Error::NotFound(format!("Route with ID {id} not found").into())
}

fn bad(detail: &'static str) -> Error {
    Error::BadRequest(detail.into())
}

async fn existing(tx: &mut Tx, id: RouteId) -> Result<Route, Error> {
    routes::get(tx, id).await?.ok_or_else(|| not_found(id))
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let module_id = input.query::<ModuleId>("module_id").optional();
    let parent_id = input.query::<RouteId>("parent_id").optional();
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let is_sidebar = input.query::<bool>("is_sidebar").optional();
    let (created, sort) = (created(input), sort(input, routes::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let (module_id, parent_id) = (module_id?, parent_id?);
    // The module wins over the parent.
    let parent_id = parent_id.filter(|_| module_id.is_none());
    let (search, is_active, is_sidebar) = (search?, is_active?, is_sidebar?);
    let (created, sort, include_deleted, top_level) = (created?, sort?, include_deleted?, false);
    Some(Filter { module_id, parent_id, top_level, search, is_active, is_sidebar, created, include_deleted, sort })
}

/// All of a module, or of a parent, come at once.
const WHOLE: Page = Page { skip: 0, limit: MOST_ROUTES };

async fn items(tx: &mut Tx, filter: &Filter, page: Page) -> Result<Listed<RouteItem>, Error> {
    let rows = routes::list(tx, filter, page).await?;
    Ok(Listed { rows, total: routes::total(tx, filter).await? }.map(RouteItem::from))
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Strict(MOST_ROUTES)), filter(input));
    let (page, filter) = (page?, filter?);
    let whole = filter.module_id.is_some() || filter.parent_id.is_some();
    Some((if whole { WHOLE } else { page.into() }, filter))
}

async fn list(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, input) = call.permit("route:read")?;
    let (page, filter) = input.read(listing)?;
    items(&mut state.control.read().await?, &filter, page).await
}

fn highest(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Strict(MOST_ROUTES)), filter(input));
    Some((page?.into(), Filter { parent_id: None, top_level: true, ..filter? }))
}

async fn top_level(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, input) = call.permit("route:read")?;
    let (page, filter) = input.read(highest)?;
    items(&mut state.control.read().await?, &filter, page).await
}

async fn of_module(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let id = input.path("module_id");
    let id = input.finish(|| id)?;
    let filter = Filter { module_id: Some(id), ..Filter::default() };
    items(&mut state.control.read().await?, &filter, WHOLE).await
}

async fn of_parent(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let id = input.path("parent_id");
    let id = input.finish(|| id)?;
    let filter = Filter { parent_id: Some(id), ..Filter::default() };
    items(&mut state.control.read().await?, &filter, WHOLE).await
}

async fn count(State(state): State<Routes>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("route:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(routes::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Routes>, call: Call) -> Result<Json<RouteView>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    RouteView::load(&mut tx, id).await?.map(Json).ok_or_else(|| not_found(id))
}
