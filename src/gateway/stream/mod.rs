//! A client's connection, as Pingora is given it.
//!
//! ## Why
//! Pingora reads bodies and frames itself, without a hook for what is wrong or too much about them. So what it reads is
//! looked at on its way in. A connection that waits keeps no buffer.

pub mod chunks;
pub mod frames;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::peer::{Exchange, Peer};

/// What is written is kept until there is so much of it, or it is flushed: a head goes out together with its body.
const BUFFER: usize = 8 * 1024;

/// The bytes below.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How what is read is looked at.
#[derive(Debug)]
enum Inbound {
    /// Not at all.
    Free,
    /// As a chunked body.
    Chunks(Box<chunks::Scanner>),
    /// As frames of HTTP/2.
    Frames(Box<frames::Meter>, Arc<frames::Watch>),
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    inbound: Inbound,
    unsent: BytesMut,
    digest: Arc<ProxyDigest>,
    peer: Arc<Peer>,
}

impl Connection {
    pub(super) fn new(transport: Transport, peer: Arc<Peer>) -> Self {
        let digest = Exchange::of(Arc::clone(&peer)).digest();
        Self { transport, inbound: Inbound::Free, unsent: BytesMut::new(), digest, peer }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// How the connection is told to Pingora.
    pub(super) fn digest(&self) -> &Arc<ProxyDigest> {
        &self.digest
    }

    /// Looks at what is read as a chunked body, of which `begun` has been read.
    ///
    /// # Errors
    /// It is malformed already.
    pub(super) fn expect_chunks(&mut self, begun: &[u8]) -> Result<(), chunks::BadChunk> {
        let mut scanner = chunks::Scanner::default();
        scanner.advance(begun)?;
        self.inbound = if scanner.is_done() { Inbound::Free } else { Inbound::Chunks(Box::new(scanner)) };
        Ok(())
    }

    /// Looks at nothing of what is read.
    pub(super) fn expect_nothing(&mut self) {
        self.inbound = Inbound::Free;
    }

    /// Looks at what is read as frames.
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

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(&this.inbound, Inbound::Frames(_, watch) if watch.is_flood()) {
            // Whoever drives the connection has been told, and ends it.
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut this.transport).poll_read(context, into);
        if read.is_pending() && this.unsent.is_empty() {
            this.unsent = BytesMut::new();
        }
        ready!(read)?;
        let new = &into.filled()[before..];
        match &mut this.inbound {
            Inbound::Free => {}
            Inbound::Chunks(scanner) => {
                scanner.advance(new).map_err(|bad| io::Error::new(ErrorKind::InvalidData, bad))?;
            }
            Inbound::Frames(meter, _) => {
                if !meter.advance(new, Instant::now()) {
                    into.set_filled(before);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        if self.unsent.len() + from.len() <= BUFFER {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = from.iter().map(|slice| slice.len()).sum();
        if self.unsent.len() + total <= BUFFER {
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            ready!(self.poll_send(context, &[]))?;
        }
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, from),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // It is over either way.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        match &self.transport {
            Transport::Plain(stream) => stream.as_raw_fd(),
            Transport::Tls(stream) => stream.get_ref().0.as_raw_fd(),
        }
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
