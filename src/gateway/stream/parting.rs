//! The end of a WebSocket that is no longer allowed.
//!
//! ## Why
//! Whoever drives the connection knows that it shall end, Pingora moves its bytes, and neither can write a close frame
//! between two frames of the back end's. What passes all bytes can: it lets the frame under way end, says its own, and
//! waits for the client to have read that. Then Pingora is told that the client is gone, and gives up the upstream.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::websocket::{Frames, close};
use super::{CHUNK, Connection, LINGER_BYTES};

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The close frame is among what is unsent.
    Said,
    /// It was sent; what the client sends is read and dropped, so many bytes of it.
    Lingering(usize),
}

/// What is known of a WebSocket to end it.
#[derive(Debug, Default)]
pub(super) struct Parting {
    frames: Frames,
    stage: Stage,
}

impl Connection {
    /// Sends what the back end says; once the WebSocket shall end, no frame that has not begun.
    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let is_parting = self.peer.parting().is_some();
        let parting = self.parting.get_or_insert_default();
        let most = if is_parting { parting.frames.current(from) } else { from.len() };
        if most == 0 && !from.is_empty() {
            // Nobody will ask where it went.
            return Poll::Ready(Ok(from.len()));
        }
        let sent = ready!(self.poll_keep(context, &from[..most]))?;
        self.parting.get_or_insert_default().frames.advance(&from[..sent]);
        Poll::Ready(Ok(sent))
    }

    /// Says that the WebSocket ends, and waits until the client knows. Whoever drives the connection bounds the time.
    pub(super) fn poll_part(&mut self, context: &mut Context<'_>, code: u16) -> Poll<io::Result<()>> {
        loop {
            let parting = self.parting.get_or_insert_default();
            match parting.stage {
                // It is looked at again after each write.
                Stage::Open if !parting.frames.is_between() => return Poll::Pending,
                Stage::Open => {
                    if !parting.frames.is_closed() {
                        self.unsent.extend_from_slice(&close(code));
                    }
                    parting.stage = Stage::Said;
                }
                Stage::Said => {
                    ready!(self.poll_empty(context))?;
                    ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
                    self.parting.get_or_insert_default().stage = Stage::Lingering(LINGER_BYTES);
                }
                Stage::Lingering(left) => {
                    let mut chunk = [MaybeUninit::uninit(); CHUNK / 4];
                    let mut read = ReadBuf::uninit(&mut chunk);
                    ready!(Pin::new(&mut self.transport).poll_read(context, &mut read))?;
                    let left = left.saturating_sub(read.filled().len());
                    parting.stage = Stage::Lingering(left);
                    if read.filled().is_empty() || left == 0 {
                        return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
                    }
                }
            }
        }
    }
}
