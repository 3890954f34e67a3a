use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Listeners;
use crate::config::{LogFormat, Settings};
use crate::server::{self, Running};
use crate::telemetry::{Logs, Rotation, logs};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

pub(super) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let logs = start_logging(&settings)?;
    // Before anything listens: a signal during the start must not be lost.
    let signals = Signals::new()?;
    let running = server::start(&settings, &logs).await?;
    if let Some(password) = &running.first_password {
        eprintln!("cedargate: first administrator: superadmin / {} (shown once, change it)", password.expose());
    }
    tracing::info!(gateway = %running.gateway, admin = %running.admin, "serving");
    run_until_told(running, &logs, signals).await
}

pub(super) fn start_logging(settings: &Settings) -> anyhow::Result<Logs> {
    let format = match settings.log.format {
        LogFormat::Json => logs::Format::Json,
        LogFormat::Text => logs::Format::Text,
    };
    let security = settings.log.security.as_ref().map(|log| Rotation {
        path: log.file.clone(),
        max_bytes: log.max_bytes,
        daily: log.daily,
        backups: log.backups,
    });
    Ok(Logs::start(settings.log.level, format, security)?)
}

/// The signals that the process heeds.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal to end.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until a signal, then drains; a second signal ends at once. SIGHUP opens logs and loads certificates anew.
pub(super) async fn run_until_told(running: Running, logs: &Logs, mut signals: Signals) -> anyhow::Result<ExitCode> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hang_up.recv() => reload(&running, logs),
        }
    }
    tracing::info!("shutting down; requests in flight are finished");
    tokio::select! {
        drained = running.shut_down() => {
            if !drained {
                tracing::warn!("some requests did not finish in time and were cut off");
            }
            Ok(ExitCode::SUCCESS)
        }
        () = signals.end() => {
            tracing::warn!("second signal; requests in flight are cut off");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn reload(running: &Running, logs: &Logs) {
    logs.reopen();
    tracing::info!("logs are opened anew");
    running.reload_certificates();
}
