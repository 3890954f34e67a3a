//! The operator's own policy files: read at the start, and looked at ever after.
//!
//! ## Why
//! They are compared by what the file system says of them, once a second. Notifications would be faster, but directories
//! that are mounted from elsewhere, or exchanged as a whole behind a symbolic link, send none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::stamp::Stamp;
use crate::{
    control::{self, Control},
    model::{PolicyName, rules::PolicyText},
    policy::{CompileError, Fault},
    telemetry::Metrics,
};

/// More is no policy but a mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often a set of files that could not be put in force is tried again: what it speaks of may be there by then.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Reads every `*.cedar` file of the directory, in the order of their names.
pub(super) fn read(directory: Option<&Path>) -> anyhow::Result<Vec<PolicyText>> {
    let Some(directory) = directory else {
        return Ok(Vec::new());
    };
    let paths = paths(directory).with_context(|| format!("policy.dir: {}", directory.display()))?;
    let files = paths.iter().map(|path| file(path).with_context(|| path.display().to_string()));
    let mut files = files.collect::<anyhow::Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The `*.cedar` files of a directory, sorted.
///
/// # Errors
/// It cannot be read.
pub fn paths(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "cedar"));
    paths.sort();
    Ok(paths)
}

/// Reads one file, whose name is that of its policies.
///
/// # Errors
/// It cannot be read, is too large, or has a name that no policy may have.
pub fn file(path: &Path) -> anyhow::Result<PolicyText> {
    let size = path.metadata()?.len();
    anyhow::ensure!(size <= MAX_FILE_BYTES, "{size} bytes, at most {MAX_FILE_BYTES}");
    let name = path.file_stem().and_then(|stem| stem.to_str()).context("its name is not Unicode")?;
    Ok(PolicyText { name: PolicyName::try_from(name)?, source: std::fs::read_to_string(path)? })
}

/// A fault with the path of its file, line and column.
pub fn told(path: &Path, Fault { message, place, help, .. }: &Fault) -> String {
    let place = place.as_ref().map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
    let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}{place}: {message}{help}", path.display())
}

/// The same, of the policy's file in `directory`.
fn told_in(directory: &Path, fault: &Fault) -> String {
    told(&directory.join(format!("{}.cedar", fault.policy)), fault)
}

/// Why the rules do not compile, with the file's path where a file is at fault.
pub(super) fn blame(directory: Option<&Path>, files: &[PolicyText], error: control::Error) -> anyhow::Error {
    let fault = match &error {
        control::Error::Rejected(CompileError::Policy(fault)) | control::Error::Behind(CompileError::Policy(fault)) => {
            Some(fault)
        }
        _ => None,
    };
    if let (Some(fault), Some(directory)) = (fault, directory)
        && files.iter().any(|file| file.name.as_str() == fault.policy)
    {
        return anyhow::anyhow!(told_in(directory, fault));
    }
    anyhow::Error::new(error).context("the rules in the database")
}

/// What tells that files have changed.
type Look = Vec<(PathBuf, Stamp)>;

fn look(directory: &Path) -> anyhow::Result<Look> {
    let seen = paths(directory)?.into_iter().map(|path| {
        let stamp = Stamp::of(&path)?;
        Ok((path, stamp))
    });
    seen.collect()
}

/// Puts files in force when they change, for ever. A set with a fault leaves the one before in force, which is logged,
/// counted, and told by `/health/detailed`.
pub(super) async fn watch(control: Control, directory: PathBuf, metrics: Arc<Metrics>) {
    let mut watch = Watch {
        control,
        directory: directory.into(),
        seen: None,
        fault: None,
        tried: Instant::now(),
        policy_revision: None,
    };
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(outcome) = watch.round().await else { continue };
        let fault = outcome.err().map(|error| format!("{error:#}"));
        match &fault {
            Some(fault) if watch.fault.as_ref() != Some(fault) => {
                metrics.snapshot_failed();
                tracing::error!(%fault, "policy files have a fault; what was in force stays in force");
            }
            None if watch.fault.is_some() => tracing::info!("policy files are sound again"),
            _ => {}
        }
        metrics.policy_files(fault.is_none());
        watch.control.note_files(fault.clone());
        watch.fault = fault;
    }
}

struct Watch {
    control: Control,
    directory: Arc<Path>,
    /// As of the last time that files were read.
    seen: Option<Look>,
    fault: Option<String>,
    tried: Instant,
    /// Of the rules in which the names that files speak of were last looked up.
    policy_revision: Option<i64>,
}

impl Watch {
    /// Looks, and puts in force what has changed; `None` if nothing has.
    async fn round(&mut self) -> Option<anyhow::Result<()>> {
        let directory = Arc::clone(&self.directory);
        let looked = tokio::task::spawn_blocking(move || look(&directory)).await.ok()?;
        let is_due = self.fault.is_some() && self.tried.elapsed() >= TRY_AGAIN;
        match looked {
            Ok(look) if self.seen.as_ref() == Some(&look) && !is_due => {
                let revision = self.control.snapshots().load().policy_revision();
                let is_news = self.fault.is_none() && self.policy_revision != Some(revision);
                return is_news.then(|| self.look_up_names());
            }
            Ok(look) => self.seen = Some(look),
            Err(error) => {
                self.seen = None;
                return Some(Err(error.context(self.directory.display().to_string())));
            }
        }
        self.tried = Instant::now();
        Some(self.put_in_force().await.and_then(|()| self.look_up_names()))
    }

    /// What files speak of may be gone by what another node did; they stay in force, but may protect nobody.
    fn look_up_names(&mut self) -> anyhow::Result<()> {
        let snapshot = self.control.snapshots().load();
        self.policy_revision = Some(snapshot.policy_revision());
        let told: Vec<String> =
            snapshot.unknown_names_in_files().iter().map(|fault| told_in(&self.directory, fault)).collect();
        anyhow::ensure!(told.is_empty(), "{}", told.join("; "));
        Ok(())
    }

    async fn put_in_force(&self) -> anyhow::Result<()> {
        let directory = Arc::clone(&self.directory);
        let files = tokio::task::spawn_blocking(move || read(Some(&directory))).await??;
        if *files == *self.control.files() {
            return Ok(());
        }
        let count = files.len();
        let put = self.control.put_files(files.clone().into()).await;
        put.map_err(|error| blame(Some(&self.directory), &files, error))?;
        tracing::info!(files = count, "policy files changed");
        Ok(())
    }
}
