//! How much one client may ask of the API.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::ClientAddress;
use super::error::Error;
use super::gate::Gate;
use crate::http::{RateLimits, Standing};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const WINDOW: HeaderName = HeaderName::from_static("x-ratelimit-window");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What the layer uses.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    pub(super) gate: Gate,
    pub(super) limits: Option<RateLimits>,
}

/// Counts each request for its user, or for its address where nobody is signed in, and says how the client stands.
pub(super) async fn count(State(Limited { gate, limits }): State<Limited>, request: Request, next: Next) -> Response {
    let Some(limits) = limits else { return next.run(request).await };
    let user = gate.caller(&gate.snapshots.load(), request.headers()).ok().and_then(|caller| caller.user_id());
    match limits.request(user, ClientAddress::of(&request)) {
        Ok(standing) => {
            let mut response = next.run(request).await;
            // A narrower limit that refused the request tells of itself.
            if !response.headers().contains_key(LIMIT) {
                tell(&standing, response.headers_mut());
            }
            response
        }
        Err(refusal) => Error::TooManyRequests(refusal).into_response(),
    }
}

/// Says how a client stands; when all of the limit is back, in seconds since 1970.
pub(super) fn tell(standing: &Standing, headers: &mut HeaderMap) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    headers.insert(LIMIT, HeaderValue::from(standing.limit));
    headers.insert(WINDOW, HeaderValue::from(standing.window.as_secs()));
    headers.insert(REMAINING, HeaderValue::from(standing.remaining));
    headers.insert(RESET, HeaderValue::from(seconds(now + standing.reset)));
}

/// Whole seconds, rounded up, so that a client that waits as told is not refused again.
pub(super) fn seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
