//! The running process: what may be changed without a restart.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::Value;

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::Flaw;
use crate::telemetry::{Logs, logs};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct System {
    pub(super) gate: Gate,
    pub(super) logs: Logs,
    pub(super) config: Arc<Value>,
}

pub(super) fn endpoints() -> Endpoints<System> {
    Endpoints::new().at("/system/log-level", get(level).put(set_level)).at("/config", get(config))
}

/// The level of the process's log; none where it does not log.
#[derive(Serialize)]
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
pub(super) async fn config(State(state): State<System>, call: Call) -> Result<Response, Error> {
    call.permit("system:read")?;
    Ok(Json(&*state.config).into_response())
}

async fn set_level(State(state): State<System>, call: Call) -> Result<Json<LogLevel>, Error> {
    let (caller, mut input) = call.permit("system:manage")?;
    let known = |level: &String| match logs::LEVELS.contains(&level.as_str()) {
        true => Ok(()),
        false => Err(Flaw::value(logs::Error::Level)),
    };
    let level = input.body().field::<String>("level").check(known).required();
    let level = input.finish(|| level)?;
    let level = state.logs.set_level(&level).map_err(Error::internal)?;
    tracing::warn!(user.id = %caller.id(), %level, "log level changed");
    Ok(LogLevel::of(Some(level)))
}
