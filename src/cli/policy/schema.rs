use std::process::ExitCode;

use super::source::Source;
use crate::cli::output::print;
use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    print(&args.source.snapshot(settings).await?.schema_text()?)?;
    Ok(ExitCode::SUCCESS)
}
