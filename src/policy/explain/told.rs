//! What was found, in words.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::Effect;

use super::answer::{ErrorBrief, HeldRole, OperationBrief, PolicyBrief, Principal, RouteBrief};
use crate::{
    model::{Access, RoleId},
    policy::{
        caller::Caller,
        compile::Compiled,
        engine::{Determining, PolicyRef},
        mounted::MountedOperation,
        operation::{CompiledOperation, GatewayRoute},
        snapshot::Snapshot,
        table::Entry,
        template::Link,
    },
};

pub(super) fn route(entry: &Entry) -> RouteBrief {
    match entry {
        Entry::Mounted(path) => RouteBrief { id: None, route: path.template.to_string() },
        Entry::Route(route) => gateway_route(route),
    }
}

pub(super) fn gateway_route(route: &GatewayRoute) -> RouteBrief {
    RouteBrief { id: Some(route.id), route: route.template.clone() }
}

pub(super) fn operation(operation: &CompiledOperation) -> OperationBrief {
    OperationBrief {
        method: operation.method.clone(),
        access: match operation.access {
            Access::Public => "public",
            Access::Authenticated => "authenticated",
            Access::Roles => "roles",
            Access::Permission { .. } => "permission",
        },
        permission: operation.permission().map(ToString::to_string),
    }
}

pub(super) fn mounted(operation: &MountedOperation, signed_in: bool) -> OperationBrief {
    let permission = operation.access.permission(signed_in).map(str::to_owned);
    let access = match (&permission, operation.access.is_public(signed_in)) {
        (Some(_), _) => "permission",
        (None, true) => "public",
        (None, false) => "authenticated",
    };
    OperationBrief { method: operation.method.clone(), access, permission }
}

pub(super) fn errors(errors: &[(String, String)]) -> Vec<ErrorBrief> {
    let told = |(policy, message): &(String, String)| ErrorBrief { policy: policy.clone(), message: message.clone() };
    errors.iter().map(told).collect()
}

/// Who asks, with the way in which each role is held.
pub(super) fn principal(snapshot: &Snapshot, caller: &Caller) -> Principal {
    let origin = origins(snapshot, caller);
    let roles = &snapshot.compiled().roles;
    let name = |id: &RoleId| roles.get(*id).map(|role| Arc::clone(&role.name));
    let via = |id: &RoleId| {
        let mut path = Vec::new();
        let mut at = origin.get(id).copied().flatten();
        while let Some(from) = at {
            path.extend(name(&from));
            at = origin.get(&from).copied().flatten();
        }
        path.reverse();
        path
    };
    let held = caller.roles().ids().iter();
    let mut held: Vec<HeldRole> = held.filter_map(|id| Some(HeldRole { name: name(id)?, via: via(id) })).collect();
    held.sort_by(|a, b| a.name.cmp(&b.name));
    Principal { id: caller.user_id(), username: caller.username().to_owned(), roles: held }
}

/// For each role that is held, the one that it is inherited by; none for those that are assigned.
pub(super) fn origins(snapshot: &Snapshot, caller: &Caller) -> HashMap<RoleId, Option<RoleId>> {
    let roles = &snapshot.compiled().roles;
    let held = caller.roles().ids();
    let mut origin: HashMap<RoleId, Option<RoleId>> = HashMap::new();
    let live = caller.direct_roles().filter(|id| held.contains(id));
    let mut open: Vec<(RoleId, Option<RoleId>)> = live.map(|id| (id, None)).collect();
    // What is assigned is not told as inherited from what else is assigned.
    origin.extend(open.iter().copied());
    let mut at = 0;
    while let Some((id, _)) = open.get(at).copied() {
        at += 1;
        for parent in roles.get(id).map(|role| &*role.parents).unwrap_or_default() {
            if held.contains(parent) && !origin.contains_key(parent) {
                origin.insert(*parent, Some(id));
                open.push((*parent, Some(id)));
            }
        }
    }
    origin
}

/// The determining policies with their text, as far as they are still there.
pub(super) fn policies(
    compiled: &Compiled,
    operation: Option<&CompiledOperation>,
    determining: &Determining,
) -> Vec<PolicyBrief> {
    let told = |found: &PolicyRef| {
        policy(compiled, operation, found).unwrap_or_else(|| {
            let id = found.to_string();
            PolicyBrief { name: plain_name(&id).to_owned(), id, effect: None, source: None }
        })
    };
    determining.refs().iter().map(told).collect()
}

fn plain_name(id: &str) -> &str {
    id.strip_prefix("policy:").unwrap_or(id)
}

fn policy(compiled: &Compiled, operation: Option<&CompiledOperation>, found: &PolicyRef) -> Option<PolicyBrief> {
    let id = found.to_string();
    let generated = |name: String, link: Link| {
        let policy = compiled.checked.templates.instantiate(&link).ok()?;
        let source = policy.to_cedar().unwrap_or_else(|| policy.to_string());
        Some(PolicyBrief { id: id.clone(), name, effect: Some("permit"), source: Some(source) })
    };
    if let PolicyRef::Grant(role, permission) = found {
        let (holder, granted) = (compiled.roles.get(*role)?, compiled.permissions.get(*permission)?);
        let name = format!("{} may {}", holder.name, granted.name);
        return generated(name, compiled.grant_link(*role, *permission)?);
    }
    if let Some(handwritten) = compiled.checked.policies().find(|policy| policy.id().to_string() == id) {
        let permits = handwritten.policy.effect() == Effect::Permit;
        return Some(PolicyBrief {
            name: plain_name(&id).to_owned(),
            effect: Some(if permits { "permit" } else { "forbid" }),
            source: Some(handwritten.policy.to_string()),
            id,
        });
    }
    let mut links = operation?.links(&compiled.roles).into_iter();
    generated(id.clone(), links.find(|link| link.id.to_string() == id)?)
}
