//! What becomes of a request that cannot be fulfilled.

use std::io;
use std::sync::Arc;

use pingora::{Error, ErrorSource, ErrorType};

use crate::model::Reason;

use super::client::Client;
use super::context::{Context, OVERDUE};
use super::{forward, respond};

/// Answers a request that has failed, unless its client is gone or has been answered; why it was, if so.
pub(super) async fn fail(client: &mut impl Client, error: &Error, ctx: &mut Context) -> Option<Reason> {
    let reason = reason(client, error, ctx)?;
    client.end_connection();
    if let Err(error) = respond::refuse(&Arc::clone(ctx.shared()), client, ctx, reason, None).await {
        tracing::debug!(request.id = %ctx.request_id, %error, "refusal not sent");
    }
    Some(reason)
}

fn reason(client: &impl Client, error: &Error, ctx: &mut Context) -> Option<Reason> {
    let reason = match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(413), _) => Reason::TooLarge,
        _ if client.peer().is_some_and(|peer| peer.is_overdue()) => {
            ctx.attempts.silent(OVERDUE);
            if let Some(upstream) = &ctx.upstream {
                ctx.shared().metrics.upstream_error(upstream.name.as_str(), OVERDUE);
            }
            Reason::UpstreamTimeout
        }
        (_, ErrorSource::Upstream) => {
            if let Some(upstream) = &ctx.upstream {
                let (name, kind) = (upstream.name.as_str(), forward::kind(error));
                ctx.shared().metrics.upstream_error(name, kind);
                tracing::warn!(request.id = %ctx.request_id, upstream = name, kind, %error, "upstream failed");
            }
            forward::reason(error)
        }
        (ErrorType::InvalidHTTPHeader | ErrorType::Custom(_), ErrorSource::Downstream) => Reason::BadRequest,
        (_, ErrorSource::Downstream) if is_bad_framing(error) => Reason::BadRequest,
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => Reason::RequestTimeout,
        // The client is gone or has broken its own connection: nobody to answer.
        (_, ErrorSource::Downstream) => {
            tracing::debug!(request.id = %ctx.request_id, %error, "client failed");
            return None;
        }
        (_, ErrorSource::Internal | ErrorSource::Unset) => {
            tracing::error!(request.id = %ctx.request_id, %error, "request failed");
            Reason::Internal
        }
    };
    Some(reason)
}

/// Whether what was read is not framed as a body must be.
fn is_bad_framing(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}
