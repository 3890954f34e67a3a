//! The order in which Pingora's hooks carry a request through.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use crate::model::Reason;
use crate::policy::{Destination, Permit};

use super::authorise::{Stop, authorise};
use super::context::{Context, OVERDUE, RouteLabel};
use super::edge::grpc::ENDED;
use super::live::{self, Due, Listed, Manner};
use super::peer::Exchange;
use super::shared::{Current, Shared};
use super::{forward, respond};

/// How long the rest of a body is read that nobody wants, so that its client sees the answer.
const DRAIN: Duration = Duration::from_secs(1);
/// An upstream that has sent so many informational answers (RFC 9110 15.2) has no other.
const MOST_HINTS: u32 = 16;
/// What takes longer is decided anew while it lasts.
const SHORT: Duration = Duration::from_secs(1);

/// The proxy itself.
#[derive(Debug)]
pub(super) struct Gateway {
    current: Arc<Current>,
}

impl Gateway {
    pub(super) fn new(current: Arc<Current>) -> Self {
        Self { current }
    }

    /// Decides a request; where something has to be found out first, once more when it is.
    async fn judge(shared: &Shared, session: &Session, ctx: &mut Context) -> Result<(), Stop> {
        let mut verdict = authorise(shared, session.req_header(), ctx);
        // An unknown key, then an unknown account.
        for _ in 0..2 {
            let Err(Stop::Wait(errand)) = &verdict else { break };
            if !shared.errands.run(errand.clone()).await {
                break;
            }
            verdict = authorise(shared, session.req_header(), ctx);
        }
        verdict
    }

