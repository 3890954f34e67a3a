//! Which hand-written policies can apply to a request: found by hash, so that the cost follows the caller's roles and
//! not the number of policies.
//!
//! ## Why
//! A policy can be satisfied only if its scope holds. `principal in X` holds only when `X` is the principal or
//! one of its ancestors, and likewise for resources; so every policy that can be satisfied is found under one of
//! the principal's own keys, one of the action's and one of the resource's. Policies that are found are then evaluated by
//! Cedar itself, so a key may be too generous but never too narrow. Keys are numbers given at compile time:
//! hashing Cedar's names on every request cost more than the rest of the search.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};

use super::{caller::Caller, handwritten::Handwritten, names};
use crate::model::UserId;

/// An entity that scopes may name, by number: equal entities have equal symbols within one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Symbol(u32);

impl Symbol {
    /// Stands for "anything" in a scope.
    pub(super) const ANYTHING: Self = Self(0);
    pub(super) const ANONYMOUS: Self = Self(1);
    pub(super) const INACTIVE: Self = Self(2);
    const FIRST: u32 = 3;
}

/// Neither what is looked up nor what is found comes from clients, so a fast hash will do.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

type ByResource = Map<Symbol, Vec<Arc<Handwritten>>>;

/// All hand-written policies by principal, action and resource of their scope.
#[derive(Clone, Debug)]
pub(super) struct Index {
    symbols: HashMap<EntityUid, Symbol>,
    /// What the next new symbol will be; none is given twice.
    next: u32,
    /// Users that some scope names.
    users: Map<UserId, Symbol>,
    policies: Map<Symbol, Map<Symbol, ByResource>>,
}

impl Default for Index {
    fn default() -> Self {
        let symbols = HashMap::from([(names::anonymous(), Symbol::ANONYMOUS), (names::inactive(), Symbol::INACTIVE)]);
        Self { symbols, next: Symbol::FIRST, users: Map::default(), policies: Map::default() }
    }
}

impl Index {
    /// An index of `policies`, in which what is still named has the symbol that it had.
    pub(super) fn rebuilt<'p>(&self, policies: impl Iterator<Item = &'p Arc<Handwritten>>) -> Self {
        let mut index = Self { next: self.next, ..Self::default() };
        for policy in policies {
            index.put(policy, self);
        }
        index
    }

    /// The symbol of `uid`: that of `before`, or a new one if it had none.
    fn intern(&mut self, uid: &EntityUid, before: &Self) -> Symbol {
        if let Some(symbol) = self.symbols.get(uid) {
            return *symbol;
        }
        let symbol = before.symbol(uid).unwrap_or_else(|| {
            self.next = self.next.saturating_add(1);
            Symbol(self.next - 1)
        });
        self.symbols.insert(uid.clone(), symbol);
        symbol
    }

    /// What scopes name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&EntityUid, Symbol)> {
        self.symbols.iter().map(|(uid, symbol)| (uid, *symbol))
    }

    /// The symbol of `uid`; without one, no scope names it.
    pub(super) fn symbol(&self, uid: &EntityUid) -> Option<Symbol> {
        self.symbols.get(uid).copied()
    }

    /// The symbol of a user; without one, no scope names the user.
    pub(super) fn user(&self, id: UserId) -> Option<Symbol> {
        self.users.get(&id).copied()
    }

    /// The symbol of who asks.
    pub(super) fn caller(&self, caller: &Caller) -> Option<Symbol> {
        match caller.user_id() {
            Some(id) => self.user(id),
            None => self.symbol(&caller.uid()),
        }
    }

    fn put(&mut self, handwritten: &Arc<Handwritten>, before: &Self) {
        let policy = &handwritten.policy;
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
                self.principal(&uid, before)
            }
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Symbol::ANYTHING,
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.intern(&uid, before)
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Symbol::ANYTHING,
        };
        let actions: Vec<Symbol> = match policy.action_constraint() {
            ActionConstraint::Any => vec![Symbol::ANYTHING],
            ActionConstraint::Eq(uid) => vec![self.intern(&uid, before)],
            ActionConstraint::In(uids) => uids.iter().map(|uid| self.intern(uid, before)).collect(),
        };
        for action in actions {
            self.add(principal, action, resource, Arc::clone(handwritten));
        }
    }

    fn principal(&mut self, uid: &EntityUid, before: &Self) -> Symbol {
        let symbol = self.intern(uid, before);
        self.users.extend(names::user_id(uid).map(|id| (id, symbol)));
        symbol
    }

    fn add(&mut self, principal: Symbol, action: Symbol, resource: Symbol, policy: Arc<Handwritten>) {
        let by_resource = self.policies.entry(principal).or_default().entry(action).or_default();
        by_resource.entry(resource).or_default().push(policy);
    }

    /// Calls `found` with every policy that can apply; "anything" is among the actions by itself, and must be
    /// passed among principals and resources.
    pub(super) fn each<'i>(
        &'i self,
        principals: impl IntoIterator<Item = Symbol>,
        action: Option<Symbol>,
        resources: &[Symbol],
        mut found: impl FnMut(&'i Arc<Handwritten>),
    ) {
        for by_action in principals.into_iter().filter_map(|principal| self.policies.get(&principal)) {
            let actions = [Some(Symbol::ANYTHING), action].into_iter().flatten();
            for by_resource in actions.filter_map(|action| by_action.get(&action)) {
                resources.iter().filter_map(|resource| by_resource.get(resource)).flatten().for_each(&mut found);
            }
        }
    }
}
