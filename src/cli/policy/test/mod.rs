//! Policy tests: requests that somebody might make, and what shall become of them.
//!
//! ```toml
//! [[test]]
//! name = "Readers do not write"
//! roles = ["user"]
//! method = "POST"
//! path = "/demo/articles"
//! expect = "deny"
//! reason = "no_grant"
//! ```

mod case;
mod file;
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;

use self::case::Case;
use self::file::BadFile;
use self::outcome::Report;
use super::source::Source;
use crate::cli::output::{print, print_json};
use crate::config::Settings;
use crate::model::Timestamp;
use crate::policy::Snapshot;

/// The exit code for files that are no tests.
const BAD_FILES: u8 = 2;

/// Exits with 1 when a test fails, and with 2 when a file is not what it should be.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Files, and directories with *.toml files
    #[arg(default_value = "policies/tests", value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let cases = match file::read(&args.paths) {
        Ok(cases) => cases,
        Err(faults) => return Ok(refuse(&faults)),
    };
    let snapshot = args.source.snapshot(settings).await?;
    let report = match report(&snapshot, &cases) {
        Ok(report) => report,
        Err(faults) => return Ok(refuse(&faults)),
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.to_string())?;
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks all, unless one speaks of what there is not: then nothing is known about any of them.
fn report(snapshot: &Snapshot, cases: &[Case]) -> Result<Report, Vec<BadFile>> {
    let now = Timestamp::now();
    let (mut outcomes, mut faults) = (Vec::new(), Vec::new());
    for case in cases {
        match case.ask(snapshot, now) {
            Ok(explanation) => outcomes.push(case.compare(&explanation)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(Report::of(outcomes)) } else { Err(faults) }
}

fn refuse(faults: &[BadFile]) -> ExitCode {
    for fault in faults {
        eprintln!("cedargate: {fault}");
    }
    ExitCode::from(BAD_FILES)
}

#[cfg(test)]
mod tests;
