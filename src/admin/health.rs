//! Health for people, probes and scrapers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use crate::control::Control;
use crate::http::Lifecycle;
use crate::model::Timestamp;
use crate::telemetry::Metrics;

/// What is said about the installation.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// `production` or `development`.
    pub environment: &'static str,
    /// Whether debugging is on.
    pub debug: bool,
    /// How the service presents itself.
    pub name: String,
    /// The program's version.
    pub version: &'static str,
}

/// What the endpoints of this file use.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) control: Control,
    pub(super) about: About,
    pub(super) lifecycle: Lifecycle,
}

/// A database that hangs must not make health checks hang.
const PATIENCE: Duration = Duration::from_millis(1_500);

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/health", get(brief))
        .route("/health/detailed", get(detailed))
        .with_state(health)
}

/// `/metrics`, where no listener of its own is set for it.
pub fn metrics_router(metrics: Arc<Metrics>) -> Router {
    let scrape = async |State(metrics): State<Arc<Metrics>>| {
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
    };
    Router::new().route("/metrics", get(scrape)).with_state(metrics)
}

/// 200 once the first snapshot is active, which is before anything listens, until draining begins.
async fn ready(State(health): State<Health>) -> Response {
    if health.lifecycle.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    "ready\n".into_response()
}

async fn brief(State(health): State<Health>) -> Json<Value> {
    let About { version, environment, debug, .. } = health.about;
    Json(json!({ "status": "healthy", "version": version, "environment": environment, "debug": debug }))
}

async fn detailed(State(health): State<Health>) -> Response {
    let database = database(&health.control).await;
    let healthy = database["status"] == "healthy" && !health.lifecycle.is_draining();
    let snapshot = health.control.snapshots().load();
    let age = Timestamp::now().unix_millis() - snapshot.activated_at().unix_millis();
    let body = json!({
        "status": if healthy { "healthy" } else { "degraded" },
        "service": health.about.name,
        "version": health.about.version,
        "environment": health.about.environment,
        "uptime_seconds": health.lifecycle.uptime().as_secs(),
        "draining": health.lifecycle.is_draining(),
        "checks": {
            "database": database,
            "snapshot": {
                "status": "healthy",
                "revision": snapshot.revision(),
                "policy_revision": snapshot.policy_revision(),
                "age_seconds": age / 1_000,
                "users": snapshot.user_count(),
            },
        },
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn database(control: &Control) -> Value {
    let started = Instant::now();
    let outcome = tokio::time::timeout(PATIENCE, control.db().ping()).await;
    let pool = control.db().pool();
    let fault = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the database does not answer".to_owned()),
    };
    json!({
        "status": if fault.is_none() { "healthy" } else { "unhealthy" },
        "kind": control.db().kind().as_str(),
        "latency_ms": started.elapsed().as_secs_f64() * 1_000.0,
        "pool": { "size": pool.size, "idle": pool.idle, "max": pool.max },
        "error": fault,
    })
}
