//! The head of a request, written as the upstream reads it.
//!
//! ## Why
//! A map of fields is made to be asked; here nobody asks. What the client has sent is written once, without what is taken
//! off, and what the gateway says is written behind it.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Version, header};
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;

use super::super::client::Client;
use super::super::context::Context;
use super::super::forward::{self, FieldName, Fields, Sent};
use super::super::headers;
use super::super::shared::Shared;

/// Fields of the connection on which they came (RFC 9110 7.6.1), and those that proxies answer for themselves.
const OF_CONNECTION: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The head of `client`'s request for the destination of `ctx`'s permit.
///
/// # Errors
/// It is not permitted, or would not be well formed.
pub(super) fn head(shared: &Shared, client: &impl Client, ctx: &Context) -> Result<BytesMut> {
    let request = client.asked();
    let mut own = Own::default();
    let mut sent = Sent::of(request.headers);
    if request.version == Version::HTTP_2 {
        // One name for both, which nobody who reads HTTP/1 looks for elsewhere (RFC 9113 8.3.1).
        let authority = request.authority.and_then(|authority| authority.parse().ok());
        let authority: HeaderValue =
            authority.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "no authority").into_down())?;
        own.set(FieldName::Other(&header::HOST), authority.as_bytes())?;
        sent.host = Some(authority);
    }
    forward::fields(shared, &sent, &mut own, ctx)?;
    let target = forward::target_for_upstream(ctx)?;
    let mut head = BytesMut::with_capacity(2_048);
    for part in [request.method.as_str(), " ", &target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    own.keep(client, &mut head);
    for (name, value) in &own.others {
        headers::line(|part| head.extend_from_slice(part), name.as_str().as_bytes(), value);
    }
    head.extend_from_slice(&own.said);
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// What the gateway says, and what it takes off.
#[derive(Default)]
struct Own {
    /// Lines that nothing else can say.
    said: SmallVec<[u8; 1_024]>,
    others: SmallVec<[(HeaderName, Vec<u8>); 2]>,
    off: SmallVec<[HeaderName; 6]>,
}

impl Own {
    /// Writes what stays of what the client has sent.
    fn keep(&self, client: &impl Client, head: &mut BytesMut) {
        for (name, spelled, value) in client.fields() {
            let lower = name.as_str();
            if OF_CONNECTION.contains(&lower) || headers::is_reserved(lower) || self.off.contains(name) {
                continue;
            }
            headers::line(|part| head.extend_from_slice(part), spelled, value.as_bytes());
        }
    }
}

impl Fields for Own {
    fn remove(&mut self, name: &HeaderName) {
        self.others.retain(|(known, _)| known != name);
        self.off.push(name.clone());
    }

    fn set(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<()> {
        if headers::has_controls(value) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a field of the gateway"));
        }
        match name {
            FieldName::Ours(name) => headers::line(|part| self.said.extend_from_slice(part), name.as_bytes(), value),
            FieldName::Other(name) => {
                self.remove(name);
                self.others.push((name.clone(), value.to_vec()));
            }
        }
        Ok(())
    }
}
