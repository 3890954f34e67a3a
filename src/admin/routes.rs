//! Routes: entries of the navigation tree and, with an upstream, of the gateway's route table.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::routing::get;

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{self, Flaw, Input, Object, Valid};
use super::modules::role_ids;
use super::page::{Limits, MOST_ROUTES, page, search};
use super::reply::{Message, Written};
use super::views::{RouteItem, RouteView, is_cycle};
use crate::control::{Control, Write};
use crate::model::{
    Host, Icon, Label, ModuleId, NewRoute, Operation, PathTemplate, RoleId, Route, RouteId, RoutePatch, UpstreamName,
};
use crate::policy::check_operations;
use crate::store::{Page, Tx, changes::Change, modules, roles, routes, routes::Filter, upstreams};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Routes {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Routes> {
    Endpoints::new()
        .at("/routes/", get(list).post(create))
        .at("/routes/count", get(count))
        .at("/routes/{route_id}", get(one).put(update).delete(delete))
        .at("/routes/get-one/{route_id}", get(one).put(update))
}

fn not_found(id: RouteId) -> Error {
    Error::NotFound(format!("Route with ID {id} not found").into())
}

fn bad(detail: &'static str) -> Error {
    Error::BadRequest(detail.into())
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let module_id = input.query::<ModuleId>("module_id").optional();
    let parent_id = input.query::<RouteId>("parent_id").optional();
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let is_sidebar = input.query::<bool>("is_sidebar").optional();
    let (module_id, parent_id) = (module_id?, parent_id?);
    // The module wins over the parent.
    let parent_id = parent_id.filter(|_| module_id.is_none());
    let (search, is_active, is_sidebar) = (search?, is_active?, is_sidebar?);
    Some(Filter { module_id, parent_id, search, is_active, is_sidebar, ..Filter::default() })
}

async fn list(State(state): State<Routes>, call: Call) -> Result<Json<Vec<RouteItem>>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let (page, filter) = (page(&mut input, Limits::Strict(MOST_ROUTES)), filter(&mut input));
    let (page, filter) = input.finish(|| Some((page?, filter?)))?;
    // All of a module, or of a parent, come at once.
    let whole = filter.module_id.is_some() || filter.parent_id.is_some();
    let page = if whole { Page { skip: 0, limit: MOST_ROUTES } } else { page.into() };
    let mut tx = state.control.read().await?;
    Ok(Json(routes::list(&mut tx, &filter, page).await?.into_iter().map(RouteItem::from).collect()))
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

const MOST_OPERATIONS: usize = 64;
const BAD_PARENT: &str = "parent_id must be a positive integer or null";

/// What a gateway route has, as both bodies say it.
struct Forwarding {
    host: input::Change<Option<Host>>,
    upstream: input::Change<Option<UpstreamName>>,
    strip_prefix: input::Change<Option<String>>,
    forward_authorization: Option<bool>,
    operations: Option<Vec<Operation>>,
}

fn forwarding(body: &mut Object<'_>) -> Valid<Forwarding> {
    let host = body.nullable::<Host>("host");
    let upstream = body.nullable::<UpstreamName>("upstream");
    let strip_prefix =
        body.field::<String>("strip_prefix").max_length(255).check(|prefix| check_prefix(prefix)).nullable();
    let forward_authorization = body.optional::<bool>("forward_authorization");
    let few = |operations: &Vec<Operation>| {
        let few = operations.len() <= MOST_OPERATIONS;
        few.then_some(()).ok_or_else(|| Flaw::value(format!("at most {MOST_OPERATIONS} operations")))
    };
    let operations = body.json::<Vec<Operation>>("operations").check(few).optional();
    Some(Forwarding {
        host: host?,
        upstream: upstream?,
        strip_prefix: strip_prefix?,
        forward_authorization: forward_authorization?,
        operations: operations?,
    })
}

fn check_prefix(prefix: &str) -> Result<(), Flaw> {
    let segments_fit = |rest: &str| {
        let plain = |c: char| c.is_ascii_graphic() && !"\\;?#%{}\"<>^`|".contains(c);
        rest.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.chars().all(plain))
    };
    match prefix.strip_prefix('/') {
        Some(rest) if segments_fit(rest) => Ok(()),
        _ => Err(Flaw::value("strip_prefix must be a path of literal segments without a final slash, as /demo")),
    }
}

