//! Why a request would be answered as it would: the same engine, asked aloud.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{
    compile::Compiled,
    depth,
    engine::{Ask, Facts, PolicyRef, Subject},
    names,
    operation::{CompiledOperation, QueryOf},
    snapshot::{Caller, Snapshot},
    table::{Entry, Matched},
    template::Link,
};
use crate::model::{Access, Claims, Reason, RoleId, RouteId, Timestamp, UserId, Username, rules::UserState};

/// What is asked about.
pub struct Inquiry<'a> {
    /// Who; `None` for nobody in particular.
    pub user: Option<&'a Arc<UserState>>,
    /// The method.
    pub method: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The canonical path, percent-decoded.
    pub path: &'a str,
    /// What the query says about a name, for owners found there.
    pub query: &'a QueryOf<'a>,
    /// The client's address.
    pub client_ip: IpAddr,
    /// When.
    pub now: Timestamp,
}

/// The answer, in the shape of the explain endpoint.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The status the gateway would answer with, or 200 where it would forward.
    pub status: u16,
    /// The reason's code.
    pub reason: &'static str,
    /// The rules it was decided by.
    pub policy_revision: i64,
    /// The matched route.
    pub route: Option<RouteBrief>,
    /// The matched operation.
    pub operation: Option<OperationBrief>,
    /// Routes that match too but lost to a more specific one.
    pub candidates: Vec<RouteBrief>,
    /// The permission asked for.
    pub permission: Option<String>,
    /// Who was asked about.
    pub principal: Option<Principal>,
    /// The determining policies.
    pub policies: Vec<PolicyBrief>,
    /// Policies that could not be evaluated.
    pub errors: Vec<String>,
    /// Single grants that would allow it.
    pub suggestions: Vec<Suggestion>,
}

/// A route in brief.
#[derive(Debug, Serialize)]
pub struct RouteBrief {
    /// Identity; absent for a path of the admin service.
    pub id: Option<RouteId>,
    /// The path template.
    pub route: String,
}

/// An operation in brief.
#[derive(Debug, Serialize)]
pub struct OperationBrief {
    /// The method, or `*`.
    pub method: String,
    /// `public`, `authenticated`, `roles` or `permission`.
    pub access: &'static str,
    /// The permission, for `permission`.
    pub permission: Option<String>,
}

/// A user in brief.
#[derive(Debug, Serialize)]
pub struct Principal {
    /// Identity.
    pub id: UserId,
    /// Sign-in name.
    pub username: Username,
    /// Effective roles.
    pub roles: Vec<HeldRole>,
}

/// A role and how it is held.
#[derive(Debug, Serialize)]
pub struct HeldRole {
    /// Its name.
    pub name: Arc<str>,
    /// The path of inheritance from an assigned role; empty for an assigned role itself.
    pub via: Vec<Arc<str>>,
}

/// A policy in brief.
#[derive(Debug, Serialize)]
pub struct PolicyBrief {
    /// Its Cedar id.
    pub id: String,
    /// The name a person would know it by.
    pub name: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Its Cedar text.
    pub source: String,
}

/// A grant that would allow the request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// To this role, which the user holds.
    pub role: Arc<str>,
    /// This permission.
    pub permission: String,
}

