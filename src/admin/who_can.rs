//! What a user can do, and who can do something.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, State};

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Issue, Valid};
use super::page::{Limits, Page, page};
use super::reply::Listed;
use super::routes::is_ambiguous;
use super::turns::Turns;
use crate::model::{Host, PermissionName, Timestamp, UserId};
use crate::policy::{self, CompiledOperation, Entitled, Entry, Snapshot, Wanted, access, who_can};
use crate::store::Total;

const LONGEST_PATH: usize = 2_000;
const LONGEST_METHOD: usize = 32;
/// Such questions are worked on at once; others wait, so that the rest of the service has threads left.
const AT_ONCE: usize = 2;

/// What the questions about everybody use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Search {
    pub(super) gate: Gate,
    pub(super) turns: Turns,
}

impl Search {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, turns: Turns::new(AT_ONCE) }
    }
}

pub(super) fn endpoints() -> Endpoints<Search> {
    Endpoints::new("Policies")
        .get("/users/{user_id}/access", Needs("policy:read"), "Show everything that a user can do", of_user)
        .get("/who-can", Needs("policy:read"), "List the users who can do something", list)
        .reads(wanted)
}

async fn of_user(State(state): State<Search>, call: Call) -> Result<Json<policy::Access>, Error> {
    let (_, mut input) = call.permit("policy:read")?;
    let id = input.path::<UserId>("user_id");
    let id = input.finish(|| id)?;
    let snapshot = state.gate.snapshots.load();
    let user = snapshot.user(id).map(Arc::clone).ok_or_else(|| Error::NotFound("User not found".into()))?;
    Ok(Json(state.turns.work(move || access(&snapshot, &user, Timestamp::now())).await?))
}

/// What is asked about.
enum Subject {
    Permission(PermissionName),
    Request {
        method: String,
        path: String,
        host: Option<Host>,
    },
    /// Neither, or both.
    Unclear,
}

fn wanted(input: &mut Input) -> Valid<(Subject, Page)> {
    let permission = input.query::<PermissionName>("permission").unless_absent();
    let method = input.query::<String>("method").min_length(1).max_length(LONGEST_METHOD).unless_absent();
    let path = input.query::<String>("path").max_length(LONGEST_PATH);
    let path = path.must(|path| path.starts_with('/'), "a path begins with /").unless_absent();
    let host = input.query::<Host>("host").unless_absent();
    let page = page(input, Limits::Lenient);
    let subject = match (permission?, method?, path?, host?) {
        (Some(permission), None, None, None) => Subject::Permission(permission),
        (None, Some(method), Some(path), host) => Subject::Request { method: method.to_ascii_uppercase(), path, host },
        _ => Subject::Unclear,
    };
    Some((subject, page?))
}

fn unclear() -> Error {
    let flaw = Flaw::value("either permission must be given, or method and path, and host if need be");
    Error::Validation(vec![Issue::new(vec!["query".into()], flaw, &().into())])
}

async fn list(State(state): State<Search>, call: Call) -> Result<Listed<Entitled>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let (subject, page) = input.read(wanted)?;
    let snapshot = state.gate.snapshots.load();
    let (permission, operation) = match subject {
        Subject::Permission(name) => (Some(name), None),
        Subject::Request { method, path, host } => (None, Some(operation(&snapshot, &method, &path, host.as_ref())?)),
        Subject::Unclear => return Err(unclear()),
    };
    let [skip, limit] = [page.skip, page.limit].map(|number| usize::try_from(number).unwrap_or(0));
    let search = move || {
        let by_permission = || Some(Wanted::Permission(permission.as_ref()?.parts()?));
        let wanted = operation.as_deref().map(Wanted::Operation).or_else(by_permission)?;
        Some(who_can(&snapshot, wanted, Timestamp::now(), (skip, limit)))
    };
    // A permission without a verb opens nothing.
    let (rows, count) = state.turns.work(search).await?.unwrap_or_default();
    Ok(Listed { rows, total: Total { count: i64::try_from(count).unwrap_or(i64::MAX), is_capped: false } })
}

/// The operation that would answer such a request.
fn operation(
    snapshot: &Snapshot,
    method: &str,
    path: &str,
    host: Option<&Host>,
) -> Result<Arc<CompiledOperation>, Error> {
    let unknown = || Error::NotFound(format!("No gateway route matches '{path}'").into());
    if is_ambiguous(path) {
        return Err(unknown());
    }
    let matched = snapshot.routes().find(host.map_or("", Host::as_str), path).ok_or_else(unknown)?;
    match matched.entry {
        Entry::Mounted(_) => Err(Error::NotFound(
            format!("'{path}' belongs to the admin API, which asks for permissions: ask by permission").into(),
        )),
        Entry::Route(route) => route.operation(method).cloned().ok_or_else(|| {
            Error::NotFound(format!("Route {} ({}) has no operation for {method}", route.id, route.template).into())
        }),
    }
}