fn read_create(input: &mut Input) -> Valid<NewRoute> {
    let mut body = input.body();
    let route = body.required::<PathTemplate>("route");
    let label = body.required::<Label>("label");
    let icon = body.optional::<Icon>("icon");
    let is_active = body.field::<bool>("is_active").or(true);
    let is_sidebar = body.field::<bool>("is_sidebar").or(true);
    let module_id = body.field::<ModuleId>("module_id").greater_than(0).required();
    let parent_id = body.field::<RouteId>("parent_id").must(|id| id.0 > 0, BAD_PARENT).optional();
    let priority = body.field::<i64>("priority").or(0);
    let role_ids = role_ids(&mut body);
    let forwarding = forwarding(&mut body)?;
    Some(NewRoute {
        route: route?,
        label: label?,
        icon: blank_to_none(icon?),
        is_active: is_active?,
        is_sidebar: is_sidebar?,
        module_id: module_id?,
        parent_id: parent_id?,
        priority: priority?,
        role_ids: role_ids?.unwrap_or_default(),
        host: forwarding.host.flatten(),
        upstream: forwarding.upstream.flatten(),
        strip_prefix: forwarding.strip_prefix.flatten(),
        forward_authorization: forwarding.forward_authorization.unwrap_or(true),
        operations: forwarding.operations.unwrap_or_default(),
    })
}

fn blank_to_none(icon: Option<Icon>) -> Option<Icon> {
    icon.filter(|icon| !icon.as_str().is_empty())
}

fn read_update(input: &mut Input) -> Valid<(RouteId, RoutePatch)> {
    let id = input.path("route_id");
    let mut body = input.body();
    let route = body.optional::<PathTemplate>("route");
    let label = body.optional::<Label>("label");
    let icon = body.nullable::<Icon>("icon");
    let is_active = body.optional::<bool>("is_active");
    let is_sidebar = body.optional::<bool>("is_sidebar");
    let module_id = body.field::<ModuleId>("module_id").greater_than(0).optional();
    let parent_id = body.field::<RouteId>("parent_id").must(|id| id.0 > 0, BAD_PARENT).nullable();
    let priority = body.field::<i64>("priority").at_least(0).optional();
    let role_ids = role_ids(&mut body);
    let forwarding = forwarding(&mut body)?;
    let patch = RoutePatch {
        route: route?,
        label: label?,
        icon: icon?.map(blank_to_none),
        is_active: is_active?,
        is_sidebar: is_sidebar?,
        module_id: module_id?,
        parent_id: parent_id?,
        priority: priority?,
        role_ids: role_ids?,
        host: forwarding.host,
        upstream: forwarding.upstream,
        strip_prefix: forwarding.strip_prefix,
        forward_authorization: forwarding.forward_authorization,
        operations: forwarding.operations,
    };
    Some((id?, patch))
}

/// The rules between a route and other rows, checked within the transaction that stores it.
async fn check(tx: &mut Tx, id: RouteId) -> Result<(), Error> {
    let route = routes::get(tx, id).await?.ok_or_else(|| not_found(id))?;
    check_parent(tx, &route).await?;
    if let Some(upstream) = &route.upstream {
        if upstreams::find(tx, upstream.as_str()).await?.is_none() {
            return Err(Error::BadRequest(format!("Upstream '{upstream}' not found").into()));
        }
        route.route.check_matchable().map_err(|error| Error::BadRequest(error.to_string().into()))?;
        check_operations(&route.operations, &route.route).map_err(|fault| Error::BadRequest(fault.into()))?;
    }
    Ok(())
}

