//! From a request that has arrived to one that may pass, or to its answer.

use std::sync::Arc;

use http::header;
use pingora::{Error, ErrorType, Result};

use crate::model::Reason;
use crate::policy::{Destination, Permit};

use super::authorise::{Stop, authorise};
use super::client::Client;
use super::context::Context;
use super::shared::Shared;
use super::{filters, respond};

/// Decides a request; true if it has been answered, because it may not pass.
///
/// # Errors
/// The answer cannot be sent.
pub(super) async fn admit(client: &mut impl Client, ctx: &mut Context) -> Result<bool> {
    let shared = &Arc::clone(ctx.shared());
    let peer = client.peer().ok_or_else(|| Error::explain(ErrorType::InternalError, "a connection of nobody"))?;
    ctx.arrived(peer, client.asked().headers);
    if let Some(reason) = overload(shared) {
        ctx.overloaded(shared.snapshots.load(), client.asked().method);
        client.end_connection();
        respond::refuse(shared, client, ctx, reason, None).await?;
        return Ok(true);
    }
    let verdict = judge(shared, client, ctx).await;
    let verdict = verdict.and_then(|()| prepare(client, ctx).map_err(Stop::Refuse));
    match verdict {
        Ok(()) => return Ok(false),
        Err(Stop::Refuse(reason)) => respond::refuse(shared, client, ctx, reason, None).await?,
        Err(Stop::Wait(_)) => respond::refuse(shared, client, ctx, Reason::InvalidToken, None).await?,
        Err(Stop::NotAllowed(allow)) => {
            respond::refuse(shared, client, ctx, Reason::MethodNotAllowed, Some(allow)).await?;
        }
        Err(Stop::Preflight(headers)) => respond::preflight(client, ctx, headers).await?,
    }
    Ok(true)
}

/// Decides a request; where something has to be found out first, once more when it is.
async fn judge(shared: &Shared, client: &impl Client, ctx: &mut Context) -> Result<(), Stop> {
    let mut verdict = authorise(shared, client.asked(), ctx);
    // An unknown key, then an unknown account.
    for _ in 0..2 {
        let Err(Stop::Wait(errand)) = &verdict else { break };
        if !shared.errands.run(errand.clone()).await {
            break;
        }
        verdict = authorise(shared, client.asked(), ctx);
    }
    verdict
}

/// Finds the upstream of a permit in the snapshot it was made from, and holds the body to its bound.
fn prepare(client: &impl Client, ctx: &mut Context) -> Result<(), Reason> {
    if let Some(Destination::Upstream(route)) = ctx.permit.as_ref().map(Permit::destination) {
        let upstream = ctx.snapshot.as_ref().and_then(|snapshot| snapshot.upstream(&route.upstream)).cloned();
        ctx.upstream = Some(upstream.ok_or(Reason::UpstreamUnreachable)?);
    }
    let announced = client.asked().headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > filters::max_body(ctx)) { Err(Reason::TooLarge) } else { Ok(()) }
}

/// Why no new work is taken on, if so.
fn overload(shared: &Shared) -> Option<Reason> {
    let most = shared.limits.max_requests;
    let is_full = most > 0 && shared.load.requests() > most;
    (is_full || shared.load.is_shedding()).then_some(Reason::Overloaded)
}
