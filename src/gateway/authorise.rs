//! From a request's head to a permit or a refusal. Nothing here waits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};

use crate::http::cors::is_preflight;
use crate::http::{Allowance, Client, RequestId, Target, is_method};
use crate::jwt::{self, Errand};
use crate::model::{Reason, RouteRate, Timestamp};
use crate::policy::{Ask, Caller, Decision, Entry, Facts, GatewayRoute, Snapshot, Subject};
use crate::telemetry::RouteLabel;

use super::client::Asked;
use super::context::Context;
use super::shared::Shared;
use super::{credentials, headers, host};

/// What becomes of a request that is not forwarded.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is refused.
    Refuse(Reason),
    /// It is refused, and told which methods there are.
    NotAllowed(HeaderValue),
    /// Something has to be found out before it can be judged, by asking once more.
    Wait(Errand),
    /// It is a preflight, answered with these headers.
    Preflight(Vec<(HeaderName, HeaderValue)>),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Refuse(reason)
    }
}

/// Decides `request` and leaves the permit, and all that the log tells, in `ctx`.
pub(super) fn authorise(shared: &Shared, request: Asked<'_>, ctx: &mut Context) -> Result<(), Stop> {
    let snapshot = shared.snapshots.load();
    ctx.snapshot = Some(snapshot.clone());
    ctx.method = Some(request.method.clone());
    if shared.access_log.is_on() {
        ctx.user_agent = request.headers.get(header::USER_AGENT).cloned();
    }

    if !is_method(request.method.as_str().as_bytes()) {
        ctx.refused_path = Some(loggable(request.target));
        return Err(Reason::BadRequest.into());
    }
    if *request.method == Method::CONNECT || *request.method == Method::TRACE {
        ctx.refused_path = Some(loggable(request.target));
        return Err(Stop::NotAllowed(HeaderValue::from_static("")));
    }
    // Over HTTP/2 nobody has counted yet.
    let bounds = &shared.limits.head;
    let is_long = request.target.len() > bounds.target;
    if is_long || request.headers.len() > bounds.fields {
        ctx.refused_path = Some(loggable(request.target));
        return Err(if is_long { Reason::TargetTooLong } else { Reason::HeadersTooLarge }.into());
    }
    let target = Target::parse(request.target).map_err(|_| {
        ctx.refused_path = Some(loggable(request.target));
        Reason::BadTarget
    })?;
    let host = host::of(request).map_err(|_| Reason::BadRequest);
    let headers = headers::check(request.headers).map_err(|_| Reason::BadRequest);
    ctx.target = Some(target);
    ctx.host = Some(host?);
    headers?;
    let decision = judge(shared, request, ctx, &snapshot)?;
    for (policy, error) in &decision.errors {
        shared.metrics.policy_error(policy);
        tracing::warn!(request.id = %ctx.request_id, policy, error, "a policy could not be evaluated");
    }
    ctx.policies = Some(decision.policies);
    ctx.errors = decision.errors;
    ctx.permitted(decision.outcome?);
    Ok(())
}

/// Finds the route and asks the engine.
fn judge(shared: &Shared, request: Asked<'_>, ctx: &mut Context, snapshot: &Snapshot) -> Result<Decision, Stop> {
    let (Some(target), Some(host)) = (&ctx.target, &ctx.host) else { return Err(Reason::BadRequest.into()) };
    let matched = snapshot.routes().find(host, target.decoded_path()).ok_or(Reason::UnknownRoute)?;
    let facts = Facts {
        method: request.method.as_str(),
        path: target.decoded_path(),
        host,
        params: &matched.params,
        client_ip: ctx.client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        now: Timestamp::now(),
        client_certificate: ctx.certificate.as_deref(),
        owner: None,
    };
    let route = match matched.entry {
        Entry::Mounted(_) => {
            ctx.route = RouteLabel::Admin;
            return Ok(snapshot.decide(&Ask { caller: None, subject: Subject::Mounted, facts }));
        }
        Entry::Route(route) => route,
    };
    ctx.route = RouteLabel::Route(route.id.0);
    ctx.matched = Some(Arc::clone(route));
    let Some(operation) = route.operation(request.method.as_str()) else {
        return Err(without_operation(shared, request, route.allow_header()));
    };
    ctx.operation = Some(operation.clone());
    // Presented credentials are verified on public routes too: malformed is never anonymous.
    if let Some(token) = credentials::bearer(request.headers)? {
        let claims = shared.verifier.verify(token, facts.now).map_err(|error| refused_token(ctx.request_id, error))?;
        let claims = ctx.claims.insert(claims);
        ctx.caller = Some(snapshot.caller(claims, facts.now).map_err(|reason| match snapshot.is_newcomer(claims) {
            true => Stop::Wait(Errand::Account(Arc::clone(claims))),
            false => Stop::Refuse(reason),
        })?);
    } else if !operation.is_public() {
        return Err(Reason::NoCredentials.into());
    }
    if let Some(rates) = &shared.rates {
        let counted = rates.request(client(ctx.caller.as_ref(), ctx.client), route.id, own_rate(route));
        ctx.standing = counted.map_err(|refusal| {
            (ctx.standing, ctx.retry_after) = (Some(refusal.standing), Some(refusal.retry_after));
            Reason::RateLimited
        })?;
    }
    let owner = operation.owner_of(&matched.params, &|name| target.query_value(name), ctx.claims.as_deref());
    ctx.owner = owner.map_err(|_| Reason::BadRequest)?;
    let facts = Facts { owner: ctx.owner.as_deref(), ..facts };
    Ok(snapshot.decide(&Ask { caller: ctx.caller.as_ref(), subject: Subject::Operation(operation), facts }))
}

/// Who is counted: a user, or an address where nobody is signed in.
fn client(caller: Option<&Caller>, address: Option<IpAddr>) -> Client {
    match caller {
        Some(caller) => caller.user_id().map_or_else(|| Client::named(caller.username()), Client::User),
        None => Client::at(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())),
    }
}

fn own_rate(route: &GatewayRoute) -> Option<Allowance> {
    let allowance = |rate: RouteRate| Allowance {
        requests: rate.requests,
        window: Duration::from_secs(rate.window_seconds.get().into()),
    };
    route.rate_limit.map(allowance)
}

fn refused_token(id: RequestId, error: jwt::Error) -> Stop {
    tracing::debug!(request.id = %id, %error, "token refused");
    match error {
        jwt::Error::Invalid(_) | jwt::Error::Kind => Reason::InvalidToken.into(),
        jwt::Error::Expired => Reason::ExpiredToken.into(),
        jwt::Error::UnknownKey { issuer } => Stop::Wait(Errand::Keys(issuer)),
    }
}

/// A method the route has no operation for: a preflight is answered here, anything else is refused.
fn without_operation(shared: &Shared, request: Asked<'_>, allow: &str) -> Stop {
    let headers = request.headers;
    if is_preflight(request.method, headers) {
        return shared.cors.preflight(headers).map_or(Stop::Refuse(Reason::BadRequest), Stop::Preflight);
    }
    Stop::NotAllowed(HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static("")))
}

/// The path of a refused target for the log: bounded, without query.
pub(super) fn loggable(target: &[u8]) -> String {
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    path.escape_ascii().take(1_024).map(char::from).collect()
}
