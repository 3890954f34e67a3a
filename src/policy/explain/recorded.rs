//! A decision that was made before.

use super::{
    answer::{self, Explanation, RequestBrief},
    refused, told,
};
use crate::policy::{decided::Decided, snapshot::Snapshot};

/// Explains a decision as it was made. Names and texts are those of `snapshot`, as far as it still has them.
pub fn recorded(snapshot: &Snapshot, decided: &Decided) -> Explanation {
    let caller = decided.caller.clone().or_else(|| {
        let claims = decided.claims.as_ref()?;
        Some(snapshot.assume(snapshot.user_of(claims)?, claims.clone(), decided.at))
    });
    let operation = decided.operation.as_deref();
    Explanation {
        decision: if decided.allowed { answer::ALLOW } else { answer::DENY },
        policy_revision: decided.policy_revision,
        route: decided.route.as_deref().map(told::gateway_route),
        operation: operation.map(told::operation),
        permission: operation.and_then(|operation| operation.permission()).map(ToString::to_string),
        principal: caller.map(|caller| told::principal(snapshot, &caller)),
        policies: told::policies(snapshot.compiled(), operation, &decided.policies),
        errors: told::errors(&decided.errors),
        request: Some(RequestBrief {
            time: decided.at,
            method: decided.method.as_ref().map(ToString::to_string),
            host: decided.host.clone(),
            path: decided.path.clone(),
            client: decided.client,
            status: decided.status,
        }),
        ..refused(snapshot, decided.reason)
    }
}
