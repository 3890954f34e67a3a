//! A client of HTTP/1.1 whose request is nothing but a head, answered without Pingora.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::headers;
use super::super::peer::Peer;
use super::super::stream::Connection;
use super::{Asked, Client, Field, Parts, Request};

/// One request, and the answer to it.
#[derive(Debug)]
pub(in crate::gateway) struct Plain<'c> {
    connection: &'c mut Connection,
    request: Request,
    keeps: bool,
    written: Option<StatusCode>,
    body: Body,
    sent: u64,
}

/// How the rest of an answer is framed (RFC 9112 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// Its head has not been sent.
    Unknown,
    /// So many bytes are left of it.
    Sized(u64),
    Chunked,
    /// It ends with the connection.
    Rest,
}

impl<'c> Plain<'c> {
    pub(in crate::gateway) fn new(connection: &'c mut Connection, request: Request) -> Self {
        let keeps = !request.is_last;
        Self { connection, request, keeps, written: None, body: Body::Unknown, sent: 0 }
    }

    /// How many bytes of a body were sent.
    pub(in crate::gateway) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all of an answer has been sent, so that its end cannot be mistaken.
    pub(in crate::gateway) fn is_answered(&self) -> bool {
        self.body == Body::Sized(0)
    }

    /// Whether another request may follow.
    pub(in crate::gateway) fn is_kept(&self) -> bool {
        self.keeps && self.is_answered()
    }

    /// The request as it came, for somebody else to answer.
    pub(in crate::gateway) fn into_raw(self) -> BytesMut {
        self.request.into_raw()
    }

    fn put_head(&mut self, head: &ResponseHeader) {
        let is_final = !head.status.is_informational();
        if is_final {
            self.body = self.framing(head);
            self.keeps &= self.body != Body::Rest;
        }
        self.written = Some(head.status);
        let out = self.connection.outbound();
        // Whatever the upstream spoke: this is what this connection speaks (RFC 9112 2.3).
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(head.status.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
        out.put_slice(b"\r\n");
        // In the same order.
        let mut spelled = head.case_header_iter();
        for (name, value) in &head.headers {
            let spelled = spelled.next().map(|(spelled, _)| spelled.as_slice());
            if is_final && (name == header::CONNECTION || name == header::DATE) {
                continue;
            }
            headers::line(|part| out.put_slice(part), spelled.unwrap_or(name.as_str().as_bytes()), value.as_bytes());
        }
        if is_final {
            headers::line(|part| out.put_slice(part), b"Date", get_cached_date().as_bytes());
            headers::line(|part| out.put_slice(part), b"Connection", if self.keeps { b"keep-alive" } else { b"close" });
        }
        out.put_slice(b"\r\n");
    }

    fn framing(&self, head: &ResponseHeader) -> Body {
        let has_none = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_none || self.request.asked().method == Method::HEAD {
            return Body::Sized(0);
        }
        if headers::is_chunked(&head.headers) {
            return Body::Chunked;
        }
        let is_coded = head.headers.contains_key(header::TRANSFER_ENCODING);
        let length = head.headers.get(header::CONTENT_LENGTH).filter(|_| !is_coded);
        length.and_then(|length| headers::length(length.as_bytes())).map_or(Body::Rest, Body::Sized)
    }

    async fn put_body(&mut self, mut bytes: Bytes) -> Result<()> {
        if let Body::Sized(left) = &mut self.body {
            // Never more than was announced: it would be taken for another answer.
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.sent += bytes.len() as u64;
        let is_chunked = self.body == Body::Chunked;
        if is_chunked {
            // Writing to a buffer cannot fail.
            let _ = write!(self.connection.outbound(), "{:x}\r\n", bytes.len());
        }
        self.connection.write_all(&bytes).await.or_err(ErrorType::WriteError, "body").map_err(Error::into_down)?;
        if is_chunked {
            self.connection.outbound().put_slice(b"\r\n");
        }
        Ok(())
    }

    /// Ends the answer.
    fn end(&mut self) {
        match self.body {
            Body::Chunked => {
                self.connection.outbound().put_slice(b"0\r\n\r\n");
                self.body = Body::Sized(0);
            }
            Body::Rest => self.body = Body::Sized(0),
            // Short of what was announced, only the connection's end tells so.
            Body::Unknown | Body::Sized(_) => {}
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await.or_err(ErrorType::WriteError, "answer").map_err(Error::into_down)
    }
}

impl Client for Plain<'_> {
    fn asked(&self) -> Asked<'_> {
        self.request.asked()
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.request.fields()
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        Some(self.connection.peer())
    }

    fn is_plain(&mut self) -> bool {
        true
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn written(&self) -> Option<StatusCode> {
        self.written
    }

    fn end_connection(&mut self) {
        self.keeps = false;
    }

    /// Nothing is expected of it.
    fn set_patience(&mut self, _patience: Option<Duration>) {}

    async fn send(&mut self, parts: Parts) -> Result<bool> {
        let mut is_end = false;
        for part in parts {
            is_end |= part.is_end();
            match part {
                HttpTask::Header(head, _) => self.put_head(&head),
                HttpTask::Body(Some(bytes), _) => self.put_body(bytes).await?,
                HttpTask::Failed(error) => {
                    self.flush().await?;
                    return Err(error);
                }
                _ => {}
            }
        }
        if is_end {
            self.end();
        }
        self.flush().await?;
        Ok(is_end)
    }

    async fn answer(&mut self, head: ResponseHeader, body: Option<Bytes>) -> Result<()> {
        self.put_head(&head);
        self.put_body(body.unwrap_or_default()).await?;
        self.end();
        self.flush().await
    }

    async fn gone(&mut self) -> Box<Error> {
        // What follows the request is kept by the connection, which tells nothing but its end.
        match self.connection.read(&mut [0; 1]).await {
            Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client has gone"),
            Err(error) => Error::because(ErrorType::ReadError, "the client's connection", error),
        }
        .into_down()
    }
}
