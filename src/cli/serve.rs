use std::process::ExitCode;

use super::Listeners;
use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

#[expect(clippy::unused_async, reason = "it waits once it is wired")]
pub(super) async fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
