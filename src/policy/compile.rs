//! Rules to everything a decision needs: a pure function, of all rules or of what has become of some.
//!
//! ## Why
//! A change must cost what it touches. So everything is held in maps that share their structure, and a compile applies
//! the parts that have changed to the one before; all rules at once are every part applied to nothing. What no part can
//! tell, hand-written policies, is compiled as a whole.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use cedar_policy::{Entity, PolicyId, Schema};

use super::{
    CompileError,
    checked::{Checked, TextChange},
    depth,
    engine::PolicyRef,
    mounted::MountedPath,
    names,
    operation::Terms,
    permissions::Permissions,
    roles::{CompiledRole, RoleChange, Roles},
    routing::{Routing, RoutingChange},
    schema,
    slice::{REMEMBERED_SETS, Sets},
    template::{Kind, Link},
    upstreams::Upstreams,
};
use crate::model::{
    Issuer, PermissionId, RoleId, RoleName,
    rules::{GrantRule, Part, PermissionRule, PolicyText, RoleRule, RouteRule, Rules},
};

/// How many targets that nothing speaks of any more are carried along before all is compiled anew.
const FORGOTTEN_TARGETS: usize = 10_000;

/// What no database says.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// The admin service's paths on the gateway's listener.
    pub mounts: Vec<Arc<MountedPath>>,
    /// The operator's own policy files, by name without ending.
    pub files: Arc<[PolicyText]>,
    /// Issuers that stand in the settings.
    pub issuers: Vec<Arc<Issuer>>,
}

/// Everything about access that is not about one user, prepared.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(super) permissions: Permissions,
    pub(super) roles: Roles,
    pub(super) routing: Routing,
    pub(super) upstreams: Upstreams,
    pub(super) checked: Arc<Checked>,
    pub(super) sets: Arc<Sets>,
    /// Roles that are not what they were in the rules this was made from; `None` if it was made from nothing.
    pub(super) affected: Option<BTreeSet<RoleId>>,
    targets_at_first: usize,
}

impl Compiled {
    /// Compiles all of `rules`; `before` saves validating what has not changed.
    ///
    /// # Errors
    /// A hand-written policy that does not parse or validate strictly, routes that tie with each other or lie
    /// on admin paths, operations that contradict themselves.
    pub fn new(mut rules: Rules, fixed: &Fixed, before: Option<&Self>) -> Result<Self, CompileError> {
        let before = before.map(|compiled| Arc::clone(&compiled.checked));
        let texts = TextChange::all(&fixed.files, std::mem::take(&mut rules.policies), before.as_deref());
        let mut compiled = Self {
            permissions: Permissions::default(),
            roles: Roles::default(),
            routing: Routing::new(&fixed.mounts),
            upstreams: Upstreams::default(),
            checked: before.unwrap_or_default(),
            sets: Arc::new(Sets::new(REMEMBERED_SETS)),
            affected: None,
            targets_at_first: 0,
        };
        compiled.apply(parts(rules), texts)?;
        compiled.targets_at_first = compiled.permissions.target_count();
        Ok(compiled)
    }

    /// The same with what some parts have become, and with these files of the operator's.
    ///
    /// # Errors
    /// Those of [`Compiled::new`].
    pub fn with(&self, parts: Vec<Part>, files: &Arc<[PolicyText]>) -> Result<Self, CompileError> {
        let mut next = self.clone();
        let files = (!Arc::ptr_eq(self.checked.given(), files)).then(|| Arc::clone(files));
        next.affected = Some(next.apply(parts, TextChange { files, ..TextChange::default() })?);
        Ok(next)
    }

    /// What this was compiled from.
    pub fn rules(&self) -> Rules {
        let mut roles: Vec<_> = self.roles.all().collect();
        roles.sort_unstable_by_key(|(id, _)| *id);
        let granted = |(id, role): &(RoleId, &CompiledRole)| {
            let role_id = *id;
            let grants = role.grants.all.iter();
            grants.map(|permission_id| GrantRule { role_id, permission_id: *permission_id }).collect::<Vec<_>>()
        };
        let routes = self.routing.route_rules();
        let bound = routes.iter().filter(|(_, rule)| !rule.roles.is_empty());
        Rules {
            grants: roles.iter().flat_map(granted).collect(),
            roles: roles.into_iter().filter_map(role_rule).collect(),
            permissions: self.permissions.rules(),
            modules: self.routing.module_rules(),
            route_roles: bound.map(|(id, rule)| (*id, rule.roles.clone())).collect(),
            routes: routes.into_values().map(|rule| rule.route.clone()).collect(),
            upstreams: self.upstreams.rules(),
            policies: self.checked.stored().collect(),
        }
    }

    /// Whether so much has come and gone that it is time to compile all rules anew.
    pub fn is_worn(&self) -> bool {
        self.permissions.target_count() > 2 * self.targets_at_first + FORGOTTEN_TARGETS
    }

