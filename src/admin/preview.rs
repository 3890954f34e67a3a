//! What several changes together would lead to.

use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde_json::Value;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Issue, Object, Step, Valid};
use super::rehearse::{Previewed, Refused, Stage, Visitor};

/// Changes in one request.
const MOST: usize = 100;
const LONGEST_PATH: usize = 2_000;
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// What the endpoint uses.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Previews {
    pub(super) gate: Gate,
    pub(super) stage: Stage,
}

pub(super) fn endpoints() -> Endpoints<Previews> {
    Endpoints::new("Policies")
        .post("/policies/preview", Needs("policy:read"), "Tell what changes would lead to, and make none", preview)
        .reads(changes)
}

/// A request that would change something.
struct Change {
    method: Method,
    path: String,
    body: Option<Value>,
}

fn changes(input: &mut Input) -> Valid<Vec<Change>> {
    input.body().each("changes", MOST, change)
}

fn change(object: &mut Object<'_>) -> Valid<Change> {
    let known = |method: &String| match METHODS.contains(&method.as_str()) {
        true => Ok(()),
        false => Err(Flaw::literal("'POST', 'PUT', 'PATCH' or 'DELETE'")),
    };
    let method = object.field::<String>("method").one_of(&METHODS).check(known).required();
    let path = object
        .field::<String>("path")
        .max_length(LONGEST_PATH)
        .must(|path| path.starts_with('/'), "a path begins with /");
    let path = path.required();
    let body = object.json::<Value>("body").optional();
    object.refuse_unknown();
    Some(Change { method: Method::from_bytes(method?.as_bytes()).ok()?, path: path?, body: body? })
}

async fn preview(State(state): State<Previews>, visitor: Visitor, call: Call) -> Result<Previewed, Error> {
    let (caller, input) = call.permit("policy:read")?;
    let changes = input.read(changes)?;
    let play = state.stage.open().await?;
    let mut outcome = Ok(());
    for (index, change) in changes.into_iter().enumerate() {
        let uri: Uri = state.stage.full_path(&change.path).parse().map_err(|_| nowhere(index, &change))?;
        let (headers, body) = content(&visitor.headers, change.body.as_ref());
        let acted = play.act(visitor.request(change.method.clone(), uri, headers, body)).await;
        outcome = acted.map_err(|refused| match refused {
            Refused::Unknown => nowhere(index, &change),
            Refused::Answer(mut response) => match response.extensions_mut().remove::<std::sync::Arc<Error>>() {
                Some(error) => at(index, error),
                None => Error::internal(format!("change {index} was answered with {}", response.status())),
            },
        });
        if outcome.is_err() {
            break;
        }
    }
    let ended = play.end().await;
    let seen = caller.origin().if_policy_revision;
    if seen.is_some_and(|seen| seen != ended.rehearsed.before.policy_revision()) {
        return Err(Error::PreconditionFailed);
    }
    outcome?;
    Previewed::of(ended).await
}

/// A body, and the headers of whoever asks; what they say of the request itself and of its conditions is not of this one.
fn content(asked: &HeaderMap, body: Option<&Value>) -> (HeaderMap, Body) {
    let kept = [header::AUTHORIZATION, header::USER_AGENT];
    let mut headers: HeaderMap = HeaderMap::new();
    for name in kept {
        for value in asked.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let Some(body) = body else { return (headers, Body::empty()) };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (headers, Body::from(body.to_string()))
}

fn place(index: usize) -> [Step; 3] {
    ["body".into(), "changes".into(), index.into()]
}

fn nowhere(index: usize, change: &Change) -> Error {
    let flaw = Flaw::value("no endpoint whose changes can be previewed has this method and path");
    let loc = place(index).into_iter().chain(["path".into()]).collect();
    Error::Validation(vec![Issue::new(loc, flaw, &change.path.as_str().into())])
}

/// The refusal of one change, which says of which.
fn at(index: usize, error: std::sync::Arc<Error>) -> Error {
    let told = |detail: &str| format!("changes.{index}: {detail}").into();
    match std::sync::Arc::into_inner(error) {
        Some(Error::Validation(issues)) => {
            Error::Validation(issues.into_iter().map(|issue| issue.within(place(index))).collect())
        }
        Some(Error::Forbidden(detail)) => Error::Forbidden(told(&detail)),
        Some(Error::NotFound(detail)) => Error::NotFound(told(&detail)),
        Some(Error::BadRequest(detail)) => Error::BadRequest(told(&detail)),
        Some(other) => other,
        None => Error::internal("an error that others hold, too"),
    }
}
