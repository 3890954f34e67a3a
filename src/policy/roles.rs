//! Roles prepared for deciding, and the sets of them that callers hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, OnceLock},
};

use cedar_policy::EntityUid;
use foldhash::fast::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};
use smallvec::SmallVec;

use super::{
    index::{Index, Symbol},
    names,
    permissions::{Grants, Live, Permissions, Shared},
};
use crate::model::{DEFAULT_ROLE, PermissionId, RoleId, rules::RoleRule};

/// How many role ids the remembered sets hold in all: some 50 MiB at most.
const REMEMBERED_IDS: u64 = 1 << 20;

/// A role, prepared.
#[derive(Clone, Debug)]
pub(super) struct CompiledRole {
    pub(super) name: Arc<str>,
    pub(super) uid: EntityUid,
    pub(super) is_active: bool,
    pub(super) is_system: bool,
    /// Whether it is a system role beside the one that everybody has who signs up, or inherits from one.
    pub(super) is_guarded: bool,
    /// Itself and every active role it inherits from through active roles; empty when it is inactive itself.
    pub(super) closure: Arc<[RoleId]>,
    pub(super) parents: Arc<[RoleId]>,
    pub(super) grants: Arc<Grants>,
}

/// The effective roles of a caller: active, not expired, inherited ones included.
///
/// Callers with the same assignments share one.
#[derive(Debug, Default)]
pub struct RoleSet {
    /// Names, sorted.
    pub names: Vec<Arc<str>>,
    /// Room for the names as a header field, written once by whoever forwards them; and whether it was cut.
    pub field: OnceLock<(http::HeaderValue, bool)>,
    pub(super) ids: Vec<RoleId>,
    /// What those roles are granted that are granted anything.
    pub(super) grants: SmallVec<[(RoleId, Live); 2]>,
    /// Those that scopes of hand-written policies name.
    pub(super) symbols: Vec<Symbol>,
}

impl RoleSet {
    /// Their ids, in no order.
    pub fn ids(&self) -> &[RoleId] {
        &self.ids
    }
}

#[derive(Clone, Debug)]
struct Size;

impl Weighter<Box<[RoleId]>, Arc<RoleSet>> for Size {
    fn weight(&self, assigned: &Box<[RoleId]>, set: &Arc<RoleSet>) -> u64 {
        (assigned.len() + set.ids.len() + 4) as u64
    }
}

type Sets = Cache<Box<[RoleId]>, Arc<RoleSet>, Size, RandomState>;

fn no_sets() -> Arc<Sets> {
    Arc::new(Cache::with(1_024, REMEMBERED_IDS, Size, RandomState::default(), DefaultLifecycle::default()))
}

/// What has become of one role.
#[derive(Debug)]
pub(super) enum RoleChange {
    /// It is no more.
    Gone,
    /// It is this, granted that.
    Is(RoleRule, Vec<PermissionId>),
    /// It is as it was, but granted this.
    Granted(Vec<PermissionId>),
}

/// All roles.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    by_id: Shared<RoleId, Arc<CompiledRole>>,
    by_name: Shared<Arc<str>, RoleId>,
    /// Who inherits directly, deleted parents included: they may come back.
    children: Shared<RoleId, Arc<BTreeSet<RoleId>>>,
    sets: Arc<Sets>,
}

impl Default for Roles {
    fn default() -> Self {
        Self { by_id: Shared::default(), by_name: Shared::default(), children: Shared::default(), sets: no_sets() }
    }
}

impl Roles {
    /// Applies `changes` and returns the roles that are no longer what they were, by themselves or through what they
    /// inherit from.
    pub(super) fn put(&mut self, changes: BTreeMap<RoleId, RoleChange>, permissions: &Permissions) -> BTreeSet<RoleId> {
        if changes.is_empty() {
            return BTreeSet::new();
        }
        self.forget_sets();
        let direct: Vec<RoleId> = changes.keys().copied().collect();
        let in_place = |change: &RoleChange| matches!(change, RoleChange::Granted(_));
        let moved = changes.iter().filter(|(_, change)| !in_place(change)).map(|(id, _)| *id);
        let moved: Vec<RoleId> = moved.collect();
        // Names may have been exchanged, so that all old ones go first.
        for id in &moved {
            self.unlink(*id);
        }
        for (id, change) in changes {
            self.replace(id, change, permissions);
        }
        for id in self.with_heirs(&moved) {
            if let Some(role) = self.by_id.get(&id) {
                let closure = self.closure(id);
                let is_guarded = closure.iter().chain([&id]).any(|id| self.is_special(*id));
                let role = CompiledRole { closure: closure.into(), is_guarded, ..CompiledRole::clone(role) };
                self.by_id.insert(id, Arc::new(role));
            }
        }
        self.with_heirs(&direct)
    }

    /// Forgets what callers hold, which is found out anew.
    pub(super) fn forget_sets(&mut self) {
        self.sets = no_sets();
    }

