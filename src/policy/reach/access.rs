//! Everything that one user can do.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Reach,
    operations::{Kind, places},
    part::{Asked, Holder, Owned},
};
use crate::{
    model::{PermissionName, RouteId, Timestamp, UserId, rules::UserState},
    policy::{compile::Compiled, question::Bare, snapshot::Snapshot},
};

/// What a user can do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UserAccess")]
pub struct Access {
    user_id: UserId,
    /// Names of permissions, sorted; those that end in `:own` on what the user owns.
    permissions: Vec<String>,
    /// Names of others that depend on the request, sorted.
    conditional_permissions: Vec<String>,
    operations: Vec<Reachable>,
}

/// An operation that a user can call.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReachableOperation")]
pub struct Reachable {
    route_id: RouteId,
    route: String,
    method: String,
    /// Whether it depends on the request.
    conditional: bool,
}

/// What `state` can do at `now`.
pub fn access(snapshot: &Snapshot, state: &UserState, now: Timestamp) -> Access {
    let compiled = snapshot.compiled();
    let holder = Holder::of_user(snapshot, state, now);
    let mut known: HashMap<Kind<'_>, Reach> = HashMap::new();
    let operations = places(compiled).into_iter().filter_map(|place| {
        let operation = place.operation;
        let reach = *known.entry(operation.kind()).or_insert_with(|| holder.reach(operation.asked()));
        (reach != Reach::Denied).then(|| Reachable {
            route_id: place.route.id,
            route: place.route.template.clone(),
            method: operation.method.clone(),
            conditional: reach == Reach::Conditional,
        })
    });
    let operations = operations.collect();
    let (mut permissions, mut conditional_permissions) = (Vec::new(), Vec::new());
    for (name, bare) in names(compiled) {
        let owned = if name.parts().is_some_and(|parts| parts.own) { Owned::Always } else { Owned::Perhaps };
        match holder.reach(Asked { question: bare.question(), owned }) {
            Reach::Denied => {}
            Reach::Conditional => conditional_permissions.push(name.to_string()),
            Reach::Allowed => permissions.push(name.to_string()),
        }
    }
    Access { user_id: state.id, permissions, conditional_permissions, operations }
}

/// Every active permission with a verb, by name.
pub(super) fn names(compiled: &Compiled) -> BTreeMap<&PermissionName, Bare> {
    let active = compiled.permissions.active();
    active.filter_map(|name| Some((name, Bare::new(compiled, name.parts()?)))).collect()
}
