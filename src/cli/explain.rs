use std::process::ExitCode;

use crate::config::Settings;

/// Exits with 3 when the request is denied.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Id, name or mail address
    user: String,
    /// Such as GET
    method: String,
    /// Path, or a whole address to name the host
    url: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::unused_async, reason = "it waits once it is wired")]
pub(super) async fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
