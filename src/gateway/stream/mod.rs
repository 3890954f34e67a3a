//! A client's connection, as Pingora is given it.
//!
//! ## Why
//! Pingora reads bodies and frames itself, without a hook for what is wrong or too much about them, and takes what follows
//! a body for part of it or gives the connection up. So it is given one request at a time, to its last byte and no further;
//! what follows is kept for the next. A connection that waits keeps no buffer.

pub mod chunks;
pub mod frames;
mod parting;
mod transport;
mod websocket;

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use super::peer::{Exchange, Peer};

pub(super) use self::transport::Transport;

use self::parting::Parting;

/// What is written is kept until there is so much of it, or it is flushed: a head goes out together with its body.
const BUFFER: usize = 8 * 1024;

/// What the other side is expected to send.
#[derive(Debug)]
enum Inbound {
    /// Anything, which is not looked at: a head, or whatever follows an upgrade.
    Free,
    /// A body, of which so many bytes are left.
    Sized(u64),
    /// A chunked body.
    Chunks(Box<chunks::Scanner>),
    /// Frames of HTTP/2.
    Frames(Box<frames::Meter>, Arc<frames::Watch>),
}

impl Inbound {
    /// Whether a request has been read to its end.
    fn is_over(&self) -> bool {
        match self {
            Self::Free | Self::Frames(..) => false,
            Self::Sized(left) => *left == 0,
            Self::Chunks(scanner) => scanner.is_done(),
        }
    }
}

/// How much is read at once of a chunked body, and kept of what follows a request.
const CHUNK: usize = 16 * 1024;
/// A client that sends a request in more pieces than this, each of fewer bytes, is read less often.
const SMALL_READS: u32 = 16;
const SMALL: usize = 64;
const MOST_DOUBLINGS: u32 = 4;
/// How long the end of a connection may take, and how much is read of what nobody wants.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 256 * 1024;
const PAUSE: Duration = Duration::from_millis(5);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    inbound: Inbound,
    /// What was read, and not asked for yet; of a request's body what belongs to it.
    unread: BytesMut,
    /// What was read and belongs to the next request.
    next: BytesMut,
    small_reads: u32,
    pause: Option<Pin<Box<Sleep>>>,
    unsent: BytesMut,
    patience: Duration,
    /// Ends the connection if nothing of what is sent is taken.
    stall: Option<Pin<Box<Sleep>>>,
    digest: Arc<ProxyDigest>,
    peer: Arc<Peer>,
    /// Of a WebSocket.
    parting: Option<Box<Parting>>,
}

