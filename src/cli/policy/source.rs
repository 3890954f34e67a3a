//! Which rules a command is about: those of the database, or those that were written to a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::config::Settings;
use crate::model::Timestamp;
use crate::policy::{Export, Snapshot};
use crate::server;
use crate::telemetry::Metrics;

/// Where rules come from.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Source {
    /// Rules that `policy show --json` has written, instead of those of the database
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

impl Source {
    /// The snapshot to be asked.
    ///
    /// # Errors
    /// The database or the file cannot be read, or its rules do not compile.
    pub(super) async fn snapshot(&self, settings: &Settings) -> anyhow::Result<Arc<Snapshot>> {
        match &self.against {
            Some(file) => exported(file, settings).with_context(|| file.display().to_string()),
            None => live(settings).await,
        }
    }
}

fn exported(file: &Path, settings: &Settings) -> anyhow::Result<Arc<Snapshot>> {
    let text = std::fs::read(file)?;
    let export: Export =
        serde_json::from_slice(&text).context("it is nothing that `policy show --json` has written")?;
    Ok(Arc::new(export.into_snapshot(server::mounts(settings), Timestamp::now())?))
}

async fn live(settings: &Settings) -> anyhow::Result<Arc<Snapshot>> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(settings, metrics).await?;
    let snapshot = control.snapshots().load();
    control.db().close().await;
    Ok(snapshot)
}
