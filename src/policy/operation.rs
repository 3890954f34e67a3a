//! Gateway routes and their operations, prepared for deciding.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{Entity, EntityUid, PolicyId};

use super::{
    CompileError,
    index::{Index, Link, Symbol},
    names,
    schema::ACCESS,
    template::Kind,
};
use crate::model::{
    Access, Claims, Host, ModuleName, Operation, Owner, PathTemplate, PermissionName, Route, RouteId, UpstreamName,
};

/// A gateway route.
#[derive(Debug)]
pub struct GatewayRoute {
    /// Identity.
    pub id: RouteId,
    /// The path template.
    pub template: String,
    /// The host it is bound to.
    pub host: Option<Host>,
    /// Where requests go.
    pub upstream: UpstreamName,
    /// Taken off the path's front before it is forwarded.
    pub strip_prefix: Option<String>,
    /// Whether the client's `Authorization` reaches the upstream.
    pub forward_authorization: bool,
    operations: BTreeMap<String, Arc<CompiledOperation>>,
    allow: String,
}

impl GatewayRoute {
    /// The operation that answers `method`: its own, for HEAD that of GET, else that of `*`.
    pub fn operation(&self, method: &str) -> Option<&Arc<CompiledOperation>> {
        let head = || self.operations.get("GET").filter(|_| method == "HEAD");
        let any = || self.operations.get("*").filter(|_| method != "OPTIONS");
        self.operations.get(method).or_else(head).or_else(any)
    }

    /// The value of an `Allow` header.
    pub fn allow_header(&self) -> &str {
        &self.allow
    }

    /// Every operation, by method.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<CompiledOperation>> {
        self.operations.values()
    }
}

/// What a request's query says about a name.
pub type QueryOf<'q> = dyn Fn(&str) -> Result<Option<String>, AmbiguousOwner> + 'q;

/// The query names the owner more than once, or only some parsers would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousOwner;

/// One method of a gateway route: `Endpoint::"17:GET"`.
#[derive(Debug)]
pub struct CompiledOperation {
    /// For the log: `GET article:read`.
    pub label: String,
    /// The method, or `*`.
    pub method: String,
    /// Who may use it, as written.
    pub access: Access,
    /// Where the request says who owns what it asks for.
    pub owner: Option<Owner>,
    pub(super) action: EntityUid,
    pub(super) endpoint: Entity,
    pub(super) action_symbol: Symbol,
    /// What a scope may name to apply to the endpoint.
    pub(super) resource_symbols: Vec<Symbol>,
    pub(super) route: std::sync::Weak<GatewayRoute>,
}

impl CompiledOperation {
    /// Whether no token is needed.
    pub fn is_public(&self) -> bool {
        matches!(self.access, Access::Public)
    }

    /// The owner named by a request, for operations that have one.
    ///
    /// # Errors
    /// The query names it more than once: two parsers could pick different owners.
    pub fn owner_of(
        &self,
        params: &[(&str, &str)],
        query: &QueryOf<'_>,
        claims: Option<&Claims>,
    ) -> Result<Option<String>, AmbiguousOwner> {
        match &self.owner {
            None => Ok(None),
            Some(Owner::Path(name)) => {
                Ok(params.iter().find(|(param, _)| param == name).map(|(_, value)| (*value).to_owned()))
            }
            Some(Owner::Query(name)) => query(name),
            Some(Owner::Claim(name)) => Ok(match claims.and_then(|claims| claims.all.get(name)) {
                Some(serde_json::Value::String(text)) => Some(text.clone()),
                Some(serde_json::Value::Number(number)) => Some(number.to_string()),
                _ => None,
            }),
        }
    }

    /// The permission it asks for, if it asks for one.
    pub fn permission(&self) -> Option<&PermissionName> {
        match &self.access {
            Access::Permission { permission, .. } => Some(permission),
            Access::Public | Access::Authenticated | Access::Roles => None,
        }
    }
}

