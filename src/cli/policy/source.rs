//! Which rules a command is about.

use std::sync::Arc;

use anyhow::Context;

use crate::config::Settings;
use crate::policy::Snapshot;
use crate::server;
use crate::telemetry::Metrics;

/// Where rules come from: the database of the settings.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Source {}

impl Source {
    /// The snapshot to be asked.
    ///
    /// # Errors
    /// The database cannot be read, or its rules do not compile.
    pub(super) async fn snapshot(&self, settings: &Settings) -> anyhow::Result<Arc<Snapshot>> {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
        let control = server::open(settings, metrics).await?;
        let snapshot = control.snapshots().load();
        control.db().close().await;
        Ok(snapshot)
    }
}
