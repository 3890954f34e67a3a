//! HTTP/2: many requests at once, each on a task of its own.
//!
//! ## Why
//! Pingora's own loop neither times a request's body nor ends a connection for what its frames cost. So the loop is
//! ours; streams, flow control and header compression are the `h2` library's.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp as _;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::model::Reason;
use crate::telemetry::Turned;

use super::super::Gateway;
use super::super::live;
use super::super::peer::{BodyClock, Exchange, Peer};
use super::super::service::Limits;
use super::super::stream::Connection;
use super::super::stream::frames::Offence;
use super::grpc::Call;
use super::http1::LAST_CALL;
use super::{Edge, LINGER_TIME, stopping};

/// More malformed requests than this are no mishap.
const MOST_REJECTED: usize = 32;
/// What is kept of an answer for a client that does not take it, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that were reset are remembered so long, for frames that crossed the reset on their way.
const REMEMBERED: Duration = Duration::from_secs(10);

fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    options.max_concurrent_streams(limits.http2.streams);
    options.max_header_list_size(u32::try_from(limits.head.bytes).unwrap_or(u32::MAX));
    options.max_send_buffer_size(SEND_BUFFER);
    options.reset_stream_duration(REMEMBERED);
    options
}

/// Requests in flight on one connection.
#[derive(Debug, Default)]
struct Active {
    count: AtomicUsize,
    ended: Notify,
}

struct Guard(Arc<Active>);

impl Active {
    fn begin(self: &Arc<Self>) -> Guard {
        self.count.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(self))
    }

    /// Waits until there has been none for `patience`.
    async fn idle(&self, patience: Duration) {
        while self.count.load(Ordering::Relaxed) > 0 {
            self.ended.notified().await;
        }
        sleep(patience).await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.ended.notify_one();
        }
    }
}

/// Serves the requests of one connection.
pub(super) async fn serve(edge: &Edge, mut connection: Connection, stop: ShutdownWatch) {
    let mut current = edge.follow();
    let shared = Arc::clone(current.load());
    let limits = &shared.limits;
    let peer = Arc::clone(connection.peer());
    let digest = Digest { proxy_digest: Some(Arc::clone(connection.digest())), ..Digest::default() };
    let watch = connection.expect_frames(limits.http2.allowances);
    let mut h2 = match timeout(limits.header_timeout, handshake(Box::new(connection), Some(options(limits)))).await {
        Ok(Ok(h2)) => h2,
        Ok(Err(_)) if !watch.is_flood() => return,
        Ok(Err(_)) => return edge.turned(Turned::Flood, peer.address),
        Err(_) => return edge.turned(Turned::HeaderTimeout, peer.address),
    };
    let active = Arc::<Active>::default();
    let mut rejected = 0;
    let mut is_stopping = false;
    let mut offence = pin!(watch.offence(limits.header_timeout));
    let mut stopped = pin!(stopping(stop.clone()));
    let reason = loop {
        let accepted = tokio::select! {
            biased;
            offence = &mut offence => break Some(match offence {
                Offence::Flood => Turned::Flood,
                Offence::SlowHeaders => Turned::HeaderTimeout,
            }),
            () = &mut stopped, if !is_stopping => {
                h2.graceful_shutdown();
                is_stopping = true;
                continue;
            }
            () = active.idle(if is_stopping { LAST_CALL } else { current.load().limits.keepalive_timeout }) => break None,
            accepted = HttpSession::from_h2_conn(&mut h2, Arc::new(digest.clone())) => accepted,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                let task = Stream { proxy: Arc::clone(&edge.proxy), peer: Arc::clone(&peer), stop: stop.clone() };
                tokio::spawn(task.run(session, current.load().limits.pace.first(), active.begin()));
            }
            Ok(Some(H2Accept::Rejected)) => {
                rejected += 1;
                // Nothing of it could be told, but that it was there.
                drop(edge.refusal(&peer, Reason::BadRequest));
                if rejected >= MOST_REJECTED {
                    break Some(Turned::Flood);
                }
            }
            Ok(None) => return,
            Err(error) if watch.is_flood() || is_flood(&error) => return edge.turned(Turned::Flood, peer.address),
            Err(error) => {
                tracing::debug!(client = %peer.address, %error, "HTTP/2 connection failed");
                return;
            }
        }
    };
    if let Some(turned) = reason {
        h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        edge.turned(turned, peer.address);
    } else {
        h2.graceful_shutdown();
    }
    // Sends what is left to say; who asks meanwhile may ask again elsewhere (RFC 9113 8.7).
    let rest = async {
        while let Ok(Some((_, mut answer))) = h2.accept().await.transpose() {
            answer.send_reset(h2::Reason::REFUSED_STREAM);
        }
    };
    // However it ends, the connection closes now.
    let _ = timeout(LINGER_TIME, rest).await;
}

/// Whether the library has ended a connection for what its frames cost.
fn is_flood(error: &pingora::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| cause.is_library() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

/// One request.
struct Stream {
    proxy: Arc<HttpProxy<Gateway>>,
    peer: Arc<Peer>,
    stop: ShutdownWatch,
}

impl Stream {
    async fn run(self, mut session: HttpSession, patience: Duration, _active: Guard) {
        let clock = (!session.is_body_empty()).then(|| Arc::new(BodyClock::new(patience)));
        if let (Some(clock), Some(digest)) = (&clock, session.digest_mut()) {
            let exchange = Exchange { peer: self.peer, body: Some(Arc::clone(clock)) };
            digest.proxy_digest = Some(exchange.digest());
        }
        let session = match live::is_grpc(&session.req_header().headers) {
            true => ServerSession::new_custom(Box::new(Call::new(session))),
            false => ServerSession::new_http2(session),
        };
        let process = live::drive(None, self.proxy.process_new_http(session, &self.stop));
        let Some(clock) = clock else {
            process.await;
            return;
        };
        tokio::select! {
            _ = process => {}
            // Dropping the request resets its stream.
            () = clock.expired() => {}
        }
    }
}
