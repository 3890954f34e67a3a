use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Listeners;
use crate::config::{LogFormat, Settings};
use crate::server::{self, Running};
use crate::telemetry::logs;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

pub(super) async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    start_logging(&settings)?;
    // Before anything listens: a signal during the start must not be lost.
    let signals = Signals::new()?;
    let running = server::start(&settings).await?;
    if let Some(password) = &running.first_password {
        eprintln!("cedargate: first administrator: superadmin / {} (shown once, change it)", password.expose());
    }
    tracing::info!(gateway = %running.gateway, admin = %running.admin, "serving");
    run_until_told(running, signals).await
}

pub(super) fn start_logging(settings: &Settings) -> anyhow::Result<()> {
    let format = match settings.log.format {
        LogFormat::Json => logs::Format::Json,
        LogFormat::Text => logs::Format::Text,
    };
    logs::init(&settings.log.level.to_string().to_lowercase(), format).context("logging")
}

/// The signals that end the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until a signal, then drains; a second signal ends at once.
pub(super) async fn run_until_told(running: Running, mut signals: Signals) -> anyhow::Result<ExitCode> {
    signals.next().await;
    tracing::info!("shutting down; requests in flight are finished");
    tokio::select! {
        drained = running.shut_down() => {
            if !drained {
                tracing::warn!("some requests did not finish in time and were cut off");
            }
            Ok(ExitCode::SUCCESS)
        }
        () = signals.next() => {
            tracing::warn!("second signal; requests in flight are cut off");
            Ok(ExitCode::FAILURE)
        }
    }
}
