//! What browsers ask for and must be told: requests from pages of other origins, and care with answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::OverTls;
use super::error::Error;
use crate::http::{Cors, SecurityHeaders, cors};
use crate::telemetry::logs::SECURITY;

/// How browsers are answered.
#[derive(Clone, Debug)]
pub struct Browsers {
    /// Which pages may call.
    pub cors: Arc<Cors>,
    /// Sent with every answer, unless they are turned off.
    pub security: Option<SecurityHeaders>,
}

/// Answers preflights, refuses writes of pages that may not call, and gives every answer its headers.
pub(super) async fn guard(State(browsers): State<Browsers>, request: Request, next: Next) -> Response {
    let tls = request.extensions().get::<OverTls>().is_some_and(|over| over.0);
    let origin = browsers.cors.origin(request.headers());
    let preflight = cors::is_preflight(request.method(), request.headers());
    let mut response = if preflight {
        let answer = browsers.cors.preflight(request.headers());
        answer.map_or_else(
            || Error::BadRequest("Disallowed CORS request".into()).into_response(),
            |headers| (HeaderMap::from_iter(headers), "OK").into_response(),
        )
    } else if is_foreign_write(&browsers.cors, &request) {
        tracing::info!(
            target: SECURITY,
            origin = ?request.headers().get(header::ORIGIN),
            path = request.uri().path(),
            "cross-origin write refused"
        );
        Error::Forbidden("Cross-origin request refused".into()).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if !preflight {
        headers.extend(origin.into_iter().flatten().filter(|(name, _)| *name != header::VARY));
        // Whoever asks without an origin must not be the reason that another is not let in.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    for (name, value) in browsers.security.iter().flat_map(|security| security.of(tls)) {
        // A page says itself what it needs.
        headers.entry(name).or_insert(value);
    }
    response
}

/// Whether a page that may not call sends `request`, which may change something: a browser would send it without asking
/// first if it looks like a form, and whatever the browser knows of its user along with it (CVE-2022-21703).
///
/// Other clients than browsers send no `Origin`, and no page can leave it out or forge it.
fn is_foreign_write(cors: &Cors, request: &Request) -> bool {
    let headers = request.headers();
    if request.method().is_safe() {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let fetched = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    !(cors.allows(origin) || fetched == Some(b"same-origin") || is_own(origin, request))
}

/// Whether `origin` is where the request was sent to; behind a proxy that speaks TLS its scheme may be another.
fn is_own(origin: &HeaderValue, request: &Request) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(Authority::as_str).or(host);
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}
