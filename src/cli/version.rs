use std::env::consts::{ARCH, OS};
use std::process::ExitCode;

use super::output::{print, print_json};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// With target and profile, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        print_json(&serde_json::json!({"version": version, "target": format!("{ARCH}-{OS}"), "profile": profile}))?;
    } else {
        print(&format!("cedargate {version}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