impl Connection {
    /// One whose other side must take what is sent within `patience`, each time anew.
    pub(super) fn new(transport: Transport, peer: Arc<Peer>, patience: Duration) -> Self {
        let digest = Exchange::of(Arc::clone(&peer)).digest();
        Self {
            transport,
            inbound: Inbound::Free,
            unread: BytesMut::new(),
            next: BytesMut::new(),
            small_reads: 0,
            pause: None,
            unsent: BytesMut::new(),
            patience,
            stall: None,
            digest,
            peer,
            parting: None,
        }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// How the connection is told to Pingora.
    pub(super) fn digest(&self) -> &Arc<ProxyDigest> {
        &self.digest
    }

    /// Expects a chunked body, of which `begun` has been read with its head.
    ///
    /// # Errors
    /// It is malformed already.
    pub(super) fn expect_chunks(&mut self, begun: BytesMut) -> Result<(), chunks::BadChunk> {
        let mut ahead = self.ahead(begun);
        let mut scanner = Box::<chunks::Scanner>::default();
        let rest = scanner.advance(&ahead, &mut self.unread)?.len();
        self.next = ahead.split_off(ahead.len() - rest);
        self.inbound = Inbound::Chunks(scanner);
        Ok(())
    }

    /// Expects a body of so many bytes, of which `begun` has been read with its head.
    pub(super) fn expect_bytes(&mut self, length: u64, begun: BytesMut) {
        let mut ahead = self.ahead(begun);
        let here = ahead.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        if here < ahead.len() {
            self.next = ahead.split_off(here);
        }
        self.unread = ahead;
        self.inbound = Inbound::Sized(length - here as u64);
    }

    /// All that was read beyond a head: `begun`, and what stands behind it.
    fn ahead(&mut self, mut begun: BytesMut) -> BytesMut {
        let behind = std::mem::take(&mut self.unread);
        if begun.is_empty() {
            return behind;
        }
        begun.extend_from_slice(&behind);
        begun
    }

    /// Where what is to be sent can be put, to go out when the connection is flushed: heads, and what stands around chunks.
    pub(super) fn outbound(&mut self) -> &mut BytesMut {
        self.reserve();
        &mut self.unsent
    }

    /// Expects another request.
    pub(super) fn expect_head(&mut self) {
        // What Pingora has left of a body ends the connection before this.
        self.unread = std::mem::take(&mut self.next);
        self.small_reads = 0;
        self.inbound = Inbound::Free;
    }

    /// Expects frames.
    pub(super) fn expect_frames(&mut self, allowances: frames::Allowances) -> Arc<frames::Watch> {
        let watch = Arc::<frames::Watch>::default();
        self.inbound =
            Inbound::Frames(Box::new(frames::Meter::new(allowances, Arc::clone(&watch))), Arc::clone(&watch));
        watch
    }

    fn sent(&self, bytes: usize) {
        if let Inbound::Frames(_, watch) = &self.inbound {
            watch.sent(bytes);
        }
    }

    /// Sends what is kept, together with `more`; how much of `more` was taken once none is kept.
    fn poll_send(&mut self, context: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let kept = self.unsent.len();
            let sent = if kept == 0 {
                ready!(Pin::new(&mut self.transport).poll_write(context, more))?
            } else {
                let both = [IoSlice::new(&self.unsent), IoSlice::new(more)];
                ready!(Pin::new(&mut self.transport).poll_write_vectored(context, &both))?
            };
            if sent == 0 && kept + more.len() > 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent(sent);
            self.unsent.advance(sent.min(kept));
            if sent >= kept {
                return Poll::Ready(Ok(sent - kept));
            }
        }
    }
}

