use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::source::Source;
use crate::cli::output::print;
use crate::config::Settings;
use crate::policy::Snapshot;
use crate::server::policy_files;

/// The exit code when there is nothing to check.
const MISUSED: u8 = 2;

/// Exits with 1 when anything is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Files with policies
    #[arg(value_name = "FILE", conflicts_with = "dir")]
    files: Vec<PathBuf>,
    /// Check the *.cedar files of this directory [default: that of the settings]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let files = match (args.files.is_empty(), args.dir.as_deref().or(settings.policy.dir.as_deref())) {
        (false, _) => args.files,
        (true, Some(directory)) => policy_files::paths(directory).with_context(|| directory.display().to_string())?,
        (true, None) => {
            eprintln!("cedargate: no file is named, no --dir is given, and policy.dir is not set");
            return Ok(ExitCode::from(MISUSED));
        }
    };
    // The files in force must not keep those from being checked that would mend them.
    let mut settings = settings.clone();
    settings.policy.dir = None;
    let snapshot = args.source.snapshot(&settings).await?;
    let mut faults = 0;
    for file in &files {
        let told = faults_of(&snapshot, file).with_context(|| file.display().to_string())?;
        faults += told.len();
        for line in told {
            print(&line)?;
        }
    }
    print(&format!("{} checked, {}", counted(files.len(), "file"), counted(faults, "fault")))?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for all that is wrong with a file.
fn faults_of(snapshot: &Snapshot, file: &Path) -> anyhow::Result<Vec<String>> {
    let text = policy_files::file(file)?;
    Ok(snapshot.review(&text)?.faults.iter().map(|fault| policy_files::told(file, fault)).collect())
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
