//! A client whose bytes Pingora moves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::super::peer::{Exchange, Peer};
use super::{Asked, Client, Field, Parts, request};

impl Client for Session {
    fn asked(&self) -> Asked<'_> {
        self.req_header().into()
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let request = self.req_header();
        // In the same order; over HTTP/2 there are none.
        let mut spelled = request.case_header_iter();
        request.headers.iter().map(move |(name, value)| {
            let lower = name.as_str().as_bytes();
            let spelled = spelled.next().map(|(spelled, _)| spelled.as_slice());
            (name, spelled.filter(|spelled| spelled.eq_ignore_ascii_case(lower)).unwrap_or(lower), value)
        })
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        Exchange::find(self).map(|exchange| &exchange.peer)
    }

    fn is_plain(&mut self) -> bool {
        !self.is_custom() && self.is_body_empty() && request::is_plain(self.req_header())
    }

    fn is_repeatable(&self) -> bool {
        !self.as_ref().retry_buffer_truncated()
    }

    fn written(&self) -> Option<StatusCode> {
        self.response_written().map(|head| head.status)
    }

    fn end_connection(&mut self) {
        self.set_keepalive(None);
    }

    fn set_patience(&mut self, patience: Option<Duration>) {
        self.set_read_timeout(patience);
    }

    async fn send(&mut self, parts: Parts) -> Result<bool> {
        let is_end = parts.last().is_some_and(HttpTask::is_end);
        let is_failed = matches!(parts.last(), Some(HttpTask::Failed(_)));
        if is_failed || self.as_http1().is_none() {
            self.write_response_tasks(parts.into_vec()).await?;
        } else {
            // What Pingora would gather first is gathered by the connection anyway.
            for part in parts {
                let sent = match part {
                    HttpTask::Header(head, is_end) => self.write_response_header(head, is_end).await,
                    HttpTask::Body(body, is_end) => self.write_response_body(body, is_end).await,
                    _ => Ok(()),
                };
                sent.map_err(Error::into_down)?;
            }
        }
        if is_end && self.as_mut().finish_body().await.is_err() {
            self.set_keepalive(None);
        }
        Ok(is_end)
    }

    async fn answer(&mut self, head: ResponseHeader, body: Option<Bytes>) -> Result<()> {
        self.write_response_header(Box::new(head), body.is_none()).await?;
        self.write_response_body(body, true).await
    }

    async fn gone(&mut self) -> Box<Error> {
        match self.read_body_or_idle(true).await {
            Err(error) => error.into_down(),
            Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client has gone").into_down(),
        }
    }
}
