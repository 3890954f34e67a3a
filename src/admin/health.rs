//! Health for people, probes and scrapers.

use std::path::{Path, PathBuf};
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
use tokio::sync::Mutex;

use crate::control::Control;
use crate::http::Lifecycle;
use crate::mail::Outbox;
use crate::model::Timestamp;
use crate::telemetry::{Metrics, TargetHealth};

/// What is said about the installation.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// `production` or `development`.
    pub environment: &'static str,
    /// Whether debugging is on.
    pub debug: bool,
    /// How the service presents itself.
    pub name: String,
    /// The version it shows.
    pub version: String,
}

/// What the endpoints of this file use.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) control: Control,
    pub(super) about: About,
    /// Whether `/docs` is served.
    pub(super) docs: bool,
    pub(super) lifecycle: Lifecycle,
    pub(super) files: Files,
    pub(super) outbox: Outbox,
    pub(super) metrics: Arc<Metrics>,
}

/// Directories whose state is told.
#[derive(Clone, Debug)]
pub struct Places {
    /// The operator's policy files, if there are any.
    pub policies: Option<PathBuf>,
    /// Database, keys and logs.
    pub data: PathBuf,
}

/// What is asked of the file system. It may hang as a database may, and a thread with it: so one at a time.
#[derive(Clone, Debug)]
pub(super) struct Files(Arc<(Places, Arc<Mutex<()>>)>);

impl Files {
    pub(super) fn new(places: Places) -> Self {
        Self(Arc::new((places, Arc::default())))
    }

    /// The policy directory and the disk.
    async fn look(&self) -> (Value, Value) {
        let places = Arc::clone(&self.0);
        let looked = tokio::time::timeout(PATIENCE, async {
            let turn = Arc::clone(&places.1).lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                (policy_directory(places.0.policies.as_deref()), disk(&places.0.data))
            })
            .await
        });
        looked.await.ok().and_then(Result::ok).unwrap_or_else(|| {
            let silent = json!({ "status": "unhealthy", "error": "the file system does not answer" });
            (silent.clone(), silent)
        })
    }
}

/// A database that hangs must not make health checks hang.
const PATIENCE: Duration = Duration::from_millis(1_500);

pub(super) fn router(health: Health) -> Router {
    Router::new()
        .route("/", get(welcome))
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

/// Where to look next.
async fn welcome(State(health): State<Health>) -> Json<Value> {
    let About { name, environment, .. } = health.about;
    let docs = health.docs.then_some("/docs");
    Json(
        json!({ "message": format!("Welcome to {name}"), "docs": docs, "health": "/health", "environment": environment }),
    )
}

/// 200 once the first snapshot is active, which is before anything listens, until draining begins.
async fn ready(State(health): State<Health>) -> Response {
    if health.lifecycle.is_draining() {
        // JSON: a refusal in plain text is replaced by the API's own error, which would not say why.
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "draining" }))).into_response();
    }
    "ready\n".into_response()
}

async fn brief(State(health): State<Health>) -> Json<Value> {
    let About { version, environment, debug, .. } = health.about;
    Json(json!({ "status": "healthy", "version": version, "environment": environment, "debug": debug }))
}

