//! A server and whoever operates it: signals, and what comes of them.

use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::notify;
use crate::config::{Settings, Sources};
use crate::model::Timestamp;
use crate::server::{Asked, Inheritance, Outcome, PidFile, Process, Program, Running, Successor};
use crate::telemetry::Logs;

/// Another server of the same data directory may be about to end.
const PATIENCE: Duration = Duration::from_millis(200);
/// The process before this gives its lock back once it has heard of this.
const PATIENCE_WITH_PREDECESSOR: Duration = Duration::from_secs(5);

/// What a server is started from.
pub(super) struct Start {
    pub(super) settings: Settings,
    pub(super) sources: Sources,
    pub(super) program: Program,
    pub(super) inheritance: Inheritance,
}

impl Start {
    /// Reads the settings, and takes what another process hands over. To be called before there are threads.
    pub(super) fn new(sources: Sources) -> anyhow::Result<Self> {
        let (program, inheritance) = (Program::this()?, Inheritance::receive()?);
        Ok(Self { settings: Settings::load(&sources)?, sources, program, inheritance })
    }
}

/// The signals that the process heeds.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    upgrade: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal to end.
    pub(super) async fn end(&mut self) {
        while self.next().await != Told::End {}
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.upgrade.recv() => Told::Upgrade,
        }
    }
}

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    End,
    Reload,
    Upgrade,
}

type Upgrade = Pin<Box<dyn Future<Output = anyhow::Result<Successor>> + Send>>;

/// Why a server ends.
enum End {
    Told,
    Succeeded(Successor),
}

/// A running server that heeds signals.
pub(super) struct Operator {
    running: Running,
    logs: Logs,
    signals: Signals,
    sources: Sources,
    program: Program,
    pid_file: Option<PidFile>,
}

impl Operator {
    /// Takes over from the process before this, if there is one, and tells whoever waits that this one serves.
    pub(super) async fn new(
        mut running: Running,
        logs: Logs,
        signals: Signals,
        sources: Sources,
        program: Program,
    ) -> anyhow::Result<Self> {
        let predecessor = running.take_over()?;
        if let Some(Process { pid, version }) = &predecessor {
            let own = env!("CARGO_PKG_VERSION");
            tracing::info!(from.pid = pid, from.version = version, version = own, "upgraded: took over");
        }
        let patience = if predecessor.is_some() { PATIENCE_WITH_PREDECESSOR } else { PATIENCE };
        let pid_file = match PidFile::take(&sources.data_dir, patience).await {
            Ok(None) => {
                tracing::warn!("another server has this data directory; `upgrade` and `reload` find that one");
                None
            }
            Ok(taken) => taken,
            Err(error) => {
                tracing::info!(%error, "no pid file in the data directory; `upgrade` and `reload` find nothing there");
                None
            }
        };
        Ok(Self { running, logs, signals, sources, program, pid_file })
    }

