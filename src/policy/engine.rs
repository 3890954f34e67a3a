//! One decision: find the policies that can apply, and let Cedar evaluate them.

use std::{fmt, net::IpAddr, sync::Arc};

use cedar_policy::{Authorizer, Decision as CedarDecision, Effect, Entity, EntityUid, PolicyId, Request};
use serde::Serialize;
use smallvec::SmallVec;

use super::{
    caller::Caller,
    facts,
    index::Symbol,
    names,
    operation::{CompiledOperation, GatewayRoute, Opening},
    question::Bare,
    slice::Slice,
    snapshot::Snapshot,
};
use crate::model::{ClientCertificate, PermissionId, PermissionName, Reason, RoleId, Timestamp};

/// A question to the engine.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Who asks; `None` without credentials.
    pub caller: Option<&'a Caller>,
    /// For what.
    pub subject: Subject<'a>,
    /// What else is known of the request.
    pub facts: Facts<'a>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An operation of a gateway route.
    Operation(&'a CompiledOperation),
    /// A mounted path: the admin service authorises it itself.
    Mounted,
    /// A permission without a route, as `user:read`.
    Permission(&'a str),
}

/// What policies may look at beyond principal, action and resource.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The canonical path, percent-decoded.
    pub path: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The template's parameters.
    pub params: &'a [(&'a str, &'a str)],
    /// The client's address.
    pub client_ip: IpAddr,
    /// When the request came.
    pub now: Timestamp,
    /// What the client's certificate says, if it presented one.
    pub client_certificate: Option<&'a ClientCertificate>,
    /// The user id of the owner of what is asked for, if the request says.
    pub owner: Option<&'a str>,
}

/// An answer of the engine.
#[derive(Debug)]
pub struct Decision {
    /// The permission to go on, or why not.
    pub outcome: Result<Permit, Reason>,
    /// The determining policies; for the log and for explain, never for the client.
    pub policies: Determining,
    /// Policies that could not be evaluated, with Cedar's words.
    pub errors: Vec<(String, String)>,
}

/// A policy by its id, which is put into words only when somebody reads it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PolicyRef {
    /// What a role is granted.
    Grant(RoleId, PermissionId),
    /// Any other.
    Named(PolicyId),
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(role, permission) => write!(f, "grant:{role}:{permission}"),
            Self::Named(id) => id.fmt(f),
        }
    }
}

/// Ids of the policies that determined a decision, in an order of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Determining(SmallVec<[PolicyRef; 2]>);

impl Determining {
    fn new(found: impl Iterator<Item = PolicyRef>) -> Self {
        let mut found: SmallVec<[PolicyRef; 2]> = found.collect();
        found.sort_unstable();
        Self(found)
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.0.iter()
    }

    pub(super) fn refs(&self) -> &[PolicyRef] {
        &self.0
    }
}

impl Serialize for Determining {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Shown))
    }
}

struct Shown<'p>(&'p PolicyRef);

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// Proof that a request was permitted. Only the engine makes one, and nothing is forwarded without.
#[derive(Debug)]
pub struct Permit {
    policy_revision: i64,
    destination: Destination,
}

/// Where a permitted request may go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To the upstream of this route.
    Upstream(Arc<GatewayRoute>),
    /// To the admin service.
    Admin,
    /// Nowhere: the question was about a permission alone.
    Nowhere,
}

impl Permit {
    /// The rules it was decided by.
    pub fn policy_revision(&self) -> i64 {
        self.policy_revision
    }

    /// Where the request may go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl Decision {
    pub(super) fn deny(reason: Reason) -> Self {
        Self { outcome: Err(reason), policies: Determining::default(), errors: Vec::new() }
    }
}

