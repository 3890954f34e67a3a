//! The admin service: endpoints for whoever administers access, in the words that clients of the predecessor know.
//!
//! Every endpoint that is not public asks the same engine as the gateway, about its permission.

mod activity;
mod audit;
mod auth;
mod browser;
mod bulk;
mod client;
mod conditional;
mod docs;
mod endpoints;
pub(crate) mod error;
mod explain;
mod forest;
mod gate;
mod health;
pub(crate) mod input;
mod issuers;
mod keys;
mod limit;
mod matrix;
mod modules;
mod openapi;
pub(crate) mod page;
mod permissions;
mod places;
mod policies;
mod preview;
mod record;
mod rehearse;
pub(crate) mod reply;
mod resources;
mod roles;
mod routes;
mod system;
mod turns;
mod upstreams;
mod users;
mod views;
mod who_can;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

pub use auth::Sessions;
pub use axum::http::Method;
pub use browser::Browsers;
pub use endpoints::Access;
pub use gate::Gate;
pub use health::{About, Places, metrics_router};
pub use system::Config;
pub use users::Mail;

use endpoints::Operation;
use resources::Include;
use turns::Turns;

use crate::control::Control;
use crate::http::{Lifecycle, LoginFailures, RateLimits, TrustedProxies};
use crate::jwt::Minter;
use crate::model::{PathTemplate, Secret};
use crate::password::{Hasher, Policy};
use crate::policy::{MountedAccess, MountedOperation, MountedPath};
use crate::telemetry::{Logs, Metrics};

/// What the admin service is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who calls, and whether they may.
    pub gate: Gate,
    /// Changes the database and the snapshot together.
    pub control: Control,
    /// Makes tokens.
    pub minter: Minter,
    /// Hashes and verifies passwords.
    pub hasher: Hasher,
    /// What new passwords must satisfy.
    pub password_policy: Policy,
    /// Whether anybody may make an account of their own.
    pub user_registration: bool,
    /// How many sessions a user has, and how long they last.
    pub sessions: Sessions,
    /// What users are told by mail.
    pub mail: Mail,
    /// Counts failed sign-ins.
    pub failures: LoginFailures,
    /// How much one client may ask for; none where that is not limited.
    pub rate_limits: Option<RateLimits>,
    /// How browsers are answered.
    pub browsers: Browsers,
    /// What is told of the settings: no secrets.
    pub config: Arc<Config>,
    /// Counted into.
    pub metrics: Arc<Metrics>,
    /// Whether `/metrics` is served here.
    pub shows_metrics: bool,
    /// Said about the installation.
    pub about: About,
    /// Whether the process is draining.
    pub lifecycle: Lifecycle,
    /// Whether the OpenAPI document and its pages are served.
    pub docs: bool,
    /// Directories whose state health tells.
    pub places: Places,
    /// The process's logs.
    pub logs: Logs,
    /// Names of the certificates that upstreams may be shown.
    pub upstream_certificates: Arc<[String]>,
    /// What only the gateway of this process knows.
    pub mount_secret: Secret<String>,
    /// Whose word about clients is believed besides.
    pub proxies: TrustedProxies,
    /// Bounds of each request.
    pub limits: Limits,
}

/// Bounds of each request to the admin service.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Longest time until the answer.
    pub timeout: Duration,
}

/// The router of the admin service; `prefix` stands before every endpoint of the API.
pub fn router(parts: Parts, prefix: &str) -> Router {
    let mut router = api(&parts, prefix);
    if parts.shows_metrics {
        router = router.merge(metrics_router(Arc::clone(&parts.metrics)));
    }
    if parts.docs {
        router = router.merge(docs::router(&parts.about.name, prefix));
    }
    let health = health::Health {
        control: parts.control.clone(),
        about: parts.about,
        docs: parts.docs,
        lifecycle: parts.lifecycle,
        files: health::Files::new(parts.places),
        outbox: parts.mail.outbox,
        metrics: parts.metrics,
    };
    let router = router
        .merge(keys::router(parts.control.clone()))
        .merge(health::router(health))
        // An explicit one stays within the layers below when another router is merged into this.
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, parts.limits.timeout))
        .layer(DefaultBodyLimit::max(parts.limits.max_body_bytes))
        .layer(middleware::from_fn_with_state(parts.browsers, browser::guard));
    let informants = client::Informants { mount_secret: parts.mount_secret, proxies: parts.proxies };
    error::surface(router).layer(middleware::from_fn_with_state(informants, client::identify))
}

/// The largest body of what everybody may ask, in bytes: to read a thousand fields costs more than to sign in.
const MOST_OF_STRANGERS: usize = 64 * 1024;

