//! The client's side of an exchange, whoever moves its bytes.
//!
//! ## Why
//! A request that is nothing but a head is served without Pingora, any other by it. What is decided about a request, said to
//! its client and counted must not depend on that, so it is written for whatever can do what stands here.

mod pingora;
mod plain;
mod request;

use std::sync::Arc;
use std::time::Duration;

use ::pingora::http::{RequestHeader, ResponseHeader};
use ::pingora::protocols::http::HttpTask;
use ::pingora::{Error, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use smallvec::SmallVec;

use super::peer::Peer;

pub(super) use plain::Plain;
pub(super) use request::Request;

/// So many parts of an answer are sent together.
pub(super) const TOGETHER: usize = 4;

/// Parts of an answer, in their order.
pub(super) type Parts = SmallVec<[HttpTask; TOGETHER]>;

/// The head of a request, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    /// Path and query.
    pub(super) target: &'r [u8],
    pub(super) version: Version,
    /// `:authority`, over HTTP/2.
    pub(super) authority: Option<&'r str>,
    pub(super) headers: &'r HeaderMap,
}

impl<'r> From<&'r RequestHeader> for Asked<'r> {
    fn from(request: &'r RequestHeader) -> Self {
        Self {
            method: &request.method,
            target: request.raw_path(),
            version: request.version,
            authority: request.uri.authority().map(http::uri::Authority::as_str),
            headers: &request.headers,
        }
    }
}

/// A field of a request: its name, the same as it was spelled, and its value.
pub(super) type Field<'r> = (&'r HeaderName, &'r [u8], &'r HeaderValue);

/// A client that waits for the answer to one request.
pub(super) trait Client: Send {
    fn asked(&self) -> Asked<'_>;

    /// The fields of the request, those of one name in their order.
    fn fields(&self) -> impl Iterator<Item = Field<'_>>;

    /// The connection's other side; none is a mistake.
    fn peer(&self) -> Option<&Arc<Peer>>;

    /// Whether the request is nothing but a head, of a connection that is asked for nothing but to stay or to go.
    fn is_plain(&mut self) -> bool;

    /// Whether all that was read of the request can be sent once more.
    fn is_repeatable(&self) -> bool;

    /// The status of the last head that was sent, informational ones included.
    fn written(&self) -> Option<StatusCode>;

    /// Has the connection end with the answer.
    fn end_connection(&mut self);

    /// How long the client may say nothing while more is expected of it; for ever if `None`.
    fn set_patience(&mut self, patience: Option<Duration>);

    /// Sends parts of an answer; whether it ends with them.
    ///
    /// # Errors
    /// The client does not take them, or the upstream has failed meanwhile.
    fn send(&mut self, parts: Parts) -> impl Future<Output = Result<bool>> + Send;

    /// Sends a whole answer; one without a body has none even where its length is told.
    ///
    /// # Errors
    /// The client does not take it.
    fn answer(&mut self, head: ResponseHeader, body: Option<Bytes>) -> impl Future<Output = Result<()>> + Send;

    /// Waits until the client goes away, or its connection fails.
    fn gone(&mut self) -> impl Future<Output = Box<Error>> + Send;
}
