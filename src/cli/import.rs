use std::convert::Infallible;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::control::import::{Listed, Report, Takeover};
use crate::model::Secret;
use crate::server;
use crate::store::{Db, PoolSettings, migrate, predecessor};
use crate::telemetry::Metrics;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    #[command(
        about = "Take over users, roles, permissions, modules and routes of the FastAPI template, with their ids"
    )]
    Fastapi(Fastapi),
}

#[derive(clap::Args, Debug)]
struct Fastapi {
    #[arg(
        long,
        help = "Its database, as in postgresql://user:password@host/name; `-` reads that from standard input",
        value_name = "URL",
        env = "CEDARGATE_IMPORT_FROM",
        hide_env_values = true,
        value_parser = secret
    )]
    from: Secret<String>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "what a parser of arguments returns")]
fn secret(text: &str) -> Result<Secret<String>, Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// What the command prints.
#[derive(Serialize)]
struct Outcome<'r> {
    /// Whether anything was to be written at all.
    dry_run: bool,
    #[serde(flatten)]
    report: &'r Report,
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let Command::Fastapi(Fastapi { from, dry_run, json }) = args.command;
    let takeover = Takeover::new(read(from, &settings).await?);
    let report = if dry_run || takeover.report().forbids() {
        preview(&takeover, &settings).await?
    } else {
        write(&takeover, &settings).await?
    };
    if json {
        print_json(&Outcome { dry_run, report: &report })?;
    } else {
        print(&told(&report, dry_run))?;
    }
    if report.forbids() {
        let (refused, conflicts) = (report.refused.total, report.conflicts.total);
        bail!(
            "nothing is taken over: {refused} faults in the template's data, {conflicts} conflicts with what is here"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(from: Secret<String>, settings: &Settings) -> anyhow::Result<predecessor::Installation> {
    let from = if from.expose() == "-" {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("reading the database's address")?;
        Secret::new(line.trim().to_owned())
    } else {
        from
    };
    // Opening another one would make its file.
    ensure!(from.expose().starts_with("postgres"), "--from is an address that begins with postgresql://");
    let pool = PoolSettings { max_connections: 1, acquire_timeout: settings.database.acquire_timeout };
    let db = Db::open(from.expose(), &pool).await.context("the template's database")?;
    let found = predecessor::read(&db).await;
    db.close().await;
    found.context("the template's database")
}

/// Writes nothing, not even tables.
async fn preview(takeover: &Takeover, settings: &Settings) -> anyhow::Result<Report> {
    let db = server::open_database(settings).await?;
    refuse_source(&db).await?;
    let steps = migrate::status(&db).await?;
    let applied = steps.iter().filter(|step| step.applied_at.is_some()).count();
    let report = if applied == 0 {
        takeover.preview(None).await?
    } else {
        ensure!(applied == steps.len(), "the database's schema is an older one: run `cedargate migrate up` first");
        takeover.preview(Some(&mut db.read().await?)).await?
    };
    db.close().await;
    Ok(report)
}

async fn write(takeover: &Takeover, settings: &Settings) -> anyhow::Result<Report> {
    let db = server::open_database(settings).await?;
    refuse_source(&db).await?;
    db.close().await;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(settings, metrics).await?;
    let report = control.take_over(takeover).await?;
    if !report.forbids() {
        // What the template has not: further permissions, and that the super role holds all of them.
        crate::control::seed(&control, Vec::new()).await?;
    }
    control.db().close().await;
    Ok(report)
}

/// The template's own `.env` names its database as ours.
async fn refuse_source(db: &Db) -> anyhow::Result<()> {
    let is_source = predecessor::is_at(&mut db.read().await?).await?;
    ensure!(!is_source, "the settings' database is one of the template: set CEDARGATE_DATABASE__URL to one of our own");
    Ok(())
}

fn told(report: &Report, dry_run: bool) -> String {
    let read: Vec<String> = report.read.iter().map(|(kind, count)| format!("{count} {kind}s")).collect();
    let writes = !report.forbids();
    let done = if writes && !dry_run { ["created", "changed"] } else { ["to be created", "to be changed"] };
    let mut lines = vec![format!("read: {}", read.join(", "))];
    for (heading, listed) in [
        ("adjusted", &report.adjusted),
        (done[0], &report.created),
        (done[1], &report.changed),
        ("conflicts", &report.conflicts),
        ("refused", &report.refused),
    ] {
        list(&mut lines, heading, listed);
    }
    lines.push(format!("unchanged: {}", report.unchanged));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    let ending = match (writes, dry_run) {
        (false, _) => "nothing was written",
        (true, true) => "dry run: nothing was written",
        (true, false) if report.created.is_empty() && report.changed.is_empty() => "nothing was to be written",
        (true, false) => "done",
    };
    lines.push(ending.to_owned());
    lines.join("\n")
}

fn list(lines: &mut Vec<String>, heading: &str, listed: &Listed) {
    lines.push(format!("{heading}: {}", listed.total));
    lines.extend(listed.lines.iter().map(|line| format!("  {line}")));
    let more = listed.total - listed.lines.len();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
}
