//! What somebody holds, for the rule that nobody hands on more than that.
//!
//! ## Why
//! Escalation has many doors: a grant, an assignment, a parent, a permission renamed or brought back, a role renamed to
//! what a policy speaks of. So the doors are not watched one by one: what every role and user holds before a write is
//! compared with what it holds after.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::Effect;

use super::{Snapshot, compile::Compiled};
use crate::model::{
    DEFAULT_ROLE, PermissionId, PermissionName, RoleId, SUPER_ROLE, Timestamp,
    rules::{Rules, UserState},
};

/// Permissions by name, whether active or not, and roles that count by themselves: those that routes or hand-written
/// policies speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings<'c> {
    permissions: HashSet<&'c str>,
    roles: HashSet<RoleId>,
    /// Roles that a hand-written `forbid` speaks of: to be rid of one is a gain.
    burdens: HashSet<RoleId>,
}

impl<'c> Holdings<'c> {
    /// Whether whoever holds this holds all of `other`; a permission includes its `:own` form.
    pub fn cover(&self, other: &Self) -> bool {
        let held = |name: &&str| {
            self.permissions.contains(name)
                || name.strip_suffix(":own").is_some_and(|all| self.permissions.contains(all))
        };
        other.permissions.iter().all(held) && other.roles.is_subset(&self.roles)
    }

    /// Whether whoever holds this is still in every role that a `forbid` speaks of and `before` was in.
    pub fn bear(&self, before: &Self) -> bool {
        before.burdens.is_subset(&self.burdens)
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.permissions.extend(&other.permissions);
        self.roles.extend(&other.roles);
    }

    /// The names of the permissions, sorted.
    pub fn permissions(&self) -> BTreeSet<&'c str> {
        self.permissions.iter().copied().collect()
    }
}

/// Roles that count by themselves in the snapshot that a write leads to.
#[derive(Clone, Debug, Default)]
pub struct Marks<'c> {
    names: HashSet<&'c str>,
    forbidden: HashSet<&'c str>,
    bound: &'c [RoleId],
}

/// Who is granted what, active or not, as rules say it.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Of each role by itself, sorted.
    by_role: HashMap<RoleId, Vec<PermissionId>>,
    names: HashMap<PermissionId, PermissionName>,
    /// Roles bound to routes, sorted.
    bound: Vec<RoleId>,
}

impl Grants {
    pub(super) fn of(rules: &Rules) -> Self {
        let mut by_role: HashMap<RoleId, Vec<PermissionId>> = HashMap::new();
        for grant in &rules.grants {
            by_role.entry(grant.role_id).or_default().push(grant.permission_id);
        }
        for permissions in by_role.values_mut() {
            permissions.sort_unstable();
        }
        let bound: BTreeSet<RoleId> = rules.route_roles.values().flatten().copied().collect();
        Self {
            by_role,
            names: rules.permissions.iter().map(|permission| (permission.id, permission.name.clone())).collect(),
            bound: bound.into_iter().collect(),
        }
    }
}

