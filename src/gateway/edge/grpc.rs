//! A gRPC call over HTTP/2, which can be told that it ends.
//!
//! ## Why
//! A gRPC client takes a stream that is reset for a fault of the network and may try again; why it ended stands in the
//! trailers. Pingora's own session keeps what they could be sent with to itself, but takes one of ours in its place: this
//! is its own, which says that its client is gone when the call shall end, between two messages, and sends trailers then.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v2::server::HttpSession;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use tokio_stream::Stream;

use super::super::live;

/// What a call ends with that shall.
pub(in crate::gateway) const ENDED: ErrorType = ErrorType::Custom("stream ended");
/// Whether a message is compressed, and its length.
const PREFIX: usize = 5;

/// Where messages end.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX],
    filled: usize,
    left: usize,
}

impl Messages {
    fn is_between(&self) -> bool {
        self.filled == 0 && self.left == 0
    }

    /// Looks at what is sent; how much of it belongs to the message that had begun.
    fn advance(&mut self, bytes: &[u8], only_current: bool) -> usize {
        let mut at = 0;
        while at < bytes.len() && !(only_current && self.is_between()) {
            if self.left > 0 {
                let here = self.left.min(bytes.len() - at);
                self.left -= here;
                at += here;
                continue;
            }
            self.prefix[self.filled] = bytes[at];
            self.filled += 1;
            at += 1;
            if let (PREFIX, [_, length @ ..]) = (self.filled, self.prefix) {
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.filled = 0;
            }
        }
        at
    }
}

/// One call.
pub(super) struct Call {
    inner: HttpSession,
    messages: Messages,
    /// Something of the answer was left out.
    is_cut: bool,
}

impl Call {
    pub(super) fn new(mut inner: HttpSession) -> Self {
        let request = inner.req_header_mut();
        // Pingora does so by itself, but not for sessions that are not its own.
        if !request.headers.contains_key(header::HOST)
            && let Some(authority) = request.uri.authority().map(|authority| authority.as_str().to_owned())
        {
            // What is an authority is a field's value.
            let _ = request.insert_header(header::HOST, authority);
        }
        Self { inner, messages: Messages::default(), is_cut: false }
    }

    /// What is passed on of `task`.
    fn pass(&mut self, task: HttpTask) -> Option<HttpTask> {
        let HttpTask::Body(Some(data), is_last) = task else { return (!self.is_cut).then_some(task) };
        if !live::is_leaving() {
            self.messages.advance(&data, false);
            return Some(HttpTask::Body(Some(data), is_last));
        }
        let kept = if self.is_cut { 0 } else { self.messages.advance(&data, true) };
        self.is_cut |= kept < data.len();
        (kept > 0).then(|| HttpTask::Body(Some(data.slice(..kept)), is_last && !self.is_cut))
    }
}

#[async_trait]
impl Session for Call {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.inner.read_body_bytes().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.inner.drain_request_body().await
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.inner.write_response_header(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.inner.write_response_header_ref(head, end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner.write_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let tasks = tasks.into_iter().filter_map(|task| self.pass(task)).collect();
        self.inner.response_duplex_vec(tasks).await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        tokio::select! {
            biased;
            () = live::leaving() => {}
            body = self.inner.read_body_or_idle(no_body_expected) => return body,
        }
        if !self.messages.is_between() {
            // It is looked at again after what is sent next.
            std::future::pending::<()>().await;
        }
        Err(Error::new(ENDED).into_down())
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.inner.shutdown();
    }

    fn is_body_done(&mut self) -> bool {
        self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        // An end without a status would be one; dropped, the stream is reset.
        if self.is_cut { Ok(()) } else { self.inner.finish() }
    }

    fn is_body_empty(&mut self) -> bool {
        self.inner.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.pseudo_raw_h1_request_header()
    }

    fn enable_retry_buffering(&mut self) {
        self.inner.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.inner.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.inner.get_retry_buffer()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_they_end_however_they_are_sent() {
        let mut sent = Vec::new();
        let mut ends = vec![0];
        for length in [0_u32, 1, 300, 70_000] {
            sent.push(0);
            sent.extend_from_slice(&length.to_be_bytes());
            sent.resize(sent.len() + length as usize, 7);
            ends.push(sent.len());
        }
        for piece in [1, 3, 100, sent.len()] {
            let mut messages = Messages::default();
            let mut at = 0;
            for part in sent.chunks(piece) {
                messages.advance(part, false);
                at += part.len();
                assert_eq!(messages.is_between(), ends.contains(&at), "{at} in pieces of {piece}");
                let next = ends.iter().copied().find(|end| *end >= at).unwrap();
                let mut ahead = Messages { ..messages };
                assert_eq!(ahead.advance(&sent[at..], true), next - at, "{at} in pieces of {piece}");
            }
        }
    }
}
