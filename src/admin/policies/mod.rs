//! Hand-written policies.

mod body;
mod texts;

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
use super::turns::Turns;
use crate::control::{Control, Write};
use crate::model::{Policy, PolicyId, PolicyName, PolicyPatch, Timestamp, rules::PolicyText};
use crate::policy::Snapshot;
use crate::store::{self, Tx, changes::Change, policies, policies::Filter, policies::PolicyRow};

/// What the endpoints of this folder use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Policies {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) texts: Turns,
}

/// So many texts are looked at, or written out, at once.
pub(super) const AT_ONCE: usize = 2;

pub(super) fn endpoints() -> Endpoints<Policies> {
    Endpoints::new("Policies")
        .get("/policies/", Needs("policy:read"), "List policies", list)
        .reads(listing)
        .post("/policies/", Needs("policy:create"), "Create a policy", create)
        .reads(body::create)
        .get("/policies/count", Needs("policy:read"), "Count policies", count)
        .reads(filter)
        .post("/policies/validate", Needs("policy:read"), "Say what is wrong with Cedar text", texts::validate)
        .reads(body::validate)
        .get("/policies/schema", Needs("policy:read"), "Get the Cedar schema of all policies", texts::schema)
        .get("/policies/files", Needs("policy:read"), "List policies that are shipped or come from files", texts::files)
        .get("/policies/export", Needs("policy:read"), "Get everything that is decided by", texts::export)
        .reads(body::export)
        .get("/policies/{policy_id}", Needs("policy:read"), "Get a policy", one)
        .put("/policies/{policy_id}", Needs("policy:update"), "Change a policy", update)
        .reads(body::update)
        .patch("/policies/{policy_id}", Needs("policy:update"), "Change some of a policy", update)
        .reads(body::update)
        .delete("/policies/{policy_id}", Needs("policy:delete"), "Delete a policy", delete)
        .post("/policies/{policy_id}/restore", Needs("policy:update"), "Bring a deleted policy back", restore)
        .patch("/policies/{policy_id}/toggle-status", Needs("policy:update"), "Activate or deactivate a policy", toggle)
}

fn not_found() -> Error {
    Error::NotFound("Policy not found".into())
}

fn taken(error: store::Error) -> Error {
    Error::taken(error, "Policy name already exists")
}

async fn existing(tx: &mut Tx, id: PolicyId) -> Result<Policy, Error> {
    policies::get(tx, id).await?.ok_or_else(not_found)
}

/// A policy of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyListItem")]
struct Item {
    #[serde(flatten)]
    policy: Policy,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
}

impl From<PolicyRow> for Item {
    fn from(PolicyRow { policy, deleted_at }: PolicyRow) -> Self {
        Self { policy, deleted_at }
    }
}

fn filter(input: &mut Input) -> Valid<Filter> {
    let search = search(input);
    let is_active = input.query::<bool>("is_active").optional();
    let (created, sort) = (created(input), sort(input, policies::SORT_KEYS));
    let include_deleted = input.query::<bool>("include_deleted").or(false);
    let (search, is_active, include_deleted) = (search?, is_active?, include_deleted?);
    Some(Filter { search, is_active, created: created?, include_deleted, sort: sort? })
}

fn listing(input: &mut Input) -> Valid<(Page, Filter)> {
    let (page, filter) = (page(input, Limits::Lenient), filter(input));
    Some((page?, filter?))
}

async fn list(State(state): State<Policies>, call: Call) -> Result<Listed<Item>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let (page, filter) = input.read(listing)?;
    let mut tx = state.control.read().await?;
    let rows = policies::list(&mut tx, &filter, page.into()).await?;
    Ok(Listed { rows, total: policies::total(&mut tx, &filter).await? }.map(Item::from))
}

async fn count(State(state): State<Policies>, call: Call) -> Result<Json<i64>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let filter = input.read(filter)?;
    let mut tx = state.control.read().await?;
    Ok(Json(policies::count(&mut tx, &filter).await?))
}

