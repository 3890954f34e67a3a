use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::matrix;
use super::output::{print, print_json};
use crate::config::Settings;
use crate::model::Timestamp;
use crate::policy::{Snapshot, export};
use crate::server;
use crate::telemetry::Metrics;

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
    /// Print which role may do what
    Matrix(matrix::Args),
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(&settings, metrics).await?;
    let snapshot = control.snapshots().load();
    let done = match args.command {
        Command::Show { json } => show(&snapshot, json),
        Command::Matrix(args) => matrix::run(&args, &snapshot),
    };
    control.db().close().await;
    done
}

fn show(snapshot: &Snapshot, json: bool) -> anyhow::Result<ExitCode> {
    let export = export(snapshot, Timestamp::now())?;
    if json {
        print_json(&export)?;
    } else {
        let entities = serde_json::to_string_pretty(&export.entities)?;
        let commented = |text: &str| text.lines().map(|line| format!("// {line}\n")).collect::<Vec<_>>().concat();
        let (lines, schema) = (commented(&entities), commented(&export.schema));
        print(&format!(
            "// policy revision {}\n\n{}\n\n// schema:\n{schema}\n// entities:\n{lines}",
            export.policy_revision, export.policies
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
