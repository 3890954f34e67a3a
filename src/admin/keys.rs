//! Keys that tokens are signed with, and what is published of them.

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Valid};
use super::page::{Limits, Page, page};
use super::reply::{Listed, Written};
use super::turns::Turns;
use crate::control::{Control, keys, keys::KeyRefusal};
use crate::jwt::{Keyring, make_key};
use crate::model::{Etag, Etags, KeyState, SigningAlgorithm, SigningKey, SigningKeyId, Timestamp};
use crate::store::{Total, signing_keys};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Keys {
    pub(super) gate: Gate,
    pub(super) control: Control,
    /// Making a key takes a core for a moment.
    pub(super) turns: Turns,
}

pub(super) fn endpoints() -> Endpoints<Keys> {
    Endpoints::new("Keys")
        .get("/keys/", Needs("key:read"), "List keys that tokens are signed with", list)
        .reads(|input| page(input, Limits::Lenient))
        .post("/keys/", Needs("key:create"), "Rotate: make a key that signs from now on, or soon", rotate)
        .reads(wanted)
        .get("/keys/{key_id}", Needs("key:read"), "Get a key, without its private part", one)
        .delete("/keys/{key_id}", Needs("key:delete"), "Retire a key: its tokens end at once", retire)
}

/// Where anybody finds the public keys.
pub(super) const JWKS: &str = "/.well-known/jwks.json";

/// `JWKS`.
pub(super) fn router(control: Control) -> Router {
    Router::new().route(JWKS, get(jwks)).with_state(control)
}

/// How long whoever verifies our tokens may keep the keys: shorter than a key is published before it signs.
const MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=5");

async fn jwks(State(control): State<Control>, headers: HeaderMap) -> Response {
    let body = control.keyring().map_or_else(|| r#"{"keys":[]}"#.into(), Keyring::published);
    let tag = Etag::of(body.as_bytes());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(Etags::parse);
    let headers = [
        (header::CACHE_CONTROL, MAX_AGE),
        (header::ETAG, HeaderValue::from_str(tag.as_str()).unwrap_or(HeaderValue::from_static("\"\""))),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json")),
    ];
    match known.is_some_and(|known| known.match_weakly(&tag)) {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, body.to_string()).into_response(),
    }
}

/// A key, without its private part.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SigningKey")]
struct View {
    id: SigningKeyId,
    kid: String,
    algorithm: SigningAlgorithm,
    state: KeyState,
    /// Whether this node signs with it now.
    signs: bool,
    created_at: Timestamp,
    activated_at: Timestamp,
    /// When it is retired by itself, once another key follows it.
    retires_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    /// The public key (RFC 7517).
    jwk: Value,
}

impl View {
    fn of(key: &SigningKey, live: &[SigningKey], keyring: Option<&Keyring>) -> Self {
        let now = Timestamp::now();
        let state = key.state(live, now);
        let signs = keyring.and_then(Keyring::signs_with_kept) == Some(key.algorithm) && state == KeyState::Active;
        let longest = keyring.map_or(0, |keyring| i64::try_from(keyring.settings().longest.as_secs()).unwrap_or(0));
        Self {
            id: key.id,
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            state,
            signs,
            created_at: key.created_at,
            activated_at: key.activated_at,
            retires_at: key.retires_at(live, longest),
            retired_at: key.retired_at,
            jwk: serde_json::from_str(&key.jwk).unwrap_or_default(),
        }
    }
}

fn not_found() -> Error {
    refused(KeyRefusal::NotFound)
}

fn refused(refusal: KeyRefusal) -> Error {
    match refusal {
        KeyRefusal::NotFound => Error::NotFound(refusal.to_string().into()),
        _ => Error::BadRequest(refusal.to_string().into()),
    }
}

async fn list(State(state): State<Keys>, call: Call) -> Result<Listed<View>, Error> {
    let (_, input) = call.permit("key:read")?;
    let page: Page = input.read(|input| page(input, Limits::Lenient))?;
    let mut tx = state.control.read().await?;
    let rows = signing_keys::list(&mut tx, page.into()).await?;
    let live = signing_keys::live(&mut tx).await?;
    let total = Total { count: signing_keys::count(&mut tx).await?, is_capped: false };
    Ok(Listed { rows, total }.map(|key| View::of(&key, &live, state.control.keyring())))
}

