//! Requests that shall not be done: the same endpoints, on a rehearsal.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::client::{ClientAddress, NothingWritten};
use super::endpoints::spellings;
use super::error::{Error, RequestId};
use super::gate::Gate;
use super::input::{Body as JsonBody, Flaw, Input, Issue};
use super::operations;
use super::reply::{Answer, Reply, Written};
use super::resources::{Include, Resources};
use super::turns::Turns;
use crate::control::{Rehearsal, Rehearsed};
use crate::model::Timestamp;
use crate::policy::{Difference, difference};

/// What a rehearsal is made from.
#[derive(Clone, Debug)]
pub(super) struct Stage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resources: Resources,
    prefix: String,
    max_body_bytes: usize,
    /// Methods and paths of every endpoint, and whether they can be rehearsed.
    known: Vec<(Method, String, bool)>,
    /// One rehearsal at a time: writers wait for it, and comparing takes memory.
    turns: Turns,
}

/// So long writers may have to wait for a rehearsal.
const LONGEST: Duration = Duration::from_secs(5);
/// What a preview tells needs this, whatever the write needs.
const PERMISSION: &str = "policy:read";

impl Stage {
    pub(super) fn new(resources: Resources, prefix: &str, max_body_bytes: usize) -> Self {
        let known = operations().flat_map(|operation| {
            let known = |spelling| (operation.method.clone(), spelling, operation.can_be_rehearsed);
            spellings(prefix, operation.path).map(known)
        });
        let turns = Turns::new(1);
        Self(Arc::new(Inner { turns, known: known.collect(), resources, prefix: prefix.to_owned(), max_body_bytes }))
    }

    /// How a request is refused that cannot be rehearsed.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let of_path: Vec<_> = self.0.known.iter().filter(|(_, known, _)| path == Some(known)).collect();
        match of_path.iter().find(|(method, ..)| method == request.method()) {
            Some((_, _, true)) => None,
            None if !of_path.is_empty() => {
                let methods: Vec<&str> = of_path.iter().map(|(method, ..)| method.as_str()).collect();
                Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, methods.join(","))]).into_response())
            }
            Some(_) | None => Some(unsupported().into_response()),
        }
    }

    /// The path that the API has for `path`, which may be given without the prefix.
    pub(super) fn full_path(&self, path: &str) -> String {
        let rest = path.strip_prefix(self.0.prefix.as_str());
        if rest.is_some_and(|rest| rest.starts_with('/')) {
            path.to_owned()
        } else {
            format!("{}{path}", self.0.prefix)
        }
    }

    /// Raises the curtain, when the one before has fallen.
    pub(super) async fn open(&self) -> Result<Play, Error> {
        let turn = self.0.turns.take().await?;
        let Resources { gate, control, hasher, policy, mail, certificates, metrics, texts } = &self.0.resources;
        let rehearsal = control.rehearse();
        let resources = Resources {
            // Each change is let in by the rules that those before it have led to.
            gate: Gate { snapshots: rehearsal.control().snapshots().clone(), ..gate.clone() },
            control: rehearsal.control().clone(),
            hasher: hasher.rehearsing(),
            policy: *policy,
            mail: mail.rehearsing(),
            certificates: Arc::clone(certificates),
            metrics: Arc::clone(metrics),
            texts: texts.clone(),
        };
        let router = resources.mount(&self.0.prefix, Include::Writes, Router::new());
        let router = router.layer(DefaultBodyLimit::max(self.0.max_body_bytes));
        Ok(Play { rehearsal, router, turn, until: Instant::now() + LONGEST })
    }
}

/// A rehearsal and the endpoints that play in it.
pub(super) struct Play {
    rehearsal: Rehearsal,
    router: Router,
    turn: OwnedSemaphorePermit,
    until: Instant,
}

/// Why a request was not rehearsed to its end.
pub(super) enum Refused {
    /// No endpoint that writes is there.
    Unknown,
    /// As it would be in earnest.
    Answer(Response),
}

impl Play {
    /// Does what `request` asks for, as if.
    pub(super) async fn act(&self, request: Request) -> Result<(), Refused> {
        let Ok(acted) = timeout_at(self.until, self.router.clone().oneshot(request)).await else {
            let told = format!("This takes longer than {} seconds: preview less at once", LONGEST.as_secs());
            return Err(Refused::Answer(Error::BadRequest(told.into()).into_response()));
        };
        let Ok(response) = acted;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        // Errors of handlers say what they are; the router's own do not.
        let is_routers = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        let says_why = response.extensions().get::<Arc<Error>>().is_some();
        Err(if is_routers && !says_why { Refused::Unknown } else { Refused::Answer(response) })
    }

