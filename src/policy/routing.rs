//! Modules, gateway routes and the table they make.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{Entity, EntityUid};

use super::{
    CompileError,
    mounted::MountedPath,
    operation::{self, GatewayRoute, Terms},
    permissions::Shared,
    table::RouteTable,
};
use crate::model::{
    Access, ModuleId, ModuleName, RoleId, RouteId,
    rules::{ModuleRule, RouteRule},
};

/// A route and what it is compiled to, if it can match.
#[derive(Debug)]
struct Placed {
    rule: RouteRule,
    compiled: Option<Arc<GatewayRoute>>,
}

/// What has become of modules and routes; `None` for those that are no more.
#[derive(Debug, Default)]
pub(super) struct RoutingChange {
    modules: BTreeMap<ModuleId, Option<ModuleRule>>,
    routes: BTreeMap<RouteId, Option<RouteRule>>,
}

impl RoutingChange {
    /// A module with all of its routes, among those that are known of it now.
    pub(super) fn module(&mut self, id: ModuleId, now: Option<(ModuleRule, Vec<RouteRule>)>, known: &Routing) {
        let (module, routes) = now.unzip();
        self.modules.insert(id, module);
        for route in known.of_module(id) {
            // It may have moved to another module, which tells of it too.
            self.routes.entry(route).or_default();
        }
        self.routes.extend(routes.into_iter().flatten().map(|rule| (rule.route.id, Some(rule))));
    }

    /// Routes that are as they were, to be compiled again.
    pub(super) fn again(&mut self, rules: Vec<RouteRule>) {
        for rule in rules {
            self.routes.entry(rule.route.id).or_insert(Some(rule));
        }
    }

    /// A route by itself.
    pub(super) fn route(&mut self, id: RouteId, now: Option<RouteRule>) {
        let known = self.routes.entry(id).or_default();
        if now.is_some() {
            *known = now;
        }
    }
}

/// All modules and gateway routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Routing {
    modules: Shared<ModuleId, Arc<ModuleRule>>,
    routes: Shared<RouteId, Arc<Placed>>,
    pub(super) table: RouteTable,
    /// How many routes each role is bound to.
    bound: Shared<RoleId, u32>,
    /// Endpoints that hand-written policies name: their place among routes and modules can be asked about.
    pub(super) named_endpoints: Arc<HashMap<EntityUid, Entity>>,
}

impl Routing {
    pub(super) fn new(mounts: &[Arc<MountedPath>]) -> Self {
        Self { table: RouteTable::new(mounts), ..Self::default() }
    }

    /// Applies `change`; of endpoints, those in `named` are kept to be found by name.
    pub(super) fn put(
        &mut self,
        change: RoutingChange,
        terms: &mut Terms<'_>,
        named: &HashSet<EntityUid>,
    ) -> Result<(), CompileError> {
        for (id, module) in change.modules {
            match module {
                Some(module) => self.modules.insert(id, Arc::new(module)),
                None => self.modules.remove(&id),
            };
        }
        // Two routes may have exchanged their paths, so that all old ones go first.
        for id in change.routes.keys() {
            self.take_out(*id);
        }
        change.routes.into_values().flatten().try_for_each(|rule| self.place(rule, terms, named))
    }

    fn take_out(&mut self, id: RouteId) {
        let Some(placed) = self.routes.remove(&id) else { return };
        for role in &placed.rule.roles {
            let left = self.bound.get(role).copied().unwrap_or_default().saturating_sub(1);
            match left {
                0 => self.bound.remove(role),
                left => self.bound.insert(*role, left),
            };
        }
        let Some(compiled) = &placed.compiled else { return };
        self.table.remove(&placed.rule.route.route, compiled);
        if compiled.operations().any(|operation| self.named_endpoints.contains_key(&operation.endpoint.uid())) {
            let endpoints = Arc::make_mut(&mut self.named_endpoints);
            compiled.operations().for_each(|operation| drop(endpoints.remove(&operation.endpoint.uid())));
        }
    }

