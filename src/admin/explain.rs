//! Why a request is answered as it is.

use axum::extract::{FromRef, State};
use axum::{Extension, Json};
use serde_json::{Map, Value};

use super::client::ClientAddress;
use super::endpoints::Access::SignedIn;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Issue, Valid};
use super::turns::Turns;
use crate::control::Control;
use crate::explain::{Context, Fault, Part, Question, recall};
use crate::http;
use crate::model::Timestamp;
use crate::policy::{Decided, Explanation};
use crate::store::users;

const PERMISSION: &str = "policy:read";
/// The user who is nobody.
const ANONYMOUS: &str = "-";
const LONGEST_USER: usize = 254;
const LONGEST_METHOD: usize = 32;
const LONGEST_URL: usize = 16 * 1024;
const LONGEST_REQUEST_ID: usize = 64;
/// So many explanations are worked out at once: trying out suggestions compiles.
pub(super) const AT_ONCE: usize = 2;
/// In a query, which has to fit into the line of a request with everything percent-encoded; a body may say more.
const LONGEST_IN_QUERY: usize = 2_000;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Explain {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) turns: Turns,
}

pub(super) fn endpoints() -> Endpoints<Explain> {
    Endpoints::new("Explain")
        .get("/explain", SignedIn, "Explain how a request is answered", by_query)
        .reads(in_query)
        .fails(&[403, 404])
        .post("/explain", SignedIn, "Explain how a request with a context is answered", by_body)
        .reads(in_body)
        .fails(&[403, 404])
}

/// What a request says.
struct Words {
    user: Option<String>,
    method: Option<String>,
    url: Option<String>,
    context: Option<Context>,
    request_id: Option<String>,
}

fn in_query(input: &mut Input) -> Valid<Words> {
    let user = input.query::<String>("user").min_length(1).max_length(LONGEST_USER).optional();
    let method = input.query::<String>("method").min_length(1).max_length(LONGEST_METHOD).optional();
    let url = input.query::<String>("url").min_length(1).max_length(LONGEST_IN_QUERY).optional();
    let context = input.query::<String>("context").max_length(LONGEST_IN_QUERY);
    let context = context.check(|text| context_in(text).map(|_| ())).optional();
    let request_id = input.query::<String>("request_id").min_length(1).max_length(LONGEST_REQUEST_ID).optional();
    let context = context?.as_deref().and_then(|text| context_in(text).ok());
    Some(Words { user: user?, method: method?, url: url?, context, request_id: request_id? })
}

/// The object of the body, as JSON in one parameter.
fn context_in(text: &str) -> Result<Context, Flaw> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Flaw::value("an object is expected, as JSON"))?;
    Context::try_from(object).map_err(Flaw::value)
}

fn in_body(input: &mut Input) -> Valid<Words> {
    let mut body = input.body();
    let user = body.field::<String>("user").min_length(1).max_length(LONGEST_USER).optional();
    let method = body.field::<String>("method").min_length(1).max_length(LONGEST_METHOD).optional();
    let url = body.field::<String>("url").min_length(1).max_length(LONGEST_URL).optional();
    let context = body.json::<Context>("context").optional();
    let request_id = body.field::<String>("request_id").min_length(1).max_length(LONGEST_REQUEST_ID).optional();
    body.refuse_unknown();
    Some(Words { user: user?, method: method?, url: url?, context: context?, request_id: request_id? })
}

async fn by_query(
    State(state): State<Explain>,
    Extension(client): Extension<ClientAddress>,
    call: Call,
) -> Result<Json<Explanation>, Error> {
    answer(state, client, call, "query", in_query).await
}

async fn by_body(
    State(state): State<Explain>,
    Extension(client): Extension<ClientAddress>,
    call: Call,
) -> Result<Json<Explanation>, Error> {
    answer(state, client, call, "body", in_body).await
}

/// Answers whoever may read policies about everybody, and anybody about themselves.
async fn answer(
    state: Explain,
    ClientAddress(client): ClientAddress,
    call: Call,
    part: &'static str,
    read: fn(&mut Input) -> Valid<Words>,
) -> Result<Json<Explanation>, Error> {
    let reads_policies = call.may(PERMISSION);
    let (caller, input) = call.signed_in();
    let words = input.read(read)?;
    let snapshot = state.control.snapshots().load();
    let now = Timestamp::now();
    if let Some(id) = &words.request_id {
        let decided = state.recall(id).filter(|decided| reads_policies || decided.is_of(caller.id()));
        let decided = decided.ok_or_else(|| state.forgotten())?;
        return state.turns.work(move || recall(&snapshot, &decided, now)).await.map(Json);
    }
    let issue = |key: &'static str, flaw| {
        Error::Validation(vec![Issue::new(vec![part.into(), key.into()], flaw, &Value::Null)])
    };
    let missing = |key| issue(key, Flaw::new("missing", "Field required"));
    let (method, url) = (words.method.ok_or_else(|| missing("method"))?, words.url.ok_or_else(|| missing("url"))?);
    let fault = move |Fault { part, message }: Fault| issue(key(part), Flaw::value(message));
    let question = Question::new(&method, &url, words.context.unwrap_or_default()).map_err(fault)?;
    let user = match words.user.as_deref() {
        None => Some(caller.id()),
        Some(ANONYMOUS) if reads_policies => None,
        Some(name) => {
            let mut tx = state.control.read().await?;
            let found = users::named(&mut tx, name).await?;
            // Whoever may not ask about others is not told either whether they exist.
            if !reads_policies && found != Some(caller.id()) {
                return Err(Error::permission(PERMISSION));
            }
            Some(found.ok_or_else(no_user)?)
        }
    };
    let user = user.map(|id| snapshot.user(id).cloned().ok_or_else(no_user)).transpose()?;
    let asked = state.turns.work(move || question.ask(&snapshot, user.as_ref(), client, now));
    asked.await?.map(Json).map_err(fault)
}

fn key(part: Part) -> &'static str {
    match part {
        Part::Method => "method",
        Part::Url => "url",
        Part::Context => "context",
    }
}

fn no_user() -> Error {
    Error::NotFound("User not found".into())
}

impl Explain {
    fn recall(&self, id: &str) -> Option<Decided> {
        self.gate.recent.find(&http::RequestId::given(id.as_bytes())?)
    }

    fn forgotten(&self) -> Error {
        Error::NotFound(match self.gate.recent.capacity() {
            0 => "This node keeps no recent requests: explain.recent_requests is 0".into(),
            most => format!("Unknown request: this node keeps the last {most} of its own").into(),
        })
    }
}
