use std::process::ExitCode;

use super::output::{print, print_json};
use crate::config::{Entry, Settings};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print settings and where each came from; secrets are hidden
    Show {
        /// Defaults too, not only what was set
        #[arg(long)]
        effective: bool,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Command::Show { effective, json } = args.command;
    let entries: Vec<&Entry> =
        settings.effective().iter().filter(|entry| effective || entry.source != "default").collect();
    if json {
        print_json(&entries)?;
    } else {
        let lines: Vec<String> = entries
            .iter()
            .map(|Entry { key, value, source, .. }| format!("{:<56} # {source}", format!("{key} = {value}")))
            .collect();
        print(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
