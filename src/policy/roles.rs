//! Roles prepared for deciding, and the sets of them that callers hold.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use cedar_policy::EntityUid;
use foldhash::fast::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{
    index::{Index, Symbol},
    names,
};
use crate::model::{RoleId, rules::RoleRule};

/// How many role ids the remembered sets hold in all: some 50 MiB at most.
const REMEMBERED_IDS: u64 = 1 << 20;

/// A role, prepared.
#[derive(Debug)]
pub(super) struct CompiledRole {
    pub(super) name: Arc<str>,
    pub(super) uid: EntityUid,
    pub(super) is_active: bool,
    /// Itself and every active role it inherits from through active roles; empty when it is inactive itself.
    pub(super) closure: Vec<RoleId>,
    pub(super) parents: Vec<RoleId>,
    symbol: Symbol,
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

/// All roles.
#[derive(Debug)]
pub(super) struct Roles {
    by_id: HashMap<RoleId, CompiledRole>,
    by_uid: HashMap<EntityUid, RoleId>,
    sets: Cache<Box<[RoleId]>, Arc<RoleSet>, Size, RandomState>,
}

impl Roles {
    pub(super) fn new(rules: &[RoleRule], index: &mut Index) -> Self {
        let rules_by_id: HashMap<RoleId, &RoleRule> = rules.iter().map(|role| (role.id, role)).collect();
        let mut compile = |role: &RoleRule| {
            let uid = names::role(role.name.as_str());
            CompiledRole {
                name: role.name.as_str().into(),
                symbol: index.intern(&uid),
                uid,
                is_active: role.is_active,
                closure: closure(role.id, &rules_by_id),
                parents: role.parents.clone(),
            }
        };
        let by_id: HashMap<RoleId, CompiledRole> = rules.iter().map(|role| (role.id, compile(role))).collect();
        Self {
            by_uid: by_id.iter().map(|(id, role)| (role.uid.clone(), *id)).collect(),
            by_id,
            sets: Cache::with(1_024, REMEMBERED_IDS, Size, RandomState::default(), DefaultLifecycle::default()),
        }
    }

    pub(super) fn get(&self, id: RoleId) -> Option<&CompiledRole> {
        self.by_id.get(&id)
    }

    /// The role that is active.
    pub(super) fn active(&self, id: RoleId) -> Option<&CompiledRole> {
        self.get(id).filter(|role| role.is_active)
    }

    pub(super) fn named(&self, uid: &EntityUid) -> Option<&CompiledRole> {
        self.get(*self.by_uid.get(uid)?)
    }

    /// The role of this name.
    pub(super) fn id_of(&self, name: &str) -> Option<RoleId> {
        self.by_uid.get(&names::role(name)).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = RoleId> {
        self.by_id.keys().copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &CompiledRole> {
        self.by_id.values()
    }

    /// The entities of `ids`.
    pub(super) fn uids<'r>(&'r self, ids: &'r [RoleId]) -> impl Iterator<Item = &'r EntityUid> {
        ids.iter().filter_map(|id| Some(&self.get(*id)?.uid))
    }

    /// What holding `assigned` amounts to.
    pub(super) fn effective(&self, assigned: &[RoleId]) -> Arc<RoleSet> {
        if let Some(set) = self.sets.get(assigned) {
            return set;
        }
        let set = Arc::new(self.collect(assigned));
        self.sets.insert(assigned.into(), Arc::clone(&set));
        set
    }

    fn collect(&self, assigned: &[RoleId]) -> RoleSet {
        let mut seen = HashSet::new();
        let closures = assigned.iter().filter_map(|id| self.get(*id)).flat_map(|role| &role.closure);
        let ids: Vec<RoleId> = closures.copied().filter(|id| seen.insert(*id)).collect();
        let roles = || ids.iter().filter_map(|id| self.get(*id));
        let mut names: Vec<Arc<str>> = roles().map(|role| Arc::clone(&role.name)).collect();
        names.sort_unstable();
        RoleSet { names, field: OnceLock::new(), symbols: roles().map(|role| role.symbol).collect(), ids }
    }
}

/// Iterative, so that no depth of inheritance can exhaust the stack (CVE-2023-43645), and safe on cycles.
fn closure(start: RoleId, roles: &HashMap<RoleId, &RoleRule>) -> Vec<RoleId> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        if let Some(role) = roles.get(&id).filter(|role| role.is_active && seen.insert(role.id)) {
            found.push(id);
            open.extend(&role.parents);
        }
    }
    found
}