    /// Undoes everything and lets other writers go on.
    pub(super) async fn end(self) -> Ended {
        Ended { rehearsed: self.rehearsal.end().await, turn: self.turn }
    }
}

/// A rehearsal that is over.
pub(super) struct Ended {
    pub(super) rehearsed: Rehearsed,
    turn: OwnedSemaphorePermit,
}

/// Who asks for a rehearsal, for the requests that are made in it.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) headers: HeaderMap,
    extensions: Extensions,
}

impl Visitor {
    fn of(parts: &Parts) -> Self {
        let mut extensions = Extensions::new();
        // What else layers have noted belongs to the request as it came: its matched path, and that somebody writes.
        extensions.extend(only::<ClientAddress>(&parts.extensions));
        extensions.extend(only::<RequestId>(&parts.extensions));
        Self { headers: parts.headers.clone(), extensions }
    }

    /// A request of the visitor's.
    pub(super) fn request(&self, method: Method, uri: axum::http::Uri, headers: HeaderMap, body: Body) -> Request {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        *request.extensions_mut() = self.extensions.clone();
        request
    }
}

fn only<T: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Extensions {
    let mut one = Extensions::new();
    if let Some(value) = extensions.get::<T>() {
        one.insert(value.clone());
    }
    one
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

/// What would become of access.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Preview")]
pub(super) struct Preview {
    /// The rules it was compared with.
    policy_revision: i64,
    #[serde(flatten)]
    difference: Difference,
}

/// The answer to a rehearsal.
pub(super) struct Previewed(Written<Preview>);

impl Previewed {
    /// Compares. The writers' lock must be free again: there may be much to compare.
    pub(super) async fn of(Ended { rehearsed: Rehearsed { before, after }, turn }: Ended) -> Result<Self, Error> {
        let policy_revision = before.policy_revision();
        let difference = Turns::work_within(turn, move || difference(&before, &after, Timestamp::now())).await?;
        Ok(Self(Written { value: Preview { policy_revision, difference }, policy_revision }))
    }
}

impl IntoResponse for Previewed {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        response.extensions_mut().insert(NothingWritten);
        response
    }
}

impl Reply for Previewed {
    const ANSWER: Answer = <Written<Preview> as Reply>::ANSWER;
}

fn unsupported() -> Error {
    let flaw = Flaw::value("what this endpoint does cannot be previewed");
    Error::Validation(vec![Issue::new(vec!["query".into(), "dry_run".into()], flaw, &"true".into())])
}

/// Whether `dry_run` is asked for. Who says it twice may mean either.
fn is_asked(query: &str) -> Result<bool, Error> {
    Input::new(Vec::new(), query, JsonBody::Empty).read(|input| {
        let times = input.query_count("dry_run");
        let once = |_: &bool| if times > 1 { Err(Flaw::value("dry_run stands there more than once")) } else { Ok(()) };
        input.query::<bool>("dry_run").check(once).or(false)
    })
}

/// Rehearses a request that says `dry_run=true`; it is never done, whatever it asks for.
pub(super) async fn dry_run(State(stage): State<Stage>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match is_asked(request.uri().query().unwrap_or_default()) {
        Ok(true) => rehearse(&stage, request).await.unwrap_or_else(|refused| refused),
        Ok(false) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn rehearse(stage: &Stage, request: Request) -> Result<Response, Response> {
    if let Some(refusal) = stage.refusal(&request) {
        return Err(refusal);
    }
    let client = ClientAddress::of(&request);
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&parts);
    let refused = |error: Error| error.into_response();
    let asked = (parts.method.as_str(), parts.uri.path(), client);
    stage.0.resources.gate.let_in(&parts.headers, asked, PERMISSION).map_err(refused)?;
    let play = stage.open().await.map_err(refused)?;
    let acted = play.act(visitor.request(parts.method, parts.uri, parts.headers, body)).await;
    let ended = play.end().await;
    match acted {
        Ok(()) => Ok(Previewed::of(ended).await.into_response()),
        Err(Refused::Unknown) => Err(unsupported().into_response()),
        Err(Refused::Answer(response)) => Err(response),
    }
}
