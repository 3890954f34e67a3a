//! Entity tags: what has not changed is not sent again, and what has is not overwritten unseen.
//!
//! A tag is made from what a GET answers with. `If-None-Match` is handled here for every GET; `If-Match` by the write path
//! ([`Write::replaces`](crate::control::Write::replaces)), within the transaction.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
use crate::model::{Etag, Etags};

/// Answers that depend on who asks: a browser may keep them, if it asks each time whether they are still so.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What the client has already.
pub(super) fn known(request: &HeaderMap) -> Vec<Etags> {
    let values = request.get_all(header::IF_NONE_MATCH).iter();
    values.filter_map(|value| value.to_str().ok().map(Etags::parse)).collect()
}

/// Gives answers to GET a tag, and 304 to those who have them already; keeps all others out of caches.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = known(request.headers());
    let mut response = next.run(request).await;
    if !is_read || response.status() != StatusCode::OK {
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        return response;
    }
    let (mut head, body) = response.into_parts();
    // Handlers answer with what they hold in memory already, so there is no bound to add.
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return Error::internal(error).into_response(),
    };
    let tag = Etag::of(&body);
    if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
        head.headers.insert(header::ETAG, value);
    }
    head.headers.insert(header::CACHE_CONTROL, PRIVATE);
    if known.iter().any(|known| known.match_weakly(&tag)) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(body))
}
