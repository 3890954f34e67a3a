//! How much one client may ask of the API.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::ClientAddress;
use super::error::Error;
use super::gate::Gate;
use crate::http::{LIMIT, RateLimits};

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
                standing.tell(response.headers_mut());
            }
            response
        }
        Err(refusal) => Error::TooManyRequests(refusal).into_response(),
    }
}
