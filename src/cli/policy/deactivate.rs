use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use crate::cli::output::print;
use crate::config::Settings;
use crate::model::PolicyPatch;
use crate::server;
use crate::store::{Page, changes::Change, policies};
use crate::telemetry::Metrics;

/// The way back for whoever has written a policy that keeps everybody from changing policies.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The policy's name
    name: String,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(settings, metrics).await?;
    let mut write = control.write().await?;
    let all = policies::list(write.tx(), &policies::Filter::default(), Page::ALL).await?;
    let found = all.into_iter().map(|row| row.policy).find(|policy| policy.name.as_str() == args.name);
    let before = found.with_context(|| {
        format!("no policy in the database has the name '{}'; policies from files are taken away with them", args.name)
    })?;
    let (id, now) = (before.id, write.now());
    write.leaves("policy", id.0, &before);
    let off = PolicyPatch { is_active: Some(false), ..PolicyPatch::default() };
    policies::update(write.tx(), id, &off, now).await?;
    let after = policies::get(write.tx(), id).await?;
    write.becomes("policy", id.0, &after);
    write.touch(Change::Policy(id));
    let written = write.commit(()).await?;
    control.db().close().await;
    print(&format!("policy {} ({id}) is inactive since policy revision {}\n", args.name, written.policy_revision))?;
    Ok(ExitCode::SUCCESS)
}