impl Compiled {
    /// The roles whose mere possession opens something.
    pub fn marks(&self) -> Marks<'_> {
        let named = |effect: Option<Effect>| {
            let policies = self.checked.policies.iter();
            let policies = policies.filter(move |policy| effect.is_none_or(|effect| policy.policy.effect() == effect));
            let roles = policies.flat_map(|policy| &policy.literals).filter(|uid| super::names::is_role(uid));
            roles.map(|uid| uid.id().unescaped()).collect()
        };
        Marks { names: named(None), forbidden: named(Some(Effect::Forbid)), bound: &self.grants.bound }
    }

    /// What holding `roles` amounts to.
    pub fn holdings<'c>(&'c self, roles: &[RoleId], marks: &Marks<'_>) -> Holdings<'c> {
        let mut held = Holdings::default();
        for id in roles {
            let granted = self.grants.by_role.get(id).into_iter().flatten();
            let names = granted.filter_map(|permission| self.grants.names.get(permission));
            held.permissions.extend(names.map(PermissionName::as_str));
            let name = self.roles.get(*id).map(|role| &*role.name);
            let named = name.is_some_and(|name| marks.names.contains(name));
            if name.is_some_and(|name| marks.forbidden.contains(name)) {
                held.burdens.insert(*id);
            }
            if named || marks.bound.binary_search(id).is_ok() {
                held.roles.insert(*id);
            }
        }
        held
    }

    /// A role and what it inherits from; when it is inactive, as if it were not.
    pub fn standing(&self, id: RoleId) -> Vec<RoleId> {
        let Some(role) = self.roles.get(id) else { return Vec::new() };
        if role.is_active {
            return role.closure.clone();
        }
        let inherited =
            role.parents.iter().filter_map(|parent| self.roles.get(*parent)).flat_map(|parent| &parent.closure);
        let all: BTreeSet<RoleId> = inherited.copied().chain([id]).collect();
        all.into_iter().collect()
    }

    /// The same, but nothing while the role is inactive.
    pub fn effective(&self, id: RoleId) -> &[RoleId] {
        self.roles.get(id).map(|role| role.closure.as_slice()).unwrap_or_default()
    }

    /// Every role that is not what it was in `before`, by itself or through what it inherits; new ones included.
    pub fn changed_roles(&self, before: &Self) -> Vec<RoleId> {
        let renamed: HashSet<PermissionId> = self
            .grants
            .names
            .iter()
            .filter(|(id, name)| before.grants.names.get(id).is_none_or(|old| old != *name))
            .map(|(id, _)| *id)
            .collect();
        let differs = |id: RoleId| {
            let (Some(new), Some(old)) = (self.roles.get(id), before.roles.get(id)) else { return true };
            let (granted, had) = (self.grants.by_role.get(&id), before.grants.by_role.get(&id));
            new.name != old.name
                || new.is_active != old.is_active
                || new.parents != old.parents
                || granted != had
                || granted.is_some_and(|granted| granted.iter().any(|permission| renamed.contains(permission)))
        };
        let direct: HashSet<RoleId> = self.roles.ids().filter(|id| differs(*id)).collect();
        if direct.is_empty() {
            return Vec::new();
        }
        self.roles.ids().filter(|id| self.standing(*id).iter().any(|id| direct.contains(id))).collect()
    }

    /// The role of the first administrator.
    pub fn super_role(&self) -> Option<RoleId> {
        self.roles.id_of(SUPER_ROLE)
    }

    /// The role that new users have.
    pub fn default_role(&self) -> Option<RoleId> {
        self.roles.id_of(DEFAULT_ROLE)
    }

    /// Whether the super role is there, active, and has lost no permission that still exists.
    pub fn keeps_super_role_of(&self, before: &Self) -> bool {
        let Some(id) = before.super_role() else { return true };
        let active = |compiled: &Self| compiled.roles.active(id).is_some_and(|role| &*role.name == SUPER_ROLE);
        let granted = |compiled: &Self| compiled.grants.by_role.get(&id).cloned().unwrap_or_default();
        let now: HashSet<PermissionId> = granted(self).into_iter().collect();
        let kept = |permission: &PermissionId| now.contains(permission) || !self.grants.names.contains_key(permission);
        !active(before) || (active(self) && granted(before).iter().all(kept))
    }
}

impl Snapshot {
    /// The roles that `state` has at `now`, inherited ones included.
    pub fn roles_of(&self, state: &UserState, now: Timestamp) -> Vec<RoleId> {
        let live = state.roles.iter().filter(|assignment| assignment.expires_at.is_none_or(|end| end > now));
        let all: BTreeSet<RoleId> = live.flat_map(|assignment| self.compiled().standing(assignment.role_id)).collect();
        all.into_iter().collect()
    }

    /// Whether `state` is an active user who has the super role for good.
    pub fn is_superuser(&self, state: &UserState) -> bool {
        let super_role = self.compiled().super_role();
        let for_good = |role| state.roles.iter().any(|held| held.role_id == role && held.expires_at.is_none());
        state.is_active && super_role.is_some_and(for_good)
    }

    /// Whether any user is.
    pub fn has_superuser(&self) -> bool {
        self.users().any(|user| self.is_superuser(user))
    }
}
