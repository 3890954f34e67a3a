//! Upstreams: where the gateway forwards to.

mod body;
mod checks;
mod health;

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, State};
use schemars::JsonSchema;
use serde::Serialize;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, created, page, search, sort};
use super::record;
use super::reply::{Listed, Message, Written};
use crate::control::{Control, Write};
use crate::model::{Timestamp, Upstream, UpstreamId};
use crate::store::{self, Tx, changes::Change, routes, upstreams, upstreams::Filter, upstreams::UpstreamRow};
use crate::telemetry::Metrics;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Upstreams {
    pub(super) gate: Gate,
    pub(super) control: Control,
    /// Names of the certificates that upstreams may be shown.
    pub(super) certificates: Arc<[String]>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) fn endpoints() -> Endpoints<Upstreams> {
    Endpoints::new("Upstreams")
        .get("/upstreams/", Needs("upstream:read"), "List upstreams", list)
        .reads(listing)
        .post("/upstreams/", Needs("upstream:create"), "Create an upstream", create)
        .reads(body::create)
        .get("/upstreams/count", Needs("upstream:read"), "Count upstreams", count)
        .reads(filter)
        .get("/upstreams/{upstream_id}", Needs("upstream:read"), "Get an upstream", one)
        .put("/upstreams/{upstream_id}", Needs("upstream:update"), "Change an upstream", update)
        .reads(body::update)
        .delete("/upstreams/{upstream_id}", Needs("upstream:delete"), "Delete an upstream", delete)
        .get(
            "/upstreams/{upstream_id}/health",
            Needs("upstream:read"),
            "Tell how an upstream's targets are",
            health::tell,
        )
        .post("/upstreams/{upstream_id}/restore", Needs("upstream:update"), "Bring a deleted upstream back", restore)
}

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

async fn create(State(state): State<Upstreams>, call: Call) -> Result<Written<Upstream>, Error> {
    let (caller, input) = call.permit("upstream:create")?;
    let new = input.read(body::create)?;
    checks::client_certificate(new.tls.as_ref(), &state.certificates)?;
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

async fn update(State(state): State<Upstreams>, call: Call) -> Result<Written<Upstream>, Error> {
    let (caller, input) = call.permit("upstream:update")?;
    let (id, patch) = input.read(body::update)?;
    checks::client_certificate(patch.tls.as_ref().and_then(Option::as_ref), &state.certificates)?;
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
    let restored = existing(write.tx(), id).await?;
    checks::client_certificate(restored.tls.as_ref(), &state.certificates)?;
    changed(write, id).await
}
