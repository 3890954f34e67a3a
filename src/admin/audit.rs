//! The audit trail.

use axum::Json;
use axum::extract::{FromRef, State};

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, page, period, sort};
use super::reply::Listed;
use crate::control::Control;
use crate::model::UserId;
use crate::store::{audit, audit::AuditRecord, audit::Filter};

/// As long as any kind, id or action.
const LONGEST: usize = 100;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Audit {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Audit> {
    Endpoints::new("Audit trail")
        .get("/audit-logs/", Needs("audit:read"), "List changes", list)
        .reads(listing)
        .get("/audit-logs/count", Needs("audit:read"), "Count changes", count)
        .reads(filter)
        .get("/audit-logs/{record_id}", Needs("audit:read"), "Get a change", one)
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let actor_id = input.query::<UserId>("actor_id").unless_absent();
    let resource = input.query::<String>("resource").max_length(LONGEST).optional();
    let resource_id = input.query::<String>("resource_id").max_length(LONGEST).optional();
    let action = input.query::<String>("action").max_length(LONGEST).optional();
    let period = period(input, "from", "to");
    let sort = sort(input, audit::SORT_KEYS);
    let (resource, resource_id, action) = (resource?, resource_id?, action?);
    let (actor_id, period, sort) = (actor_id?, period?, sort?);
    Some(Filter { actor_id, resource, resource_id, action, period, sort })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Lenient), filter(input));
    Some((page?, filter?))
}

async fn list(State(state): State<Audit>, call: Call) -> Result<Listed<AuditRecord>, Error> {
    let (_, input) = call.permit("audit:read")?;
    let (page, filter) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = audit::list(&mut tx, &filter, page.into()).await?;
    Ok(Listed { rows, total: audit::total(&mut tx, &filter).await? })
}

async fn count(State(state): State<Audit>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("audit:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(audit::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Audit>, call: Call) -> Result<Json<AuditRecord>, Error> {
    let (_, mut input) = call.permit("audit:read")?;
    let id = input.path::<i64>("record_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let record = audit::get(&mut tx, id).await?;
    record.map(Json).ok_or_else(|| Error::NotFound("Audit record not found".into()))
}
