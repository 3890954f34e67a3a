//! Why a request would be answered as it would: the same engine, asked aloud.

mod answer;
mod recorded;
mod suggest;
mod told;

use std::net::IpAddr;

pub use answer::{
    ErrorBrief, Explanation, HeldRole, Now, OperationBrief, PolicyBrief, Principal, RequestBrief, RouteBrief,
    Suggestion,
};
pub use recorded::recorded;

use super::{
    caller::Caller,
    engine::{Ask, Decision, Determining, Facts, Subject},
    mounted::{MountedAccess, MountedOperation, MountedPath},
    operation::{CompiledOperation, GatewayRoute, QueryOf},
    snapshot::Snapshot,
    table::{Entry, Matched},
};
use crate::model::{ClientCertificate, Reason, Timestamp};

/// More are not listed.
const MOST_CANDIDATES: usize = 20;

/// What is asked about.
#[derive(Clone, Copy)]
pub struct Inquiry<'a> {
    /// Who asks; `None` without credentials.
    pub caller: Option<&'a Caller>,
    /// Why the credentials are refused, if they are; that a user is inactive is found out.
    pub refused: Option<Reason>,
    /// The method.
    pub method: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The path as it came.
    pub raw_path: &'a str,
    /// The same, percent-decoded.
    pub path: &'a str,
    /// What the query says about a name, for owners found there.
    pub query: &'a QueryOf<'a>,
    /// The client's address.
    pub client_ip: IpAddr,
    /// When.
    pub now: Timestamp,
    /// What the client's certificate says, if it presents one.
    pub client_certificate: Option<&'a ClientCertificate>,
}

impl Inquiry<'_> {
    fn refusal(&self) -> Option<Reason> {
        let inactive = self.caller.is_some_and(|caller| !caller.is_active()).then_some(Reason::UserInactive);
        self.refused.or(inactive)
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            method: self.method,
            path: self.path,
            host: self.host,
            params: &[],
            client_ip: self.client_ip,
            now: self.now,
            client_certificate: self.client_certificate,
            owner: None,
        }
    }
}

/// Explains what the gateway would answer, or for one of its paths the admin service.
pub fn explain(snapshot: &Snapshot, inquiry: &Inquiry<'_>) -> Explanation {
    let judged = judge(snapshot, inquiry);
    let candidates = snapshot.routes().candidates(inquiry.host, inquiry.path, MOST_CANDIDATES + 1);
    let mut explanation = Explanation {
        route: judged.matched.as_ref().map(|matched| told::route(matched.entry)),
        operation: judged.wanted.map(|wanted| wanted.told(inquiry.caller)),
        candidates: candidates.iter().skip(1).map(|matched| told::route(matched.entry)).collect(),
        permission: judged.wanted.and_then(|wanted| wanted.permission(inquiry.caller)),
        principal: inquiry.caller.map(|caller| told::principal(snapshot, caller)),
        ..refused(snapshot, judged.reason)
    };
    if let Some((policies, errors)) = &judged.found {
        let operation = judged.wanted.and_then(Wanted::operation);
        explanation.policies = told::policies(snapshot.compiled(), operation, policies);
        explanation.errors = told::errors(errors);
    }
    if judged.reason == Reason::NoGrant {
        explanation.suggestions = suggest::suggestions(snapshot, inquiry, &judged);
    }
    explanation
}

/// Explains a request that is refused before there is anything to decide.
pub fn refused(snapshot: &Snapshot, reason: Reason) -> Explanation {
    Explanation {
        decision: if reason.is_of_allowed() { answer::ALLOW } else { answer::DENY },
        status: reason.status(),
        reason: reason.code(),
        policy_revision: snapshot.policy_revision(),
        route: None,
        operation: None,
        candidates: Vec::new(),
        permission: None,
        principal: None,
        policies: Vec::new(),
        errors: Vec::new(),
        suggestions: Vec::new(),
        request: None,
        now: None,
    }
}

/// What was found on the way to a reason.
struct Judged<'s> {
    reason: Reason,
    matched: Option<Matched<'s>>,
    wanted: Option<Wanted<'s>>,
    owner: Option<String>,
    found: Option<(Determining, Vec<(String, String)>)>,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Wanted<'s> {
    Operation(&'s CompiledOperation),
    Mounted(&'s MountedOperation),
}

impl<'s> Wanted<'s> {
    fn operation(self) -> Option<&'s CompiledOperation> {
        match self {
            Self::Operation(operation) => Some(operation),
            Self::Mounted(_) => None,
        }
    }

    /// The permission that `caller` needs.
    fn permission(self, caller: Option<&Caller>) -> Option<String> {
        match self {
            Self::Operation(operation) => operation.permission().map(ToString::to_string),
            Self::Mounted(operation) => operation.access.permission(caller.is_some()).map(str::to_owned),
        }
    }

    fn told(self, caller: Option<&Caller>) -> OperationBrief {
        match self {
            Self::Operation(operation) => told::operation(operation),
            Self::Mounted(operation) => told::mounted(operation, caller.is_some()),
        }
    }
}

