//! Conditional policies that came, went or changed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    model::RoleId,
    policy::{compile::Compiled, engine::PolicyRef},
};

/// A conditional policy that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct ConditionalChange {
    /// Its Cedar id.
    pub policy: String,
    /// What became of it.
    pub change: Turn,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It is new.
    Added,
    /// It is no more.
    Removed,
    /// It says something else.
    Changed,
}

/// Compares hand-written policies, and what is granted to `roles` on what their users own.
pub(super) fn compare(before: &Compiled, after: &Compiled, roles: &BTreeSet<RoleId>) -> Vec<ConditionalChange> {
    let (was, is) = (all(before, roles), all(after, roles));
    let ids: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differing = ids.into_iter().filter(|id| was.get(*id) != is.get(*id));
    let changes = differing.filter_map(|id| {
        let (was, is) = (was.get(id), is.get(id));
        let is_conditional = [was, is].into_iter().flatten().any(|(_, is_conditional)| *is_conditional);
        let change = match (was, is) {
            (None, _) => Turn::Added,
            (_, None) => Turn::Removed,
            _ => Turn::Changed,
        };
        is_conditional.then(|| ConditionalChange { policy: id.clone(), change })
    });
    changes.collect()
}

/// What policies say, in words to be compared, and whether on conditions.
fn all(compiled: &Compiled, roles: &BTreeSet<RoleId>) -> BTreeMap<String, (String, bool)> {
    let handwritten = compiled.checked.policies().map(|policy| {
        let says = (policy.policy.to_string(), policy.scope.is_conditional);
        (policy.id().to_string(), says)
    });
    let active = roles.iter().filter_map(|id| Some((*id, compiled.roles.active(*id)?)));
    let own = active.flat_map(|(id, role)| {
        let grants = role.grants.live().all().iter().filter(|grant| grant.own);
        grants.filter_map(move |grant| {
            let name = compiled.permissions.get(grant.permission)?.name.to_string();
            Some((PolicyRef::Grant(id, grant.permission).to_string(), (name, true)))
        })
    });
    handwritten.chain(own).collect()
}
