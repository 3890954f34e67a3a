use std::process::ExitCode;

use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Apply every migration that is pending
    Up,
    /// Revert the last migrations
    Down {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
    },
    /// Print which migrations are applied
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[expect(clippy::unused_async, reason = "it waits once it is wired")]
pub(super) async fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
