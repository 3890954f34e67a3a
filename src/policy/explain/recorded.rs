//! A decision that was made before.

use super::{
    answer::{self, Explanation, RequestBrief},
    refused, told,
};
use crate::policy::{decided::Decided, snapshot::Snapshot, table::Entry};

/// Explains a decision as it was made. Names and texts are those of `snapshot`, as far as it still has them.
pub fn recorded(snapshot: &Snapshot, decided: &Decided) -> Explanation {
    let caller = decided.caller.clone().or_else(|| {
        let claims = decided.claims.as_ref()?;
        Some(snapshot.assume(snapshot.user_of(claims)?, claims.clone(), decided.at))
    });
    let operation = decided.operation.as_deref();
    // What the admin service refused: its paths stay the same as long as the process runs.
    let mounted = match &decided.route {
        None => snapshot.routes().find("", &decided.path).filter(|found| matches!(found.entry, Entry::Mounted(_))),
        Some(_) => None,
    };
    let asked = mounted.as_ref().and_then(|found| match found.entry {
        Entry::Mounted(path) => path.operation(decided.method.as_ref()?.as_str()),
        Entry::Route(_) => None,
    });
    let asked = asked.map(|asked| told::mounted(asked, decided.claims.is_some()));
    let operation_told = operation.map(told::operation).or(asked);
    Explanation {
        decision: if decided.allowed { answer::ALLOW } else { answer::DENY },
        policy_revision: decided.policy_revision,
        route: decided.route.as_deref().map(told::gateway_route).or(mounted.map(|found| told::route(found.entry))),
        permission: operation_told.as_ref().and_then(|operation| operation.permission.clone()),
        operation: operation_told,
        principal: caller.map(|caller| told::principal(snapshot, &caller)),
        policies: told::policies(snapshot.compiled(), operation, &decided.policies),
        errors: told::errors(&decided.errors),
        request: Some(RequestBrief {
            time: decided.at,
            method: decided.method.as_ref().map(ToString::to_string),
            host: decided.host.clone(),
            path: decided.path.clone(),
            client: decided.client,
            client_certificate: decided.client_certificate.clone(),
            status: decided.status,
        }),
        ..refused(snapshot, decided.reason)
    }
}
