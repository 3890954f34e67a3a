use std::process::ExitCode;

use super::Listeners;
use super::operate::{Operator, Signals, Start};
use crate::config::{LogFormat, Settings};
use crate::server;
use crate::telemetry::{Logs, logs};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

pub(super) async fn run(start: Start) -> anyhow::Result<ExitCode> {
    let logs = start_logging(&start.settings)?;
    // Before anything listens: a signal during the start must not be lost.
    let signals = Signals::new()?;
    let running = server::start_with(&start.settings, &logs, start.inheritance).await?;
    if let Some(password) = &running.first_password {
        eprintln!("cedargate: first administrator: superadmin / {} (shown once, change it)", password.expose());
    }
    tracing::info!(gateway = %running.gateway, admin = %running.admin, "serving");
    Operator::new(running, logs, signals, start.sources, start.program).await?.run().await
}

pub(super) fn start_logging(settings: &Settings) -> anyhow::Result<Logs> {
    let format = match settings.log.format {
        LogFormat::Json => logs::Format::Json,
        LogFormat::Text => logs::Format::Text,
    };
    Ok(Logs::start(settings.log.level, format, server::rotation(settings))?)
}
