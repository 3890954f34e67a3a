use std::process::ExitCode;

use super::Listeners;
use super::operate::{Operator, Signals, Start};
use super::output::print;
use super::serve::start_logging;
use crate::config::Settings;
use crate::control::DEMO_ACCOUNTS;
use crate::server::{self, Running};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) listeners: Listeners,
}

pub(super) async fn run(start: Start) -> anyhow::Result<ExitCode> {
    let logs = start_logging(&start.settings)?;
    let signals = Signals::new()?;
    let running = server::start_with(&start.settings, &logs, start.inheritance).await?;
    print(&welcome(&start.settings, &running))?;
    Operator::new(running, logs, signals, start.sources, start.program).await?.run().await
}

fn welcome(settings: &Settings, running: &Running) -> String {
    let scheme = if settings.gateway.tls.is_some() { "https" } else { "http" };
    let gateway = format!("{scheme}://{}", running.gateway);
    let api = &settings.admin.api_prefix;
    let admin = running.admin;
    let demo = running.demo.map(|address| address.to_string()).unwrap_or_default();
    let accounts: Vec<String> =
        DEMO_ACCOUNTS.iter().map(|(name, password, _, role)| format!("  {name} / {password}  ({role})")).collect();
    format!(
        "Cedargate {version} for development: these passwords are public, nothing listens beyond this machine.\n\
         \n  gateway        {gateway}\n  admin API      http://{admin}{api}\n  demo back end  http://{demo}\n\
         \nAccounts, as of the first start:\n{accounts}\n\
         \nTry:\n\
         \n  curl {gateway}/demo/public\n\
         \n  TOKEN=$(curl -s http://{admin}{api}/auth/login -H 'Content-Type: application/json' \
         -d '{{\"username\":\"testuser\",\"password\":\"testuser123\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         \n  curl -H \"Authorization: Bearer $TOKEN\" {gateway}/demo/articles\n",
        version = env!("CARGO_PKG_VERSION"),
        accounts = accounts.join("\n"),
    )
}
