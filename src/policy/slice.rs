//! The policies that can apply to one question.

use std::sync::Arc;

use cedar_policy::PolicySet;
use quick_cache::sync::Cache;
use smallvec::SmallVec;

use super::{
    caller::Caller,
    compile::Compiled,
    engine::{Ask, PolicyRef, Question},
    handwritten::{Handwritten, Needs},
    index::Symbol,
    operation::Opening,
};

/// Sets of hand-written policies that were asked about together, by the numbers of their policies.
pub(super) type Sets = Cache<Box<[u64]>, Arc<PolicySet>>;

/// How many such sets are remembered.
pub(super) const REMEMBERED_SETS: usize = 1_024;

/// What was found for one question.
#[derive(Default)]
pub(super) struct Slice<'s> {
    /// Generated policies whose scope and condition hold.
    pub(super) granted: SmallVec<[PolicyRef; 4]>,
    /// Sorted, each once.
    pub(super) handwritten: SmallVec<[&'s Handwritten; 4]>,
}

impl<'s> Slice<'s> {
    pub(super) fn find(compiled: &'s Compiled, ask: &Ask<'_>, question: &Question<'_>) -> Self {
        let (index, caller) = (&compiled.checked.index, ask.caller);
        let own = caller.map_or(Some(Symbol::ANONYMOUS), |caller| index.caller(caller));
        let inactive = caller.is_some_and(|caller| !caller.is_active()).then_some(Symbol::INACTIVE);
        let roles = caller.map(|caller| caller.roles().symbols.as_slice()).unwrap_or_default();
        let principals = [Some(Symbol::ANYTHING), own, inactive].into_iter().flatten().chain(roles.iter().copied());
        let mut slice = Self { granted: granted(ask, question), ..Self::default() };
        index.each(principals, question.action_symbol, question.resource_symbols, |policy| {
            slice.handwritten.push(policy);
        });
        // A policy on several actions may be found once for each.
        slice.handwritten.sort_unstable_by_key(|policy| policy.number);
        slice.handwritten.dedup_by_key(|policy| policy.number);
        slice
    }

    /// The hand-written policies, as Cedar takes them.
    pub(super) fn policies(&self, compiled: &Compiled) -> Option<Arc<PolicySet>> {
        let numbers: SmallVec<[u64; 8]> = self.handwritten.iter().map(|policy| policy.number).collect();
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

/// The one condition that generated policies have was written by ourselves; the oracle of the tests compares this with
/// Cedar.
fn granted(ask: &Ask<'_>, question: &Question<'_>) -> SmallVec<[PolicyRef; 4]> {
    let owns = |caller: &Caller| ask.facts.owner.is_some_and(|owner| caller.is(owner));
    let mut found = SmallVec::new();
    match (question.opening, ask.caller) {
        (Some(Opening::Everybody(id)), _) | (Some(Opening::SignedIn(id)), Some(_)) => {
            found.push(PolicyRef::Named(id.clone()));
        }
        (Some(Opening::Roles(bound)), Some(caller)) => {
            let place = |role| bound.binary_search_by_key(role, |(bound, _)| *bound).ok();
            let held = caller.roles().ids().iter().filter_map(|role| bound.get(place(role)?));
            found.extend(held.map(|(_, id)| PolicyRef::Named(id.clone())));
        }
        (Some(Opening::Granted(target)), Some(caller)) => {
            for (role, grants) in &caller.roles().grants {
                let holding = grants.on(*target).iter().filter(|grant| !grant.own || owns(caller));
                found.extend(holding.map(|grant| PolicyRef::Grant(*role, grant.permission)));
            }
        }
        (None, _) | (Some(_), None) => {}
    }
    found
}
