//! The running process: what may be changed without a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Flaw, Input, Valid};
use crate::telemetry::{Logs, logs};

/// The settings to be told, by section and name.
pub type Config = BTreeMap<String, Map<String, Value>>;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct System {
    pub(super) gate: Gate,
    pub(super) logs: Logs,
    pub(super) config: Arc<Config>,
}

pub(super) fn endpoints() -> Endpoints<System> {
    Endpoints::new("System")
        .get("/system/log-level", Needs("system:read"), "Get the level of the log", level)
        .put("/system/log-level", Needs("system:manage"), "Change the level of the log", set_level)
        .reads(wanted)
        .get("/config", Needs("system:read"), "Get the settings", config)
}

/// The level of the process's log; none where it does not log.
#[derive(Serialize, JsonSchema)]
struct LogLevel {
    level: Option<String>,
}

impl LogLevel {
    fn of(level: Option<tracing::Level>) -> Json<Self> {
        Json(Self { level: level.map(|level| level.as_str().to_ascii_lowercase()) })
    }
}

async fn level(State(state): State<System>, call: Call) -> Result<Json<LogLevel>, Error> {
    call.permit("system:read")?;
    Ok(LogLevel::of(state.logs.level()))
}

/// The settings that took effect, without secrets.
pub(super) async fn config(State(state): State<System>, call: Call) -> Result<Json<Config>, Error> {
    call.permit("system:read")?;
    Ok(Json(Config::clone(&state.config)))
}

fn wanted(input: &mut Input) -> Valid<String> {
    let known = |level: &String| match logs::LEVELS.contains(&level.as_str()) {
        true => Ok(()),
        false => Err(Flaw::value(logs::Error::Level)),
    };
    input.body().field::<String>("level").one_of(&logs::LEVELS).check(known).required()
}

async fn set_level(State(state): State<System>, call: Call) -> Result<Json<LogLevel>, Error> {
    let (caller, input) = call.permit("system:manage")?;
    let level = input.read(wanted)?;
    let level = state.logs.set_level(&level).map_err(Error::internal)?;
    tracing::warn!(user.id = %caller.id(), %level, "log level changed");
    Ok(LogLevel::of(Some(level)))
}
