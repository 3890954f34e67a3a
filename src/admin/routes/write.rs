//! One route is made, changed, deleted or restored, or given to a role.

use axum::extract::State;

use super::body::{self, Changes};
use super::{Routes, bad, existing, not_found};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::Input;
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::admin::views::RouteView;
use crate::control::Write;
use crate::model::{Host, ModuleId, PermissionId, RoleId, RoleInfo, Route, RouteId, RoutePatch};
use crate::policy::check_operations;
use crate::store::{
    Tx, changes::Change, modules, navigation, permissions, roles, route_permissions, routes, upstreams,
};

const EXISTS: &str = "Route already exists in this module";
const NO_MODULE_OR_PARENT: &str = "Module or parent route not found";
const OTHER_MODULE: &str = "Parent route must be in the same module";

/// The rules between a route and other rows, checked within the transaction that stores it.
async fn check(tx: &mut Tx, id: RouteId) -> Result<Route, Error> {
    let route = existing(tx, id).await?;
    check_parent(tx, &route).await?;
    if let Some(upstream) = &route.upstream {
        if upstreams::find(tx, upstream.as_str()).await?.is_none() {
            return Err(Error::BadRequest(format!("Upstream '{upstream}' not found").into()));
        }
        route.route.check_matchable().map_err(|error| Error::BadRequest(error.to_string().into()))?;
        check_operations(&route.operations, &route.route).map_err(|fault| Error::BadRequest(fault.into()))?;
    }
    Ok(route)
}

async fn check_parent(tx: &mut Tx, route: &Route) -> Result<(), Error> {
    let Some(parent) = route.parent_id else {
        return Ok(());
    };
    if parent == route.id {
        return Err(bad("Route cannot be its own parent"));
    }
    let parent = routes::get(tx, parent).await?.ok_or_else(|| bad(NO_MODULE_OR_PARENT))?;
    if parent.module_id != route.module_id {
        return Err(bad(OTHER_MODULE));
    }
    if navigation::ancestry(tx, parent.id).await?.contains(&route.id) {
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
    Err(bad(NO_MODULE_OR_PARENT))
}

async fn refuse_unknown_permissions(tx: &mut Tx, ids: &[PermissionId]) -> Result<(), Error> {
    let known = permissions::of(tx, ids).await?;
    let unknown: Vec<String> = ids.iter().filter(|id| !known.contains_key(id)).map(ToString::to_string).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::BadRequest(format!("Permission IDs not found: [{}]", unknown.join(", ")).into()))
}

/// A route as the rules saw it before a change.
struct Before {
    route: Route,
    roles: Vec<RoleInfo>,
}

impl Before {
    async fn load(tx: &mut Tx, id: RouteId) -> Result<Self, Error> {
        Ok(Self { route: existing(tx, id).await?, roles: routes::roles(tx, id).await? })
    }
}

/// Checks and commits what was done to a route; `before` is there if it was.
async fn finish(mut write: Write, id: RouteId, before: Option<Before>) -> Result<Written<RouteView>, Error> {
    let route = check(write.tx(), id).await?;
    let differs = match before {
        None => route.is_in_rules(),
        Some(before) if route.differs_in_rules(&before.route) => true,
        Some(before) => route.is_in_rules() && routes::roles(write.tx(), id).await? != before.roles,
    };
    if differs {
        write.touch(Change::Route(id));
    }
    let view = RouteView::load(write.tx(), id).await?.ok_or_else(|| not_found(id))?;
    record::after_route(&mut write, id).await?;
    Ok(write.commit(view.listed()).await?.into())
}

pub(super) async fn create(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    let (caller, input) = call.permit("route:create")?;
    let (new, permission_ids) = input.read(body::create)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    check_references(write.tx(), Some(new.module_id), &new.role_ids).await?;
    refuse_unknown_permissions(write.tx(), &permission_ids).await?;
    let host = new.host.as_ref().map(Host::as_str);
    if routes::same_path(write.tx(), new.module_id, host, new.route.as_str(), None).await? {
        return Err(bad(EXISTS));
    }
    if let Some(parent) = new.parent_id
        && routes::get(write.tx(), parent).await?.is_none()
    {
        return Err(bad(NO_MODULE_OR_PARENT));
    }
    let id = routes::insert(write.tx(), &new, now).await?;
    route_permissions::replace(write.tx(), id, &permission_ids).await?;
    finish(write, id, None).await
}

