//! Users by what they are before a change and after it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::sheet::Held;
use crate::{
    model::{RoleId, Timestamp, rules::UserState},
    policy::snapshot::Snapshot,
};

/// How many pairs of a user and an operation change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ChangedPairs")]
pub struct Pairs {
    /// Denied before.
    pub gained: u64,
    /// Denied now.
    pub lost: u64,
}

/// Users who are alike, before and after.
pub(super) struct Group {
    pub(super) before: Option<Held>,
    pub(super) after: Option<Held>,
    /// Whether they, or their roles, are not what they were.
    pub(super) is_changed: bool,
    pub(super) count: u64,
}

/// Groups users. Those who are as they were, and whose roles are, count only if `all` do.
pub(super) fn groups(
    (before, after): (&Snapshot, &Snapshot),
    roles: &BTreeSet<RoleId>,
    all: bool,
    now: Timestamp,
) -> Vec<Group> {
    let mut counts: HashMap<(Option<Held>, Option<Held>), u64, foldhash::fast::RandomState> = HashMap::default();
    let mut put = |was: Option<&Arc<UserState>>, is: Option<&Arc<UserState>>| {
        let is_same = was.zip(is).is_some_and(|(was, is)| Arc::ptr_eq(was, is));
        let has_changed_role = |state: &Arc<UserState>| state.roles.iter().any(|held| roles.contains(&held.role_id));
        if all || !is_same || (!roles.is_empty() && is.is_some_and(has_changed_role)) {
            let held = |state: Option<&Arc<UserState>>| state.map(|state| held(state, [before, after], now));
            *counts.entry((held(was), held(is))).or_default() += 1;
        }
    };
    for was in before.users() {
        put(Some(was), after.user(was.id));
    }
    for is in after.users().filter(|is| before.user(is.id).is_none()) {
        put(None, Some(is));
    }
    let group = |((before, after), count): ((Option<Held>, Option<Held>), u64)| {
        let has_changed_role = |held: &Held| held.assigned.iter().any(|role| roles.contains(role));
        let is_changed = before != after || before.as_ref().is_some_and(has_changed_role);
        Group { before, after, is_changed, count }
    };
    counts.into_iter().map(group).collect()
}

/// Who is named by either snapshot is told apart in both.
fn held(state: &UserState, either: [&Snapshot; 2], now: Timestamp) -> Held {
    let mut assigned: Vec<RoleId> = state.live_roles(now).collect();
    assigned.sort_unstable();
    let is_named = either.iter().any(|snapshot| snapshot.compiled().checked.index.user(state.id).is_some());
    Held { assigned, is_active: state.is_active, named: is_named.then_some(state.id) }
}
