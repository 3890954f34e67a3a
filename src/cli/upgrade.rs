use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::output::print;
use crate::server::{Asked, Holder, Outcome, PidFile, Process};

/// How often the outcome is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long a new server may take to lay its hand on the pid file.
const HANDS: Duration = Duration::from_secs(5);

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Seconds to wait for the outcome
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    wait: u64,
}

/// Sends the signal to the server of the data directory, and tells what came of it.
pub(super) fn run(args: &Args, directory: &Path, asked: Asked) -> anyhow::Result<ExitCode> {
    let shown = directory.display();
    let holder = PidFile::holder(directory).with_context(|| format!("{shown}: no pid file can be read"))?;
    let Holder { pid, is_here } = holder.with_context(|| format!("no server runs on {shown} (--data-dir)"))?;
    if !is_here {
        bail!(
            "process {pid} is of another PID namespace: run this command where the server runs, such as its container"
        );
    }
    let before = asked.last(directory).map(|outcome| outcome.at);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has that number")?;
    let signal = match asked {
        Asked::Reload => Signal::HUP,
        Asked::Upgrade => Signal::USR2,
    };
    kill_process(process, signal).with_context(|| format!("process {pid} cannot be told"))?;
    let is_news = |outcome: &Outcome| Some(outcome.at) != before && outcome.by.pid == pid;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let outcome = loop {
        if let Some(outcome) = asked.last(directory).filter(is_news) {
            break outcome;
        }
        if test_kill_process(process).is_err() {
            bail!("process {pid} has ended without a word");
        }
        if Instant::now() >= until {
            bail!("process {pid} has not answered within {} s; its log tells more", args.wait);
        }
        std::thread::sleep(LOOK);
    };
    if let Some(fault) = outcome.fault {
        bail!("{}: {fault}", if asked == Asked::Reload { "not reloaded" } else { "not upgraded" });
    }
    match outcome.successor {
        Some(successor) => {
            settled(directory, successor.pid);
            print(&format!("upgraded: {} -> {}", told(&outcome.by), told(&successor)))?;
        }
        None if outcome.needs_upgrade.is_empty() => print("reloaded")?,
        None => print(&format!("reloaded; needs an upgrade: {}", outcome.needs_upgrade.join(", ")))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn told(process: &Process) -> String {
    format!("version {} (process {})", process.version, process.pid)
}

/// Waits until the new server can be found as the old one was, so that it can be told something next.
fn settled(directory: &Path, pid: u32) {
    let until = Instant::now() + HANDS;
    while PidFile::holder(directory).ok().flatten().map(|holder| holder.pid) != Some(pid) && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
}
