//! Modules and routes as they are answered: each shows the other, one level deep (the contract's depth rule).

use std::collections::HashSet;

use serde::Serialize;

use super::error::Error;
use crate::model::{
    Host, Icon, Label, Module, ModuleId, ModuleName, Operation, PathTemplate, RoleInfo, Route, RouteId, Timestamp,
    UpstreamName,
};
use crate::store::modules::{self, ModuleRow};
use crate::store::routes::{self, RouteRow};
use crate::store::{Page, Tx};

/// A module of a list.
#[derive(Debug, Serialize)]
pub(super) struct ModuleItem {
    id: ModuleId,
    name: ModuleName,
    label: Label,
    icon: Option<Icon>,
    route: String,
    priority: i64,
    is_active: bool,
    created_at: Timestamp,
    route_count: i64,
    roles: Vec<RoleInfo>,
}

impl From<ModuleRow> for ModuleItem {
    fn from(ModuleRow { module, route_count, roles }: ModuleRow) -> Self {
        let Module { id, name, label, icon, route, priority, is_active, created_at, updated_at: _ } = module;
        Self { id, name, label, icon, route, priority, is_active, created_at, route_count, roles }
    }
}

impl ModuleItem {
    /// Without looking at how many routes there are.
    pub(super) fn uncounted(self) -> Self {
        Self { route_count: 0, ..self }
    }
}

/// A whole module.
#[derive(Debug, Serialize)]
pub(super) struct ModuleView {
    name: ModuleName,
    label: Label,
    icon: Option<Icon>,
    route: String,
    priority: i64,
    is_active: bool,
    id: ModuleId,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    routes: Vec<RouteView>,
    roles: Vec<RoleInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_count: Option<usize>,
}

impl ModuleView {
    /// The module with its routes.
    pub(super) async fn load(tx: &mut Tx, id: ModuleId) -> Result<Option<Self>, Error> {
        let Some(mut view) = Self::bare(tx, id).await? else {
            return Ok(None);
        };
        let filter = routes::Filter { module_id: Some(id), ..routes::Filter::default() };
        let rows = routes::list(tx, &filter, Page::ALL).await?;
        view.routes = rows.into_iter().map(|row| RouteView::bare(row.route, row.roles)).collect();
        Ok(Some(view))
    }

    /// The same, with the number of routes that lists show; for answers that a front end puts into its list.
    pub(super) fn counted(self) -> Self {
        Self { route_count: Some(self.routes.len()), ..self }
    }

    async fn bare(tx: &mut Tx, id: ModuleId) -> Result<Option<Self>, Error> {
        let Some(module) = modules::get(tx, id).await? else {
            return Ok(None);
        };
        let roles = modules::roles(tx, id).await?;
        let Module { id, name, label, icon, route, priority, is_active, created_at, updated_at } = module;
        let routes = Vec::new();
        let route_count = None;
        Ok(Some(Self {
            name,
            label,
            icon,
            route,
            priority,
            is_active,
            id,
            created_at,
            updated_at,
            routes,
            roles,
            route_count,
        }))
    }
}

/// What a gateway route has beyond the predecessor's fields.
#[derive(Debug, Serialize)]
struct Forwarding {
    host: Option<Host>,
    upstream: Option<UpstreamName>,
    strip_prefix: Option<String>,
    forward_authorization: bool,
    operations: Vec<Operation>,
}

/// A route of a list.
#[derive(Debug, Serialize)]
pub(super) struct RouteItem {
    id: RouteId,
    route: PathTemplate,
    label: Label,
    icon: Option<Icon>,
    is_active: bool,
    is_sidebar: bool,
    module_id: ModuleId,
    parent_id: Option<RouteId>,
    created_at: Timestamp,
    module_name: Option<String>,
    parent_route: Option<String>,
    children_count: i64,
    priority: i64,
    roles: Vec<RoleInfo>,
    #[serde(flatten)]
    forwarding: Forwarding,
}