async fn detailed(State(health): State<Health>) -> Response {
    let snapshot = health.control.snapshots().load();
    let age = Timestamp::now().unix_millis() - snapshot.activated_at().unix_millis();
    let (database, (mut policy_directory, disk)) = tokio::join!(database(&health.control), health.files.look());
    if let Some(fault) = health.control.files_fault() {
        policy_directory["status"] = "unhealthy".into();
        policy_directory["error"] = fault.as_str().into();
    }
    let checks = json!({
        "database": database,
        "snapshot": {
            "status": HEALTHY,
            "revision": snapshot.revision(),
            "policy_revision": snapshot.policy_revision(),
            "age_seconds": age / 1_000,
            "users": snapshot.user_count(),
        },
        "policy_directory": policy_directory,
        "upstreams": upstreams(&health.metrics, snapshot.upstreams().count()),
        "issuers": issuers(&health.metrics),
        "certificates": certificates(&health.metrics),
        "connections": connections(&health.metrics),
        "disk": disk,
        "mail": mail(&health.outbox),
        "settings": settings(&health.metrics),
        "upgrade": upgrade(&health.metrics),
    });
    let sound = checks.as_object().is_some_and(|checks| checks.values().all(|check| check["status"] == HEALTHY));
    let healthy = sound && !health.lifecycle.is_draining();
    let body = json!({
        "status": if healthy { HEALTHY } else { "degraded" },
        "service": health.about.name,
        "version": health.about.version,
        "environment": health.about.environment,
        "uptime_seconds": health.lifecycle.uptime().as_secs(),
        "draining": health.lifecycle.is_draining(),
        "checks": checks,
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// How a check says that all is well.
const HEALTHY: &str = "healthy";

fn status(fault: Option<&String>) -> &'static str {
    if fault.is_none() { HEALTHY } else { "unhealthy" }
}

/// What is wrong with the files themselves, whoever watches them tells.
fn policy_directory(directory: Option<&Path>) -> Value {
    let Some(directory) = directory else {
        return json!({ "status": HEALTHY, "path": null });
    };
    let fault = std::fs::read_dir(directory).err().map(|error| error.to_string());
    json!({ "status": status(fault.as_ref()), "path": directory.display().to_string(), "error": fault })
}

fn upstreams(metrics: &Metrics, active: usize) -> Value {
    let failing = metrics.upstreams().failing();
    let told: Vec<Value> = failing
        .iter()
        .map(|one| {
            json!({
                "name": one.name, "failures": one.failures, "kind": one.kind, "seconds_ago": one.seconds_ago,
            })
        })
        .collect();
    let out: Vec<Value> = metrics
        .targets()
        .out()
        .into_iter()
        .filter_map(|(upstream, TargetHealth { target, address, out })| {
            let out = out?;
            let (since, next_trial) = (Timestamp::from(out.since), out.next_trial.map(Timestamp::from));
            Some(json!({
                "upstream": upstream, "target": target, "address": address, "by": out.by.as_str(), "kind": out.kind,
                "since": since, "next_trial": next_trial,
            }))
        })
        .collect();
    // One target that is left out is what the others are for.
    let is_sound = failing.is_empty() && metrics.targets().without_any().is_empty();
    let status = if is_sound { HEALTHY } else { "unhealthy" };
    json!({ "status": status, "active": active, "failing": told, "out": out })
}

/// Other issuers, whose tokens may soon not be believed any more.
fn issuers(metrics: &Metrics) -> Value {
    let all = metrics.issuers().all();
    let fault = all.iter().find_map(|issuer| issuer.fault.as_ref());
    let told: Vec<Value> = all
        .iter()
        .map(|issuer| {
            let age = issuer.age.map(|age| age.as_secs());
            json!({ "name": issuer.name, "keys": issuer.keys, "age_seconds": age, "error": issuer.fault })
        })
        .collect();
    json!({ "status": status(fault), "issuers": told })
}

/// So long before a certificate ends somebody should look.
const SOON_SECONDS: i64 = 14 * 86_400;

/// Certificates that are served; their files may have become unusable since.
fn certificates(metrics: &Metrics) -> Value {
    let (state, now) = (metrics.certificates(), Timestamp::now().unix_millis() / 1_000);
    let served = state.served();
    let ends = served.iter().find(|one| one.expires - now < SOON_SECONDS).map(|one| match one.expires < now {
        true => format!("{} has expired", one.file),
        false => format!("{} expires in {} days", one.file, (one.expires - now) / 86_400),
    });
    let fault = state.fault().or(ends);
    let told: Vec<Value> = served
        .iter()
        .map(|one| json!({ "file": one.file, "names": one.names, "expires_in_seconds": one.expires - now }))
        .collect();
    json!({ "status": status(fault.as_ref()), "served": told, "error": fault })
}

fn connections(metrics: &Metrics) -> Value {
    let state = metrics.connections();
    let fault = state.is_shedding().then(|| "memory runs short; new work is refused".to_owned());
    json!({ "status": status(fault.as_ref()), "open": state.count(), "error": fault })
}

/// Those in force, and those that wait for an upgrade, which is no fault.
fn settings(metrics: &Metrics) -> Value {
    let state = metrics.operation();
    let fault = state.reload_fault();
    json!({ "status": status(fault.as_ref()), "needs_upgrade": state.waiting(), "error": fault })
}

fn upgrade(metrics: &Metrics) -> Value {
    let fault = metrics.operation().upgrade_fault();
    json!({ "status": status(fault.as_ref()), "error": fault })
}

/// So many attempts in a row are no mishap any more.
const MOST_FAILURES: u32 = 3;

fn mail(outbox: &Outbox) -> Value {
    let Some(state) = outbox.state() else {
        return json!({ "status": HEALTHY, "enabled": false });
    };
    let fault = state.last_error.filter(|_| state.failures >= MOST_FAILURES);
    json!({ "status": status(fault.as_ref()), "enabled": true, "waiting": state.waiting, "error": fault })
}

/// Below this, the embedded database and the logs are about to fail.
const LEAST_FREE_BYTES: u64 = 64 * 1024 * 1024;

fn disk(directory: &Path) -> Value {
    // Before the first write the directory need not exist; its place does.
    let place = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(place) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let fault = (free < LEAST_FREE_BYTES).then(|| "less than 64 MiB are free".to_owned());
            json!({ "status": status(fault.as_ref()), "free_bytes": free, "error": fault })
        }
        Err(error) => json!({ "status": "unhealthy", "free_bytes": null, "error": error.to_string() }),
    }
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
        "status": status(fault.as_ref()),
        "kind": control.db().kind().as_str(),
        "latency_ms": started.elapsed().as_secs_f64() * 1_000.0,
        "pool": { "size": pool.size, "idle": pool.idle, "max": pool.max },
        "error": fault,
    })
}