/// Prepares a route; `role_names` are those of the route's own active roles.
///
/// # Errors
/// A template that cannot be matched, a method served twice, a permission without a verb, an owner parameter
/// that the template does not have.
pub(super) fn compile(
    route: &Route,
    module: &ModuleName,
    upstream: &UpstreamName,
    index: &mut Index,
) -> Result<Arc<GatewayRoute>, CompileError> {
    let fault = |message: String| CompileError::Route { route: route.route.to_string(), message };
    route.route.check_matchable().map_err(|error| fault(error.to_string()))?;
    check_operations(&route.operations, &route.route).map_err(&fault)?;
    Ok(Arc::new_cyclic(|weak| {
        let mut operations = BTreeMap::new();
        for operation in &route.operations {
            for method in operation.methods.iter() {
                let compiled = compile_operation(route, module, (operation, method), weak.clone(), index);
                operations.insert(method.to_owned(), Arc::new(compiled));
            }
        }
        GatewayRoute {
            id: route.id,
            template: route.route.to_string(),
            host: route.host.clone(),
            upstream: upstream.clone(),
            strip_prefix: route.strip_prefix.clone(),
            forward_authorization: route.forward_authorization,
            allow: allow_header(&operations),
            operations,
        }
    }))
}

fn compile_operation(
    route: &Route,
    module: &ModuleName,
    (operation, method): (&Operation, &str),
    weak: std::sync::Weak<GatewayRoute>,
    index: &mut Index,
) -> CompiledOperation {
    let uid = names::endpoint(route.id, method);
    let mut parents = vec![names::route(route.id), names::module(module.as_str())];
    let parts = match &operation.access {
        Access::Permission { permission, .. } => permission.parts(),
        Access::Public | Access::Authenticated | Access::Roles => None,
    };
    parents.extend(parts.map(|parts| names::resource(parts.resource)));
    let named = std::iter::once(&uid).chain(&parents).map(|uid| index.intern(uid));
    let resource_symbols = std::iter::once(Symbol::ANYTHING).chain(named).collect();
    let action = names::action(parts.map_or(ACCESS, |parts| parts.verb));
    let (asks, owner) = match &operation.access {
        Access::Public => ("public", None),
        Access::Authenticated => ("authenticated", None),
        Access::Roles => ("roles", None),
        Access::Permission { permission, owner } => (permission.as_str(), owner.clone()),
    };
    CompiledOperation {
        label: format!("{method} {asks}"),
        method: method.to_owned(),
        access: operation.access.clone(),
        owner,
        action_symbol: index.intern(&action),
        action,
        endpoint: Entity::new_no_attrs(uid, parents.into_iter().collect()),
        resource_symbols,
        route: weak,
    }
}

/// Says what contradicts itself within the operations of one route.
///
/// # Errors
/// The first fault, in words.
pub fn check_operations(operations: &[Operation], template: &PathTemplate) -> Result<(), String> {
    if operations.is_empty() {
        return Err("a route with an upstream needs at least one operation".to_owned());
    }
    let mut seen: Vec<&str> = Vec::new();
    for operation in operations {
        for method in operation.methods.iter() {
            if seen.contains(&method) {
                return Err(format!("method {method} stands in two operations"));
            }
            seen.push(method);
        }
        if let Access::Permission { permission, owner } = &operation.access {
            match permission.parts() {
                None => return Err(format!("permission '{permission}' has no verb")),
                Some(parts) if parts.own => {
                    return Err(format!("permission '{permission}': name it without ':own' and say who owns it"));
                }
                Some(_) => {}
            }
            if let Some(Owner::Path(name)) = owner
                && !template.params().contains(name)
            {
                return Err(format!("owner path.{name}: the route has no parameter {{{name}}}"));
            }
        }
    }
    Ok(())
}

