use std::process::ExitCode;

use serde_json::json;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::server;
use crate::store::{Db, migrate};

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

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let db = server::open_database(&settings).await?;
    match args.command {
        Command::Up => print(&told("applied", &migrate::up(&db).await?))?,
        Command::Down { steps } => print(&told("reverted", &migrate::down(&db, steps).await?))?,
        Command::Status { json } => status(&db, json).await?,
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn told(done: &str, versions: &[i64]) -> String {
    if versions.is_empty() {
        return format!("nothing to be {done}\n");
    }
    versions.iter().map(|version| format!("{done} {version:04}\n")).collect::<Vec<_>>().concat()
}

async fn status(db: &Db, as_json: bool) -> anyhow::Result<()> {
    let steps = migrate::status(db).await?;
    if as_json {
        let step =
            |step: &migrate::Step| json!({ "version": step.version, "name": step.name, "applied_at": step.applied_at });
        return print_json(&steps.iter().map(step).collect::<Vec<_>>());
    }
    let line = |step: &migrate::Step| {
        let applied = step.applied_at.map_or_else(|| "pending".to_owned(), |at| at.to_string());
        format!("{:04}  {:<20} {applied}\n", step.version, step.name)
    };
    print(&steps.iter().map(line).collect::<String>())
}
