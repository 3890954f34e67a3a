//! Connections: what Pingora is given of them, and for how long.
//!
//! ## Why
//! Pingora reads a head leniently and without a total deadline. So heads are read here, strictly and against
//! the clock, and handed over as bytes that were read ahead; from there on Pingora does its work. A waiting
//! connection keeps no buffer.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use http::{HeaderMap, Method};
use pin_project_lite::pin_project;
use pingora::apps::{HttpServerApp as _, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use crate::http::Connection;
use crate::model::Reason;

use super::Gateway;
use super::authorise::loggable;
use super::context::Context;
use super::head::{Progress, Scanner};
use super::respond;
use super::shared::Shared;

const CHUNK: usize = 4 * 1024;
/// How long an idle connection may still bring a request once the listener is closed: one that was under way.
const LAST_CALL: Duration = Duration::from_millis(250);
/// How much of a refused request is read, and how long: closing with unread bytes would destroy the answer.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// Serves the connections of one listener.
pub(super) struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    shared: Arc<Shared>,
}

enum Head {
    Complete(BytesMut),
    Refused(Reason, BytesMut),
    /// The client went away, or took too long, or the service is stopping.
    None,
}

pin_project! {
    /// What a connection that waits for a request waits for besides: set up once, since to do it for each request
    /// costs more than to read its head.
    struct Waiting<S> {
        #[pin]
        timer: Sleep,
        until: Instant,
        #[pin]
        stopping: S,
        stopped: bool,
    }
}

impl<S: Future<Output = ()>> Waiting<S> {
    /// Waits until `until`.
    fn until(self: Pin<&mut Self>, until: Instant) {
        let this = self.project();
        *this.until = until;
        // Set early it is set anew when it fires, which is once for many requests.
        if until < this.timer.deadline() {
            this.timer.reset(until);
        }
    }

    /// The first bytes of a request; `None` when there is none in time.
    async fn first(self: Pin<&mut Self>, stream: &mut Stream, head: &mut BytesMut) -> Option<io::Result<usize>> {
        let mut this = self.project();
        loop {
            tokio::select! {
                biased;
                read = fill(stream, head) => return Some(read),
                () = &mut this.stopping, if !*this.stopped => {
                    *this.stopped = true;
                    return timeout(LAST_CALL, fill(stream, head)).await.ok();
                }
                () = &mut this.timer => {
                    if *this.until <= this.timer.deadline() {
                        return None;
                    }
                    this.timer.as_mut().reset(*this.until);
                }
            }
        }
    }
}

impl Edge {
    pub(super) fn new(proxy: HttpProxy<Gateway>, shared: Arc<Shared>) -> Self {
        Self { proxy: Arc::new(proxy), shared }
    }

    async fn serve(&self, mut stream: Stream, shutdown: ShutdownWatch) {
        let limits = &self.shared.limits;
        let mut waiting = pin!(Waiting {
            timer: sleep(limits.header_timeout),
            until: Instant::now() + limits.header_timeout,
            stopping: stopping(shutdown.clone()),
            stopped: false,
        });
        loop {
            match self.read_head(&mut stream, waiting.as_mut()).await {
                Head::Complete(head) => {
                    let mut session = ServerSession::new_http1(stream);
                    session.set_pipelined_prefix(head);
                    let Some(reused) = self.proxy.process_new_http(session, &shutdown).await else { return };
                    (stream, _) = reused.consume();
                    waiting.as_mut().until(Instant::now() + limits.keepalive_timeout);
                }
                Head::Refused(reason, head) => {
                    self.refuse(&mut stream, reason, &head).await;
                    return;
                }
                Head::None => {
                    close(&mut stream).await;
                    return;
                }
            }
        }
    }

    async fn read_head(&self, stream: &mut Stream, waiting: Pin<&mut Waiting<impl Future<Output = ()>>>) -> Head {
        let mut head = BytesMut::new();
        let mut scanner = Scanner::default();
        let Some(Ok(1..)) = waiting.first(stream, &mut head).await else { return Head::None };
        let mut deadline = None;
        loop {
            match scanner.advance(&head) {
                Progress::Complete => return Head::Complete(head),
                Progress::Refused(reason) => return Head::Refused(reason, head),
                Progress::Partial => {}
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.shared.limits.header_timeout);
            let Ok(Ok(1..)) = timeout_at(deadline, fill(stream, &mut head)).await else { return Head::None };
        }
    }

    async fn refuse(&self, stream: &mut Stream, reason: Reason, head: &[u8]) {
        let mut ctx = Context::new(&self.shared);
        ctx.snapshot = Some(self.shared.snapshots.load());
        ctx.tls = stream.get_ssl_digest();
        // Nothing in such a head is believed.
        ctx.arrived(Connection { peer: address(stream), tls: ctx.tls.is_some() }, &HeaderMap::new());
        let line = head.trim_ascii_start().split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
        let mut words = line.splitn(2, |b| *b == b' ');
        ctx.method = words.next().and_then(|word| Method::from_bytes(word.get(..32).unwrap_or(word)).ok());
        let target = words.next().map(|rest| rest.split(|b| *b == b' ').next().unwrap_or_default());
        ctx.refused_path = target.map(loggable);
        ctx.refused(reason);
        ctx.status = Some(reason.status());
        let answer = respond::raw_refusal(&ctx, reason);
        let sent = timeout(LINGER_TIME, async {
            stream.write_all(&answer).await?;
            stream.flush().await
        });
        if matches!(sent.await, Ok(Ok(()))) {
            drop(ctx);
            linger(stream).await;
        }
    }
}

#[async_trait]
impl ServerApp for Edge {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let limits = &self.shared.limits;
        let load = &self.shared.load;
        let peer = address(&stream);
        // A proxy's connections are those of many clients.
        let is_proxy = peer.is_some_and(|peer| self.shared.proxies.trusts(peer));
        let per_address = if is_proxy { 0 } else { limits.max_connections_per_address };
        let Some(_slot) = load.connection(peer, limits.max_connections, per_address) else {
            tracing::debug!("connection refused: too many are open");
            close(&mut stream).await;
            return None;
        };
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.proxy.process_new(stream, shutdown).await;
        }
        self.serve(stream, shutdown.clone()).await;
        None
    }

    async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

fn address(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    let peer = digest.peer_addr()?.as_inet()?;
    Some(peer.ip().to_canonical())
}

/// Appends what has arrived; the buffer lives on the stack while there is nothing.
async fn fill(stream: &mut Stream, head: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut read = ReadBuf::uninit(&mut chunk);
        std::task::ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        head.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}

async fn stopping(mut shutdown: ShutdownWatch) {
    // An error means that the sender is gone, which is a shutdown too.
    let _ = shutdown.wait_for(|stopping| *stopping).await;
}

async fn close(stream: &mut Stream) {
    // It is over either way.
    let _ = timeout(LINGER_TIME, stream.shutdown()).await;
}

async fn linger(stream: &mut Stream) {
    // The write side only: the client sees the end of the answer and stops sending.
    close(stream).await;
    let drain = async {
        let mut discarded = BytesMut::new();
        let mut left = LINGER_BYTES;
        while left > 0 {
            match fill(stream, &mut discarded).await {
                Ok(read @ 1..) => left = left.saturating_sub(read),
                Ok(0) | Err(_) => return,
            }
            discarded.clear();
        }
    };
    // However it ends, the connection closes now.
    let _ = timeout(LINGER_TIME, drain).await;
}
