//! Rules to everything a decision needs: a pure function.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use cedar_policy::{Entity, EntityUid, PolicyId, Schema};

use super::{
    CompileError,
    handwritten::{self, Handwritten},
    holdings::Grants,
    index::{Index, Link},
    names, operation,
    roles::{CompiledRole, Roles},
    schema,
    slice::{REMEMBERED_SETS, Sets},
    table::{MountedPath, RouteTable},
    template::{Kind, Templates},
};
use crate::model::{
    PermissionId, RouteId, Upstream, UpstreamName,
    rules::{GrantRule, PermissionRule, PolicyRule, Rules},
};

/// What does not change while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The admin service's paths on the gateway's listener.
    pub mounts: Vec<Arc<MountedPath>>,
    /// The operator's own policy files: name without ending, and text.
    pub files: Vec<PolicyRule>,
}

/// Everything about access that is not about one user, prepared.
#[derive(Debug)]
pub struct Compiled {
    pub(super) index: Index,
    pub(super) templates: Templates,
    pub(super) roles: Roles,
    pub(super) table: RouteTable,
    pub(super) upstreams: HashMap<UpstreamName, Arc<Upstream>>,
    pub(super) verbs: BTreeSet<String>,
    pub(super) permissions: Vec<PermissionRule>,
    pub(super) checked: Arc<Checked>,
    pub(super) sets: Sets,
    pub(super) grants: Grants,
    /// Endpoints that hand-written policies name: their place among routes and modules can be asked about.
    pub(super) named_endpoints: HashMap<EntityUid, Entity>,
}

/// Hand-written policies that were validated against the verbs of then; reused while neither changes.
#[derive(Debug)]
pub(super) struct Checked {
    verbs: BTreeSet<String>,
    stored: Vec<PolicyRule>,
    pub(super) policies: Vec<Arc<Handwritten>>,
}

impl Compiled {
    /// Compiles `rules`; `before` saves validating what has not changed.
    ///
    /// # Errors
    /// A hand-written policy that does not parse or validate strictly, routes that tie with each other or lie
    /// on admin paths, operations that contradict themselves.
    pub fn new(rules: Rules, fixed: &Fixed, before: Option<&Self>) -> Result<Self, CompileError> {
        let verbs = schema::verbs(&rules);
        let unchanged = before.filter(|old| old.checked.verbs == verbs && old.checked.stored == rules.policies);
        let checked = match unchanged {
            Some(old) => Arc::clone(&old.checked),
            None => Arc::new(check(&verbs, fixed, &rules.policies)?),
        };
        let templates = Templates::new(&verbs)?;
        let grants = Grants::of(&rules);
        let mut index = Index::default();
        let roles = Roles::new(&rules.roles, &mut index);
        for link in grant_links(&roles, &rules.permissions, &rules.grants) {
            index.add_link(Arc::new(link));
        }
        for handwritten in &checked.policies {
            index.add_handwritten(handwritten);
        }
        let table = compile_routes(&rules, &roles, fixed, &mut index)?;
        let active = rules.upstreams.into_iter().filter(|upstream| upstream.is_active);
        let upstreams = active.map(|upstream| (upstream.name.clone(), Arc::new(upstream))).collect();
        let permissions = rules.permissions;
        let named_endpoints = named_endpoints(&checked.policies, &table);
        Ok(Self {
            index,
            templates,
            roles,
            table,
            upstreams,
            verbs,
            permissions,
            checked,
            sets: Sets::new(REMEMBERED_SETS),
            grants,
            named_endpoints,
        })
    }

    /// A role with what it inherits from.
    pub(super) fn role_entity(&self, role: &CompiledRole) -> Entity {
        let ancestors = self.roles.uids(&role.closure).filter(|ancestor| **ancestor != role.uid);
        Entity::new_no_attrs(role.uid.clone(), ancestors.cloned().collect())
    }

    /// The schema the policies were validated against.
    pub(super) fn schema(&self) -> Result<Schema, CompileError> {
        schema::build(&self.verbs)
    }
}

fn check(verbs: &BTreeSet<String>, fixed: &Fixed, stored: &[PolicyRule]) -> Result<Checked, CompileError> {
    let schema = schema::build(verbs)?;
    let policies = handwritten::parse(&fixed.files, stored)?;
    handwritten::validate(&schema, Templates::new(verbs)?.set()?, &policies)?;
    Ok(Checked { verbs: verbs.clone(), stored: stored.to_vec(), policies })
}

fn named_endpoints(policies: &[Arc<Handwritten>], table: &RouteTable) -> HashMap<EntityUid, Entity> {
    let named: HashSet<&EntityUid> = policies.iter().flat_map(|policy| &policy.literals).collect();
    let operations = table.routes().into_iter().flat_map(|route| route.operations());
    let endpoints = operations.map(|operation| (operation.endpoint.uid(), &operation.endpoint));
    let named = endpoints.filter(|(uid, _)| named.contains(uid));
    named.map(|(uid, endpoint)| (uid, endpoint.clone())).collect()
}

fn grant_links(roles: &Roles, permissions: &[PermissionRule], grants: &[GrantRule]) -> Vec<Link> {
    let active = permissions.iter().filter(|permission| permission.is_active);
    let by_id: HashMap<PermissionId, &PermissionRule> = active.map(|permission| (permission.id, permission)).collect();
    let link = |grant: &GrantRule| {
        let role = roles.active(grant.role_id)?;
        let parts = by_id.get(&grant.permission_id)?.name.parts()?;
        let verb = parts.verb.to_owned();
        Some(Link {
            id: PolicyId::new(format!("grant:{}:{}", grant.role_id, grant.permission_id)),
            kind: if parts.own { Kind::OwnGrant(verb) } else { Kind::Grant(verb) },
            principal: Some(role.uid.clone()),
            action: names::action(parts.verb),
            resource: names::resource(parts.resource),
        })
    };
    grants.iter().filter_map(link).collect()
}

fn compile_routes(rules: &Rules, roles: &Roles, fixed: &Fixed, index: &mut Index) -> Result<RouteTable, CompileError> {
    let active = rules.modules.iter().filter(|module| module.is_active);
    let modules: BTreeMap<_, _> = active.map(|module| (module.id, &module.name)).collect();
    let mut routes = Vec::new();
    for row in rules.routes.iter().filter(|route| route.is_active) {
        let (Some(module), Some(upstream)) = (modules.get(&row.module_id), &row.upstream) else {
            continue;
        };
        let route = operation::compile(row, module, upstream, index)?;
        for link in operation::links(&route, &role_names(row.id, rules, roles)) {
            index.add_link(Arc::new(link));
        }
        routes.push((row.route.clone(), route));
    }
    RouteTable::new(&fixed.mounts, routes.into_iter())
}

fn role_names<'r>(route: RouteId, rules: &Rules, roles: &'r Roles) -> Vec<(i64, &'r str)> {
    let ids = rules.route_roles.get(&route).map(Vec::as_slice).unwrap_or_default();
    let active = ids.iter().filter_map(|id| Some((id.0, roles.active(*id)?)));
    active.map(|(id, role)| (id, role.name.as_ref())).collect()
}