    /// Returns the roles that are not what they were.
    fn apply(&mut self, parts: Vec<Part>, mut texts: TextChange) -> Result<BTreeSet<RoleId>, CompileError> {
        let mut roles: BTreeMap<RoleId, RoleChange> = BTreeMap::new();
        let (mut routes, mut upstreams) = (RoutingChange::default(), Vec::new());
        let mut whole_roles = Vec::new();
        for part in parts {
            match part {
                Part::Permission(id, now) => self.put_permission(id, now, &mut roles),
                Part::Role(id, now) => whole_roles.push((id, now)),
                Part::Module(id, now) => routes.module(id, now, &self.routing),
                Part::Route(id, now) => routes.route(id, now),
                Part::Upstream(id, now) => upstreams.push((id, now)),
                Part::Policy(id, now) => drop(texts.stored.insert(id, now)),
            }
        }
        for (id, now) in whole_roles {
            roles.insert(id, now.map_or(RoleChange::Gone, |(rule, granted)| RoleChange::Is(rule, granted)));
        }
        let verbs = schema::verbs(self.permissions.verbs());
        if verbs != self.checked.verbs || !texts.is_none() {
            let next = depth::with_room(|| self.checked.with(verbs, texts))?;
            // Symbols of what is named now, or no longer, stand in operations.
            routes.again(self.routing.touching(&next.named_otherwise(&self.checked)));
            self.roles.forget_sets();
            self.checked = Arc::new(next);
        }
        let affected = self.roles.put(roles, &self.permissions);
        let mut terms = Terms { permissions: &mut self.permissions, index: &self.checked.index };
        self.routing.put(routes, &mut terms, &self.checked.named)?;
        self.upstreams.put(upstreams);
        Ok(affected)
    }

    /// Changes a permission, and notes what that means for the roles that had it or have it now.
    fn put_permission(
        &mut self,
        id: PermissionId,
        now: Option<(PermissionRule, Vec<RoleId>)>,
        changes: &mut BTreeMap<RoleId, RoleChange>,
    ) {
        let had: BTreeSet<RoleId> = match self.permissions.get(id) {
            Some(_) => self.roles.holders(id).collect(),
            None => BTreeSet::new(),
        };
        let (rule, holders) = now.unzip();
        let have: BTreeSet<RoleId> = holders.unwrap_or_default().into_iter().collect();
        let differs = self.permissions.put(id, rule);
        for role in had.union(&have).filter(|role| differs || !(had.contains(role) && have.contains(role))) {
            let Some(current) = self.roles.get(*role) else { continue };
            let change = changes.entry(*role).or_insert_with(|| RoleChange::Granted(current.grants.all.to_vec()));
            if let RoleChange::Granted(granted) = change {
                granted.retain(|granted| *granted != id);
                granted.extend(have.contains(role).then_some(id));
            }
        }
    }

    /// A role with what it inherits from.
    pub(super) fn role_entity(&self, role: &CompiledRole) -> Entity {
        let ancestors = self.roles.uids(&role.closure).filter(|ancestor| **ancestor != role.uid);
        Entity::new_no_attrs(role.uid.clone(), ancestors.cloned().collect())
    }

    /// The schema the policies were validated against.
    pub(super) fn schema(&self) -> Result<Schema, CompileError> {
        schema::build(&self.checked.verbs)
    }

    /// Every generated policy, in no order.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        let roles = self.roles.all().filter(|(_, role)| role.is_active);
        let grants =
            roles.flat_map(|(id, role)| role.grants.live().all().iter().map(move |grant| (id, grant.permission)));
        let grants = grants.filter_map(|(role, permission)| self.grant_link(role, permission));
        let operations = self.routing.routes().flat_map(|route| route.operations());
        grants.chain(operations.flat_map(|operation| operation.links(&self.roles)))
    }

    /// The policy that grants `permission` to `role`.
    pub(super) fn grant_link(&self, role: RoleId, permission: PermissionId) -> Option<Link> {
        let parts = self.permissions.get(permission)?.name.parts()?;
        let verb = parts.verb.to_owned();
        Some(Link {
            id: PolicyId::new(PolicyRef::Grant(role, permission).to_string()),
            kind: if parts.own { Kind::OwnGrant(verb) } else { Kind::Grant(verb) },
            principal: Some(self.roles.get(role)?.uid.clone()),
            action: names::action(parts.verb),
            resource: names::resource(parts.resource),
        })
    }
}

fn role_rule((id, role): (RoleId, &CompiledRole)) -> Option<RoleRule> {
    // It came as a name of a role.
    let name = RoleName::try_from(&*role.name).ok()?;
    Some(RoleRule {
        id,
        name,
        is_active: role.is_active,
        is_system_role: role.is_system,
        parents: role.parents.to_vec(),
    })
}

/// All rules, part by part.
fn parts(rules: Rules) -> Vec<Part> {
    let mut granted: HashMap<RoleId, Vec<PermissionId>> = HashMap::new();
    for grant in rules.grants {
        granted.entry(grant.role_id).or_default().push(grant.permission_id);
    }
    let mut route_roles = rules.route_roles;
    let permissions = rules.permissions.into_iter().map(|rule| Part::Permission(rule.id, Some((rule, Vec::new()))));
    let roles = rules.roles.into_iter().map(|rule| {
        let granted = granted.remove(&rule.id).unwrap_or_default();
        Part::Role(rule.id, Some((rule, granted)))
    });
    let modules = rules.modules.into_iter().map(|rule| Part::Module(rule.id, Some((rule, Vec::new()))));
    let routes = rules.routes.into_iter().map(|route| {
        let roles = route_roles.remove(&route.id).unwrap_or_default();
        Part::Route(route.id, Some(RouteRule { route, roles }))
    });
    let upstreams = rules.upstreams.into_iter().map(|upstream| Part::Upstream(upstream.id, Some(upstream)));
    permissions.chain(roles).chain(modules).chain(routes).chain(upstreams).collect()
}