impl Connection {
    /// Reads from below, less often from who sends little at a time.
    fn poll_below(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, into))?;
        let read = into.filled().len() - before;
        if read < SMALL && read > 0 && !matches!(self.inbound, Inbound::Frames(..)) && !self.peer.is_upgraded() {
            self.small_reads += 1;
            if let Some(more) = self.small_reads.checked_sub(SMALL_READS) {
                // Each eight of them double it.
                self.pause = Some(Box::pin(sleep(PAUSE * 2_u32.pow((more / 8).min(MOST_DOUBLINGS)))));
            }
        }
        Poll::Ready(Ok(read))
    }

    /// Hands on what has been read already; false if there is none.
    fn take_unread(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let here = self.unread.len().min(into.remaining());
        if here == 0 {
            return false;
        }
        into.put_slice(&self.unread.split_to(here));
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        true
    }

    /// What comes after the request is kept; only the end of the connection is told.
    fn poll_beyond(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.next.len() < CHUNK {
            let mut chunk = [MaybeUninit::uninit(); CHUNK / 4];
            let mut read = ReadBuf::uninit(&mut chunk);
            if ready!(self.poll_below(context, &mut read))? == 0 {
                return Poll::Ready(Ok(()));
            }
            self.next.extend_from_slice(read.filled());
        }
        Poll::Pending
    }

    fn poll_sized(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>, left: u64) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let read = if into.remaining() <= most {
            ready!(self.poll_below(context, into))?
        } else {
            let mut part = ReadBuf::new(into.initialize_unfilled_to(most));
            let read = ready!(self.poll_below(context, &mut part))?;
            into.advance(read);
            read
        };
        self.inbound = Inbound::Sized(left - read as u64);
        Poll::Ready(Ok(()))
    }

    fn poll_chunks(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut read = ReadBuf::uninit(&mut chunk);
            if ready!(self.poll_below(context, &mut read))? == 0 {
                return Poll::Ready(Ok(()));
            }
            let Inbound::Chunks(scanner) = &mut self.inbound else { return Poll::Ready(Ok(())) };
            let rest = scanner.advance(read.filled(), &mut self.unread);
            let rest = rest.map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?;
            self.next.extend_from_slice(rest);
            if self.take_unread(into) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_frames(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if matches!(&self.inbound, Inbound::Frames(_, watch) if watch.is_flood()) {
            // Whoever drives the connection has been told, and ends it.
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(self.poll_below(context, into))?;
        let Inbound::Frames(meter, _) = &mut self.inbound else { return Poll::Ready(Ok(())) };
        if !meter.advance(&into.filled()[before..], Instant::now()) {
            into.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(code) = this.peer.parting() {
            return this.poll_part(context, code);
        }
        if this.peer.is_overdue() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        if this.unread.is_empty() && this.inbound.is_over() && this.peer.is_upgraded() {
            this.expect_head();
        }
        if this.take_unread(into) {
            return Poll::Ready(Ok(()));
        }
        let read = match this.inbound {
            Inbound::Free => this.poll_below(context, into).map_ok(drop),
            Inbound::Frames(..) => this.poll_frames(context, into),
            _ if this.inbound.is_over() => this.poll_beyond(context),
            Inbound::Sized(left) => this.poll_sized(context, into, left),
            Inbound::Chunks(_) => this.poll_chunks(context, into),
        };
        if read.is_pending() && this.unsent.is_empty() {
            this.unsent = BytesMut::new();
        }
        read
    }
}

impl Connection {
    /// A small answer is put together in one place.
    fn reserve(&mut self) {
        if self.unsent.capacity() == 0 {
            self.unsent.reserve(BUFFER / 4);
        }
    }

    fn poll_keep(&mut self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent.len() + from.len() <= BUFFER {
            self.reserve();
            self.unsent.extend_from_slice(from);
            return Poll::Ready(Ok(from.len()));
        }
        loop {
            let taken = ready!(self.poll_send(context, from))?;
            // Zero would mean that no more can be written.
            if taken > 0 || from.is_empty() {
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn poll_keep_vectored(&mut self, context: &mut Context<'_>, from: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        if self.unsent.len() + total <= BUFFER {
            self.reserve();
            for slice in from {
                self.unsent.extend_from_slice(slice);
            }
            return Poll::Ready(Ok(total));
        }
        if !self.unsent.is_empty() {
            ready!(self.poll_send(context, &[]))?;
        }
        let sent = ready!(Pin::new(&mut self.transport).poll_write_vectored(context, from))?;
        self.sent(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            ready!(self.poll_send(context, &[]))?;
        }
        Pin::new(&mut self.transport).poll_flush(context)
    }

    /// Times what cannot be sent now: not every writer above does.
    fn timed<T>(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stall = None;
            return sent;
        }
        let patience = self.patience;
        ready!(self.stall.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let sent =
            if self.peer.is_web_socket() { self.poll_frame(context, from) } else { self.poll_keep(context, from) };
        self.timed(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.peer.is_web_socket() {
            let first = from.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| &**slice));
        }
        let sent = self.poll_keep_vectored(context, from);
        self.timed(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_empty(context);
        self.timed(context, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        let sent = Pin::new(&mut self.transport).poll_shutdown(context);
        self.timed(context, sent)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        let _ = timeout(LINGER, async {
            AsyncWriteExt::shutdown(self).await?;
            // Closing with unread bytes would destroy what the client has not read yet.
            let mut discarded = [0; CHUNK / 4];
            let mut left = LINGER_BYTES;
            while left > 0 {
                match self.transport.read(&mut discarded).await? {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            io::Result::Ok(())
        })
        // It is over either way.
        .await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.peer.is_reset() {
            self.transport.reset_when_dropped();
        }
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.transport.descriptor()
    }
}

// What Pingora would tell of the connection, our own digest tells.
impl Ssl for Connection {}
impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}
