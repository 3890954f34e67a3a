//! Whether the caller may go where a path leads.

use axum::extract::State;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;

use super::Routes;
use crate::admin::client::ClientAddress;
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::model::{AmbiguousOwner, Host, PathTemplate, Timestamp};
use crate::policy::{Ask, Caller, Entry, Facts, Snapshot, Subject};
use crate::store::navigation;

const LONGEST_PATH: usize = 2_000;
const LONGEST_METHOD: usize = 32;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CheckedPath")]
pub(super) struct Answer {
    allowed: bool,
}

/// The path, the method and the host.
pub(super) fn asked(input: &mut Input) -> Valid<(String, String, Option<Host>)> {
    let path = input.query::<String>("path").min_length(1).max_length(LONGEST_PATH).required();
    let method = input.query::<String>("method").min_length(1).max_length(LONGEST_METHOD).optional();
    let host = input.query::<Host>("host").optional();
    Some((path?, method?.unwrap_or_else(|| "GET".to_owned()), host?))
}

/// Answers whether an entry of the navigation tree with this path is meant for the caller's roles, or the gateway would
/// forward the caller's request to it.
pub(super) async fn check(
    State(state): State<Routes>,
    Extension(client): Extension<ClientAddress>,
    call: Call,
) -> Result<Json<Answer>, Error> {
    let (caller, input) = call.signed_in();
    let (path, method, host) = input.read(asked)?;
    let method = method.to_ascii_uppercase();
    let facts = Facts {
        method: &method,
        path: &path,
        host: host.as_ref().map_or("", Host::as_str),
        params: &[],
        client_ip: client.0,
        now: Timestamp::now(),
        client_certificate: None,
        owner: None,
    };
    let forwarded = would_forward(&state.control.snapshots().load(), &caller, facts);
    let allowed = forwarded || is_shown(&state, &caller, &path).await?;
    Ok(Json(Answer { allowed }))
}

async fn is_shown(state: &Routes, caller: &Caller, path: &str) -> Result<bool, Error> {
    // Paths are stored as templates are.
    let Ok(path) = PathTemplate::try_from(path.to_owned()) else {
        return Ok(false);
    };
    let mut tx = state.control.read().await?;
    Ok(navigation::shows(&mut tx, path.as_str(), caller.roles().ids()).await?)
}

/// Whether the gateway refuses such a path before it looks for its route.
pub(in crate::admin) fn is_ambiguous(path: &str) -> bool {
    let mut segments = path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'));
    segments.any(|segment| matches!(segment, "." | "..")) || path.contains("//")
}

fn would_forward(snapshot: &Snapshot, caller: &Caller, facts: Facts<'_>) -> bool {
    if is_ambiguous(facts.path) {
        return false;
    }
    let Some(matched) = snapshot.routes().find(facts.host, facts.path) else {
        return false;
    };
    let Entry::Route(route) = matched.entry else {
        return false;
    };
    let Some(operation) = route.operation(facts.method) else {
        return false;
    };
    // By roles of the same moment as the rules.
    let Ok(caller) = snapshot.caller(&caller.claims, facts.now) else {
        return false;
    };
    // There is no query that could name an owner.
    let no_query = |_: &str| Ok::<_, AmbiguousOwner>(None);
    let Ok(owner) = operation.owner_of(&matched.params, &no_query, Some(&caller.claims)) else {
        return false;
    };
    let facts = Facts { params: &matched.params, owner: owner.as_deref(), ..facts };
    snapshot.decide(&Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts }).outcome.is_ok()
}
