//! Upstreams: where the gateway forwards to.

use axum::Json;
use axum::extract::{FromRef, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{self, Flaw, Input, Object, Valid};
use super::page::{Limits, Page, created, page, search, sort};
use super::record;
use super::reply::{Listed, Message, Written};
use crate::control::{Control, Write};
use crate::model::{
    Balance, Ejection, HashOn, HealthCheck, Host, NewUpstream, Protocol, Target, Timeouts, Timestamp, Tls, Upstream,
    UpstreamId, UpstreamName, UpstreamPatch,
};
use crate::store::{self, Tx, changes::Change, routes, upstreams, upstreams::Filter, upstreams::UpstreamRow};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Upstreams {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Upstreams> {
    Endpoints::new("Upstreams")
        .get("/upstreams/", Needs("upstream:read"), "List upstreams", list)
        .reads(listing)
        .post("/upstreams/", Needs("upstream:create"), "Create an upstream", create)
        .reads(read_create)
        .get("/upstreams/count", Needs("upstream:read"), "Count upstreams", count)
        .reads(filter)
        .get("/upstreams/{upstream_id}", Needs("upstream:read"), "Get an upstream", one)
        .put("/upstreams/{upstream_id}", Needs("upstream:update"), "Change an upstream", update)
        .reads(read_update)
        .delete("/upstreams/{upstream_id}", Needs("upstream:delete"), "Delete an upstream", delete)
        .post("/upstreams/{upstream_id}/restore", Needs("upstream:update"), "Bring a deleted upstream back", restore)
}

const MOST_TARGETS: usize = 256;
const MOST_RETRIES: i64 = 10;
const LONGEST_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;

fn not_found() -> Error {
    Error::NotFound("Upstream not found".into())
}

fn taken(error: store::Error) -> Error {
    Error::taken(error, "Upstream name already exists")
}

async fn existing(tx: &mut Tx, id: UpstreamId) -> Result<Upstream, Error> {
    upstreams::get(tx, id).await?.ok_or_else(not_found)
}

/// An upstream of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UpstreamListItem")]
struct Item {
    #[serde(flatten)]
    upstream: Upstream,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl From<UpstreamRow> for Item {
    fn from(UpstreamRow { upstream, deleted_at }: UpstreamRow) -> Self {
        Self { upstream, deleted_at }
    }
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let (created, sort) = (created(input), sort(input, upstreams::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let (search, is_active, include_deleted) = (search?, is_active?, include_deleted?);
    Some(Filter { search, is_active, created: created?, include_deleted, sort: sort? })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Lenient), filter(input));
    Some((page?, filter?))
}

async fn list(State(state): State<Upstreams>, call: Call) -> Result<Listed<Item>, Error> {
    let (_, input) = call.permit("upstream:read")?;
    let (page, filter) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = upstreams::list(&mut tx, &filter, page.into()).await?;
    Ok(Listed { rows, total: upstreams::total(&mut tx, &filter).await? }.map(Item::from))
}

async fn count(State(state): State<Upstreams>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("upstream:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(upstreams::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Upstreams>, call: Call) -> Result<Json<Upstream>, Error> {
    let (_, mut input) = call.permit("upstream:read")?;
    let id = input.path("upstream_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

/// What both bodies have, read and held to what can work.
struct Settings {
    targets: Option<Vec<Target>>,
    tls: input::Change<Option<Tls>>,
    host_header: input::Change<Option<String>>,
    timeouts: Option<Timeouts>,
    retries: Option<i64>,
    protocol: Option<Protocol>,
    balance: Option<Balance>,
    hash_on: Option<HashOn>,
    retry_budget_percent: Option<i64>,
    health_check: input::Change<Option<HealthCheck>>,
    ejection: input::Change<Option<Ejection>>,
    max_body_bytes: input::Change<Option<i64>>,
    is_active: Option<bool>,
}

/// Reads them; a new upstream needs targets.
fn settings(body: &mut Object<'_>, is_new: bool) -> Valid<Settings> {
    let targets = body.json::<Vec<Target>>("targets").check(|targets| check_targets(targets));
    let targets = if is_new { targets.required().map(Some) } else { targets.optional() };
    let tls = body.json::<Tls>("tls").check(|tls| check_host(&tls.server_name, "server_name")).nullable();
    let host_header = body.field::<String>("host_header").check(|host| check_host_header(host)).nullable();
    let timeouts = body.json::<Timeouts>("timeouts").check(|timeouts| check_timeouts(*timeouts)).optional();
    let retries = body.field::<i64>("retries").at_least(0).at_most(MOST_RETRIES).optional();
    let max_body_bytes = body.field::<i64>("max_body_bytes").at_least(0).nullable();
    let is_active = body.optional::<bool>("is_active");
    let protocol = body.json::<Protocol>("protocol").optional();
    let balance = body.json::<Balance>("balance").optional();
    let hash_on = body.json::<HashOn>("hash_on").optional();
    let retry_budget_percent = body.field::<i64>("retry_budget_percent").at_least(0).at_most(100).optional();
    let health_check = body.json::<HealthCheck>("health_check").check(check_health).nullable();
    let ejection = body.json::<Ejection>("ejection").check(|ejection| check_ejection(*ejection)).nullable();
    body.optional::<i64>("id");
    Some(Settings {
        targets: targets?,
        tls: tls?,
        host_header: host_header?,
        timeouts: timeouts?,
        retries: retries?,
        protocol: protocol?,
        balance: balance?,
        hash_on: hash_on?,
        retry_budget_percent: retry_budget_percent?,
        health_check: health_check?,
        ejection: ejection?,
        max_body_bytes: max_body_bytes?,
        is_active: is_active?,
    })
}

fn check_targets(targets: &[Target]) -> Result<(), Flaw> {
    if targets.is_empty() || targets.len() > MOST_TARGETS {
        return Err(Flaw::value(format!("between 1 and {MOST_TARGETS} targets are needed")));
    }
    for target in targets {
        let (host, port) = target.address.rsplit_once(':').unwrap_or((&target.address, ""));
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(Flaw::value(format!("'{}' is not address:port or name:port", target.address)));
        }
        check_host(host, "address")?;
        if !(1..=100).contains(&target.weight) {
            return Err(Flaw::value("weight must be between 1 and 100"));
        }
    }
    Ok(())
}

/// A TLS name must not be empty: the library below would then skip verification without a word.
fn check_host(host: &str, what: &str) -> Result<(), Flaw> {
    Host::try_from(host).map(|_| ()).map_err(|_| Flaw::value(format!("{what} '{host}' is not a host")))
}

fn check_host_header(header: &str) -> Result<(), Flaw> {
    let (host, port) = match header.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (header, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Flaw::value("host_header is not host or host:port"));
    }
    check_host(host, "host_header")
}

fn check_health(check: &HealthCheck) -> Result<(), Flaw> {
    if let Some(path) = &check.path
        && crate::http::Target::parse(path.as_bytes()).is_err()
    {
        return Err(Flaw::value(format!("'{path}' is not a path")));
    }
    if !(100..=LONGEST_TIMEOUT_MS).contains(&check.interval_ms) || !(1..=60_000).contains(&check.timeout_ms) {
        return Err(Flaw::value("interval_ms must be at least 100, timeout_ms from 1 to 60000"));
    }
    if ![check.healthy_after, check.unhealthy_after].iter().all(|times| (1..=100).contains(times)) {
        return Err(Flaw::value("healthy_after and unhealthy_after must be from 1 to 100"));
    }
    if check.status.len() > 50 || check.status.iter().any(|status| !(200..=599).contains(status)) {
        return Err(Flaw::value("status must name at most 50 codes from 200 to 599"));
    }
    Ok(())
}

fn check_ejection(ejection: Ejection) -> Result<(), Flaw> {
    if (1..=1_000).contains(&ejection.failures) && (100..=LONGEST_TIMEOUT_MS).contains(&ejection.ms) {
        return Ok(());
    }
    Err(Flaw::value("failures must be from 1 to 1000, ms at least 100"))
}

fn check_timeouts(timeouts: Timeouts) -> Result<(), Flaw> {
    let Timeouts { connect_ms, read_ms, write_ms, total_ms, idle_ms } = timeouts;
    let all = [connect_ms, read_ms, write_ms, total_ms, idle_ms];
    if all.iter().all(|ms| (1..=LONGEST_TIMEOUT_MS).contains(ms)) {
        return Ok(());
    }
    Err(Flaw::value(format!("timeouts must be between 1 and {LONGEST_TIMEOUT_MS} milliseconds")))
}

fn read_create(input: &mut Input) -> Valid<NewUpstream> {
    let mut body = input.body();
    let name = body.required::<UpstreamName>("name");
    let settings = settings(&mut body, true);
    body.refuse_unknown();
    let settings = settings?;
    Some(NewUpstream {
        name: name?,
        is_active: settings.is_active.unwrap_or(true),
        protocol: settings.protocol.unwrap_or_default(),
        targets: settings.targets?,
        balance: settings.balance.unwrap_or_default(),
        hash_on: settings.hash_on.unwrap_or_default(),
        tls: settings.tls.flatten(),
        host_header: settings.host_header.flatten(),
        timeouts: settings.timeouts.unwrap_or_default(),
        retries: settings.retries.unwrap_or(0),
        retry_budget_percent: settings.retry_budget_percent.unwrap_or(Upstream::RETRY_BUDGET_PERCENT),
        health_check: settings.health_check.flatten(),
        ejection: settings.ejection.unwrap_or_else(|| Some(Ejection::default())),
        max_body_bytes: settings.max_body_bytes.flatten(),
    })
}

async fn create(State(state): State<Upstreams>, call: Call) -> Result<Written<Upstream>, Error> {
    let (caller, input) = call.permit("upstream:create")?;
    let new = input.read(read_create)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let id = upstreams::insert(write.tx(), &new, now).await.map_err(taken)?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: UpstreamId) -> Result<Written<Upstream>, Error> {
    write.touch(Change::Upstream(id));
    let upstream = existing(write.tx(), id).await?;
    record::after_upstream(&mut write, id).await?;
    Ok(write.commit(upstream).await?.into())
}

fn read_update(input: &mut Input) -> Valid<(UpstreamId, UpstreamPatch)> {
    let id = input.path("upstream_id");
    let mut body = input.body();
    let name = body.optional::<UpstreamName>("name");
    let settings = settings(&mut body, false);
    body.refuse_unknown();
    let settings = settings?;
    let patch = UpstreamPatch {
        name: name?,
        is_active: settings.is_active,
        targets: settings.targets,
        tls: settings.tls,
        host_header: settings.host_header,
        timeouts: settings.timeouts,
        retries: settings.retries,
        protocol: settings.protocol,
        balance: settings.balance,
        hash_on: settings.hash_on,
        retry_budget_percent: settings.retry_budget_percent,
        health_check: settings.health_check,
        ejection: settings.ejection,
        max_body_bytes: settings.max_body_bytes,
    };
    Some((id?, patch))
}

async fn update(State(state): State<Upstreams>, call: Call) -> Result<Written<Upstream>, Error> {
    let (caller, input) = call.permit("upstream:update")?;
    let (id, patch) = input.read(read_update)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_upstream(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    // Routes name their upstream; a new name would leave them pointing nowhere.
    if patch.name.as_ref().is_some_and(|name| *name != current.name) {
        refuse_if_used(write.tx(), &current).await?;
    }
    upstreams::update(write.tx(), id, &patch, now).await.map_err(taken)?;
    changed(write, id).await
}

async fn refuse_if_used(tx: &mut Tx, upstream: &Upstream) -> Result<(), Error> {
    let users = routes::using_upstream(tx, &upstream.name).await?;
    if users.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = users.iter().take(20).map(|route| format!("{} ({})", route.route, route.id)).collect();
    let more = if users.len() > 20 { ", …" } else { "" };
    Err(Error::BadRequest(format!("Upstream is used by routes: {}{more}", names.join(", ")).into()))
}

async fn delete(State(state): State<Upstreams>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("upstream:delete")?;
    let id = input.path::<UpstreamId>("upstream_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_upstream(&mut write, id).await?;
    let now = write.now();
    let upstream = existing(write.tx(), id).await?;
    refuse_if_used(write.tx(), &upstream).await?;
    upstreams::delete(write.tx(), id, now).await?;
    write.touch(Change::Upstream(id));
    write.gone(record::UPSTREAM, id.0);
    Ok(write.commit(Message::new("Upstream deleted successfully")).await?.into())
}

async fn restore(State(state): State<Upstreams>, call: Call) -> Result<Written<Upstream>, Error> {
    let (caller, mut input) = call.permit("upstream:update")?;
    let id = input.path::<UpstreamId>("upstream_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if upstreams::get(write.tx(), id).await?.is_some() {
        return Err(Error::BadRequest("Upstream is not deleted".into()));
    }
    if !upstreams::restore(write.tx(), id, now).await.map_err(taken)? {
        return Err(not_found());
    }
    changed(write, id).await
}