impl Judged<'_> {
    fn early(reason: Reason) -> Self {
        Self { reason, matched: None, wanted: None, owner: None, found: None }
    }

    fn by(self, decision: Decision) -> Self {
        let reason = decision.outcome.err().unwrap_or(Reason::Allowed);
        Self { reason, found: Some((decision.policies, decision.errors)), ..self }
    }

    fn with(self, reason: Reason) -> Self {
        Self { reason, ..self }
    }
}

/// Goes the way of a request, in the gateway's own order.
fn judge<'s>(snapshot: &'s Snapshot, inquiry: &Inquiry<'s>) -> Judged<'s> {
    let Some(matched) = snapshot.routes().find(inquiry.host, inquiry.path) else {
        return Judged::early(Reason::UnknownRoute);
    };
    match matched.entry {
        Entry::Mounted(path) => mounted(snapshot, inquiry, path, matched),
        Entry::Route(route) => forwarded(snapshot, inquiry, route, matched),
    }
}

fn forwarded<'s>(
    snapshot: &'s Snapshot,
    inquiry: &Inquiry<'s>,
    route: &'s GatewayRoute,
    matched: Matched<'s>,
) -> Judged<'s> {
    let mut judged = Judged::early(Reason::MethodNotAllowed);
    if let Some(operation) = route.operation(inquiry.method) {
        judged = asked(snapshot, inquiry, route, operation, &matched.params);
    }
    Judged { matched: Some(matched), ..judged }
}

fn asked<'s>(
    snapshot: &Snapshot,
    inquiry: &Inquiry<'_>,
    route: &GatewayRoute,
    operation: &'s CompiledOperation,
    params: &[(&str, &str)],
) -> Judged<'s> {
    let judged = Judged { wanted: Some(Wanted::Operation(operation)), ..Judged::early(Reason::NoCredentials) };
    if let Some(reason) = inquiry.refusal() {
        return judged.with(reason);
    }
    if inquiry.caller.is_none() && !operation.is_public() {
        return judged;
    }
    let claims = inquiry.caller.map(|caller| caller.claims.as_ref());
    let Ok(owner) = operation.owner_of(params, inquiry.query, claims) else {
        return judged.with(Reason::BadRequest);
    };
    let facts = Facts { params, owner: owner.as_deref(), ..inquiry.facts() };
    let subject = Subject::Operation(operation);
    let judged = judged.by(snapshot.decide(&Ask { caller: inquiry.caller, subject, facts }));
    let judged = Judged { owner, ..judged };
    match judged.reason {
        Reason::Allowed if snapshot.upstream(&route.upstream).is_none() => judged.with(Reason::UpstreamUnreachable),
        _ => judged,
    }
}

fn mounted<'s>(
    snapshot: &'s Snapshot,
    inquiry: &Inquiry<'s>,
    path: &'s MountedPath,
    matched: Matched<'s>,
) -> Judged<'s> {
    let operation = path.operation(inquiry.method);
    let judged = Judged {
        matched: Some(matched),
        wanted: operation.map(Wanted::Mounted),
        ..Judged::early(Reason::MethodNotAllowed)
    };
    let Some(operation) = operation else { return judged };
    if operation.access == MountedAccess::Public {
        return judged.with(Reason::Allowed);
    }
    if let Some(reason) = inquiry.refusal() {
        return judged.with(reason);
    }
    match (operation.access.permission(inquiry.caller.is_some()), inquiry.caller) {
        (Some(permission), Some(_)) => {
            // As the admin service asks: it knows neither host nor parameters.
            let facts = Facts { path: inquiry.raw_path, host: "", ..inquiry.facts() };
            let subject = Subject::Permission(permission);
            judged.by(snapshot.decide(&Ask { caller: inquiry.caller, subject, facts }))
        }
        (None, Some(_)) => judged.with(Reason::Allowed),
        (_, None) if matches!(operation.access, MountedAccess::PublicOr(_)) => judged.with(Reason::Allowed),
        (_, None) => judged.with(Reason::NoCredentials),
    }
}
