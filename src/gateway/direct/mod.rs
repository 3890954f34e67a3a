//! The short way: a request that is nothing but a head, to an upstream that speaks HTTP/1.
//!
//! ## Why
//! Pingora moves every exchange by two tasks' worth of machinery: channels between its halves, a watcher for each pooled
//! connection, copies of heads that were copies already. That is what uploads, upgrades and HTTP/2 need. Most requests are
//! a head and are answered at once, and for those it costs more than everything that is decided about them. They go this
//! way: a reader of answers, whatever writes to the client, and nothing between them.
//!
//! Whatever is decided, said or counted on the way is in [`filters`], the same for both. What fails before anything of an
//! answer has been seen, and may be tried again, is Pingora's from then on.

mod answer;
mod chunks;
mod link;
mod pool;
mod request;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Version, header};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::http::HttpTask;
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::time::timeout;

use crate::model::{Protocol, Timeouts};

use super::client::{Client, Parts, TOGETHER};
use super::context::Context;
use super::forward::{self, Way};
use super::{filters, live};

use self::answer::Answer;
use self::link::Link;
use self::pool::Pool;

/// A part of an answer that is so large is sent by itself.
const LARGE: usize = 16 * 1024;

/// What the exchanges of one thread share.
pub(super) struct Direct {
    connector: TransportConnector,
    pool: Pool,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Direct {
    /// One that connects as `conf` says.
    pub(super) fn new(conf: &ServerConf) -> Self {
        Self {
            connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf))),
            pool: Pool::new(conf.upstream_keepalive_pool_size),
        }
    }

    /// Lets go of connections that nobody has used for long.
    pub(super) fn sweep(&self) {
        self.pool.sweep();
    }

    /// Answers a request whose way is short; true if it is for Pingora to do so.
    ///
    /// # Errors
    /// It cannot be answered, nor tried again.
    pub(super) async fn exchange(&self, client: &mut impl Client, ctx: &mut Context) -> Result<bool> {
        // What has been tried this way, and failed, has gone on as another.
        if ctx.attempts.have_begun() || !client.is_plain() {
            return Ok(true);
        }
        if ctx.upstream.as_ref().is_some_and(|upstream| upstream.protocol == Protocol::Http2) {
            return Ok(true);
        }
        let shared = Arc::clone(ctx.shared());
        let way = forward::way(&shared, client.asked().headers, ctx).await?;
        let timeouts = way.timeouts();
        live::expect_by(filters::due(timeouts.read(), ctx));
        let (link, reused) = match self.connect(&way, ctx).await {
            Ok(connected) => connected,
            Err(mut error) => {
                error.as_up();
                filters::unconnected(&mut error, ctx);
                return again(error);
            }
        };
        let head = request::head(&shared, client, ctx)?;
        filters::request_body(client, &mut None, true, ctx)?;
        match converse(link, &head, timeouts, client, ctx).await {
            Ok(answer) => {
                if let Some((link, idle)) = answer.reusable() {
                    self.pool.put(way.group, link, idle);
                }
                Ok(false)
            }
            Err(error) => {
                let mut error = error.more_context(format!("Peer: {way}"));
                filters::broken(&mut error, client, ctx, reused);
                again(error)
            }
        }
    }

    /// A connection, and whether it was used before.
    async fn connect(&self, way: &Way, ctx: &Context) -> Result<(Link, bool)> {
        if let Some(link) = self.pool.take(way.group) {
            return Ok((link, true));
        }
        // What it takes to connect, and to agree upon TLS, is kept apart from what it takes to wait for an answer.
        let stream = Box::pin(self.connector.new_stream(&way.peer(ctx)?)).await?;
        Ok((Link::new(stream), false))
    }
}

/// Whether another attempt follows, which is Pingora's.
fn again(error: Box<Error>) -> Result<bool> {
    if error.retry() { Ok(true) } else { Err(error) }
}

/// Asks by `head` and passes on what is answered, which comes back when all of it has been sent.
async fn converse(
    mut link: Link,
    head: &[u8],
    timeouts: Timeouts,
    client: &mut impl Client,
    ctx: &mut Context,
) -> Result<Answer> {
    let sent = timeout(timeouts.write(), link.send(head)).await;
    let sent = sent.map_err(|_| Error::explain(ErrorType::WriteTimedout, "request head").into_up())?;
    sent.or_err(ErrorType::WriteError, "request head").map_err(Error::into_up)?;
    let is_bare = client.asked().method == Method::HEAD;
    let mut answer = Answer::new(link, is_bare, timeouts.read(), timeouts.idle());
    loop {
        let mut part = next(&mut answer, client).await?;
        let mut parts = Parts::new();
        loop {
            filter(client, &mut part, ctx)?;
            // What is large is sent by itself: nothing is read ahead for a client that does not take it.
            let is_large = matches!(&part, HttpTask::Body(Some(body), _) if body.len() >= LARGE);
            let is_last = is_large || part.is_end();
            parts.push(part);
            if is_last || parts.len() == TOGETHER {
                break;
            }
            match at_once(answer.next()).await {
                Some(Ok(more)) => part = more,
                Some(Err(error)) => part = HttpTask::Failed(error.into_up()),
                None => break,
            }
        }
        if client.send(parts).await? {
            return Ok(answer);
        }
    }
}

/// What `future` has without waiting.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The next part of an answer, unless the client goes away.
async fn next(answer: &mut Answer, client: &mut impl Client) -> Result<HttpTask> {
    tokio::select! {
        biased;
        part = answer.next() => part.map_err(Error::into_up),
        gone = client.gone() => Err(gone),
    }
}

/// Makes of a part of an answer what the client shall see.
fn filter(client: &mut impl Client, part: &mut HttpTask, ctx: &mut Context) -> Result<()> {
    match part {
        HttpTask::Header(head, is_end) => {
            let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
            let has_body = !matches!(head.status.as_u16(), 100..=199 | 204 | 304) && !*is_end;
            if has_body && !has_length && !head.headers.contains_key(header::TRANSFER_ENCODING) {
                // It ends with the upstream's connection, which need not be the end of the client's.
                head.set_version(Version::HTTP_11);
                head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
            }
            filters::answer(client, head, ctx)
        }
        HttpTask::Body(body, is_end) => {
            filters::answer_body(client, body.as_ref().map_or(0, Bytes::len), *is_end, ctx);
            Ok(())
        }
        _ => Ok(()),
    }
}
