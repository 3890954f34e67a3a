use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::http::{Target, host};
use crate::model::{Timestamp, UserId, rules::UserState};
use crate::policy::{Explanation, Inquiry, explain};
use crate::server;
use crate::store::{Tx, users};
use crate::telemetry::Metrics;

/// The exit code for a denial.
const DENIED: u8 = 3;

/// Exits with 3 when the request is denied.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Id, name or mail address
    user: String,
    /// Such as GET
    method: String,
    /// Path, or a whole address to name the host
    url: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(&settings, metrics).await?;
    let mut tx = control.read().await?;
    let user = find_user(&mut tx, &args.user).await?.with_context(|| format!("there is no user '{}'", args.user))?;
    let (host, target) = split(&args.url)?;
    let host = host::canonical(host.as_bytes()).map_err(|_| anyhow::anyhow!("'{host}' is not a host"))?;
    let target = Target::parse(target.as_bytes())
        .map_err(|fault| anyhow::anyhow!("the gateway refuses this target with 400: {fault:?}"))?;
    let explanation = explain(
        &control.snapshots().load(),
        &Inquiry {
            user: Some(&Arc::new(user)),
            method: &args.method.to_uppercase(),
            host: &host,
            path: target.decoded_path(),
            query: &|name| target.query_value(name),
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            now: Timestamp::now(),
        },
    );
    drop(tx);
    control.db().close().await;
    if args.json {
        print_json(&explanation)?;
    } else {
        print(&told(&explanation))?;
    }
    Ok(if explanation.decision == "allow" { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

/// Host and target of a URL; a bare path is on no host in particular.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let Some((_, rest)) = url.split_once("://") else {
        anyhow::ensure!(url.starts_with('/'), "'{url}' is neither a path that begins with / nor a whole address");
        return Ok(("localhost", url));
    };
    Ok(match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    })
}

/// The user of this id, name or mail address.
pub(super) async fn find_user(tx: &mut Tx, text: &str) -> anyhow::Result<Option<UserState>> {
    let by_name = users::credentials(tx, text).await?.map(|known| known.id);
    let Some(id) = by_name.or_else(|| text.parse().ok().map(UserId)) else {
        return Ok(None);
    };
    Ok(users::state(tx, id).await?)
}

fn told(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{} {} ({})", explanation.decision, explanation.status, explanation.reason)];
    let mut say = |name: &str, text: String| lines.push(format!("  {name:<11} {text}"));
    if let Some(principal) = &explanation.principal {
        let role = |role: &crate::policy::HeldRole| match role.via.is_empty() {
            true => role.name.to_string(),
            false => format!("{} (via {})", role.name, role.via.join(" > ")),
        };
        let roles: Vec<String> = principal.roles.iter().map(role).collect();
        say("user", format!("{} ({}), roles: {}", principal.username, principal.id, roles.join(", ")));
    }
    match &explanation.route {
        Some(route) => {
            let id = route.id.map_or_else(|| "the admin service".to_owned(), |id| format!("route {id}"));
            say("route", format!("{} ({id})", route.route));
        }
        None => say("route", "none matches this path".to_owned()),
    }
    if let Some(operation) = &explanation.operation {
        let wanted = operation.permission.as_deref().unwrap_or(operation.access);
        say("operation", format!("{} needs {wanted}", operation.method));
    }
    for policy in &explanation.policies {
        say(policy.effect, format!("{} [{}]", policy.name, policy.id));
    }
    for error in &explanation.errors {
        say("error", error.clone());
    }
    for suggestion in &explanation.suggestions {
        say("would allow", format!("grant {} to role {}", suggestion.permission, suggestion.role));
    }
    lines.push(format!("  {:<11} {}", "revision", explanation.policy_revision));
    lines.join("\n") + "\n"
}
