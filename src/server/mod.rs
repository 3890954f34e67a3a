//! Wires settings, database, snapshot, services and listeners; starts and stops them.
//!
//! The order is settings, database, migrations, snapshot, listeners: nothing listens before it can decide.

mod accounts;
mod core;
mod counted;
mod demo;
mod edge;
mod handover;
mod keys;
mod listen;
mod mail;
mod open;
mod pid_file;
pub mod policy_files;
mod sockets;
mod stamp;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::core::Core;
use self::counted::Counted;
use self::handover::Predecessor;
use self::listen::{Replaceable, Until, serve};
use self::sockets::Open;

pub use demo::{DEMO_ADDRESS, DemoBackend};
pub use handover::{Inheritance, Legacy, Process, Program, Successor};
pub use keys::offline_keyring;
pub use open::{hasher, mounts, open, open_database, password_policy};
pub use pid_file::{Asked, Holder, Outcome, PidFile};

use crate::admin;
use crate::config::{Mode, Settings};
use crate::control::{Control, Retention};
use crate::gateway;
use crate::http::Lifecycle;
use crate::issuers::{Keeper, Terms};
use crate::jwt::{Arrivals, Errands};
use crate::mail::Postman;
use crate::model::Secret;
use crate::password::random_password;
use crate::telemetry::{AccessLog, Flush, Logs, Metrics, Recent, Rotation};

/// For so long a start waits for the keys of other issuers.
const FIRST_KEYS: Duration = Duration::from_secs(5);

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where clients are sent from HTTP to HTTPS, if they are.
    pub redirect: Option<SocketAddr>,
    /// Where the admin service listens.
    pub admin: SocketAddr,
    /// Where `/metrics` is served, if it has a listener of its own.
    pub metrics: Option<SocketAddr>,
    /// Where the demo back end listens, in `dev`.
    pub demo: Option<SocketAddr>,
    /// The first administrator's password, when it was made up at this start. It is shown once and kept nowhere.
    pub first_password: Option<Secret<String>>,
    core: Core,
    router: Replaceable,
    data_plane: gateway::Running,
    /// Copies, for a process after this.
    sockets: Vec<Open>,
    predecessor: Option<Predecessor>,
    close: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    _access_log: Option<Flush>,
}

/// Starts everything on the current runtime.
///
/// # Errors
/// Whatever makes it impossible to serve: database, policies, certificate, a port in use.
pub async fn start(settings: &Settings, logs: &Logs) -> anyhow::Result<Running> {
    start_with(settings, logs, Inheritance::default()).await
}

/// The same, with what another process hands over.
///
/// # Errors
/// As above.
pub async fn start_with(settings: &Settings, logs: &Logs, inheritance: Inheritance) -> anyhow::Result<Running> {
    let Inheritance { mut sockets, mount_secret, predecessor } = inheritance;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let (errands, arrivals) = Errands::new();
    let mut core = prepare(settings, logs, errands, Arc::clone(&metrics)).await?;
    core.mount_secret = mount_secret.unwrap_or(core.mount_secret);
    let first_password = accounts::seed(settings, &core.control, &core.hasher).await?;
    let ((close, closing), (stop, stopping)) = (watch::channel(false), watch::channel(false));
    let until = Until { closing, stopping: stopping.clone() };
    let mut tasks = Vec::new();
    let demo = match settings.mode {
        Mode::Dev => Some(demo::start(&core.control, &mut sockets, &until, &mut tasks).await?),
        Mode::Serve | Mode::Offline => None,
    };
    tasks.push(follow(core.control.clone(), settings, stopping.clone()));
    let postman = Postman::new(core.control.db().clone(), &core.outbox, mail::smtp(settings)?);
    tasks.extend(find_out(settings, &core, arrivals, &stopping).await);
    tasks.extend(watch_files(settings, &core, stopping.clone()));

    let gateway_socket = sockets.listen(settings.gateway.listen, "gateway.listen")?;
    let redirect = settings.gateway.redirect;
    let redirect = redirect.map(|redirect| sockets.listen(redirect.listen, "gateway.redirect_listen"));
    let admin_socket = sockets.listen(settings.admin.listen, "admin.listen")?;
    let admin_address = admin_socket.local_addr()?;
    let router = Replaceable::new(admin::router(core.admin(), &settings.admin.api_prefix));
    let metrics_address = match settings.metrics.listen.filter(|_| settings.metrics.enabled) {
        Some(address) => {
            let socket = sockets.listen(address, "metrics.listen")?;
            let address = socket.local_addr()?;
            tasks.push(serve(socket, admin::metrics_router(metrics), &until)?);
            Some(address)
        }
        None => None,
    };
    // Before anybody is answered: what nobody takes may be reason to refuse the start.
    let sockets = sockets.settle()?;
    tasks.push(serve(admin_socket, router.router(), &until)?);
    let (access_log, guard) = access_log(settings, &core.metrics);
    let gateway_settings = core.gateway_settings(gateway_socket, redirect.transpose()?, admin_address)?;
    // Looked at before they are read: what changes meanwhile is read again.
    let certificates = gateway_settings.tls.as_ref().map(|tls| edge::look(&tls.files())).unwrap_or_default();
    let data_plane = gateway::start(gateway_settings, core.gateway(access_log))?;
    if let Some(tls) = data_plane.tls() {
        let watching = edge::watch_certificates(Arc::clone(tls), certificates);
        tasks.push(until_stopped(stopping.clone(), Box::pin(watching)));
    }
    // Last: a start that fails has sent no mail.
    tasks.extend(postman.map(|postman| tokio::spawn(postman.run(stopping))));
    Ok(Running {
        gateway: data_plane.address(),
        redirect: data_plane.redirect(),
        admin: admin_address,
        metrics: metrics_address,
        demo,
        first_password,
        core,
        router,
        data_plane,
        sockets,
        predecessor,
        close,
        stop,
        tasks,
        _access_log: guard,
    })
}

