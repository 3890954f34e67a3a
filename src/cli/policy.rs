use std::process::ExitCode;

use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the complete policy set, schema and entities
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[expect(clippy::unused_async, reason = "it waits once it is wired")]
pub(super) async fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
