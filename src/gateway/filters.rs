//! What happens to a request and its answer on their way to an upstream and back, whoever moves them.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use crate::model::Reason;
use crate::telemetry::RouteLabel;

use super::client::Client;
use super::context::Context;
use super::live::{self, Due, Listed, Manner};
use super::{forward, respond};

/// An upstream that has sent so many informational answers (RFC 9110 15.2) has no other.
const MOST_HINTS: u32 = 16;
/// What takes longer is decided anew while it lasts.
const SHORT: Duration = Duration::from_secs(1);

/// Notes that a target could not be connected to, and says whether another attempt follows.
pub(super) fn unconnected(error: &mut Error, ctx: &mut Context) {
    if forward::is_of_target(error) {
        ctx.attempts.failed(forward::kind(error));
    }
    // Nothing was sent.
    let again = ctx.may_try_again();
    tried(error, ctx, again);
    error.set_retry(again);
}

/// Notes that an exchange with an upstream has failed, and says whether another attempt follows.
pub(super) fn broken(error: &mut Error, client: &impl Client, ctx: &mut Context, reused: bool) {
    // Pingora knows of connections that were closed while nobody used them, and of streams that were refused.
    let is_stale = reused && matches!(error.retry, RetryType::ReusedOnly);
    let is_refused = matches!(error.retry, RetryType::Decided(true));
    if !is_stale && !is_refused && forward::is_of_target(error) {
        match error.etype() {
            ErrorType::ReadTimedout => ctx.attempts.silent(forward::kind(error)),
            _ => ctx.attempts.failed(forward::kind(error)),
        }
    }
    let is_upstreams = *error.esource() == ErrorSource::Upstream;
    // What was refused has not been looked at (RFC 9113 8.7); else it must do the same twice as once (RFC 9110 9.2.2).
    let is_harmless = is_refused || client.asked().method.is_idempotent();
    let again = is_harmless && is_whole(client, ctx) && (is_stale || (is_upstreams && ctx.may_try_again()));
    if is_upstreams {
        tried(error, ctx, again);
    }
    error.set_retry(again);
}

/// Takes note of a part of the request's body, or of its end.
///
/// # Errors
/// It is too large, or comes too slowly.
pub(super) fn request_body(
    client: &mut impl Client,
    body: &mut Option<Bytes>,
    end_of_stream: bool,
    ctx: &mut Context,
) -> Result<()> {
    ctx.bytes_in += body.as_ref().map_or(0, |body| body.len() as u64);
    // Pingora would write it upstream as a chunk of no bytes, which is the end of a body, and then end the body again.
    if body.as_ref().is_some_and(Bytes::is_empty) {
        *body = None;
    }
    // What follows an upgrade is no body.
    if !ctx.is_upgraded() && ctx.bytes_in > max_body(ctx) {
        let mut error = Error::explain(ErrorType::HTTPStatus(Reason::TooLarge.status()), "request body too large");
        error.set_retry(false);
        return Err(error.into_down());
    }
    ctx.attempts.is_sent |= end_of_stream;
    pace(client, ctx, end_of_stream)
}

/// Makes of the head of an answer what the client shall see.
///
/// # Errors
/// It is not an answer that may be passed on.
pub(super) fn answer(client: &mut impl Client, answer: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
    ctx.attempts.is_answered = true;
    let is_switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_web_socket = is_switched && is_web_socket(answer);
    if is_switched {
        if !forward::asks_to_switch(client.asked().headers) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "switched without being asked").into_up());
        }
        client.peer().inspect(|peer| peer.upgrade(is_web_socket));
        // From now on the upstream's own time limits tell how long nobody may say anything.
        client.set_patience(None);
    } else if answer.status.is_informational() {
        ctx.hints += 1;
        let has_time =
            || ctx.upstream.as_ref().is_none_or(|upstream| !ctx.remaining(upstream.timeouts.total()).is_zero());
        return match ctx.hints {
            ..=MOST_HINTS if has_time() => Ok(()),
            ..=MOST_HINTS => Err(Error::explain(ErrorType::ReadTimedout, "hints and no answer").into_up()),
            _ => Err(Error::explain(ErrorType::InvalidHTTPHeader, "too many hints").into_up()),
        };
    }
    live::expect_by(None);
    ctx.answered(answer.status.as_u16());
    goes_on(ctx);
    if ctx.listed.is_none() && live::may_last(answer, client.asked().method) {
        ctx.listed = list(client, is_web_socket, ctx);
    }
    if client.asked().version == Version::HTTP_10 && answer.headers.contains_key(header::TRANSFER_ENCODING) {
        // No chunks for those who may not know them (RFC 9112 6.1): the end of the connection ends the answer.
        answer.remove_header(&header::TRANSFER_ENCODING);
        client.end_connection();
    }
    // The admin service says itself which rules it decided by.
    if ctx.route == RouteLabel::Admin {
        return Ok(());
    }
    if let Some(route) = &ctx.matched {
        forward::change_answer(answer, &route.headers.response)?;
    }
    respond::mark(answer, ctx)
}

