//! The gateway's own answers.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::http::problem::challenge;
use crate::http::{Problem, retry_after};
use crate::model::Reason;

use super::client::Client;
use super::context::Context;
use super::live;
use super::shared::Shared;

/// What the gateway calls itself.
const SERVER: &str = "cedargate";
/// The same method at another address (RFC 9110 15.4.9).
pub(super) const PERMANENT_REDIRECT: u16 = 308;
const REQUEST_ID: &str = "X-Request-Id";
const POLICY_REVISION: &str = "X-Policy-Revision";

/// Refuses a request with a problem document, unless an answer has begun already.
pub(super) async fn refuse(
    shared: &Shared,
    client: &mut impl Client,
    ctx: &mut Context,
    reason: Reason,
    allow: Option<HeaderValue>,
) -> Result<()> {
    ctx.refused(reason);
    let has_begun = |status: StatusCode| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
    if client.written().is_some_and(has_begun) {
        return Ok(());
    }
    let body = Problem::new(reason, ctx.request_id.as_str(), ctx.policy_revision()).to_bytes();
    let mut head = own_head(reason.status(), ctx)?;
    head.insert_header(header::CONTENT_TYPE, Problem::MEDIA_TYPE)?;
    if let Some(challenge) = challenge(reason) {
        head.insert_header(header::WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(time) = ctx.retry_after.filter(|_| matches!(reason, Reason::RateLimited | Reason::Overloaded)) {
        head.insert_header(header::RETRY_AFTER, retry_after(time))?;
    }
    if let Some(allow) = allow {
        head.insert_header(header::ALLOW, allow)?;
    }
    let request = client.asked();
    if request.version == Version::HTTP_2 && live::is_grpc(request.headers) {
        for (name, value) in &live::farewell(reason) {
            head.insert_header(name, value)?;
        }
    }
    for (name, value) in shared.cors.origin(request.headers).unwrap_or_default() {
        head.insert_header(name, value)?;
    }
    send(client, ctx, head, body).await
}

/// Answers a preflight.
pub(super) async fn preflight(
    client: &mut impl Client,
    ctx: &mut Context,
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<()> {
    let mut head = own_head(200, ctx)?;
    head.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    for (name, value) in headers {
        head.insert_header(name, value)?;
    }
    send(client, ctx, head, b"OK".to_vec()).await
}

fn own_head(status: u16, ctx: &Context) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(status, Some(16))?;
    head.insert_header(header::SERVER, SERVER)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    for (name, value) in ctx.security_headers() {
        head.insert_header(name, value)?;
    }
    mark(&mut head, ctx)?;
    Ok(head)
}

/// Adds what every answer carries: the request's id and the rules it was decided by.
pub(super) fn mark(head: &mut ResponseHeader, ctx: &Context) -> Result<()> {
    head.insert_header(REQUEST_ID, ctx.request_id.as_str())?;
    if let Some(revision) = ctx.policy_revision() {
        head.insert_header(POLICY_REVISION, revision)?;
    }
    if let Some(standing) = &ctx.standing {
        let mut fields = HeaderMap::new();
        standing.tell(&mut fields);
        for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name?, value))) {
            head.insert_header(name, value)?;
        }
    }
    Ok(())
}

async fn send(client: &mut impl Client, ctx: &mut Context, mut head: ResponseHeader, body: Vec<u8>) -> Result<()> {
    ctx.status = Some(head.status.as_u16());
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    let has_body = client.asked().method != Method::HEAD;
    client.answer(head, has_body.then(|| body.into())).await
}

/// The whole answer to an HTTP/1 request whose head was refused before anything parsed it.
pub(super) fn raw_refusal(ctx: &Context, reason: Reason) -> Vec<u8> {
    let body = Problem::new(reason, ctx.request_id.as_str(), ctx.policy_revision()).to_bytes();
    let mut answer = raw_head(ctx, reason.status(), body.len());
    // Writing to a String cannot fail.
    let _ = write!(answer, "Content-Type: {}\r\n", Problem::MEDIA_TYPE);
    if reason == Reason::MethodNotAllowed {
        answer.push_str("Allow: \r\n");
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(&body);
    answer
}

/// The whole answer to a request that belongs elsewhere.
pub(super) fn raw_redirect(ctx: &Context, location: &str) -> Vec<u8> {
    let mut answer = raw_head(ctx, PERMANENT_REDIRECT, 0);
    let _ = write!(answer, "Location: {location}\r\n\r\n");
    answer.into_bytes()
}

/// The head of an answer after which the connection ends, but for what makes it special and its last line.
fn raw_head(ctx: &Context, status: u16, length: usize) -> String {
    let title = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("Error");
    let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
    let mut head = format!(
        "HTTP/1.1 {status} {title}\r\nServer: {SERVER}\r\nDate: {date}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n{REQUEST_ID}: {}\r\n",
        ctx.request_id,
    );
    // Writing to a String cannot fail.
    if let Some(revision) = ctx.policy_revision() {
        let _ = write!(head, "{POLICY_REVISION}: {revision}\r\n");
    }
    for (name, value) in ctx.security_headers() {
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    head
}