    fn place(
        &mut self,
        rule: RouteRule,
        terms: &mut Terms<'_>,
        named: &HashSet<EntityUid>,
    ) -> Result<(), CompileError> {
        let route = &rule.route;
        let module = self.modules.get(&route.module_id).filter(|module| module.is_active && route.is_active);
        let compiled = match module.zip(route.upstream.as_ref()) {
            Some((module, upstream)) => Some(operation::compile(&rule, &module.name, upstream, terms)?),
            None => None,
        };
        if let Some(compiled) = &compiled {
            self.table.insert(&route.route, compiled)?;
            let endpoints = compiled.operations().map(|operation| (operation.endpoint.uid(), &operation.endpoint));
            for (uid, endpoint) in endpoints.filter(|(uid, _)| named.contains(uid)) {
                Arc::make_mut(&mut self.named_endpoints).insert(uid, endpoint.clone());
            }
        }
        for role in &rule.roles {
            *self.bound.entry(*role).or_default() += 1;
        }
        self.routes.insert(route.id, Arc::new(Placed { rule, compiled }));
        Ok(())
    }

    /// Every route that can match, in no order.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<GatewayRoute>> {
        self.routes.values().filter_map(|placed| placed.compiled.as_ref())
    }

    /// The route, if it can match.
    pub(super) fn route(&self, id: RouteId) -> Option<&Arc<GatewayRoute>> {
        self.routes.get(&id)?.compiled.as_ref()
    }

    /// A line for everything, with the words of `describe` for routes: whether they are in the table.
    pub(super) fn dump(&self, lines: &mut Vec<String>, describe: impl Fn(&Arc<GatewayRoute>, bool) -> String) {
        lines.extend(self.modules.values().map(|module| format!("{module:?}")));
        let listed = self.table.routes();
        lines.push(format!("{} routes in the table", listed.len()));
        for placed in self.routes.values() {
            let is_listed = |route: &Arc<GatewayRoute>| listed.iter().any(|listed| Arc::ptr_eq(listed, route));
            let compiled = placed.compiled.as_ref().map(|route| describe(route, is_listed(route)));
            lines.push(format!("{:?} {compiled:?}", placed.rule));
        }
        lines.extend(self.bound.iter().map(|(role, count)| format!("bound {role} {count}")));
        lines.extend(self.named_endpoints.keys().map(|uid| format!("named {uid}")));
    }

    /// The names of modules.
    pub(super) fn module_names(&self) -> impl Iterator<Item = &ModuleName> {
        self.modules.values().map(|module| &module.name)
    }

    /// The methods that a route names, whether it matches or not.
    pub(super) fn methods(&self, id: RouteId) -> impl Iterator<Item = &str> {
        let operations = self.routes.get(&id).into_iter().flat_map(|placed| &placed.rule.route.operations);
        operations.flat_map(|operation| operation.methods.iter())
    }

    /// Whether any operation asks for a permission about this resource.
    pub(super) fn has_resource(&self, name: &str) -> bool {
        let operations = self.routes.values().flat_map(|placed| &placed.rule.route.operations);
        let mut asked = operations.filter_map(|operation| match &operation.access {
            Access::Permission { permission, .. } => permission.parts(),
            Access::Public | Access::Authenticated | Access::Roles => None,
        });
        asked.any(|parts| parts.resource == name)
    }

    /// The modules, by id.
    pub(super) fn module_rules(&self) -> Vec<ModuleRule> {
        let mut rules: Vec<ModuleRule> = self.modules.values().map(|module| ModuleRule::clone(module)).collect();
        rules.sort_unstable_by_key(|module| module.id);
        rules
    }

    /// The routes, by id, and the roles that are bound to them.
    pub(super) fn route_rules(&self) -> BTreeMap<RouteId, &RouteRule> {
        self.routes.iter().map(|(id, placed)| (*id, &placed.rule)).collect()
    }

    /// The routes that can match and have to do with one of `uids`.
    pub(super) fn touching(&self, uids: &HashSet<EntityUid>) -> Vec<RouteRule> {
        if uids.is_empty() {
            return Vec::new();
        }
        let matching = self.routes.iter().filter(|(_, placed)| {
            let compiled = placed.compiled.iter();
            let mut operations = compiled.flat_map(|route| route.operations());
            operations.any(|operation| operation.touches(uids))
        });
        matching.map(|(_, placed)| placed.rule.clone()).collect()
    }

    /// The routes of a module.
    pub(super) fn of_module(&self, id: ModuleId) -> impl Iterator<Item = RouteId> {
        let own = self.routes.iter().filter(move |(_, placed)| placed.rule.route.module_id == id);
        own.map(|(id, _)| *id)
    }

    /// Whether any gateway route, active or not, is bound to the role.
    pub(super) fn binds(&self, role: RoleId) -> bool {
        self.bound.contains_key(&role)
    }
}
