//! Wires settings, database, snapshot, services and listeners; starts and stops them.
//!
//! The order is settings, database, migrations, snapshot, listeners: nothing listens before it can decide.

mod demo;
mod listen;
mod policy_files;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;
use tracing_appender::non_blocking::WorkerGuard;

use listen::{bind, serve};

use crate::admin::{self, About, Gate};
use crate::config::{Environment, Mode, Settings};
use crate::control::{self, Control, DEMO_ACCOUNTS, NewAccount, Seeded};
use crate::gateway;
use crate::http::{Cors, Lifecycle, LoginFailures};
use crate::jwt::{Minter, Verifier};
use crate::model::{Email, SUPER_ROLE, Secret, Username};
use crate::password::{Cost, Hasher, Policy, random_password};
use crate::policy::Fixed;
use crate::store::{self, Db, PoolSettings};
use crate::telemetry::{AccessLog, Metrics};

/// The preferred address of the demo back end; another port is taken when this one is in use.
const DEMO_ADDRESS: &str = "127.0.0.1:8002";

/// Mail of the first administrator until it is changed; nobody's (RFC 2606).
const FIRST_MAIL: &str = "superadmin@example.com";

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the admin service listens.
    pub admin: SocketAddr,
    /// Where `/metrics` is served, if it has a listener of its own.
    pub metrics: Option<SocketAddr>,
    /// Where the demo back end listens, in `dev`.
    pub demo: Option<SocketAddr>,
    /// The first administrator's password, when it was made up at this start. It is shown once and kept nowhere.
    pub first_password: Option<Secret<String>>,
    control: Control,
    lifecycle: Lifecycle,
    data_plane: gateway::Running,
    shutdown_timeout: Duration,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    _access_log: Option<WorkerGuard>,
}

/// What every command that works with the database needs of the settings.
///
/// # Errors
/// The database cannot be opened.
pub async fn open_database(settings: &Settings) -> anyhow::Result<Db> {
    let pool = PoolSettings {
        max_connections: settings.database.max_connections,
        acquire_timeout: settings.database.acquire_timeout,
    };
    Db::open(settings.database.url.expose(), &pool).await.map_err(|error| explain_store(&error))
}