/// Takes note of so many bytes of an answer's body.
pub(super) fn answer_body(client: &impl Client, bytes: usize, end_of_stream: bool, ctx: &mut Context) {
    // Pingora knows better, but only at an end of its own.
    ctx.bytes_out += bytes as u64;
    if !end_of_stream {
        goes_on(ctx);
        if ctx.listed.is_none() && ctx.elapsed() > SHORT {
            // However few bytes it has announced.
            ctx.listed = list(client, false, ctx);
        }
    }
}

/// When the head of an answer must have come that may be waited for in silence for so long.
pub(super) fn due(read: Duration, ctx: &Context) -> Option<Due> {
    let total = ctx.upstream.as_ref()?.timeouts.total();
    Some(Due { at: ctx.due(total)?, is_timed: read > total || ctx.attempts.is_another() })
}

/// What the route takes, else its upstream, else the gateway: whoever says it of less says it on purpose.
pub(super) fn max_body(ctx: &Context) -> u64 {
    let of_upstream = || u64::try_from(ctx.upstream.as_ref()?.max_body_bytes?).ok();
    let of_route = ctx.matched.as_ref().and_then(|route| route.max_body_bytes);
    of_route.or_else(of_upstream).unwrap_or(ctx.shared().limits.max_body_bytes)
}

/// Puts the clock of a request's body forward; an error if it has run out.
fn pace(client: &mut impl Client, ctx: &Context, is_last: bool) -> Result<()> {
    let clock = ctx.body_clock.as_deref();
    if is_last {
        clock.inspect(|clock| clock.stop());
        return Ok(());
    }
    // What follows an upgrade, or an answer over HTTP/2, is a conversation, and ends as that does.
    if ctx.is_upgraded() || (clock.is_some() && ctx.status.is_some()) {
        goes_on(ctx);
        return Ok(());
    }
    let left = ctx.shared().limits.pace.left(ctx.bytes_in, ctx.elapsed());
    if left.is_zero() {
        return Err(Error::explain(ErrorType::ReadTimedout, "request body too slow").into_down());
    }
    client.set_patience(Some(left));
    clock.inspect(|clock| clock.extend(left + patience_of_upstream(ctx)));
    Ok(())
}

/// An answer is on its way: its client may go on talking for as long as the upstream may be silent.
fn goes_on(ctx: &Context) {
    if let Some(clock) = &ctx.body_clock {
        clock.extend(patience_of_upstream(ctx) + ctx.shared().limits.write_timeout);
    }
}

/// Whether all of a request is still there, and nobody has seen anything of an answer.
fn is_whole(client: &impl Client, ctx: &Context) -> bool {
    client.is_repeatable() && !ctx.attempts.is_answered && client.written().is_none()
}

/// Counts a failed attempt that is followed by another; the last one is counted when it is answered.
fn tried(error: &Error, ctx: &Context, again: bool) {
    if let (true, Some(upstream)) = (again, &ctx.upstream) {
        ctx.shared().metrics.upstream_error(upstream.name.as_str(), forward::kind(error));
    }
}

/// How long it may take the upstream to read or write something.
fn patience_of_upstream(ctx: &Context) -> Duration {
    let timeouts = ctx.upstream.as_ref().map(|upstream| upstream.timeouts).unwrap_or_default();
    timeouts.read().max(timeouts.write())
}

/// Lists an answer that may go on for long, so that it is decided anew meanwhile. The admin service sends none.
pub(super) fn list(client: &impl Client, is_web_socket: bool, ctx: &Context) -> Option<Listed> {
    let request = client.asked();
    let peer = || client.peer().cloned();
    let manner = match request.version {
        _ if is_web_socket => Manner::WebSocket(peer()?),
        Version::HTTP_2 if live::is_grpc(request.headers) => Manner::Grpc,
        Version::HTTP_10 => Manner::Reset(peer()?),
        _ => Manner::Cut,
    };
    let token = ctx.claims.clone().zip(request.headers.get(header::AUTHORIZATION));
    Some(ctx.shared().streams.open(live::Terms {
        request_id: ctx.request_id,
        method: ctx.method.clone()?,
        target: ctx.target.clone()?,
        host: ctx.host.clone()?,
        client: ctx.client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        certificate: ctx.certificate.clone(),
        token: token.map(|(claims, field)| (secret(field), claims)),
        upstream: ctx.upstream.as_ref()?.name.clone(),
        manner,
        revision: ctx.snapshot.as_ref()?.revision(),
    }))
}

/// A field that is not shown.
fn secret(field: &HeaderValue) -> HeaderValue {
    let mut field = field.clone();
    field.set_sensitive(true);
    field
}

/// Whether what is switched to is WebSocket (RFC 6455).
fn is_web_socket(answer: &ResponseHeader) -> bool {
    let protocol = answer.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}