    fn unlink(&mut self, id: RoleId) {
        let Some(role) = self.by_id.get(&id).map(Arc::clone) else { return };
        self.by_name.remove(&role.name);
        for parent in &*role.parents {
            if let Some(children) = self.children.get_mut(parent) {
                Arc::make_mut(children).remove(&id);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
    }

    fn replace(&mut self, id: RoleId, change: RoleChange, permissions: &Permissions) {
        let role = match change {
            RoleChange::Gone => {
                self.by_id.remove(&id);
                return;
            }
            RoleChange::Is(rule, granted) => {
                let name: Arc<str> = rule.name.as_str().into();
                self.by_name.insert(Arc::clone(&name), id);
                for parent in &rule.parents {
                    Arc::make_mut(self.children.entry(*parent).or_default()).insert(id);
                }
                CompiledRole {
                    uid: names::role(&name),
                    name,
                    is_active: rule.is_active,
                    is_system: rule.is_system_role,
                    is_guarded: false,
                    closure: Arc::default(),
                    parents: rule.parents.into(),
                    grants: Arc::new(Grants::new(granted, permissions)),
                }
            }
            RoleChange::Granted(granted) => {
                let Some(role) = self.by_id.get(&id) else { return };
                let grants = Arc::new(Grants::new(granted, permissions));
                CompiledRole { grants, ..CompiledRole::clone(role) }
            }
        };
        self.by_id.insert(id, Arc::new(role));
    }

    fn is_special(&self, id: RoleId) -> bool {
        self.get(id).is_some_and(|role| role.is_system && &*role.name != DEFAULT_ROLE)
    }

    /// `ids` and all that inherit from them, near or far.
    fn with_heirs(&self, ids: &[RoleId]) -> BTreeSet<RoleId> {
        let mut found: BTreeSet<RoleId> = BTreeSet::new();
        let mut open = ids.to_vec();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(self.children.get(&id).into_iter().flat_map(|children| children.iter()));
            }
        }
        found
    }

    /// Iterative, so that no depth of inheritance can exhaust the stack (CVE-2023-43645), and safe on cycles.
    fn closure(&self, start: RoleId) -> Vec<RoleId> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            if let Some(role) = self.active(id).filter(|_| seen.insert(id)) {
                found.push(id);
                open.extend(&*role.parents);
            }
        }
        found
    }

    pub(super) fn get(&self, id: RoleId) -> Option<&CompiledRole> {
        self.by_id.get(&id).map(|role| &**role)
    }

    /// The role that is active.
    pub(super) fn active(&self, id: RoleId) -> Option<&CompiledRole> {
        self.get(id).filter(|role| role.is_active)
    }

    pub(super) fn named(&self, uid: &EntityUid) -> Option<&CompiledRole> {
        let name = names::is_role(uid).then(|| uid.id().unescaped())?;
        self.get(self.id_of(name)?)
    }

    /// The role of this name.
    pub(super) fn id_of(&self, name: &str) -> Option<RoleId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = RoleId> {
        self.by_id.keys().copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (RoleId, &CompiledRole)> {
        self.by_id.iter().map(|(id, role)| (*id, &**role))
    }

    /// Who inherits from whom directly.
    pub(super) fn inheritance(&self) -> impl Iterator<Item = (RoleId, &BTreeSet<RoleId>)> {
        self.children.iter().map(|(parent, children)| (*parent, &**children))
    }

    /// The roles that are granted `permission` by themselves.
    pub(super) fn holders(&self, permission: PermissionId) -> impl Iterator<Item = RoleId> {
        self.all().filter(move |(_, role)| role.grants.has(permission)).map(|(id, _)| id)
    }

    /// The entities of `ids`.
    pub(super) fn uids<'r>(&'r self, ids: &'r [RoleId]) -> impl Iterator<Item = &'r EntityUid> {
        ids.iter().filter_map(|id| Some(&self.get(*id)?.uid))
    }

    /// What holding `assigned` amounts to.
    pub(super) fn effective(&self, assigned: &[RoleId], index: &Index) -> Arc<RoleSet> {
        if let Some(set) = self.sets.get(assigned) {
            return set;
        }
        let set = Arc::new(self.collect(assigned, index));
        self.sets.insert(assigned.into(), Arc::clone(&set));
        set
    }

    fn collect(&self, assigned: &[RoleId], index: &Index) -> RoleSet {
        let mut seen = HashSet::new();
        let closures = assigned.iter().filter_map(|id| self.get(*id)).flat_map(|role| &*role.closure);
        let ids: Vec<RoleId> = closures.copied().filter(|id| seen.insert(*id)).collect();
        let roles = || ids.iter().filter_map(|id| Some((*id, self.get(*id)?)));
        let mut names: Vec<Arc<str>> = roles().map(|(_, role)| Arc::clone(&role.name)).collect();
        names.sort_unstable();
        let granted = roles().filter(|(_, role)| !role.grants.live().is_empty());
        let grants = granted.map(|(id, role)| (id, role.grants.live().clone())).collect();
        let symbols = roles().filter_map(|(_, role)| index.symbol(&role.uid)).collect();
        RoleSet { names, field: OnceLock::new(), grants, symbols, ids }
    }
}
