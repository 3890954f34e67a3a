//! Routes: entries of the navigation tree and, with an upstream, of the gateway's route table.

mod body;
mod bulk;
mod navigation;
mod reach;
mod write;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::{get, patch, post};

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, MOST_ROUTES, created, page, search, sort};
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
    Endpoints::new()
        .at("/routes/", get(list).post(write::create))
        .at("/routes/count", get(count))
        .at("/routes/sidebar", get(navigation::sidebar))
        .at("/routes/tree", get(navigation::tree))
        .at("/routes/check", get(reach::check))
        .at("/routes/top-level", get(top_level))
        .at("/routes/module/{module_id}", get(of_module))
        .at("/routes/parent/{parent_id}/children", get(of_parent))
        .at("/routes/reorder", patch(bulk::reorder))
        .at("/routes/bulk-delete", post(bulk::delete))
        .at("/routes/bulk-status", post(bulk::set_status))
        .at("/routes/{route_id}", get(one).put(write::update).delete(write::delete))
        .at("/routes/get-one/{route_id}", get(one).put(write::update))
        .at("/routes/{route_id}/breadcrumbs", get(navigation::breadcrumbs))
        .at("/routes/{route_id}/toggle-status", patch(write::toggle_status))
        .at("/routes/{route_id}/toggle-sidebar", patch(write::toggle_sidebar))
        .at("/routes/{route_id}/restore", post(write::restore))
        .at("/routes/{route_id}/roles/{role_id}", post(write::bind).delete(write::unbind))
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

async fn list(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let (page, filter) = (page(&mut input, Limits::Strict(MOST_ROUTES)), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    let whole = filter.module_id.is_some() || filter.parent_id.is_some();
    let page = if whole { WHOLE } else { page.into() };
    items(&mut state.control.read().await?, &filter, page).await
}

async fn top_level(State(state): State<Routes>, call: Call) -> Result<Listed<RouteItem>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let (page, filter) = (page(&mut input, Limits::Strict(MOST_ROUTES)), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    let filter = Filter { parent_id: None, top_level: true, ..filter };
    items(&mut state.control.read().await?, &filter, page.into()).await
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
    let (_, mut input) = call.permit("route:read")?;
    let filter = filter(&mut input);
    let filter = input.finish(|| filter)?;
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
