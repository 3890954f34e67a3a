//! The smallest changes that would allow what is denied, each tried out before it is told.
//!
//! ## Why
//! What looks as if it would help may not: the permission is inactive, a `forbid` waits behind the missing grant, a route
//! has changed in between. So the rules are compiled with the change and asked again, which costs what one grant touches.

use std::sync::Arc;

use super::{Inquiry, Judged, Wanted, answer::Suggestion, judge, told};
use crate::{
    model::{
        Access, PermissionId, PermissionName, RoleId,
        rules::{Part, PermissionRule},
    },
    policy::{caller::Caller, compile::Compiled, operation::Opening, snapshot::Snapshot},
};

/// More are not told.
const MOST: usize = 10;
/// More are not tried out: each costs a small compile.
const MOST_TRIED: usize = 20;
/// What a permission that is not stored is called while it is tried out; ids of rows begin with 1.
const UNSTORED: PermissionId = PermissionId(0);

/// What would turn `judged`, a denial for want of a grant, into an answer.
pub(super) fn suggestions(snapshot: &Snapshot, inquiry: &Inquiry<'_>, judged: &Judged<'_>) -> Vec<Suggestion> {
    let (Some(caller), Some(wanted)) = (inquiry.caller, judged.wanted) else {
        return Vec::new();
    };
    match wanted.operation() {
        Some(operation) if matches!(operation.access, Access::Roles) => {
            assignments(snapshot, inquiry, caller, &operation.opening)
        }
        _ => grants(snapshot, inquiry, caller, &wished(wanted, caller, judged.owner.as_deref())),
    }
}

/// The permissions that may help, the smallest first.
fn wished(wanted: Wanted<'_>, caller: &Caller, owner: Option<&str>) -> Vec<PermissionName> {
    let Some(permission) = wanted.permission(Some(caller)) else {
        return Vec::new();
    };
    let owned = owner.is_some_and(|owner| caller.is(owner));
    let own = owned.then(|| format!("{permission}:own"));
    own.into_iter().chain([permission]).filter_map(|name| PermissionName::try_from(name).ok()).collect()
}

/// Grants to roles that the caller holds: to assigned ones before inherited ones, which more people hold.
fn grants(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'_>,
    caller: &Caller,
    permissions: &[PermissionName],
) -> Vec<Suggestion> {
    let origins = told::origins(snapshot, caller);
    let compiled = snapshot.compiled();
    let name = |id: &RoleId| compiled.roles.get(*id).map(|role| Arc::clone(&role.name));
    let ids = caller.roles().ids().iter();
    let mut held: Vec<(bool, Arc<str>, RoleId)> =
        ids.filter_map(|id| Some((origins.get(id).is_some_and(Option::is_some), name(id)?, *id))).collect();
    held.sort_unstable();
    let helps = |role: RoleId, permission: &PermissionName| {
        granting(compiled, role, permission).is_some_and(|rules| {
            let mut next = snapshot.clone();
            next.put_rules(rules);
            passes(&next, inquiry, caller, None)
        })
    };
    let helpful = held.into_iter().take(MOST_TRIED).filter_map(|(_, role, id)| {
        let permission = permissions.iter().find(|permission| helps(id, permission))?;
        Some(Suggestion { role, permission: Some(permission.to_string()) })
    });
    helpful.take(MOST).collect()
}

/// The rules with one grant more; `None` if it is there already.
fn granting(compiled: &Compiled, role: RoleId, name: &PermissionName) -> Option<Compiled> {
    let rule = compiled.permissions.named(name);
    let rule = rule.unwrap_or_else(|| PermissionRule { id: UNSTORED, name: name.clone(), is_active: true });
    let mut holders: Vec<RoleId> = compiled.roles.holders(rule.id).collect();
    if holders.contains(&role) {
        return None;
    }
    holders.push(role);
    compiled.with(vec![Part::Permission(rule.id, Some((rule, holders)))], compiled.checked.given()).ok()
}

/// Roles that the route is bound to, by name.
fn assignments(snapshot: &Snapshot, inquiry: &Inquiry<'_>, caller: &Caller, opening: &Opening) -> Vec<Suggestion> {
    let Opening::Roles(bound) = opening else {
        return Vec::new();
    };
    let roles = &snapshot.compiled().roles;
    let mut named: Vec<(Arc<str>, RoleId)> =
        bound.iter().filter_map(|(id, _)| Some((Arc::clone(&roles.get(*id)?.name), *id))).collect();
    named.sort_unstable();
    let helps = |id: RoleId| passes(snapshot, inquiry, caller, Some(id));
    let helpful = named.into_iter().take(MOST_TRIED).filter(|(_, id)| helps(*id));
    helpful.map(|(role, _)| Suggestion { role, permission: None }).take(MOST).collect()
}

/// Whether the same request would pass by the rules of `next`, had the caller one role more.
fn passes(next: &Snapshot, inquiry: &Inquiry<'_>, caller: &Caller, more: Option<RoleId>) -> bool {
    let caller = next.again(caller, more, inquiry.now);
    judge(next, &Inquiry { caller: Some(&caller), ..*inquiry }).reason.is_of_allowed()
}