/// The database, migrated, with the first snapshot compiled from it.
///
/// # Errors
/// The database cannot be opened or migrated, or its rules do not compile.
pub async fn open(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Control> {
    let db = open_database(settings).await?;
    store::migrate::up(&db).await.map_err(|error| explain_store(&error))?;
    let mounts = if settings.gateway.mount { admin::mounted_paths(&settings.admin.api_prefix) } else { Vec::new() };
    let files = policy_files::read(settings.policy.dir.as_deref())?;
    let started = Control::start(db, Fixed { mounts, files: files.clone() }, metrics).await;
    started.map_err(|error| policy_files::blame(settings.policy.dir.as_deref(), &files, error))
}

/// The hasher that the settings describe.
///
/// # Errors
/// Costs that argon2 does not accept.
pub fn hasher(settings: &Settings) -> anyhow::Result<Hasher> {
    let auth = &settings.auth;
    let cost = Cost {
        memory_kib: auth.argon2.memory_kib,
        iterations: auth.argon2.iterations,
        parallelism: auth.argon2.parallelism,
        threads: auth.hash_threads,
        queue: auth.hash_queue,
    };
    Hasher::new(cost).context("auth.argon2_*")
}

/// What new passwords must satisfy.
pub fn password_policy(settings: &Settings) -> Policy {
    let rules = settings.password_policy;
    Policy {
        min_length: rules.min_length,
        uppercase: rules.require_uppercase,
        lowercase: rules.require_lowercase,
        numbers: rules.require_numbers,
        special: rules.require_special,
    }
}

/// Starts everything on the current runtime.
///
/// # Errors
/// Whatever makes it impossible to serve: database, policies, certificate, a port in use.
pub async fn start(settings: &Settings) -> anyhow::Result<Running> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = open(settings, Arc::clone(&metrics)).await?;
    let hasher = hasher(settings)?;
    let (seeded, first_password) = seed(settings, &control, &hasher).await?;
    if seeded.first_start {
        info!("the database was empty; system roles, permissions and accounts are made");
    }
    let lifecycle = Lifecycle::default();
    let (stop, stopping) = watch::channel(false);
    let mut tasks = Vec::new();
    let demo = match settings.mode {
        Mode::Dev => Some(start_demo(&control, &stopping, &mut tasks).await?),
        Mode::Serve | Mode::Offline => None,
    };
    let follower = control.clone();
    let mut until = stopping.clone();
    tasks.push(tokio::spawn(async move {
        tokio::select! {
            () = follower.follow() => {}
            _ = until.wait_for(|stop| *stop) => {}
        }
    }));

    let gateway_socket = bind(settings.gateway.listen, "gateway.listen")?;
    let admin_socket = bind(settings.admin.listen, "admin.listen")?;
    let admin_address = admin_socket.local_addr()?;
    let mount_secret = random_password();
    let verifier = Verifier::new(&settings.auth.secret_key, settings.auth.leeway, settings.gateway.token_cache_entries);
    let mut router = admin::router(
        admin_parts(settings, &control, &hasher, &metrics, &lifecycle, &verifier, mount_secret.clone()),
        &settings.admin.api_prefix,
    );
    let metrics_address = match settings.metrics.listen.filter(|_| settings.metrics.enabled) {
        Some(address) => {
            let socket = bind(address, "metrics.listen")?;
            let address = socket.local_addr()?;
            tasks.push(serve(socket, admin::metrics_router(Arc::clone(&metrics)), stopping.clone())?);
            Some(address)
        }
        None if settings.metrics.enabled => {
            router = router.merge(admin::metrics_router(Arc::clone(&metrics)));
            None
        }
        None => None,
    };
    tasks.push(serve(admin_socket, router, stopping)?);

    let (access_log, guard) = match settings.access_log.enabled {
        true => {
            let (log, guard) = AccessLog::to(std::io::stdout());
            (log, Some(guard))
        }
        false => (AccessLog::off(), None),
    };
    let mount =
        settings.gateway.mount.then(|| gateway::Mount { address: reachable(admin_address), secret: mount_secret });
    let parts = gateway::Parts { snapshots: control.snapshots().clone(), verifier, metrics, access_log };
    let data_plane = gateway::start(gateway_settings(settings, gateway_socket, mount), parts, &Handle::current())?;
    Ok(Running {
        gateway: data_plane.address(),
        admin: admin_address,
        metrics: metrics_address,
        demo,
        first_password,
        control,
        lifecycle,
        data_plane,
        shutdown_timeout: settings.gateway.shutdown_timeout,
        stop,
        tasks,
        _access_log: guard,
    })
}

impl Running {
    /// Fails readiness, stops accepting, lets requests in flight finish within the bound, and closes the
    /// database. Returns whether everything that was accepted was answered.
    pub async fn shut_down(mut self) -> bool {
        self.lifecycle.drain();
        self.data_plane.stop_accepting();
        let drained = self.data_plane.drained(self.shutdown_timeout).await;
        // Requests to mounted paths pass the gateway, so the admin service goes last.
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ended = tokio::time::timeout(self.shutdown_timeout, task).await;
        }
        self.control.db().close().await;
        drained
    }

    /// Changes the database and the snapshot together; for tests and embedders.
    pub fn control(&self) -> &Control {
        &self.control
    }
}

async fn seed(
    settings: &Settings,
    control: &Control,
    hasher: &Hasher,
) -> anyhow::Result<(Seeded, Option<Secret<String>>)> {
    let mut made_up = None;
    let accounts = if !control.is_empty().await? {
        Vec::new()
    } else if settings.mode == Mode::Dev {
        demo_accounts(hasher).await?
    } else {
        let password = settings.auth.bootstrap_password.clone().unwrap_or_else(|| {
            let password = random_password();
            made_up = Some(password.clone());
            password
        });
        vec![account(hasher, SUPER_ROLE, password, FIRST_MAIL, SUPER_ROLE).await?]
    };
    let seeded = control::seed(control, accounts).await.context("seeding the database")?;
    Ok((seeded, made_up.filter(|_| seeded.first_start)))
}