async fn check_parent(tx: &mut Tx, route: &Route) -> Result<(), Error> {
    let missing = || bad("Module or parent route not found");
    let Some(parent) = route.parent_id else {
        return Ok(());
    };
    if parent == route.id {
        return Err(bad("Route cannot be its own parent"));
    }
    let parent = routes::get(tx, parent).await?.ok_or_else(missing)?;
    if parent.module_id != route.module_id {
        return Err(bad("Parent route must be in the same module"));
    }
    if is_cycle(tx, route.id, parent.id).await? {
        return Err(bad("Route cannot be its own ancestor"));
    }
    Ok(())
}

async fn check_references(tx: &mut Tx, module: Option<ModuleId>, role_ids: &[RoleId]) -> Result<(), Error> {
    let module_known = match module {
        Some(id) => modules::get(tx, id).await?.is_some(),
        None => true,
    };
    let known = roles::existing(tx, role_ids).await?;
    if module_known && role_ids.iter().all(|id| known.contains(id)) {
        return Ok(());
    }
    Err(bad("Module or parent route not found"))
}

async fn create(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    let (_, mut input) = call.permit("route:create")?;
    let new = read_create(&mut input);
    let new = input.finish(|| new)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    check_references(write.tx(), Some(new.module_id), &new.role_ids).await?;
    let host = new.host.as_ref().map(Host::as_str);
    if routes::same_path(write.tx(), new.module_id, host, new.route.as_str(), None).await? {
        return Err(bad("Route already exists in this module"));
    }
    if let Some(parent) = new.parent_id
        && routes::get(write.tx(), parent).await?.is_none()
    {
        return Err(bad("Module or parent route not found"));
    }
    let id = routes::insert(write.tx(), &new, now).await?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: RouteId) -> Result<Written<RouteView>, Error> {
    check(write.tx(), id).await?;
    write.touch(Change::Rules);
    let view = RouteView::load(write.tx(), id).await?.ok_or_else(|| not_found(id))?;
    Ok(write.commit(view.listed()).await?.into())
}

async fn update(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    let (_, mut input) = call.permit("route:update")?;
    let read = read_update(&mut input);
    let (id, patch) = input.finish(|| read)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    let current = routes::get(write.tx(), id).await?.ok_or_else(|| not_found(id))?;
    check_references(write.tx(), patch.module_id, patch.role_ids.as_deref().unwrap_or_default()).await?;
    let module = patch.module_id.unwrap_or(current.module_id);
    let template = patch.route.as_ref().unwrap_or(&current.route);
    let host = patch.host.as_ref().unwrap_or(&current.host).as_ref().map(Host::as_str);
    if routes::same_path(write.tx(), module, host, template.as_str(), Some(id)).await? {
        return Err(bad("Route path already exists in this module"));
    }
    if let Some(Some(parent)) = patch.parent_id {
        if parent == id {
            return Err(bad("Route cannot be its own parent"));
        }
        if routes::get(write.tx(), parent).await?.is_none() {
            return Err(bad("Module or parent route not found"));
        }
    }
    // Children stay in the module of their parent.
    if module != current.module_id && !routes::children(write.tx(), id).await?.is_empty() {
        return Err(bad("Parent route must be in the same module"));
    }
    routes::update(write.tx(), id, &patch, now).await?;
    changed(write, id).await
}

async fn delete(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (_, mut input) = call.permit("route:delete")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write().await?;
    let now = write.now();
    let route = routes::get(write.tx(), id).await?.ok_or_else(|| not_found(id))?;
    let children = routes::children(write.tx(), id).await?.len();
    if children > 0 {
        let detail = format!("Cannot delete route '{}' because it has {children} child routes", route.route);
        return Err(Error::BadRequest(detail.into()));
    }
    routes::delete(write.tx(), id, now).await?;
    write.touch(Change::Rules);
    Ok(write.commit(Message::new(format!("Route '{}' deleted successfully", route.route))).await?.into())
}