    /// Finds the upstream of a permit in the snapshot it was made from, and holds the body to its bound.
    fn prepare(session: &Session, ctx: &mut Context) -> Result<(), Reason> {
        if let Some(Destination::Upstream(route)) = ctx.permit.as_ref().map(Permit::destination) {
            let upstream = ctx.snapshot.as_ref().and_then(|snapshot| snapshot.upstream(&route.upstream)).cloned();
            ctx.upstream = Some(upstream.ok_or(Reason::UpstreamUnreachable)?);
        }
        let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > Self::max_body(ctx)) { Err(Reason::TooLarge) } else { Ok(()) }
    }

    /// Why no new work is taken on, if so.
    fn overload(shared: &Shared) -> Option<Reason> {
        let most = shared.limits.max_requests;
        let is_full = most > 0 && shared.load.requests() > most;
        (is_full || shared.load.is_shedding()).then_some(Reason::Overloaded)
    }

    /// Puts the clock of a request's body forward; an error if it has run out.
    fn pace(session: &mut Session, ctx: &Context, is_last: bool) -> Result<()> {
        let clock = ctx.body_clock.as_deref();
        if is_last {
            clock.inspect(|clock| clock.stop());
            return Ok(());
        }
        // What follows an upgrade, or an answer over HTTP/2, is a conversation, and ends as that does.
        if ctx.is_upgraded() || (clock.is_some() && ctx.status.is_some()) {
            Self::goes_on(ctx);
            return Ok(());
        }
        let left = ctx.shared().limits.pace.left(ctx.bytes_in, ctx.elapsed());
        if left.is_zero() {
            return Err(Error::explain(ErrorType::ReadTimedout, "request body too slow").into_down());
        }
        session.set_read_timeout(Some(left));
        clock.inspect(|clock| clock.extend(left + Self::patience_of_upstream(ctx)));
        Ok(())
    }

    /// An answer is on its way: its client may go on talking for as long as the upstream may be silent.
    fn goes_on(ctx: &Context) {
        if let Some(clock) = &ctx.body_clock {
            clock.extend(Self::patience_of_upstream(ctx) + ctx.shared().limits.write_timeout);
        }
    }

    /// When the head of the answer of `peer` must have come.
    fn due(peer: &HttpPeer, ctx: &Context) -> Option<Due> {
        let total = ctx.upstream.as_ref()?.timeouts.total();
        let is_timed = peer.options.read_timeout.is_some_and(|read| read > total || ctx.attempts.is_another());
        Some(Due { at: ctx.due(total)?, is_timed })
    }

    /// Whether all of a request is still there, and nobody has seen anything of an answer.
    fn is_whole(session: &Session, ctx: &Context) -> bool {
        !session.as_ref().retry_buffer_truncated() && !ctx.attempts.is_answered && session.response_written().is_none()
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
    fn list(session: &Session, is_web_socket: bool, ctx: &Context) -> Option<Listed> {
        let request = session.req_header();
        let peer = || Some(Arc::clone(&Exchange::find(session)?.peer));
        let manner = match request.version {
            _ if is_web_socket => Manner::WebSocket(peer()?),
            Version::HTTP_2 if live::is_grpc(&request.headers) => Manner::Grpc,
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

    /// What the route takes, else its upstream, else the gateway: whoever says it of less says it on purpose.
    fn max_body(ctx: &Context) -> u64 {
        let of_upstream = || u64::try_from(ctx.upstream.as_ref()?.max_body_bytes?).ok();
        let of_route = ctx.matched.as_ref().and_then(|route| route.max_body_bytes);
        of_route.or_else(of_upstream).unwrap_or(ctx.shared().limits.max_body_bytes)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed, because Pingora moves it from one large future to the next.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        Box::new(Context::new(self.current.load_full()))
    }

    /// No module: answers are passed on as they are.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<bool> {
        let shared = &Arc::clone(ctx.shared());
        let limits = &shared.limits;
        session.set_read_timeout(Some(limits.pace.first()));
        session.set_write_timeout(Some(limits.write_timeout));
        session.set_total_drain_timeout(Some(DRAIN));
        let exchange = Exchange::find(session);
        let exchange = exchange.ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection of nobody"))?;
        ctx.arrived(&exchange.peer, &session.req_header().headers);
        ctx.body_clock.clone_from(&exchange.body);
        ctx.attempts.is_sent = session.is_body_empty();
        if let Some(reason) = Self::overload(shared) {
            ctx.overloaded(shared.snapshots.load(), &session.req_header().method);
            session.set_keepalive(None);
            respond::refuse(shared, session, ctx, reason, None).await?;
            return Ok(true);
        }
        let verdict = Self::judge(shared, session, ctx).await;
        let verdict = verdict.and_then(|()| Self::prepare(session, ctx).map_err(Stop::Refuse));
        match verdict {
            Ok(()) => {
                let request = session.req_header();
                if request.version == Version::HTTP_2 && live::is_grpc(&request.headers) {
                    ctx.listed = Self::list(session, false, ctx);
                }
                return Ok(false);
            }
            Err(Stop::Refuse(reason)) => respond::refuse(shared, session, ctx, reason, None).await?,
            Err(Stop::Wait(_)) => respond::refuse(shared, session, ctx, Reason::InvalidToken, None).await?,
            Err(Stop::NotAllowed(allow)) => {
                respond::refuse(shared, session, ctx, Reason::MethodNotAllowed, Some(allow)).await?;
            }
            Err(Stop::Preflight(headers)) => respond::preflight(session, ctx, headers).await?,
        }
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<Box<HttpPeer>> {
        let shared = Arc::clone(ctx.shared());
        let peer = forward::peer(&shared, &session.req_header().headers, ctx).await;
        live::expect_by(peer.as_ref().ok().and_then(|peer| Self::due(peer, ctx)));
        peer
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if forward::is_of_target(&error) {
            ctx.attempts.failed(forward::kind(&error));
        }
        // Nothing was sent.
        let again = ctx.may_try_again();
        Self::tried(&error, ctx, again);
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Box<Context>,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        // Pingora knows of connections that were closed while nobody used them, and of streams that were refused.
        let is_stale = reused && matches!(error.retry, RetryType::ReusedOnly);
        let is_refused = matches!(error.retry, RetryType::Decided(true));
        if !is_stale && !is_refused && forward::is_of_target(&error) {
            match error.etype() {
                ErrorType::ReadTimedout => ctx.attempts.silent(forward::kind(&error)),
                _ => ctx.attempts.failed(forward::kind(&error)),
            }
        }
        let is_upstreams = *error.esource() == ErrorSource::Upstream;
        // What was refused has not been looked at (RFC 9113 8.7); else it must do the same twice as once (RFC 9110 9.2.2).
        let is_harmless = is_refused || session.req_header().method.is_idempotent();
        let again = is_harmless && Self::is_whole(session, ctx) && (is_stale || (is_upstreams && ctx.may_try_again()));
        if is_upstreams {
            Self::tried(&error, ctx, again);
        }
        error.set_retry(again);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        forward::rewrite(ctx.shared(), request, ctx)?;
        let is_http2 = request.version == Version::HTTP_2;
        if is_http2 && live::is_grpc(&request.headers) && accepts_trailers(session.req_header()) {
            // Pingora takes it off; services ask for it (gRPC over HTTP/2, "Requests").
            request.insert_header(header::TE, "trailers")?;
        }
        if !is_http2 && forward::may_be_overlooked(&request.method) && !session.is_body_empty() {
            // Who takes the body for the next request answers that too: on a connection that nobody else gets.
            request.insert_header(header::CONNECTION, "close")?;
        }
        if !forward::asks_to_switch(session.req_header()) {
            request.remove_header(&header::UPGRADE);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        ctx.bytes_in += body.as_ref().map_or(0, |body| body.len() as u64);
        // Pingora would write it upstream as a chunk of no bytes, which is the end of a body, and then end the body again.
        if body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        // What follows an upgrade is no body.
        if !ctx.is_upgraded() && ctx.bytes_in > Self::max_body(ctx) {
            let mut error = Error::explain(ErrorType::HTTPStatus(Reason::TooLarge.status()), "request body too large");
            error.set_retry(false);
            return Err(error.into_down());
        }
        ctx.attempts.is_sent |= end_of_stream;
        Self::pace(session, ctx, end_of_stream)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        ctx.attempts.is_answered = true;
        let is_switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        let is_web_socket = is_switched && is_web_socket(answer);
        if is_switched {
            if !forward::asks_to_switch(session.req_header()) {
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, "switched without being asked").into_up());
            }
            Exchange::find(session).inspect(|exchange| exchange.peer.upgrade(is_web_socket));
            // From now on the upstream's own time limits tell how long nobody may say anything.
            session.set_read_timeout(None);
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
        Self::goes_on(ctx);
        if ctx.listed.is_none() && live::may_last(answer, &session.req_header().method) {
            ctx.listed = Self::list(session, is_web_socket, ctx);
        }
        if session.req_header().version == Version::HTTP_10 && answer.headers.contains_key(header::TRANSFER_ENCODING) {
            // No chunks for those who may not know them (RFC 9112 6.1): the end of the connection ends the answer.
            answer.remove_header(&header::TRANSFER_ENCODING);
            session.set_keepalive(None);
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

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        // Pingora knows better, but only at an end of its own.
        ctx.bytes_out += body.as_ref().map_or(0, |body| body.len() as u64);
        if !end_of_stream {
            Self::goes_on(ctx);
            if ctx.listed.is_none() && ctx.elapsed() > SHORT {
                // However few bytes it has announced.
                ctx.listed = Self::list(session, false, ctx);
            }
        }
        Ok(None)
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Context>, _error: &Error) -> bool {
        // Logged in `fail_to_proxy`, once and with the request's id.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Box<Context>, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Box<Context>) -> FailToProxy {
        if *error.etype() == ENDED {
            let ended = ctx.listed.as_ref().and_then(|listed| listed.open.ended());
            let reason = ended.map_or(Reason::StreamEnded, |(_, reason)| reason);
            let said = match session.response_written() {
                Some(_) => session.write_response_trailers(live::last_farewell(reason)).await,
                None => respond::refuse(&Arc::clone(ctx.shared()), session, ctx, reason, None).await,
            };
            if let Err(error) = said {
                // Its stream is reset.
                tracing::debug!(request.id = %ctx.request_id, %error, "end of a stream not told");
            }
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let reason = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(413), _) => Some(Reason::TooLarge),
            _ if Exchange::find(session).is_some_and(|exchange| exchange.peer.is_overdue()) => {
                ctx.attempts.silent(OVERDUE);
                if let Some(upstream) = &ctx.upstream {
                    ctx.shared().metrics.upstream_error(upstream.name.as_str(), OVERDUE);
                }
                Some(Reason::UpstreamTimeout)
            }
            (_, ErrorSource::Upstream) => {
                if let Some(upstream) = &ctx.upstream {
                    let (name, kind) = (upstream.name.as_str(), forward::kind(error));
                    ctx.shared().metrics.upstream_error(name, kind);
                    tracing::warn!(request.id = %ctx.request_id, upstream = name, kind, %error, "upstream failed");
                }
                Some(forward::reason(error))
            }
            (ErrorType::InvalidHTTPHeader | ErrorType::Custom(_), ErrorSource::Downstream) => Some(Reason::BadRequest),
            (_, ErrorSource::Downstream) if is_bad_framing(error) => Some(Reason::BadRequest),
            (ErrorType::ReadTimedout, ErrorSource::Downstream) => Some(Reason::RequestTimeout),
            // The client is gone or has broken its own connection: nobody to answer.
            (_, ErrorSource::Downstream) => {
                tracing::debug!(request.id = %ctx.request_id, %error, "client failed");
                None
            }
            (_, ErrorSource::Internal | ErrorSource::Unset) => {
                tracing::error!(request.id = %ctx.request_id, %error, "request failed");
                Some(Reason::Internal)
            }
        };
        if let Some(reason) = reason {
            session.set_keepalive(None);
            if let Err(error) = respond::refuse(&Arc::clone(ctx.shared()), session, ctx, reason, None).await {
                tracing::debug!(request.id = %ctx.request_id, %error, "refusal not sent");
            }
        }
        FailToProxy { error_code: reason.map_or(0, Reason::status), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Box<Context>) {
        ctx.bytes_in = ctx.bytes_in.max(session.body_bytes_read() as u64);
        ctx.bytes_out = session.body_bytes_sent() as u64;
    }
}

/// A field that is not shown.
fn secret(field: &HeaderValue) -> HeaderValue {
    let mut field = field.clone();
    field.set_sensitive(true);
    field
}

/// Whether the client can read trailers.
fn accepts_trailers(request: &RequestHeader) -> bool {
    request.headers.get_all(header::TE).iter().any(|value| value.as_bytes().trim_ascii() == b"trailers")
}

/// Whether what is switched to is WebSocket (RFC 6455).
fn is_web_socket(answer: &ResponseHeader) -> bool {
    let protocol = answer.headers.get(header::UPGRADE).map(HeaderValue::as_bytes);
    protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Whether what was read is not framed as a body must be.
fn is_bad_framing(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}
