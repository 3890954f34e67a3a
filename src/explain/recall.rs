//! Requests that were made.

use std::net::{IpAddr, Ipv4Addr};

use crate::http::Target;
use crate::model::{AmbiguousOwner, Owner, Reason, Timestamp};
use crate::policy::{
    Caller, CompiledOperation, Decided, Entry, Explanation, Inquiry, Now, Snapshot, explain, recorded,
};

/// Tells why a request was answered as it was, and what a repetition with the same token, while that is valid, would be
/// answered with by the rules of `snapshot`, if that is something else; otherwise what would help now.
pub fn recall(snapshot: &Snapshot, decided: &Decided, now: Timestamp) -> Explanation {
    let mut explanation = recorded(snapshot, decided);
    let Some(repeated) = repeated(snapshot, decided, now) else { return explanation };
    // What went wrong after a request was let through is not the rules' doing.
    let is_same =
        repeated.is_allowed() == decided.allowed && (decided.allowed || repeated.reason == explanation.reason);
    if is_same {
        explanation.suggestions = repeated.suggestions;
    } else {
        let Explanation { decision, reason, policy_revision, .. } = repeated;
        explanation.now = Some(Now { decision, reason, policy_revision });
    }
    explanation
}

/// A repetition; `None` where too little is known of the request.
fn repeated(snapshot: &Snapshot, decided: &Decided, now: Timestamp) -> Option<Explanation> {
    if !depends_on_rules(decided.reason) {
        return None;
    }
    let target = Target::parse(decided.path.as_bytes()).ok()?;
    let (host, method) = (decided.host.as_deref().unwrap_or_default(), decided.method.as_ref()?.as_str());
    let caller = decided.claims.as_ref().map(|claims| snapshot.caller(claims, now));
    let (caller, refused): (Option<Caller>, Option<Reason>) = match caller.transpose() {
        Ok(caller) => (caller, None),
        Err(reason) => (None, Some(reason)),
    };
    if let Some(Entry::Route(route)) = snapshot.routes().find(host, target.decoded_path()).map(|found| found.entry)
        && let Some(operation) = route.operation(method)
        && !knows_owner(decided, operation)
    {
        return None;
    }
    // The query itself is not kept, only the owner that was found in it.
    let query = |_: &str| Ok::<_, AmbiguousOwner>(decided.owner.clone());
    let inquiry = Inquiry {
        caller: caller.as_ref(),
        refused,
        method,
        host,
        raw_path: target.raw_path(),
        path: target.decoded_path(),
        query: &query,
        client_ip: decided.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        now,
        client_certificate: decided.client_certificate.as_deref(),
    };
    Some(explain(snapshot, &inquiry))
}

/// Whether other rules, or another state of the user, could lead to another reason.
fn depends_on_rules(reason: Reason) -> bool {
    match reason {
        Reason::Allowed
        | Reason::NoCredentials
        | Reason::Revoked
        | Reason::UserInactive
        | Reason::NoGrant
        | Reason::ForbiddenByPolicy
        | Reason::PolicyError
        | Reason::UnknownRoute
        | Reason::MethodNotAllowed
        | Reason::TargetTooLong
        | Reason::HeadersTooLarge
        | Reason::RequestTimeout
        | Reason::TooLarge
        | Reason::StreamEnded
        | Reason::UpstreamUnreachable
        | Reason::UpstreamTimeout => true,
        Reason::InvalidToken
        | Reason::ExpiredToken
        | Reason::BadTarget
        | Reason::BadRequest
        | Reason::RateLimited
        | Reason::Overloaded
        | Reason::Internal => false,
    }
}

/// Whether the owner that `operation` asks for is the one that was looked for then.
fn knows_owner(decided: &Decided, operation: &CompiledOperation) -> bool {
    match &operation.owner {
        Some(Owner::Query(_)) => decided.operation.as_ref().is_some_and(|then| then.owner == operation.owner),
        Some(Owner::Path(_) | Owner::Claim(_)) | None => true,
    }
}
