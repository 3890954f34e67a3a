//! Policies as text: looked at before they are saved, with their schema, and all of them at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Policies, body};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::Issue;
use crate::admin::reply::Plain;
use crate::model::{PolicyName, Timestamp};
use crate::policy;

/// With more users than that, their part of an export is asked for on the command line, which writes to a file.
const MOST_USERS: usize = 50_000;

/// What is wrong with a text.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyValidation")]
pub(super) struct Validation {
    /// Whether it could be activated.
    valid: bool,
    /// Entries as those of a refused write.
    #[schemars(with = "Vec<serde_json::Value>")]
    errors: Vec<Issue>,
}

/// A policy that is not a row.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyFile")]
pub(super) struct File {
    /// Its name, without ending.
    name: PolicyName,
    /// One Cedar policy, or several.
    source: String,
    /// Whether it is part of the program.
    is_shipped: bool,
}

/// The complete set, for Cedar's tools and for `cedargate policy`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyExport")]
#[serde(transparent)]
pub(super) struct Export(#[schemars(with = "serde_json::Map<String, serde_json::Value>")] policy::Export);

pub(super) async fn validate(State(state): State<Policies>, call: Call) -> Result<Json<Validation>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let text = input.read(body::validate)?;
    let snapshot = state.control.snapshots().load();
    let review = state.texts.work(move || snapshot.review(&text)).await??;
    let errors = body::issues(review);
    Ok(Json(Validation { valid: errors.is_empty(), errors }))
}

pub(super) async fn schema(State(state): State<Policies>, call: Call) -> Result<Plain, Error> {
    let (_, input) = call.permit("policy:read")?;
    input.finish(|| Some(()))?;
    Ok(Plain(state.control.snapshots().load().schema_text()?))
}

pub(super) async fn files(State(state): State<Policies>, call: Call) -> Result<Json<Vec<File>>, Error> {
    let (_, input) = call.permit("policy:read")?;
    input.finish(|| Some(()))?;
    let snapshot = state.control.snapshots().load();
    let file = |(text, is_shipped): (&crate::model::rules::PolicyText, bool)| File {
        name: text.name.clone(),
        source: text.source.clone(),
        is_shipped,
    };
    Ok(Json(snapshot.file_policies().map(file).collect()))
}

pub(super) async fn export(State(state): State<Policies>, call: Call) -> Result<Json<Export>, Error> {
    let (_, input) = call.permit("policy:read")?;
    let with_users = input.read(body::export)?;
    let mut snapshot = state.control.snapshots().load();
    if with_users && snapshot.user_count() > MOST_USERS {
        let advice = "ask with users=false, or use `cedargate policy show --json`";
        return Err(Error::BadRequest(format!("More than {MOST_USERS} users: {advice}").into()));
    }
    if !with_users {
        let mut without = snapshot.advanced(snapshot.revisions(), snapshot.activated_at());
        without.put_everybody([], []);
        snapshot = Arc::new(without);
    }
    let written = state.texts.work(move || policy::export(&snapshot, Timestamp::now())).await?;
    Ok(Json(Export(written?)))
}
