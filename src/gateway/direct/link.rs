//! A connection to an upstream, with the one timer of its life.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    /// Set up once, since to do it for each wait costs more than to read what was waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Until when more must have come, while it is waited for.
    until: Option<Instant>,
}

impl Link {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, timer: None, until: None }
    }

    /// Sends all of `head`.
    pub(super) async fn send(&mut self, head: &[u8]) -> io::Result<()> {
        self.stream.write_all(head).await?;
        self.stream.flush().await
    }

    /// Appends what has come, zero bytes being the end; nothing at all for so long is an error.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut BytesMut,
        patience: Duration,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(read) = pin!(self.stream.read_buf(into)).poll(context) {
            self.until = None;
            return Poll::Ready(read);
        }
        let until = *self.until.get_or_insert_with(|| Instant::now() + patience);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < timer.deadline() {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if until <= timer.deadline() {
                self.until = None;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // It was set for an earlier wait.
            timer.as_mut().reset(until);
        }
    }

    /// Whether nothing has come: who says something without being asked, be it that this is the end, is asked nothing.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut read = ReadBuf::new(&mut byte);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read).is_pending()
    }
}
