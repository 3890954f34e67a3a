//! A request of HTTP/1.1 that is nothing but its head, served without Pingora.
//!
//! ## Why
//! Pingora reads the head again that was read already, moves the request through futures of many kilobytes, and takes
//! memory for what such a request never needs. What is decided and said is the same: `admit`, `direct` and `fail` work for
//! whoever moves the client's bytes.

use std::sync::Arc;

use bytes::BytesMut;
use pingora::protocols::Shutdown;
use pingora::server::ShutdownWatch;

use super::super::admit::admit;
use super::super::client::{Client as _, Plain, Request};
use super::super::context::Context;
use super::super::direct::Direct;
use super::super::fail::fail;
use super::super::shared::Shared;
use super::super::stream::Connection;

/// What a connection does after a request.
pub(super) enum Next {
    /// It may bring another.
    Request,
    /// It has ended.
    Nothing,
    /// Pingora goes on with this one: with its head, and all that is known of it.
    Pingora(BytesMut, Box<Context>),
}

/// Serves one request.
pub(super) async fn serve(
    direct: &Direct,
    shared: &Arc<Shared>,
    connection: &mut Connection,
    request: Request,
    stop: &ShutdownWatch,
) -> Next {
    let mut ctx = Box::new(Context::new(Arc::clone(shared)));
    ctx.attempts.is_sent = true;
    let mut client = Plain::new(connection, request);
    if *stop.borrow() {
        client.end_connection();
    }
    let is_pingoras = match admit(&mut client, &mut ctx).await {
        Ok(true) => Ok(false),
        Ok(false) => direct.exchange(&mut client, &mut ctx).await,
        Err(error) => Err(error),
    };
    match is_pingoras {
        Ok(true) => return Next::Pingora(client.into_raw(), ctx),
        Ok(false) => {}
        Err(error) => {
            fail(&mut client, &error, &mut ctx).await;
            client.end_connection();
        }
    }
    ctx.bytes_out = client.sent();
    // Counted and logged before anybody waits for the connection's end.
    drop(ctx);
    match (client.is_kept(), client.is_answered()) {
        (true, _) => Next::Request,
        (false, true) => {
            Shutdown::shutdown(connection).await;
            Next::Nothing
        }
        (false, false) => Next::Nothing,
    }
}