pub(super) fn decide(snapshot: &Snapshot, ask: &Ask<'_>) -> Decision {
    let permit = |destination| Permit { policy_revision: snapshot.policy_revision(), destination };
    match ask.subject {
        Subject::Mounted => {
            let outcome = Ok(permit(Destination::Admin));
            Decision { outcome, policies: Determining::default(), errors: Vec::new() }
        }
        Subject::Operation(operation) => {
            // A token is what turns Anonymous into a User; no policy on a verb applies to Anonymous.
            if ask.caller.is_none() && operation.permission().is_some() {
                return Decision::deny(Reason::NoCredentials);
            }
            let Some(route) = operation.route.upgrade() else {
                return Decision::deny(Reason::Internal);
            };
            let decision = evaluate(snapshot, ask, operation.question(), || permit(Destination::Upstream(route)));
            match decision.outcome {
                Err(Reason::NoGrant) if ask.caller.is_none() => {
                    Decision { outcome: Err(Reason::NoCredentials), ..decision }
                }
                _ => decision,
            }
        }
        Subject::Permission(name) => {
            let name = PermissionName::try_from(name).ok();
            let Some(parts) = name.as_ref().and_then(PermissionName::parts).filter(|_| ask.caller.is_some()) else {
                return Decision::deny(Reason::NoGrant);
            };
            let bare = Bare::new(snapshot.compiled(), parts);
            evaluate(snapshot, ask, bare.question(), || permit(Destination::Nowhere))
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) action: &'q EntityUid,
    pub(super) resource: &'q Entity,
    /// Whom generated policies let in, if anybody.
    pub(super) opening: Option<&'q Opening>,
    pub(super) action_symbol: Option<Symbol>,
    pub(super) resource_symbols: &'q [Symbol],
}

fn evaluate(snapshot: &Snapshot, ask: &Ask<'_>, question: Question<'_>, permit: impl FnOnce() -> Permit) -> Decision {
    let compiled = snapshot.compiled();
    let slice = Slice::find(compiled, ask, &question);
    let granted = slice.granted.iter().cloned();
    if slice.handwritten.is_empty() {
        let policies = Determining::new(granted);
        let outcome = if policies.0.is_empty() { Err(Reason::NoGrant) } else { Ok(permit()) };
        return Decision { outcome, policies, errors: Vec::new() };
    }
    let needs = slice.needs();
    let principal = ask.caller.map_or_else(names::anonymous, Caller::uid);
    let (action, resource) = (question.action.clone(), question.resource.uid());
    let prepared = slice
        .policies(compiled)
        .zip(facts::context(ask, &needs))
        .zip(facts::entities(snapshot, ask, &slice, &needs, &question));
    let Some(((policies, context), entities)) = prepared else {
        return Decision::deny(Reason::Internal);
    };
    let Ok(request) = Request::new(principal, action, resource, context, None) else {
        return Decision::deny(Reason::Internal);
    };
    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    let mut errors = Vec::new();
    let mut forbid_failed = false;
    for error in response.diagnostics().errors() {
        let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
        forbid_failed |= policies.policy(error.policy_id()).is_none_or(|policy| policy.effect() == Effect::Forbid);
        errors.push((error.policy_id().to_string(), error.to_string()));
    }
    let reasons = response.diagnostics().reason().cloned().map(PolicyRef::Named);
    let (outcome, policies) = match response.decision() {
        CedarDecision::Allow if !forbid_failed => (Ok(permit()), Determining::new(reasons.chain(granted))),
        CedarDecision::Allow => (Err(Reason::PolicyError), Determining::new(reasons.chain(granted))),
        CedarDecision::Deny => {
            let forbidding = Determining::new(reasons);
            let permitting = Determining::new(granted);
            match (forbidding.0.is_empty(), permitting.0.is_empty()) {
                (false, _) => (Err(Reason::ForbiddenByPolicy), forbidding),
                // Cedar alone would skip a forbid that errors; we deny.
                _ if forbid_failed => (Err(Reason::PolicyError), permitting),
                (true, false) => (Ok(permit()), permitting),
                (true, true) => (Err(Reason::NoGrant), permitting),
            }
        }
    };
    Decision { outcome, policies, errors }
}