/// The database with its first snapshot, and whatever else needs no listener.
async fn prepare(settings: &Settings, logs: &Logs, errands: Errands, metrics: Arc<Metrics>) -> anyhow::Result<Core> {
    let all_logs = logs.clone();
    metrics.watch(move || all_logs.lost());
    // The hasher hashes once to begin with, which takes about as long as the database.
    let for_hasher = settings.clone();
    let hasher = tokio::task::spawn_blocking(move || hasher(&for_hasher));
    let control = open(settings, Arc::clone(&metrics)).await?;
    let verifier = keys::verifier(settings);
    control.keep_keys(keys::keyring(settings, &verifier)?).await.context("keys for tokens")?;
    Ok(Core {
        settings: settings.clone(),
        counted: Counted::new(settings),
        control,
        hasher: hasher.await??,
        verifier,
        outbox: mail::outbox(settings, &metrics),
        errands,
        metrics,
        lifecycle: Lifecycle::default(),
        logs: logs.clone(),
        recent: Recent::new(settings.explain.recent_requests),
        mount_secret: random_password(),
    })
}

/// How the security log is kept, if it is.
pub fn rotation(settings: &Settings) -> Option<Rotation> {
    settings.log.security.as_ref().map(|log| Rotation {
        path: log.file.clone(),
        max_bytes: log.max_bytes,
        daily: log.daily,
        backups: log.backups,
    })
}

fn follow(control: Control, settings: &Settings, stopping: watch::Receiver<bool>) -> JoinHandle<()> {
    let retention = Retention { audit: settings.audit.retention };
    until_stopped(stopping, Box::pin(async move { control.follow(retention).await }))
}

/// Finds out what tokens of other issuers need: keys, and whose account it is.
async fn find_out(
    settings: &Settings,
    core: &Core,
    arrivals: Arrivals,
    stopping: &watch::Receiver<bool>,
) -> [JoinHandle<()>; 2] {
    let terms = settings.auth.issuer_keys;
    let terms = Terms { refresh: terms.refresh, refetch: terms.refetch, outage: terms.outage };
    let keeper = Keeper::new(terms, core.verifier.clone(), Arc::clone(&core.metrics));
    let (follower, first) = (keeper.clone(), keeper.clone());
    core.control.on_issuers(move |issuers| follower.follow(issuers)).await;
    let control = core.control.clone();
    let tasks = [
        until_stopped(stopping.clone(), Box::pin(keeper.run(arrivals.keys))),
        until_stopped(stopping.clone(), Box::pin(async move { control.welcome(arrivals.accounts).await })),
    ];
    // Nothing listens yet: a valid token is not refused because its issuer's keys are still on their way.
    first.first_attempts(FIRST_KEYS).await;
    tasks
}

/// Watches the operator's policy files, if there are any.
fn watch_files(settings: &Settings, core: &Core, stopping: watch::Receiver<bool>) -> Option<JoinHandle<()>> {
    let directory = settings.policy.dir.clone()?;
    let watching = policy_files::watch(core.control.clone(), directory, Arc::clone(&core.metrics));
    Some(until_stopped(stopping, Box::pin(watching)))
}

