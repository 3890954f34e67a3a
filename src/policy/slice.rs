//! The policies that can apply to one question.

use std::sync::Arc;

use cedar_policy::PolicySet;
use quick_cache::sync::Cache;
use smallvec::SmallVec;

use super::{
    compile::Compiled,
    engine::{Ask, Question},
    handwritten::{Handwritten, Needs},
    index::{Entry, Link, Symbol},
    names,
    snapshot::Caller,
    template::Kind,
};

/// Sets of hand-written policies that were asked about together, by the numbers of their policies.
pub(super) type Sets = Cache<Box<[u32]>, Arc<PolicySet>>;

/// How many such sets are remembered.
pub(super) const REMEMBERED_SETS: usize = 1_024;

/// What was found for one question.
#[derive(Default)]
pub(super) struct Slice<'s> {
    links: SmallVec<[&'s Link; 8]>,
    /// Sorted, each once.
    pub(super) handwritten: SmallVec<[&'s Handwritten; 4]>,
}

impl<'s> Slice<'s> {
    pub(super) fn find(compiled: &'s Compiled, caller: Option<&Caller>, question: &Question<'_>) -> Self {
        let index = &compiled.index;
        let own = caller.map_or(Some(Symbol::ANONYMOUS), |caller| index.user(caller.id()));
        let inactive = caller.is_some_and(|caller| !caller.is_active()).then_some(Symbol::INACTIVE);
        let roles = caller.map(|caller| caller.roles.symbols.as_slice()).unwrap_or_default();
        let principals = [Some(Symbol::ANYTHING), own, inactive].into_iter().flatten().chain(roles.iter().copied());
        let mut slice = Self::default();
        index.each(principals, question.action_symbol, question.resource_symbols, |entry| match entry {
            Entry::Link(link) => slice.links.push(link),
            Entry::Handwritten(handwritten) => slice.handwritten.push(handwritten),
        });
        // A policy on several actions may be found once for each.
        slice.handwritten.sort_unstable_by_key(|policy| policy.number);
        slice.handwritten.dedup_by_key(|policy| policy.number);
        slice
    }

    /// The generated policies whose conditions hold.
    pub(super) fn satisfied_links<'a>(&'a self, ask: &'a Ask<'_>) -> impl Iterator<Item = &'s Link> + 'a {
        let owns = |caller: &Caller| ask.facts.owner.is_some_and(|owner| names::is_user_id(caller.id(), owner));
        self.links.iter().copied().filter(move |link| match link.kind {
            Kind::Grant(_) | Kind::Role | Kind::Public => true,
            Kind::Authenticated => ask.caller.is_some(),
            Kind::OwnGrant(_) => ask.caller.is_some_and(owns),
        })
    }

    /// The hand-written policies, as Cedar takes them.
    pub(super) fn policies(&self, compiled: &Compiled) -> Option<Arc<PolicySet>> {
        let numbers: SmallVec<[u32; 8]> = self.handwritten.iter().map(|policy| policy.number).collect();
        if let Some(set) = compiled.sets.get(&*numbers) {
            return Some(set);
        }
        let set = Arc::new(PolicySet::from_policies(self.handwritten.iter().map(|policy| policy.policy.clone())).ok()?);
        compiled.sets.insert(numbers.into_vec().into(), Arc::clone(&set));
        Some(set)
    }

    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        self.handwritten.iter().for_each(|handwritten| needs.extend(&handwritten.needs));
        needs
    }
}
