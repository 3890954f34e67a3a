//! Gateway routes and their operations, prepared for deciding.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use cedar_policy::{Entity, EntityUid, PolicyId};
use serde_json::Value;
use smol_str::SmolStr;

use super::{
    CompileError,
    index::{Index, Symbol},
    names,
    permissions::{Permissions, Target},
    roles::Roles,
    route_headers::RouteHeaders,
    schema::ACCESS,
    template::{Kind, Link},
};
use crate::model::{
    Access, AmbiguousOwner, Claims, Host, ModuleName, Operation, Owner, PathTemplate, PermissionName, RoleId, Route,
    RouteId, RouteRate, Stated, UpstreamName, rules::RouteRule,
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
    /// How much one client may ask of it.
    pub rate_limit: Option<RouteRate>,
    /// The largest body it takes, in bytes; as its upstream does when absent.
    pub max_body_bytes: Option<u64>,
    /// What it changes in heads.
    pub headers: RouteHeaders,
    /// By method; few.
    operations: Box<[(SmolStr, Arc<CompiledOperation>)]>,
    allow: String,
}

impl GatewayRoute {
    /// The operation that answers `method`: its own, for HEAD that of GET, else that of `*`.
    pub fn operation(&self, method: &str) -> Option<&Arc<CompiledOperation>> {
        let named =
            |name: &str| self.operations.iter().find_map(|(known, operation)| (known == name).then_some(operation));
        let head = || named("GET").filter(|_| method == "HEAD");
        let any = || named("*").filter(|_| method != "OPTIONS");
        named(method).or_else(head).or_else(any)
    }

    /// The value of an `Allow` header.
    pub fn allow_header(&self) -> &str {
        &self.allow
    }

    /// Every operation, by method.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<CompiledOperation>> {
        self.operations.iter().map(|(_, operation)| operation)
    }
}

/// What a request's query says about a name.
pub type QueryOf<'q> = dyn Fn(&str) -> Result<Option<String>, AmbiguousOwner> + 'q;

