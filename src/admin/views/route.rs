use schemars::JsonSchema;
use serde::Serialize;

use super::ModuleView;
use crate::admin::error::Error;
use crate::model::{
    HeaderRules, Host, Icon, Label, ModuleId, ModuleName, Operation, PathTemplate, PermissionId, RoleInfo, Route,
    RouteId, RouteRate, Timestamp, UpstreamName,
};
use crate::store::Tx;
use crate::store::routes::{self, RouteRow, ShownTo};

/// What every view of a route begins with.
#[derive(Debug, Serialize, JsonSchema)]
struct Fields {
    route: PathTemplate,
    label: Label,
    icon: Option<Icon>,
    is_active: bool,
    is_sidebar: bool,
    module_id: ModuleId,
    parent_id: Option<RouteId>,
}

/// What a gateway route has beyond the predecessor's fields.
#[derive(Debug, Serialize, JsonSchema)]
struct Forwarding {
    host: Option<Host>,
    upstream: Option<UpstreamName>,
    strip_prefix: Option<String>,
    forward_authorization: bool,
    operations: Vec<Operation>,
    rate_limit: Option<RouteRate>,
    max_body_bytes: Option<i64>,
    headers: HeaderRules,
}

/// A route, taken apart into what the views have in common.
struct Parts {
    id: RouteId,
    fields: Fields,
    priority: i64,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    forwarding: Forwarding,
}

impl From<Route> for Parts {
    fn from(row: Route) -> Self {
        let Route { id, route, label, icon, is_active, is_sidebar, module_id, parent_id, .. } = row;
        let Route { priority, created_at, updated_at, .. } = row;
        let Route { host, upstream, strip_prefix, forward_authorization, operations, .. } = row;
        let Route { rate_limit, max_body_bytes, headers, .. } = row;
        let fields = Fields { route, label, icon, is_active, is_sidebar, module_id, parent_id };
        let forwarding = Forwarding {
            host,
            upstream,
            strip_prefix,
            forward_authorization,
            operations,
            rate_limit,
            max_body_bytes,
            headers,
        };
        Self { id, fields, priority, created_at, updated_at, forwarding }
    }
}

/// A route of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RouteListItem")]
pub(crate) struct RouteItem {
    id: RouteId,
    #[serde(flatten)]
    fields: Fields,
    created_at: Timestamp,
    module_name: Option<String>,
    parent_route: Option<String>,
    children_count: i64,
    priority: i64,
    roles: Vec<RoleInfo>,
    #[serde(flatten)]
    forwarding: Forwarding,
    permission_ids: Vec<PermissionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl From<RouteRow> for RouteItem {
    fn from(row: RouteRow) -> Self {
        let RouteRow { route, deleted_at, module_name, parent_route, children_count, shown_to } = row;
        let ShownTo { roles, permission_ids } = shown_to;
        let Parts { id, fields, priority, created_at, updated_at: _, forwarding } = route.into();
        Self {
            id,
            fields,
            created_at,
            module_name,
            parent_route,
            children_count,
            priority,
            roles,
            forwarding,
            permission_ids,
            deleted_at,
        }
    }
}

/// A whole route.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Route")]
pub(crate) struct RouteView {
    #[serde(flatten)]
    fields: Fields,
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
    permission_ids: Vec<PermissionId>,
    #[serde(flatten)]
    listed: Option<Listed>,
}

/// What lists show of a route beyond the route itself.
#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    module_name: Option<ModuleName>,
    parent_route: Option<PathTemplate>,
    children_count: usize,
}

impl RouteView {
    /// The route with its module, parent and children.
    pub(crate) async fn load(tx: &mut Tx, id: RouteId) -> Result<Option<Self>, Error> {
        let Some(row) = routes::get(tx, id).await? else {
            return Ok(None);
        };
        let module = ModuleView::bare(tx, row.module_id).await?;
        let parent = match row.parent_id {
            Some(parent) => routes::get(tx, parent).await?,
            None => None,
        };
        let has_parent = parent.is_some();
        let children = routes::children(tx, id).await?;
        let family = [row].into_iter().chain(parent).chain(children).collect();
        let family = routes::with_bindings(tx, family).await?;
        let mut family = family.into_iter().map(|(route, shown_to)| Self::bare(route, shown_to));
        let view = family.next();
        let parent = if has_parent { family.next().map(Box::new) } else { None };
        Ok(view.map(|view| Self { module, parent, children: family.collect(), ..view }))
    }

    /// The same, with what lists show; for answers that a front end puts into its list.
    pub(crate) fn listed(self) -> Self {
        let listed = Listed {
            module_name: self.module.as_ref().map(|module| module.name().clone()),
            parent_route: self.parent.as_ref().map(|parent| parent.fields.route.clone()),
            children_count: self.children.len(),
        };
        Self { listed: Some(listed), ..self }
    }

    /// The route without its neighbours.
    pub(super) fn bare(route: Route, ShownTo { roles, permission_ids }: ShownTo) -> Self {
        let Parts { id, fields, priority, created_at, updated_at, forwarding } = route.into();
        Self {
            fields,
            priority,
            id,
            created_at,
            updated_at,
            module: None,
            parent: None,
            children: Vec::new(),
            roles,
            forwarding,
            permission_ids,
            listed: None,
        }
    }
}