pub(super) async fn update(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    let (caller, input) = call.permit("route:update")?;
    let Changes { id, patch, permission_ids } = input.read(body::update)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_route(&mut write, id).await?;
    let now = write.now();
    let before = Before::load(write.tx(), id).await?;
    let current = &before.route;
    check_references(write.tx(), patch.module_id, patch.role_ids.as_deref().unwrap_or_default()).await?;
    refuse_unknown_permissions(write.tx(), permission_ids.as_deref().unwrap_or_default()).await?;
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
            return Err(bad(NO_MODULE_OR_PARENT));
        }
    }
    // Children stay in the module of their parent.
    if module != current.module_id && !routes::children_of(write.tx(), &[id]).await?.is_empty() {
        return Err(bad(OTHER_MODULE));
    }
    routes::update(write.tx(), id, &patch, now).await?;
    if let Some(permission_ids) = permission_ids {
        route_permissions::replace(write.tx(), id, &permission_ids).await?;
    }
    finish(write, id, Some(before)).await
}

pub(super) async fn toggle_status(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    flip(&state, call, |route| RoutePatch { is_active: Some(!route.is_active), ..RoutePatch::default() }).await
}

pub(super) async fn toggle_sidebar(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    flip(&state, call, |route| RoutePatch { is_sidebar: Some(!route.is_sidebar), ..RoutePatch::default() }).await
}

async fn flip(
    state: &Routes,
    call: Call,
    patch: impl FnOnce(&Route) -> RoutePatch,
) -> Result<Written<RouteView>, Error> {
    let (caller, mut input) = call.permit("route:update")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_route(&mut write, id).await?;
    let now = write.now();
    let before = Before::load(write.tx(), id).await?;
    routes::update(write.tx(), id, &patch(&before.route), now).await?;
    finish(write, id, Some(before)).await
}

pub(super) async fn delete(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("route:delete")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_route(&mut write, id).await?;
    let now = write.now();
    let route = existing(write.tx(), id).await?;
    let children = routes::children_of(write.tx(), &[id]).await?.len();
    if children > 0 {
        return Err(Error::BadRequest(super::bulk::has_children(&route, children).into()));
    }
    routes::delete(write.tx(), id, now).await?;
    if route.is_in_rules() {
        write.touch(Change::Route(id));
    }
    write.gone(record::ROUTE, id.0);
    Ok(write.commit(Message::new(format!("Route '{}' deleted successfully", route.route))).await?.into())
}

pub(super) async fn restore(State(state): State<Routes>, call: Call) -> Result<Written<RouteView>, Error> {
    let (caller, mut input) = call.permit("route:update")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if routes::get(write.tx(), id).await?.is_some() {
        return Err(bad("Route is not deleted"));
    }
    let restored = routes::restore(write.tx(), id, now).await.map_err(|error| Error::taken(error, EXISTS))?;
    if !restored {
        return Err(not_found(id));
    }
    let module = existing(write.tx(), id).await?.module_id;
    check_references(write.tx(), Some(module), &[]).await?;
    finish(write, id, None).await
}

/// Reads which route and which role a request is about.
fn read_binding(mut input: Input) -> Result<(RouteId, RoleId), Error> {
    let (route, role) = (input.path("route_id"), input.path("role_id"));
    input.finish(|| Some((route?, role?)))
}

async fn find_both(tx: &mut Tx, route: RouteId, role: RoleId) -> Result<Route, Error> {
    let known = !roles::existing(tx, &[role]).await?.is_empty();
    let route = routes::get(tx, route).await?.filter(|_| known);
    route.ok_or_else(|| Error::NotFound("Route or role not found".into()))
}

pub(super) async fn bind(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.permit("route:update")?;
    let (id, role) = read_binding(input)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_route(&mut write, id).await?;
    let route = find_both(write.tx(), id, role).await?;
    if routes::bind(write.tx(), id, role).await? && route.is_in_rules() {
        write.touch(Change::Route(id));
    }
    record::after_route(&mut write, id).await?;
    Ok(write.commit(Message::new("Role assigned to route successfully")).await?.into())
}

pub(super) async fn unbind(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.permit("route:update")?;
    let (id, role) = read_binding(input)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_route(&mut write, id).await?;
    let route = find_both(write.tx(), id, role).await?;
    if routes::unbind(write.tx(), id, role).await? && route.is_in_rules() {
        write.touch(Change::Route(id));
    }
    record::after_route(&mut write, id).await?;
    Ok(write.commit(Message::new("Role removed from route successfully")).await?.into())
}
