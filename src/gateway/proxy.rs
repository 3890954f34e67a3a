//! The order in which Pingora's hooks carry a request through.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use crate::model::Reason;

use super::admit::admit;
use super::context::Context;
use super::direct::Direct;
use super::edge::grpc::ENDED;
use super::fail::fail;
use super::live;
use super::peer::Exchange;
use super::shared::Current;
use super::{filters, forward, respond};

/// How long the rest of a body is read that nobody wants, so that its client sees the answer.
const DRAIN: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// What is known of the request that this task goes on with: Pingora has no place for it.
    static RESUMED: Cell<Option<Box<Context>>>;
}

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

    /// Has `proxied`, which is one request, go on with what is known of it already, if anything.
    pub(super) async fn resume<T>(known: Option<Box<Context>>, proxied: impl Future<Output = T>) -> T {
        RESUMED.scope(Cell::new(known), proxied).await
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed, because Pingora moves it from one large future to the next.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Box<Context> {
        let resumed = RESUMED.try_with(Cell::take).ok().flatten();
        resumed.unwrap_or_else(|| Box::new(Context::new(self.current.load_full())))
    }

    /// No module: answers are passed on as they are.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Context>) -> Result<bool> {
        let limits = &ctx.shared().limits;
        session.set_read_timeout(Some(limits.pace.first()));
        session.set_write_timeout(Some(limits.write_timeout));
        session.set_total_drain_timeout(Some(DRAIN));
        if ctx.permit.is_some() {
            // Decided before, and resumed.
            return Ok(false);
        }
        ctx.body_clock = Exchange::find(session).and_then(|exchange| exchange.body.clone());
        ctx.attempts.is_sent = session.is_body_empty();
        if admit(session, ctx).await? {
            return Ok(true);
        }
        let request = session.req_header();
        if request.version == Version::HTTP_2 && live::is_grpc(&request.headers) {
            ctx.listed = filters::list(session, false, ctx);
        }
        Ok(false)
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
        if !forward::asks_to_switch(&session.req_header().headers) {
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
        let reason = fail(session, error, ctx).await;
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
