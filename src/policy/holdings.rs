//! What somebody holds, for the rule that nobody hands on more than that.
//!
//! ## Why
//! Escalation has many doors: a grant, an assignment, a parent, a permission renamed or brought back, a role renamed to
//! what a policy speaks of. So the doors are not watched one by one: what every role and user holds before a write is
//! compared with what it holds after.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{Effect, EntityUid};

use super::{Snapshot, compile::Compiled, names, routing::Routing};
use crate::model::{DEFAULT_ROLE, PermissionId, RoleId, SUPER_ROLE, Timestamp, UserId, rules::UserState};

/// Permissions by name, whether active or not, and roles that count by themselves: those that routes or hand-written
/// policies speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings<'c> {
    permissions: HashSet<&'c str>,
    roles: HashSet<RoleId>,
    /// Roles of which it may be a gain to be rid: those that a hand-written `forbid` speaks of, or the condition of a
    /// `permit`.
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
#[derive(Clone, Debug)]
pub struct Marks<'c> {
    names: HashSet<&'c str>,
    burdens: HashSet<&'c str>,
    routing: &'c Routing,
}

impl Compiled {
    /// The roles whose mere possession opens something.
    pub fn marks(&self) -> Marks<'_> {
        let role = |uid: &'_ &'_ EntityUid| names::is_role(uid);
        let policies = || self.checked.policies();
        let burdening = policies().flat_map(|policy| match policy.policy.effect() {
            Effect::Forbid => &policy.literals,
            Effect::Permit => &policy.in_conditions,
        });
        let named = policies().flat_map(|policy| &policy.literals);
        Marks {
            names: named.filter(role).map(|uid| uid.id().unescaped()).collect(),
            burdens: burdening.filter(role).map(|uid| uid.id().unescaped()).collect(),
            routing: &self.routing,
        }
    }

    /// What holding `roles` amounts to.
    pub fn holdings<'c>(&'c self, roles: &[RoleId], marks: &Marks<'_>) -> Holdings<'c> {
        let mut held = Holdings::default();
        for id in roles {
            let role = self.roles.get(*id);
            let granted = role.into_iter().flat_map(|role| &*role.grants.all);
            let known = granted.filter_map(|permission| self.permissions.get(*permission));
            held.permissions.extend(known.map(|known| known.name.as_str()));
            let name = role.map(|role| &*role.name);
            let named = name.is_some_and(|name| marks.names.contains(name));
            if name.is_some_and(|name| marks.burdens.contains(name)) {
                held.burdens.insert(*id);
            }
            if named || marks.routing.binds(*id) {
                held.roles.insert(*id);
            }
        }
        held
    }

    /// A role and what it inherits from; when it is inactive, as if it were not.
    pub fn standing(&self, id: RoleId) -> Vec<RoleId> {
        let Some(role) = self.roles.get(id) else { return Vec::new() };
        if role.is_active {
            return role.closure.to_vec();
        }
        let inherited =
            role.parents.iter().filter_map(|parent| self.roles.get(*parent)).flat_map(|parent| &*parent.closure);
        let all: BTreeSet<RoleId> = inherited.copied().chain([id]).collect();
        all.into_iter().collect()
    }

    /// The same, but nothing while the role is inactive.
    pub fn effective(&self, id: RoleId) -> &[RoleId] {
        self.roles.get(id).map(|role| &*role.closure).unwrap_or_default()
    }

    /// Every role that may not be what it was in the rules this was made from, by itself or through what it inherits;
    /// new ones included.
    pub fn changed_roles(&self) -> Vec<RoleId> {
        match &self.affected {
            Some(affected) => affected.iter().copied().filter(|id| self.roles.get(*id).is_some()).collect(),
            None => self.roles.ids().collect(),
        }
    }

    /// The role of this name, active or not.
    pub fn role_named(&self, name: &str) -> Option<RoleId> {
        self.roles.id_of(name)
    }

    /// The name of a role, active or not.
    pub fn role_name(&self, id: RoleId) -> Option<&str> {
        self.roles.get(id).map(|role| &*role.name)
    }

    /// The names of all roles, in no order.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.all().map(|(_, role)| &*role.name)
    }

    /// Whether a hand-written policy speaks of this user, who may hold by it what no role shows.
    pub fn names_user(&self, id: UserId) -> bool {
        self.checked.named.contains(&names::user(id))
    }

    /// Whether a hand-written policy looks at what users are called.
    pub fn reads_usernames(&self) -> bool {
        self.checked.policies().any(|policy| policy.reads_names)
    }

    /// Whether hand-written policies may permit what they did not `before`, to whomever.
    pub fn loosens(&self, before: &Self) -> bool {
        self.checked.loosens(&before.checked)
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
        let (was, is) = (before.roles.get(id), self.roles.get(id));
        let kept = |permission: &PermissionId| {
            is.is_some_and(|role| role.grants.has(*permission)) || self.permissions.get(*permission).is_none()
        };
        !active(before) || (active(self) && was.is_none_or(|role| role.grants.all.iter().all(kept)))
    }
}

impl Snapshot {
    /// The roles that `state` has at `now`, inherited ones included.
    pub fn roles_of(&self, state: &UserState, now: Timestamp) -> Vec<RoleId> {
        let all: BTreeSet<RoleId> = state.live_roles(now).flat_map(|role| self.compiled().standing(role)).collect();
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