fn api(parts: &Parts, prefix: &str) -> Router {
    let (gate, control) = (parts.gate.clone(), parts.control.clone());
    let mail = parts.mail.clone();
    let auth = auth::Auth {
        gate: gate.clone(),
        control: control.clone(),
        minter: parts.minter.clone(),
        hasher: parts.hasher.clone(),
        policy: parts.password_policy,
        registration: parts.user_registration,
        sessions: parts.sessions,
        mail: mail.clone(),
        failures: parts.failures.clone(),
        limits: parts.rate_limits.clone(),
        metrics: Arc::clone(&parts.metrics),
    };
    let resources = resources::Resources {
        gate: gate.clone(),
        control: control.clone(),
        hasher: parts.hasher.clone(),
        policy: parts.password_policy,
        mail,
        certificates: Arc::clone(&parts.upstream_certificates),
        metrics: Arc::clone(&parts.metrics),
        texts: Turns::new(policies::AT_ONCE),
    };
    let stage = rehearse::Stage::new(resources.clone(), prefix, parts.limits.max_body_bytes);
    let search = who_can::Search::new(gate.clone());
    let previews = preview::Previews { gate: gate.clone(), stage: stage.clone() };
    let activities = activity::Activities { gate: gate.clone(), control: parts.control.clone() };
    let explain =
        explain::Explain { gate: gate.clone(), control: parts.control.clone(), turns: Turns::new(explain::AT_ONCE) };
    let keys = keys::Keys { gate: gate.clone(), control: parts.control.clone(), turns: Turns::new(1) };
    let issuers = issuers::Issuers { gate: gate.clone(), control: parts.control.clone() };
    let audit = audit::Audit { gate: gate.clone(), control: parts.control.clone() };
    let system = system::System { gate: gate.clone(), logs: parts.logs.clone(), config: Arc::clone(&parts.config) };
    let most = MOST_OF_STRANGERS.min(parts.limits.max_body_bytes);
    let mounted = auth::endpoints().mount(prefix, &auth, Router::new()).layer(DefaultBodyLimit::max(most));
    let mounted = resources.mount(prefix, Include::Everything, mounted);
    let mounted = matrix::endpoints().mount(prefix, &search, mounted);
    let mounted = who_can::endpoints().mount(prefix, &search, mounted);
    let mounted = preview::endpoints().mount(prefix, &previews, mounted);
    let mounted = explain::endpoints().mount(prefix, &explain, mounted);
    let mounted = activity::endpoints().mount(prefix, &activities, mounted);
    let mounted = issuers::endpoints().mount(prefix, &issuers, mounted);
    let mounted = audit::endpoints().mount(prefix, &audit, mounted);
    let mounted = keys::endpoints().mount(prefix, &keys, mounted);
    let mounted = system::endpoints().mount(prefix, &system, mounted);
    // Where clients of the predecessor look for it.
    let mounted = mounted.route("/config", get(system::config).with_state(system));
    let limited = limit::Limited { gate, limits: parts.rate_limits.clone() };
    mounted
        .layer(middleware::from_fn_with_state(stage, rehearse::dry_run))
        .layer(middleware::from_fn_with_state(limited, limit::count))
        .layer(middleware::from_fn(conditional::tag))
}

/// Every operation below the API prefix, under the heading it is shown with.
fn operations() -> impl Iterator<Item = Operation> {
    auth::endpoints()
        .operations()
        .chain(resources::operations())
        .chain(matrix::endpoints().operations())
        .chain(who_can::endpoints().operations())
        .chain(preview::endpoints().operations())
        .chain(explain::endpoints().operations())
        .chain(activity::endpoints().operations())
        .chain(issuers::endpoints().operations())
        .chain(audit::endpoints().operations())
        .chain(keys::endpoints().operations())
        .chain(system::endpoints().operations())
}

/// Method, path and access of every operation below the API prefix.
pub fn operation_list() -> Vec<(Method, &'static str, Access)> {
    operations().map(|operation| (operation.method, operation.path, operation.access)).collect()
}

/// The paths that the gateway serves too: every endpoint below `prefix`, `/health`, the public keys, and if there are `docs`, these.
///
/// # Panics
/// When an endpoint's path is no template, which the tests rule out.
pub fn mounted_paths(prefix: &str, docs: bool) -> Vec<Arc<MountedPath>> {
    let public = || MountedOperation { method: Method::GET.to_string(), access: MountedAccess::Public };
    let mut paths = BTreeMap::from(["/health", keys::JWKS].map(|path| (path.to_owned(), vec![public()])));
    for operation in operations() {
        for path in endpoints::spellings(prefix, operation.path) {
            paths.entry(path).or_default().push(operation.mounted());
        }
    }
    paths.extend(docs.then(docs::paths).into_iter().flatten().map(|path| (path, vec![public()])));
    let template = |path| PathTemplate::try_from(path).expect("an endpoint's path is a valid template");
    let mounted = |(path, operations)| Arc::new(MountedPath { template: template(path), operations });
    paths.into_iter().map(mounted).collect()
}