    /// Serves until a signal, then drains; a second signal ends at once. SIGHUP reads settings again, SIGUSR2 hands over to
    /// a new process, after which this one drains by itself: a signal is the first one then.
    pub(super) async fn run(mut self) -> anyhow::Result<ExitCode> {
        notify::ready(&self.serving());
        let watchdog = tokio::spawn(notify::watchdog());
        let end = self.until_end().await;
        watchdog.abort();
        let is_succeeded = matches!(end, End::Succeeded(_));
        match end {
            End::Told => {
                notify::stopping();
                tracing::info!("shutting down; requests in flight are finished");
            }
            End::Succeeded(successor) => self.make_way(successor),
        }
        let Self { running, mut signals, .. } = self;
        let cut_off = async {
            if is_succeeded {
                signals.end().await;
                tracing::info!("told to end; requests in flight are finished first");
            }
            signals.end().await;
        };
        tokio::select! {
            drained = running.shut_down() => {
                if !drained {
                    tracing::warn!("some requests did not finish in time and were cut off");
                }
                Ok(ExitCode::SUCCESS)
            }
            () = cut_off => {
                tracing::warn!("second signal; requests in flight are cut off");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn make_way(&self, successor: Successor) {
        let Process { pid, version } = successor.process.clone();
        tracing::info!(to.pid = pid, to.version = version, "upgraded; requests in flight are finished");
        if successor.has_sockets {
            self.running.give_way();
        }
        // For as long as this process is there.
        tokio::spawn(async move {
            match successor.ended().await {
                Ok(status) => tracing::error!(pid, %status, "the process that took over has ended"),
                Err(error) => tracing::warn!(pid, %error, "the process that took over cannot be looked after"),
            }
        });
    }

    fn serving(&self) -> String {
        format!("version {} serves on {}", env!("CARGO_PKG_VERSION"), self.running.gateway)
    }

    async fn until_end(&mut self) -> End {
        let mut upgrade: Option<Upgrade> = None;
        loop {
            tokio::select! {
                told = self.signals.next() => match told {
                    Told::End => return End::Told,
                    Told::Reload => self.reload().await,
                    Told::Upgrade if upgrade.is_some() => tracing::warn!("an upgrade is under way already"),
                    Told::Upgrade => upgrade = self.begin_upgrade(),
                },
                outcome = finished(&mut upgrade) => {
                    upgrade = None;
                    match outcome {
                        Ok(successor) => return self.succeeded(successor),
                        Err(error) => self.upgrade_failed(&error),
                    }
                }
            }
        }
    }

    /// Reads all sources again, and puts into force what can be.
    async fn reload(&mut self) {
        self.logs.reopen();
        tracing::info!("logs are opened anew");
        notify::reloading();
        let sources = self.sources.clone();
        let read = tokio::task::spawn_blocking(move || Settings::load(&sources)).await;
        let read = read.context("reading settings").and_then(|read| Ok(read?));
        // Certificates may have been renewed whatever else is wrong.
        let reloaded = match &read {
            Ok(settings) => self.running.reload(settings),
            Err(_) => {
                self.running.reload_certificates();
                Ok(Vec::new())
            }
        };
        let outcome = read.and(reloaded).map_err(|error| format!("{error:#}"));
        match &outcome {
            Ok(waiting) if waiting.is_empty() => tracing::info!("settings are reloaded"),
            Ok(waiting) => {
                tracing::warn!(needs_upgrade = waiting.join(", "), "settings are reloaded; some need an upgrade");
            }
            Err(fault) => tracing::error!(%fault, "settings are not reloaded; those before stay in force"),
        }
        self.running.metrics().operation().reloaded(outcome.clone());
        let fault = outcome.as_ref().err().cloned();
        let needs_upgrade = outcome.unwrap_or_default().into_iter().map(str::to_owned).collect();
        notify::ready(&self.serving());
        self.answer(Asked::Reload, None, needs_upgrade, fault);
    }

    fn begin_upgrade(&self) -> Option<Upgrade> {
        if std::process::id() == 1 {
            self.upgrade_failed(&anyhow!(
                "this is process 1 of its namespace, which ends with it: start a new container"
            ));
            return None;
        }
        tracing::info!("upgrading: a new process is started");
        match self.running.legacy() {
            Ok(legacy) => {
                let patience = self.running.settings().gateway.upgrade_timeout;
                Some(Box::pin(legacy.hand_over(self.program.clone(), patience)))
            }
            Err(error) => {
                self.upgrade_failed(&error);
                None
            }
        }
    }

    fn upgrade_failed(&self, error: &anyhow::Error) {
        let fault = format!("{error:#}");
        tracing::error!(%fault, "the upgrade failed; this process goes on");
        notify::status(&format!("the upgrade failed: {fault}"));
        self.running.metrics().operation().upgrade_failed(fault.clone());
        self.answer(Asked::Upgrade, None, Vec::new(), Some(fault));
    }

    fn succeeded(&mut self, successor: Successor) -> End {
        notify::succeeded_by(successor.process.pid);
        // The new process waits for it.
        self.pid_file = None;
        self.answer(Asked::Upgrade, Some(successor.process.clone()), Vec::new(), None);
        End::Succeeded(successor)
    }

    fn answer(&self, asked: Asked, successor: Option<Process>, needs_upgrade: Vec<String>, fault: Option<String>) {
        let at = Timestamp::now().unix_millis();
        let outcome = Outcome { by: Process::this(), at, successor, needs_upgrade, fault };
        let directory: &Path = &self.sources.data_dir;
        if let Err(error) = asked.answer(directory, &outcome) {
            tracing::debug!(%error, "no word is left in the data directory");
        }
    }
}

/// What an upgrade comes to, if one is under way.
async fn finished(upgrade: &mut Option<Upgrade>) -> anyhow::Result<Successor> {
    match upgrade {
        Some(upgrade) => upgrade.await,
        None => std::future::pending().await,
    }
}