fn allow_header(operations: &BTreeMap<String, Arc<CompiledOperation>>) -> String {
    let mut methods: Vec<&str> = operations.keys().map(String::as_str).collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    if methods.contains(&"*") {
        methods = vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    }
    methods.join(", ")
}

/// The generated policies of a route's public, authenticated and role-bound operations.
pub(super) fn links(route: &GatewayRoute, role_names: &[(i64, &str)]) -> Vec<Link> {
    let mut links = Vec::new();
    for operation in route.operations() {
        let id = format!("route:{}:{}", route.id, operation.method);
        let resource = operation.endpoint.uid();
        let link = |id: String, kind: Kind, principal: Option<EntityUid>| Link {
            id: PolicyId::new(id),
            kind,
            principal,
            action: names::action(ACCESS),
            resource: resource.clone(),
        };
        match &operation.access {
            Access::Public => links.push(link(id, Kind::Public, None)),
            Access::Authenticated => links.push(link(id, Kind::Authenticated, None)),
            Access::Roles => links.extend(
                role_names.iter().map(|(role, name)| link(format!("{id}.{role}"), Kind::Role, Some(names::role(name)))),
            ),
            Access::Permission { .. } => {}
        }
    }
    links
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Label, ModuleId, Timestamp};

    /// A gateway route with one public GET operation.
    pub(in crate::policy) fn route(id: i64, template: &str, host: Option<&str>) -> Arc<GatewayRoute> {
        let operations = serde_json::json!([{ "methods": ["GET"], "access": "public" }]);
        compile(&row(id, template, host, operations), &module(), &upstream(), &mut Index::default()).unwrap()
    }

    fn module() -> ModuleName {
        ModuleName::try_from("m").unwrap()
    }

    fn upstream() -> UpstreamName {
        UpstreamName::try_from("u").unwrap()
    }

    pub(in crate::policy) fn row(id: i64, template: &str, host: Option<&str>, operations: serde_json::Value) -> Route {
        Route {
            id: RouteId(id),
            route: PathTemplate::try_from(template.to_owned()).unwrap(),
            label: Label::try_from("Route").unwrap(),
            icon: None,
            is_active: true,
            is_sidebar: false,
            module_id: ModuleId(1),
            parent_id: None,
            priority: 0,
            created_at: Timestamp::now(),
            updated_at: None,
            host: host.map(|host| Host::try_from(host).unwrap()),
            upstream: Some(upstream()),
            strip_prefix: None,
            forward_authorization: true,
            operations: serde_json::from_value(operations).unwrap(),
        }
    }

    #[test]
    fn methods_fall_back() {
        let operations = serde_json::json!([
            { "methods": ["GET"], "access": "public" },
            { "methods": ["*"], "access": "authenticated" },
        ]);
        let route = compile(&row(1, "/a", None, operations), &module(), &upstream(), &mut Index::default()).unwrap();
        let label = |method| route.operation(method).map(|operation| operation.label.clone());
        assert_eq!(label("HEAD").as_deref(), Some("GET public"));
        assert_eq!(label("POST").as_deref(), Some("* authenticated"));
        assert_eq!(label("OPTIONS"), None);
    }

    #[test]
    fn contradictions_are_refused() {
        for bad in [
            serde_json::json!([]),
            serde_json::json!([{"methods": ["GET"], "access": "public"}, {"methods": ["GET"], "access": "roles"}]),
            serde_json::json!([{"methods": ["GET"], "access": "permission", "permission": "nocolon"}]),
            serde_json::json!([{"methods": ["GET"], "access": "permission", "permission": "a:b:own"}]),
            serde_json::json!([{"methods": ["GET"], "access": "permission", "permission": "a:b", "owner": "path.z"}]),
        ] {
            let row = row(1, "/a/{id}", None, bad);
            assert!(compile(&row, &module(), &upstream(), &mut Index::default()).is_err(), "{:?}", row.operations);
        }
    }
}
