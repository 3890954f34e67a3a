use std::process::ExitCode;

use super::source::Source;
use crate::cli::output::{print, print_json};
use crate::config::Settings;
use crate::model::Timestamp;
use crate::policy::export;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// As JSON, which the other commands read again
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let snapshot = args.source.snapshot(settings).await?;
    let export = export(&snapshot, Timestamp::now())?;
    if args.json {
        print_json(&export)?;
        return Ok(ExitCode::SUCCESS);
    }
    let entities = serde_json::to_string_pretty(&export.entities)?;
    let commented = |text: &str| text.lines().map(|line| format!("// {line}\n")).collect::<Vec<_>>().concat();
    let (lines, schema) = (commented(&entities), commented(&export.schema));
    print(&format!(
        "// policy revision {}\n\n{}\n\n// schema:\n{schema}\n// entities:\n{lines}",
        export.policy_revision, export.policies
    ))?;
    Ok(ExitCode::SUCCESS)
}
