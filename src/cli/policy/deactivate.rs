use std::process::ExitCode;

use anyhow::Context;

use crate::cli::output::print;
use crate::config::Settings;
use crate::model::{PolicyPatch, Timestamp};
use crate::server;
use crate::store::{Page, audit, audit::NewAuditRecord, changes, changes::Change, migrate, policies};

/// The way back for whoever has written a policy that keeps everybody from changing policies, or one that does not
/// compile: it compiles nothing itself.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The policy's name
    name: String,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let db = server::open_database(settings).await?;
    migrate::up(&db).await?;
    let now = Timestamp::now();
    let mut tx = db.write().await?;
    let revisions = changes::lock(&mut tx).await?;
    let all = policies::list(&mut tx, &policies::Filter::default(), Page::ALL).await?;
    let found = all.into_iter().map(|row| row.policy).find(|policy| policy.name.as_str() == args.name);
    let before = found.with_context(|| {
        format!("no policy in the database has the name '{}'; policies from files are taken away with them", args.name)
    })?;
    let off = PolicyPatch { is_active: Some(false), ..PolicyPatch::default() };
    policies::update(&mut tx, before.id, &off, now).await?;
    let policy_revision = changes::bump_policy(&mut tx).await?;
    changes::append(&mut tx, revisions.revision, &Change::Policy(before.id), now).await?;
    let record = NewAuditRecord {
        actor_id: None,
        actor: None,
        action: "update",
        resource: "policy",
        resource_id: before.id.to_string(),
        after: serde_json::to_value(policies::get(&mut tx, before.id).await?)?,
        before: serde_json::to_value(&before)?,
        ip: None,
        user_agent: None,
        request_id: None,
        revision: revisions.revision,
    };
    audit::insert(&mut tx, record, now).await?;
    tx.ring(revisions.revision).await?;
    tx.commit().await?;
    db.close().await;
    print(&format!("policy {} ({}) is inactive since policy revision {policy_revision}", args.name, before.id))?;
    Ok(ExitCode::SUCCESS)
}