async fn one(State(state): State<Policies>, call: Call) -> Result<Json<Policy>, Error> {
    let (_, mut input) = call.permit("policy:read")?;
    let id = input.path("policy_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

async fn create(State(state): State<Policies>, call: Call) -> Result<Written<Policy>, Error> {
    let (caller, input) = call.permit("policy:create")?;
    let new = input.read(body::create)?;
    // Writers do not wait for what is refused.
    state.check(&state.gate.snapshots.load(), &new.name, &new.source).await?;
    let mut write = state.control.write_as(caller.origin()).await?;
    state.check(write.base(), &new.name, &new.source).await?;
    let now = write.now();
    let id = policies::insert(write.tx(), &new, now).await.map_err(taken)?;
    changed(write, id).await
}

impl Policies {
    /// Refuses what could not be activated in `snapshot`, whether it is to be or not.
    async fn check(&self, snapshot: &Arc<Snapshot>, name: &PolicyName, source: &str) -> Result<(), Error> {
        if snapshot.has_file(name) {
            return Err(Error::BadRequest("Policy name already exists among policy files".into()));
        }
        let (snapshot, text) = (Arc::clone(snapshot), PolicyText { name: name.clone(), source: source.to_owned() });
        match body::issues(self.texts.work(move || snapshot.review(&text)).await??) {
            issues if issues.is_empty() => Ok(()),
            issues => Err(Error::Validation(issues)),
        }
    }
}

async fn changed(mut write: Write, id: PolicyId) -> Result<Written<Policy>, Error> {
    write.touch(Change::Policy(id));
    let policy = existing(write.tx(), id).await?;
    record::after_policy(&mut write, id).await?;
    Ok(write.commit(policy).await?.into())
}

async fn update(State(state): State<Policies>, call: Call) -> Result<Written<Policy>, Error> {
    let (caller, input) = call.permit("policy:update")?;
    let (id, patch) = input.read(body::update)?;
    if let Some(source) = &patch.source {
        state.check(&state.gate.snapshots.load(), patch.name.as_ref().unwrap_or(&body::unnamed()), source).await?;
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_policy(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    let (name, source) = (patch.name.as_ref().unwrap_or(&current.name), patch.source.as_ref());
    state.check(write.base(), name, source.unwrap_or(&current.source)).await?;
    policies::update(write.tx(), id, &patch, now).await.map_err(taken)?;
    changed(write, id).await
}

async fn toggle(State(state): State<Policies>, call: Call) -> Result<Written<Policy>, Error> {
    let (caller, mut input) = call.permit("policy:update")?;
    let id = input.path::<PolicyId>("policy_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_policy(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    if !current.is_active {
        state.check(write.base(), &current.name, &current.source).await?;
    }
    let patch = PolicyPatch { is_active: Some(!current.is_active), ..PolicyPatch::default() };
    policies::update(write.tx(), id, &patch, now).await?;
    changed(write, id).await
}

async fn delete(State(state): State<Policies>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("policy:delete")?;
    let id = input.path::<PolicyId>("policy_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_policy(&mut write, id).await?;
    let now = write.now();
    existing(write.tx(), id).await?;
    policies::delete(write.tx(), id, now).await?;
    write.touch(Change::Policy(id));
    write.gone(record::POLICY, id.0);
    Ok(write.commit(Message::new("Policy deleted successfully")).await?.into())
}

async fn restore(State(state): State<Policies>, call: Call) -> Result<Written<Policy>, Error> {
    let (caller, mut input) = call.permit("policy:update")?;
    let id = input.path::<PolicyId>("policy_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if policies::get(write.tx(), id).await?.is_some() {
        return Err(Error::BadRequest("Policy is not deleted".into()));
    }
    let deleted = policies::get_deleted(write.tx(), id).await?.ok_or_else(not_found)?;
    state.check(write.base(), &deleted.name, &deleted.source).await?;
    policies::restore(write.tx(), id, now).await.map_err(taken)?;
    changed(write, id).await
}