async fn demo_accounts(hasher: &Hasher) -> anyhow::Result<Vec<NewAccount>> {
    let mut tasks = Vec::new();
    for (name, password, email, role) in DEMO_ACCOUNTS {
        let hasher = hasher.clone();
        let password = Secret::new(password.to_owned());
        tasks.push(tokio::spawn(async move { account(&hasher, name, password, email, role).await }));
    }
    let mut accounts = Vec::new();
    for task in tasks {
        accounts.push(task.await??);
    }
    Ok(accounts)
}

async fn account(
    hasher: &Hasher,
    name: &str,
    password: Secret<String>,
    email: &str,
    role: &'static str,
) -> anyhow::Result<NewAccount> {
    Ok(NewAccount {
        username: Username::try_from(name)?,
        email: Email::try_from(email).map_err(anyhow::Error::msg)?,
        password_hash: hasher.hash(password).await?,
        role,
    })
}

async fn start_demo(
    control: &Control,
    stopping: &watch::Receiver<bool>,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<SocketAddr> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let preferred: SocketAddr = DEMO_ADDRESS.parse().context("the demo back end's address")?;
    let socket = bind(preferred, "demo").or_else(|_| bind(any_port, "demo"))?;
    let address = socket.local_addr()?;
    control::seed_demo(control, address).await.context("seeding the demo")?;
    tasks.push(serve(socket, demo::router(), stopping.clone())?);
    Ok(address)
}

fn admin_parts(
    settings: &Settings,
    control: &Control,
    hasher: &Hasher,
    metrics: &Arc<Metrics>,
    lifecycle: &Lifecycle,
    verifier: &Verifier,
    mount_secret: Secret<String>,
) -> admin::Parts {
    let auth = &settings.auth;
    admin::Parts {
        gate: Gate {
            snapshots: control.snapshots().clone(),
            verifier: verifier.clone(),
            forbid_anonymous: settings.admin.missing_credentials_status == ::http::StatusCode::FORBIDDEN,
        },
        control: control.clone(),
        minter: Minter::new(&auth.secret_key, auth.access_token, auth.refresh_token),
        hasher: hasher.clone(),
        password_policy: password_policy(settings),
        failures: LoginFailures::new(auth.login_failures, auth.login_window),
        metrics: Arc::clone(metrics),
        about: About {
            environment: match settings.app.environment {
                Environment::Production => "production",
                Environment::Development => "development",
            },
            debug: settings.app.debug,
            version: env!("CARGO_PKG_VERSION"),
        },
        lifecycle: lifecycle.clone(),
        mount_secret,
        limits: admin::Limits {
            max_body_bytes: settings.admin.max_body_bytes,
            timeout: settings.admin.request_timeout,
        },
    }
}

fn gateway_settings(
    settings: &Settings,
    listener: std::net::TcpListener,
    mount: Option<gateway::Mount>,
) -> gateway::Settings {
    let own = &settings.gateway;
    let cors = &settings.cors;
    gateway::Settings {
        listener,
        tls: own
            .tls
            .as_ref()
            .map(|files| gateway::TlsFiles { certificates: files.certificate.clone(), key: files.key.clone() }),
        mount,
        limits: gateway::Limits {
            max_body_bytes: own.max_body_bytes,
            header_timeout: own.header_timeout,
            keepalive_timeout: own.keepalive_timeout,
            upstream_pool: own.upstream_pool_size,
            ..gateway::Limits::default()
        },
        cors: Cors {
            origins: cors.allowed_origins.clone(),
            methods: cors.allowed_methods.clone(),
            headers: cors.allowed_headers.clone(),
            credentials: cors.allow_credentials,
            max_age_seconds: u32::try_from(cors.max_age.as_secs()).unwrap_or(u32::MAX),
        },
    }
}

/// Where this process reaches its own listener: an unspecified address is not one to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}

/// The store's error with its cause, on one line.
fn explain_store(error: &store::Error) -> anyhow::Error {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    anyhow::anyhow!("{error}{cause}")
}
