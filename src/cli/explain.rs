use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::explain::{Context, Question};
use crate::model::Timestamp;
use crate::policy::{Explanation, HeldRole, RouteBrief};
use crate::server;
use crate::store::users;
use crate::telemetry::Metrics;

/// The exit code for a denial.
const DENIED: u8 = 3;
/// The exit code for a question that cannot be asked.
const MISUSED: u8 = 2;
/// The user who is nobody.
const ANONYMOUS: &str = "-";

/// Exits with 3 when the request is denied.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Id, name or mail address; - for a request without a token
    user: String,
    /// Such as GET
    method: String,
    /// Path, or a whole address to name the host
    url: String,
    /// What the request brings along: `client_ip`, now, host, claims, claims.NAME, scopes, mfa, tenant, issuer,
    /// `client_certificate`, `client_certificate.NAME`
    #[arg(long, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let context = Context::from_pairs(args.context.iter().map(String::as_str));
    let question = match context.map(|context| Question::new(&args.method, &args.url, context)) {
        Ok(Ok(question)) => question,
        Ok(Err(fault)) => return Ok(misused(&fault)),
        Err(fault) => return Ok(misused(&format!("--context: {fault}"))),
    };
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(&settings, metrics).await?;
    let snapshot = control.snapshots().load();
    let user = match args.user.as_str() {
        ANONYMOUS => None,
        name => {
            let mut tx = control.read().await?;
            let id = users::named(&mut tx, name).await?;
            let state = id.and_then(|id| snapshot.user(id));
            Some(state.with_context(|| format!("there is no user '{name}'"))?)
        }
    };
    let explanation = question.ask(&snapshot, user, Ipv4Addr::LOCALHOST.into(), Timestamp::now());
    control.db().close().await;
    let explanation = match explanation {
        Ok(explanation) => explanation,
        Err(fault) => return Ok(misused(&fault)),
    };
    if args.json {
        print_json(&explanation)?;
    } else {
        print(&told(&explanation))?;
    }
    Ok(if explanation.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

fn misused(fault: &impl std::fmt::Display) -> ExitCode {
    eprintln!("cedargate: {fault}");
    ExitCode::from(MISUSED)
}

fn place(route: &RouteBrief) -> String {
    route.id.map_or_else(|| "the admin service".to_owned(), |id| format!("route {id}"))
}

fn told(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{} {} ({})", explanation.decision, explanation.status, explanation.reason)];
    let mut say = |name: &str, text: String| lines.push(format!("  {name:<11} {text}"));
    if let Some(principal) = &explanation.principal {
        let role = |role: &HeldRole| match role.via.is_empty() {
            true => role.name.to_string(),
            false => format!("{} (via {})", role.name, role.via.join(" > ")),
        };
        let roles: Vec<String> = principal.roles.iter().map(role).collect();
        let id = principal.id.map_or_else(|| "no account".to_owned(), |id| id.to_string());
        say("user", format!("{} ({id}), roles: {}", principal.username, roles.join(", ")));
    }
    if let Some(route) = &explanation.route {
        say("route", format!("{} ({})", route.route, place(route)));
    }
    if let Some(operation) = &explanation.operation {
        let wanted = operation.permission.as_deref().unwrap_or(operation.access);
        say("operation", format!("{} needs {wanted}", operation.method));
    }
    for candidate in &explanation.candidates {
        say("not", format!("{} ({}), less specific", candidate.route, place(candidate)));
    }
    for policy in &explanation.policies {
        say(policy.effect.unwrap_or("policy"), format!("{} [{}]", policy.name, policy.id));
        for line in policy.source.iter().flat_map(|source| source.lines()) {
            say("", format!("  {line}"));
        }
    }
    for error in &explanation.errors {
        say("error", error.message.clone());
    }
    for suggestion in &explanation.suggestions {
        say(
            "would allow",
            match &suggestion.permission {
                Some(permission) => format!("grant {permission} to role {}", suggestion.role),
                None => format!("assign role {}", suggestion.role),
            },
        );
    }
    lines.push(format!("  {:<11} {}", "revision", explanation.policy_revision));
    lines.join("\n") + "\n"
}
