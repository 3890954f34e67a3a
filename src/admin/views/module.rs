use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::RouteView;
use crate::admin::error::Error;
use crate::model::{Icon, Label, Module, ModuleId, ModuleName, RoleInfo, Timestamp};
use crate::store::modules::{self, ModuleRow};
use crate::store::{Tx, routes};

/// What every view of a module has.
#[derive(Debug, Serialize, JsonSchema)]
struct Fields {
    name: ModuleName,
    label: Label,
    icon: Option<Icon>,
    route: String,
    priority: i64,
    is_active: bool,
}

/// A module of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModuleListItem")]
pub(crate) struct ModuleItem {
    id: ModuleId,
    #[serde(flatten)]
    fields: Fields,
    created_at: Timestamp,
    route_count: i64,
    roles: Vec<RoleInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl From<ModuleRow> for ModuleItem {
    fn from(ModuleRow { module, deleted_at, route_count, roles }: ModuleRow) -> Self {
        let Module { id, name, label, icon, route, priority, is_active, created_at, updated_at: _ } = module;
        let fields = Fields { name, label, icon, route, priority, is_active };
        Self { id, fields, created_at, route_count, roles, deleted_at }
    }
}

/// A whole module.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Module")]
pub(crate) struct ModuleView {
    #[serde(flatten)]
    fields: Fields,
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
    pub(crate) async fn load(tx: &mut Tx, id: ModuleId) -> Result<Option<Self>, Error> {
        let bare = Self::bare(tx, id).await?;
        Ok(Self::with_routes(tx, bare.into_iter().collect()).await?.pop())
    }

    /// The modules with their routes.
    pub(crate) async fn all(tx: &mut Tx, rows: Vec<ModuleRow>) -> Result<Vec<Self>, Error> {
        Self::with_routes(tx, rows.into_iter().map(|row| Self::new(row.module, row.roles)).collect()).await
    }

    /// The same, with the number of routes that lists show; for answers that a front end puts into its list.
    pub(crate) fn counted(self) -> Self {
        Self { route_count: Some(self.routes.len()), ..self }
    }

    /// Its name.
    pub(super) fn name(&self) -> &ModuleName {
        &self.fields.name
    }

    /// What there is to say of it alone.
    pub(crate) fn without_routes(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Alone<'v> {
            id: ModuleId,
            #[serde(flatten)]
            fields: &'v Fields,
            created_at: Timestamp,
            updated_at: Option<Timestamp>,
            roles: &'v [RoleInfo],
        }
        let Self { id, fields, created_at, updated_at, roles, .. } = self;
        Alone { id: *id, fields, created_at: *created_at, updated_at: *updated_at, roles }
    }

    /// The module without its routes.
    pub(crate) async fn bare(tx: &mut Tx, id: ModuleId) -> Result<Option<Self>, Error> {
        let Some(module) = modules::get(tx, id).await? else {
            return Ok(None);
        };
        let roles = modules::roles(tx, id).await?;
        Ok(Some(Self::new(module, roles)))
    }

    fn new(module: Module, roles: Vec<RoleInfo>) -> Self {
        let Module { id, name, label, icon, route, priority, is_active, created_at, updated_at } = module;
        let fields = Fields { name, label, icon, route, priority, is_active };
        Self { fields, id, created_at, updated_at, routes: Vec::new(), roles, route_count: None }
    }

    async fn with_routes(tx: &mut Tx, mut views: Vec<Self>) -> Result<Vec<Self>, Error> {
        let ids: Vec<ModuleId> = views.iter().map(|view| view.id).collect();
        let mut of_module: HashMap<ModuleId, Vec<RouteView>> = HashMap::new();
        for (route, shown_to) in routes::of_modules(tx, &ids).await? {
            of_module.entry(route.module_id).or_default().push(RouteView::bare(route, shown_to));
        }
        for view in &mut views {
            view.routes = of_module.remove(&view.id).unwrap_or_default();
        }
        Ok(views)
    }
}