/// Whom generated policies let in.
#[derive(Debug)]
pub(super) enum Opening {
    /// Who is granted this.
    Granted(Target),
    /// Anybody, with or without a token.
    Everybody(PolicyId),
    /// Any user.
    SignedIn(PolicyId),
    /// Who has one of these roles, sorted.
    Roles(Box<[(RoleId, PolicyId)]>),
}

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
    pub(super) opening: Opening,
    /// The action, if a scope names it.
    pub(super) action_symbol: Option<Symbol>,
    /// What scopes name of the endpoint and what it belongs to.
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
            Some(Owner::Claim(name)) => Ok(match claims.and_then(|claims| claims.all.get(name)).map(Stated::value) {
                Some(Value::String(text)) => Some(text),
                Some(Value::Number(number)) => Some(number.to_string()),
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

/// What operations are compiled against.
#[derive(Debug)]
pub(super) struct Terms<'t> {
    pub(super) permissions: &'t mut Permissions,
    pub(super) index: &'t Index,
}

/// Prepares a route.
///
/// # Errors
/// A template that cannot be matched, a method served twice, a permission without a verb, an owner parameter
/// that the template does not have.
pub(super) fn compile(
    RouteRule { route, roles }: &RouteRule,
    module: &ModuleName,
    upstream: &UpstreamName,
    terms: &mut Terms<'_>,
) -> Result<Arc<GatewayRoute>, CompileError> {
    let fault = |message: String| CompileError::Route { route: route.route.to_string(), message };
    route.route.check_matchable().map_err(|error| fault(error.to_string()))?;
    check_operations(&route.operations, &route.route).map_err(&fault)?;
    Ok(Arc::new_cyclic(|weak| {
        let mut operations = BTreeMap::new();
        for operation in &route.operations {
            for method in operation.methods.iter() {
                let opening = opening(route.id, (operation, method), roles, terms.permissions);
                let compiled =
                    compile_operation(route, module, (operation, method), opening, weak.clone(), terms.index);
                operations.insert(SmolStr::new(method), Arc::new(compiled));
            }
        }
        GatewayRoute {
            id: route.id,
            template: route.route.to_string(),
            host: route.host.clone(),
            upstream: upstream.clone(),
            strip_prefix: route.strip_prefix.clone(),
            forward_authorization: route.forward_authorization,
            rate_limit: route.rate_limit,
            max_body_bytes: route.max_body_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            headers: RouteHeaders::from(&route.headers),
            allow: allow_header(&operations),
            operations: operations.into_iter().collect(),
        }
    }))
}

fn opening(
    route: RouteId,
    (operation, method): (&Operation, &str),
    roles: &[RoleId],
    permissions: &mut Permissions,
) -> Opening {
    let id = || PolicyId::new(format!("route:{route}:{method}"));
    let bound = || {
        let id = |role: &RoleId| (*role, PolicyId::new(format!("route:{route}:{method}.{role}")));
        let mut bound: Vec<_> = roles.iter().map(id).collect();
        bound.sort_unstable();
        Opening::Roles(bound.into())
    };
    match &operation.access {
        Access::Public => Opening::Everybody(id()),
        Access::Authenticated => Opening::SignedIn(id()),
        Access::Roles => bound(),
        Access::Permission { permission, .. } => match permission.parts() {
            Some(parts) => Opening::Granted(permissions.intern(parts)),
            None => Opening::Roles(Box::default()),
        },
    }
}

fn compile_operation(
    route: &Route,
    module: &ModuleName,
    (operation, method): (&Operation, &str),
    opening: Opening,
    weak: std::sync::Weak<GatewayRoute>,
    index: &Index,
) -> CompiledOperation {
    let uid = names::endpoint(route.id, method);
    let mut parents = vec![names::route(route.id), names::module(module.as_str())];
    let parts = match &operation.access {
        Access::Permission { permission, .. } => permission.parts(),
        Access::Public | Access::Authenticated | Access::Roles => None,
    };
    parents.extend(parts.map(|parts| names::resource(parts.resource)));
    let named = std::iter::once(&uid).chain(&parents).filter_map(|uid| index.symbol(uid));
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
        opening,
        action_symbol: index.symbol(&action),
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

fn allow_header(operations: &BTreeMap<SmolStr, Arc<CompiledOperation>>) -> String {
    let mut methods: Vec<&str> = operations.keys().map(SmolStr::as_str).collect();
    if methods.contains(&"GET") && !methods.contains(&"HEAD") {
        methods.push("HEAD");
    }
    if methods.contains(&"*") {
        methods = vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    }
    methods.join(", ")
}

impl CompiledOperation {
    /// Whether scopes that name one of `uids` may be about it.
    pub(super) fn touches(&self, uids: &HashSet<EntityUid>) -> bool {
        let endpoint: &cedar_policy_core::ast::Entity = self.endpoint.as_ref();
        let parents = endpoint.parents().any(|uid| uids.contains(&EntityUid::from(uid.clone())));
        parents || uids.contains(&self.endpoint.uid()) || uids.contains(&self.action)
    }

    /// The generated policies of what needs no permission, for roles that are active now.
    pub(super) fn links(&self, roles: &Roles) -> Vec<Link> {
        let resource = self.endpoint.uid();
        let link = |id: &PolicyId, kind: Kind, principal: Option<EntityUid>| Link {
            id: id.clone(),
            kind,
            principal,
            action: self.action.clone(),
            resource: resource.clone(),
        };
        match &self.opening {
            Opening::Granted(_) => Vec::new(),
            Opening::Everybody(id) => vec![link(id, Kind::Public, None)],
            Opening::SignedIn(id) => vec![link(id, Kind::Authenticated, None)],
            Opening::Roles(bound) => {
                let active = bound.iter().filter_map(|(role, id)| Some((id, roles.active(*role)?)));
                active.map(|(id, role)| link(id, Kind::Role, Some(role.uid.clone()))).collect()
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::HeaderRules;
    use crate::model::{Label, ModuleId, Timestamp};

    /// A gateway route with one public GET operation.
    pub(in crate::policy) fn route(id: i64, template: &str, host: Option<&str>) -> Arc<GatewayRoute> {
        let operations = serde_json::json!([{ "methods": ["GET"], "access": "public" }]);
        compiled(row(id, template, host, operations)).unwrap()
    }

    fn compiled(route: Route) -> Result<Arc<GatewayRoute>, CompileError> {
        let (mut permissions, index) = (Permissions::default(), Index::default());
        let mut terms = Terms { permissions: &mut permissions, index: &index };
        compile(&RouteRule { route, roles: Vec::new() }, &module(), &upstream(), &mut terms)
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
            rate_limit: None,
            max_body_bytes: None,
            headers: HeaderRules::default(),
            operations: serde_json::from_value(operations).unwrap(),
        }
    }

    #[test]
    fn methods_fall_back() {
        let operations = serde_json::json!([
            { "methods": ["GET"], "access": "public" },
            { "methods": ["*"], "access": "authenticated" },
        ]);
        let route = compiled(row(1, "/a", None, operations)).unwrap();
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
            let operations = row.operations.clone();
            assert!(compiled(row).is_err(), "{operations:?}");
        }
    }
}
