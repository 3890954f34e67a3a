//! The order in which Pingora's hooks carry a request through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::model::Reason;
use crate::policy::{Destination, Permit};

use super::authorise::{Stop, authorise};
use super::context::{Context, OVERDUE};
use super::direct::Direct;
use super::edge::grpc::ENDED;
use super::live;
use super::peer::Exchange;
use super::shared::{Current, Shared};
use super::{filters, forward, respond};

/// How long the rest of a body is read that nobody wants, so that its client sees the answer.
const DRAIN: Duration = Duration::from_secs(1);

/// The proxy itself.
#[derive(Debug)]
pub(super) struct Gateway {
    current: Arc<Current>,
    direct: Arc<Direct>,
}

impl Gateway {
    pub(super) fn new(current: Arc<Current>, direct: Arc<Direct>) -> Self {
        Self { current, direct }
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
        if announced.is_some_and(|length| length > filters::max_body(ctx)) { Err(Reason::TooLarge) } else { Ok(()) }
    }

    /// Why no new work is taken on, if so.
    fn overload(shared: &Shared) -> Option<Reason> {
        let most = shared.limits.max_requests;
        let is_full = most > 0 && shared.load.requests() > most;
        (is_full || shared.load.is_shedding()).then_some(Reason::Overloaded)
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
                    ctx.listed = filters::list(session, false, ctx);
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

    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<bool> {
        self.direct.exchange(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<Box<HttpPeer>> {
        let shared = Arc::clone(ctx.shared());
        let way = forward::way(&shared, &session.req_header().headers, ctx).await;
        let peer = way.and_then(|way| way.peer(ctx));
        live::expect_by(peer.as_ref().ok().and_then(|peer| filters::due(peer.options.read_timeout?, ctx)));
        peer.map(Box::new)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Context>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        filters::unconnected(&mut error, ctx);
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
        filters::broken(&mut error, session, ctx, reused);
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
        filters::request_body(session, body, end_of_stream, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Box<Context>,
    ) -> Result<()> {
        filters::answer(session, answer, ctx)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Context>,
    ) -> Result<Option<Duration>> {
        filters::answer_body(session, body.as_ref().map_or(0, Bytes::len), end_of_stream, ctx);
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

/// Whether the client can read trailers.
fn accepts_trailers(request: &RequestHeader) -> bool {
    request.headers.get_all(header::TE).iter().any(|value| value.as_bytes().trim_ascii() == b"trailers")
}

/// Whether what was read is not framed as a body must be.
fn is_bad_framing(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}
