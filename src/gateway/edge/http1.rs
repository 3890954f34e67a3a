//! HTTP/1: one request after another.
//!
//! ## Why
//! Pingora reads a head leniently and without a total deadline. So heads are read here, strictly and against the clock.
//! What is nothing but a head is served at once (`plain`); all else is handed over to Pingora, as bytes that were read ahead.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use pin_project_lite::pin_project;
use pingora::apps::HttpServerApp as _;
use pingora::protocols::Shutdown;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use crate::model::Reason;

use super::super::Gateway;
use super::super::authorise::loggable;
use super::super::client::Request;
use super::super::context::Context;
use super::super::head::{Body, Progress, Scanner};
use super::super::live;
use super::super::respond;
use super::super::shared::Followed;
use super::super::stream::Connection;
use super::plain::{self, Next};
use super::{Edge, LINGER_TIME, close, stopping};

const CHUNK: usize = 4 * 1024;
/// How long an idle connection may still bring a request once the listener is closed: one that was under way.
pub(super) const LAST_CALL: Duration = Duration::from_millis(150);

pub(super) enum Head {
    /// A head that is well formed, and what came with it.
    Complete(BytesMut, Box<Scanner>),
    Refused(Reason, BytesMut),
    /// The client went away without a word, or the service is stopping.
    None,
}

pin_project! {
    /// What a connection that waits for a request waits for besides: set up once, since to do it for each request
    /// costs more than to read its head.
    pub(super) struct Waiting<S> {
        #[pin]
        timer: Sleep,
        until: Instant,
        #[pin]
        stopping: S,
        stopped: bool,
    }
}

impl<S: Future<Output = ()>> Waiting<S> {
    pub(super) fn new(patience: Duration, stopping: S) -> Self {
        Self { timer: sleep(patience), until: Instant::now() + patience, stopping, stopped: false }
    }

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
    async fn first(self: Pin<&mut Self>, stream: &mut Connection, head: &mut BytesMut) -> Option<io::Result<usize>> {
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

/// Serves the requests of one connection.
pub(super) async fn serve(edge: &Edge, mut connection: Box<Connection>, stop: ShutdownWatch) {
    let mut current = edge.follow();
    let mut waiting = pin!(Waiting::new(current.load().limits.header_timeout, stopping(stop.clone())));
    loop {
        let (mut head, scanner) = match read_head(&mut current, &mut connection, waiting.as_mut()).await {
            Head::Complete(head, scanner) => (head, scanner),
            Head::Refused(reason, head) => return refuse(edge, &mut connection, reason, &head).await,
            Head::None => return close(&mut connection).await,
        };
        let begun = if scanner.end() < head.len() { head.split_off(scanner.end()) } else { BytesMut::new() };
        match scanner.body() {
            Body::Sized(length) => connection.expect_bytes(length, begun),
            Body::Chunked if connection.expect_chunks(begun).is_ok() => {}
            Body::Chunked => return refuse(edge, &mut connection, Reason::BadRequest, &head).await,
        }
        let peer = Arc::clone(connection.peer());
        let left = match Request::plain(head, &scanner) {
            Err(head) => Some((head, None)),
            Ok(request) => {
                // Boxed, since a connection that waits need not keep the room.
                let served = Box::pin(plain::serve(&edge.direct, current.load(), &mut connection, request, &stop));
                match live::drive(Some(&peer), served).await.unwrap_or(Next::Nothing) {
                    Next::Request => None,
                    Next::Pingora(head, ctx) => Some((head, Some(ctx))),
                    Next::Nothing => return,
                }
            }
        };
        if let Some((head, resumed)) = left {
            let Some(again) = by_pingora(edge, connection, head, resumed, &stop).await else { return };
            connection = again;
        }
        connection.expect_head();
        let shared = current.load();
        if shared.load.is_shedding() {
            return close(&mut connection).await;
        }
        waiting.as_mut().until(Instant::now() + shared.limits.keepalive_timeout);
    }
}

/// Has Pingora serve a request; the connection, if another may follow.
async fn by_pingora(
    edge: &Edge,
    connection: Box<Connection>,
    head: BytesMut,
    resumed: Option<Box<Context>>,
    stop: &ShutdownWatch,
) -> Option<Box<Connection>> {
    let peer = Arc::clone(connection.peer());
    let mut session = ServerSession::new_http1(connection);
    session.set_pipelined_prefix(head);
    let process = Gateway::resume(resumed, edge.proxy.process_new_http(session, stop));
    let reused = live::drive(Some(&peer), process).await;
    let (stream, _) = reused.flatten()?.consume();
    stream.into_any().downcast().ok()
}

pub(super) async fn read_head(
    current: &mut Followed<'_>,
    connection: &mut Connection,
    waiting: Pin<&mut Waiting<impl Future<Output = ()>>>,
) -> Head {
    let mut head = BytesMut::new();
    let Some(Ok(1..)) = waiting.first(connection, &mut head).await else { return Head::None };
    let limits = &current.load().limits;
    let mut scanner = Box::new(Scanner::new(limits.head));
    let mut deadline = None;
    loop {
        match scanner.advance(&head) {
            Progress::Complete => return Head::Complete(head, scanner),
            Progress::Refused(reason) => return Head::Refused(reason, head),
            Progress::Partial => {}
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limits.header_timeout);
        match timeout_at(deadline, fill(connection, &mut head)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return Head::None,
            Err(_) => return Head::Refused(Reason::RequestTimeout, head),
        }
    }
}

/// Answers a request that nothing has parsed yet, and ends the connection.
pub(super) async fn refuse(edge: &Edge, connection: &mut Connection, reason: Reason, head: &[u8]) {
    let mut ctx = edge.refusal(connection.peer(), reason);
    let line = head.trim_ascii_start().split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let mut words = line.splitn(2, |b| *b == b' ');
    ctx.method = words.next().and_then(|word| Method::from_bytes(word.get(..32).unwrap_or(word)).ok());
    let target = words.next().map(|rest| rest.split(|b| *b == b' ').next().unwrap_or_default());
    ctx.refused_path = target.map(loggable);
    let answer = respond::raw_refusal(&ctx, reason);
    last_words(connection, ctx, &answer).await;
}

/// Sends the last answer of a connection, which ends the request, and closes it so that the client can read that.
pub(super) async fn last_words(connection: &mut Connection, ctx: Context, answer: &[u8]) {
    let sent = timeout(LINGER_TIME, async {
        connection.write_all(answer).await?;
        connection.flush().await
    });
    if matches!(sent.await, Ok(Ok(()))) {
        drop(ctx);
        Shutdown::shutdown(connection).await;
    }
}

/// Appends what has arrived; the buffer lives on the stack while there is nothing.
async fn fill(connection: &mut Connection, head: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|context| {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut read = ReadBuf::uninit(&mut chunk);
        std::task::ready!(Pin::new(&mut *connection).poll_read(context, &mut read))?;
        head.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
    .await
}