impl From<RouteRow> for RouteItem {
    fn from(RouteRow { route: row, module_name, parent_route, children_count, roles }: RouteRow) -> Self {
        let forwarding = forwarding(&row);
        let Route { id, route, label, icon, is_active, is_sidebar, module_id, parent_id, priority, created_at, .. } =
            row;
        Self {
            id,
            route,
            label,
            icon,
            is_active,
            is_sidebar,
            module_id,
            parent_id,
            created_at,
            module_name,
            parent_route,
            children_count,
            priority,
            roles,
            forwarding,
        }
    }
}

/// A whole route.
#[derive(Debug, Serialize)]
pub(super) struct RouteView {
    route: PathTemplate,
    label: Label,
    icon: Option<Icon>,
    is_active: bool,
    is_sidebar: bool,
    module_id: ModuleId,
    parent_id: Option<RouteId>,
    priority: i64,
    id: RouteId,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    module: Option<ModuleView>,
    parent: Option<Box<RouteView>>,
    children: Vec<RouteView>,
    roles: Vec<RoleInfo>,
    #[serde(flatten)]
    forwarding: Forwarding,
    #[serde(flatten)]
    listed: Option<Listed>,
}

/// What lists show of a route beyond the route itself.
#[derive(Debug, Serialize)]
struct Listed {
    module_name: Option<ModuleName>,
    parent_route: Option<PathTemplate>,
    children_count: usize,
}

impl RouteView {
    /// The route with its module, parent and children.
    pub(super) async fn load(tx: &mut Tx, id: RouteId) -> Result<Option<Self>, Error> {
        let Some(row) = routes::get(tx, id).await? else {
            return Ok(None);
        };
        let (module_id, parent_id) = (row.module_id, row.parent_id);
        let mut view = Self::bare(row, routes::roles(tx, id).await?);
        view.module = ModuleView::bare(tx, module_id).await?;
        if let Some(parent) = parent_id
            && let Some(row) = routes::get(tx, parent).await?
        {
            view.parent = Some(Box::new(Self::bare(row, routes::roles(tx, parent).await?)));
        }
        let filter = routes::Filter { parent_id: Some(id), ..routes::Filter::default() };
        let rows = routes::list(tx, &filter, Page::ALL).await?;
        view.children = rows.into_iter().map(|row| Self::bare(row.route, row.roles)).collect();
        Ok(Some(view))
    }

    /// The same, with what lists show; for answers that a front end puts into its list.
    pub(super) fn listed(mut self) -> Self {
        self.listed = Some(Listed {
            module_name: self.module.as_ref().map(|module| module.name.clone()),
            parent_route: self.parent.as_ref().map(|parent| parent.route.clone()),
            children_count: self.children.len(),
        });
        self
    }

    fn bare(row: Route, roles: Vec<RoleInfo>) -> Self {
        let forwarding = forwarding(&row);
        let Route {
            id,
            route,
            label,
            icon,
            is_active,
            is_sidebar,
            module_id,
            parent_id,
            priority,
            created_at,
            updated_at,
            ..
        } = row;
        let (module, parent, children, listed) = (None, None, Vec::new(), None);
        Self {
            route,
            label,
            icon,
            is_active,
            is_sidebar,
            module_id,
            parent_id,
            priority,
            id,
            created_at,
            updated_at,
            module,
            parent,
            children,
            roles,
            forwarding,
            listed,
        }
    }
}

fn forwarding(row: &Route) -> Forwarding {
    Forwarding {
        host: row.host.clone(),
        upstream: row.upstream.clone(),
        strip_prefix: row.strip_prefix.clone(),
        forward_authorization: row.forward_authorization,
        operations: row.operations.clone(),
    }
}

/// Whether `route`, moved below `parent`, would be its own ancestor.
pub(super) async fn is_cycle(tx: &mut Tx, route: RouteId, parent: RouteId) -> Result<bool, Error> {
    let mut seen = HashSet::new();
    let mut at = Some(parent);
    while let Some(id) = at {
        if id == route {
            return Ok(true);
        }
        if !seen.insert(id) {
            return Ok(false);
        }
        at = routes::get(tx, id).await?.and_then(|row| row.parent_id);
    }
    Ok(false)
}