async fn one(State(state): State<Keys>, call: Call) -> Result<Json<View>, Error> {
    let (_, mut input) = call.permit("key:read")?;
    let id = input.path("key_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let key = signing_keys::get(&mut tx, id).await?.ok_or_else(not_found)?;
    let live = signing_keys::live(&mut tx).await?;
    Ok(Json(View::of(&key, &live, state.control.keyring())))
}

/// A key that is asked for.
struct Wanted {
    algorithm: Option<String>,
    bits: i64,
    delay_seconds: i64,
}

/// Until the other nodes know a key, and most of those who keep the public keys.
const DELAY_SECONDS: i64 = 10;
const MOST_DELAY_SECONDS: i64 = 7 * 86_400;

fn of_rsa(bits: i64) -> Result<(), Flaw> {
    if matches!(bits, 2048 | 3072) { Ok(()) } else { Err(Flaw::value("bits must be 2048 or 3072")) }
}

fn wanted(input: &mut Input) -> Valid<Wanted> {
    let mut body = input.optional_body();
    let known = |name: &String| name.parse::<SigningAlgorithm>().map(drop).map_err(Flaw::value);
    let algorithm = body.field::<String>("algorithm").one_of(&SigningAlgorithm::NAMES).check(known).optional();
    let bits = body.field::<i64>("bits").check(|bits| of_rsa(*bits)).or(2048);
    let delay_seconds = body.field::<i64>("delay_seconds").at_least(0).at_most(MOST_DELAY_SECONDS).or(DELAY_SECONDS);
    body.refuse_unknown();
    Some(Wanted { algorithm: algorithm?, bits: bits?, delay_seconds: delay_seconds? })
}

async fn rotate(State(state): State<Keys>, call: Call) -> Result<Written<View>, Error> {
    let (caller, input) = call.permit("key:create")?;
    let Wanted { algorithm, bits, delay_seconds } = input.read(wanted)?;
    let keyring = state.control.keyring().ok_or_else(|| Error::BadRequest("No keys are kept here".into()))?;
    let asked = algorithm.and_then(|name| name.parse().ok());
    let algorithm: SigningAlgorithm = asked.or(keyring.settings().signs).ok_or_else(|| {
        Error::BadRequest("Tokens are signed with the shared secret (HS256): name an algorithm for the key".into())
    })?;
    let Some(sealer) = keyring.settings().sealer.clone() else {
        return Err(Error::BadRequest("auth.key_encryption_key is not set, so no key can be kept".into()));
    };
    let bits = u32::try_from(bits).ok();
    let made = state.turns.work(move || make_key(Some(&sealer), algorithm, bits)).await?;
    let new = made.map_err(Error::internal)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let activated_at = write.now().plus_seconds(delay_seconds);
    let id = keys::rotate(&mut write, keyring, &new, activated_at).await?.map_err(refused)?;
    let live = signing_keys::live(write.tx()).await?;
    let key = live.iter().find(|key| key.id == id).ok_or_else(not_found)?;
    let view = View::of(key, &live, Some(keyring));
    Ok(write.commit(view).await?.into())
}

async fn retire(State(state): State<Keys>, call: Call) -> Result<Written<View>, Error> {
    let (caller, mut input) = call.permit("key:delete")?;
    let id = input.path("key_id");
    let id = input.finish(|| id)?;
    let keyring = state.control.keyring().ok_or_else(not_found)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let live = signing_keys::live(write.tx()).await?;
    if let Some(key) = live.iter().find(|key| key.id == id) {
        write.expects(&View::of(key, &live, Some(keyring)))?;
    }
    let key = keys::retire(&mut write, keyring, id, false).await?.map_err(refused)?;
    let live = signing_keys::live(write.tx()).await?;
    let view = View::of(&key, &live, Some(keyring));
    Ok(write.commit(view).await?.into())
}