/// Explains what the gateway would answer.
pub fn explain(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Explanation {
    let caller = inquiry.user.map(|user| snapshot.assume(user, Arc::new(Claims::none(&user.username)), inquiry.now));
    let mut matches = snapshot.routes().candidates(inquiry.host, inquiry.path).into_iter();
    let matched = matches.next();
    let mut explanation = Explanation {
        decision: "deny",
        status: 0,
        reason: "",
        policy_revision: snapshot.policy_revision(),
        route: matched.as_ref().map(brief),
        operation: None,
        candidates: matches.map(|matched| brief(&matched)).collect(),
        permission: None,
        principal: caller.as_ref().zip(inquiry.user).map(|(caller, user)| principal(snapshot, caller, user)),
        policies: Vec::new(),
        errors: Vec::new(),
        suggestions: Vec::new(),
    };
    let reason = judge(snapshot, inquiry, caller.as_ref(), matched.as_ref(), &mut explanation);
    explanation.decision = if reason == Reason::Allowed { "allow" } else { "deny" };
    explanation.status = reason.status();
    explanation.reason = reason.code();
    explanation
}

fn judge(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'_>,
    caller: Option<&Caller>,
    matched: Option<&Matched<'_>>,
    explanation: &mut Explanation,
) -> Reason {
    let Some(matched) = matched else {
        return Reason::UnknownRoute;
    };
    let Entry::Route(route) = matched.entry else {
        // The admin service decides by itself, by the permission of its endpoint.
        return Reason::Allowed;
    };
    let Some(operation) = route.operation(inquiry.method) else {
        return Reason::MethodNotAllowed;
    };
    explanation.operation = Some(OperationBrief {
        method: operation.method.clone(),
        access: match operation.access {
            Access::Public => "public",
            Access::Authenticated => "authenticated",
            Access::Roles => "roles",
            Access::Permission { .. } => "permission",
        },
        permission: operation.permission().map(ToString::to_string),
    });
    explanation.permission = operation.permission().map(ToString::to_string);
    if caller.is_some_and(|caller| !caller.is_active()) {
        return Reason::UserInactive;
    }
    let claims = caller.map(|caller| caller.claims.as_ref());
    let Ok(owner) = operation.owner_of(&matched.params, inquiry.query, claims) else {
        return Reason::BadRequest;
    };
    let facts = Facts {
        method: inquiry.method,
        path: inquiry.path,
        host: inquiry.host,
        params: &matched.params,
        client_ip: inquiry.client_ip,
        now: inquiry.now,
        owner: owner.as_deref(),
    };
    let decision = snapshot.decide(&Ask { caller, subject: Subject::Operation(operation), facts });
    explanation.errors = decision.errors.into_iter().map(|(_, message)| message).collect();
    let determining = decision.policies.refs().iter().filter_map(|found| policy(snapshot.compiled(), operation, found));
    explanation.policies = determining.collect();
    let reason = decision.outcome.err().unwrap_or(Reason::Allowed);
    if reason == Reason::NoGrant {
        explanation.suggestions = suggestions(caller, operation, owner.as_deref());
    }
    reason
}

fn brief(matched: &Matched<'_>) -> RouteBrief {
    match matched.entry {
        Entry::Mounted(path) => RouteBrief { id: None, route: path.template.to_string() },
        Entry::Route(route) => RouteBrief { id: Some(route.id), route: route.template.clone() },
    }
}

fn principal(snapshot: &Snapshot, caller: &Caller, user: &UserState) -> Principal {
    let roles = &snapshot.compiled().roles;
    let held = &caller.roles.ids;
    let mut origin: HashMap<RoleId, Option<RoleId>> = HashMap::new();
    let live = user.roles.iter().map(|assignment| assignment.role_id).filter(|id| held.contains(id));
    let mut open: Vec<(RoleId, Option<RoleId>)> = live.map(|id| (id, None)).collect();
    open.reverse();
    while let Some((id, from)) = open.pop() {
        if origin.contains_key(&id) || !held.contains(&id) {
            continue;
        }
        origin.insert(id, from);
        let parents = roles.get(id).map(|role| &*role.parents).unwrap_or_default();
        open.extend(parents.iter().map(|parent| (*parent, Some(id))));
    }
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
    let mut held: Vec<HeldRole> =
        held.iter().filter_map(|id| Some(HeldRole { name: name(id)?, via: via(id) })).collect();
    held.sort_by(|a, b| a.name.cmp(&b.name));
    Principal { id: caller.id(), username: caller.username().clone(), roles: held }
}

fn policy(compiled: &Compiled, operation: &CompiledOperation, found: &PolicyRef) -> Option<PolicyBrief> {
    let id = found.to_string();
    let generated = |name: String, link: Link| {
        let policy = compiled.checked.templates.instantiate(&link).ok()?;
        let source = policy.to_cedar().unwrap_or_else(|| policy.to_string());
        Some(PolicyBrief { id: id.clone(), name, effect: "permit", source })
    };
    if let PolicyRef::Grant(role, permission) = found {
        let (holder, granted) = (compiled.roles.get(*role)?, compiled.permissions.get(*permission)?);
        let name = format!("{} may {}", holder.name, granted.name);
        return generated(name, compiled.grant_link(*role, *permission)?);
    }
    if let Some(handwritten) = compiled.checked.policies().find(|policy| policy.id().to_string() == id) {
        return Some(PolicyBrief {
            name: id.strip_prefix("policy:").unwrap_or(&id).to_owned(),
            effect: if handwritten.policy.effect() == cedar_policy::Effect::Permit { "permit" } else { "forbid" },
            source: depth::with_room(|| handwritten.policy.to_string()),
            id,
        });
    }
    let mut links = operation.links(&compiled.roles).into_iter();
    generated(id.clone(), links.find(|link| link.id.to_string() == id)?)
}

/// The grants to one of the caller's roles that would allow the request; what the caller owns needs less.
fn suggestions(caller: Option<&Caller>, operation: &CompiledOperation, owner: Option<&str>) -> Vec<Suggestion> {
    let (Some(caller), Some(permission)) = (caller, operation.permission()) else {
        return Vec::new();
    };
    let owned = owner.is_some_and(|owner| names::is_user_id(caller.id(), owner));
    let permission = if owned { format!("{permission}:own") } else { permission.to_string() };
    let roles = caller.roles.names.iter().map(Arc::clone);
    roles.map(|role| Suggestion { role, permission: permission.clone() }).collect()
}