/// Does something until the server stops.
fn until_stopped(
    mut stopping: watch::Receiver<bool>,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    })
}

fn access_log(settings: &Settings, metrics: &Metrics) -> (AccessLog, Option<Flush>) {
    if !settings.access_log.enabled {
        return (AccessLog::off(), None);
    }
    let (log, guard) = AccessLog::to(std::io::stdout());
    let lines = log.clone();
    metrics.watch(move || vec![("access", lines.lost())]);
    (log, Some(guard))
}

impl Running {
    /// Leaves whoever asks for health, metrics or the admin service to the process that serves on the same sockets. To be
    /// shut down next.
    pub fn give_way(&self) {
        self.close.send_replace(true);
    }

    /// Fails readiness, stops accepting, lets requests in flight finish, and closes the database: all of it within one
    /// bound, `gateway.shutdown_timeout_ms`. Returns whether everything that was accepted was answered.
    pub async fn shut_down(mut self) -> bool {
        let bound = self.core.settings.gateway.shutdown_timeout;
        let until = Instant::now() + bound;
        // Where another serves, the service is ready.
        if !*self.close.borrow() {
            self.core.lifecycle.drain();
        }
        self.data_plane.stop_accepting();
        // Without these, what is in their queues would wait for nobody.
        self.sockets.clear();
        let mut drained = self.data_plane.drained(bound).await;
        // Requests to mounted paths pass the gateway, so the admin service goes last; unless another has its socket.
        self.close.send_replace(true);
        self.stop.send_replace(true);
        for task in &mut self.tasks {
            if timeout_at(until, &mut *task).await.is_err() {
                task.abort();
                drained = false;
            }
        }
        // Waits for connections that requests still hold, which after the bound nobody does any more.
        let _closed = timeout_at(until, self.core.control.db().close()).await;
        drained
    }

    /// Puts into force what can be of `new` settings, without touching connections, and returns the keys of those that
    /// wait for an upgrade. Files of certificates are read again.
    ///
    /// # Errors
    /// A certificate or the security log is unusable: everything stays as it was.
    pub fn reload(&mut self, new: &Settings) -> anyhow::Result<Vec<&'static str>> {
        let (settings, waiting) = self.core.settings.taking(new);
        let logs = self.core.logs.clone();
        let tls = match (self.data_plane.tls(), &settings.gateway.tls) {
            (Some(tls), Some(own)) => Some((tls, tls.prepare(edge::tls(own))?)),
            _ => None,
        };
        if let Some(rotation) = rotation(&settings).filter(|_| settings.log.security != self.core.settings.log.security)
        {
            logs.move_security(rotation)?;
        }
        if settings.log.level != self.core.settings.log.level {
            logs.set_level(&settings.log.level.as_str().to_lowercase())?;
        }
        // From here on nothing fails.
        if let Some((tls, prepared)) = tls {
            tls.put(prepared);
        }
        self.core.counted = self.core.counted.under(&self.core.settings, &settings);
        self.core.settings = settings;
        self.data_plane.change(self.core.terms());
        self.router.replace(admin::router(self.core.admin(), &self.core.settings.admin.api_prefix));
        Ok(waiting)
    }

    /// Loads certificates again, which new connections use; unusable ones leave those before in use, which is logged
    /// and told by health.
    pub fn reload_certificates(&self) {
        if let Some(tls) = self.data_plane.tls() {
            edge::reload(tls);
        }
    }

    /// What a process after this needs, to serve instead of it.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn legacy(&self) -> anyhow::Result<Legacy> {
        let sockets = self.sockets.iter().map(|one| {
            let listener = one.listener.try_clone()?;
            Ok(Open { setting: one.setting, asked: one.asked, listener })
        });
        let sockets: std::io::Result<_> = sockets.collect();
        Ok(Legacy { sockets: sockets.context("sockets")?, mount_secret: self.core.mount_secret.clone() })
    }

    /// Tells the process before this that it may end, if there is one; returns which it was.
    ///
    /// # Errors
    /// Standard error cannot be led to where it belongs.
    pub fn take_over(&mut self) -> anyhow::Result<Option<Process>> {
        let Some(predecessor) = self.predecessor.take() else { return Ok(None) };
        let process = predecessor.relieve(&self.sockets)?;
        self.core.metrics.operation().took_over();
        Ok(Some(process))
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// What this server counts.
    pub fn metrics(&self) -> &Metrics {
        &self.core.metrics
    }

    /// Changes the database and the snapshot together; for tests and embedders.
    pub fn control(&self) -> &Control {
        &self.core.control
    }
}
