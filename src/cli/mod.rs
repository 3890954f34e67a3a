//! The command line: one file per command.
//!
//! Exit codes: 0 ok, 1 failed (with one line on standard error), 2 usage; `explain` has 3 for "denied", `policy diff` for "differs".

mod check_config;
mod config;
mod demo_backend;
mod dev;
mod explain;
mod healthcheck;
mod import;
mod keys;
mod migrate;
mod notify;
mod operate;
mod output;
mod policy;
mod serve;
mod upgrade;
mod user;
mod version;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::{Mode, Settings, Sources};
use crate::server::Asked;

/// A policy-engine-backed authorization gateway.
#[derive(Debug, Parser)]
#[command(name = "cedargate", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Global {
    /// Settings file [default: config/cedargate.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data is kept: embedded database, snapshot, keys
    #[arg(long, global = true, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway and the admin service
    Serve(serve::Args),
    /// Run on loopback with an embedded database, demo accounts, routes and back end
    Dev(dev::Args),
    /// Run only the back end that `dev` has built in, as a service for trials; it shows what it received
    DemoBackend(demo_backend::Args),
    /// Change the database's schema
    Migrate(migrate::Args),
    /// Check the settings as `serve` would, and start nothing
    CheckConfig,
    /// Take over the data of another system
    Import(import::Args),
    /// Show settings
    Config(config::Args),
    /// Tell why a user's request is allowed or denied
    Explain(explain::Args),
    /// Inspect policies
    Policy(policy::Args),
    /// Manage the keys that tokens are signed with
    Keys(keys::Args),
    /// Manage users
    User(user::Args),
    /// Ask a running server whether it is ready
    Healthcheck(healthcheck::Args),
    /// Have the running server read its settings and certificates again, except those it shows to upstreams
    Reload(upgrade::Args),
    /// Have the running server start the program anew, and hand over to it without losing a request
    Upgrade(upgrade::Args),
    /// Print the version
    Version(version::Args),
}

/// Flags over settings, for the commands that listen.
#[derive(Args, Debug)]
struct Listeners {
    /// Address of the gateway, such as 127.0.0.1:8000
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the admin service
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
}

impl Listeners {
    fn flags(&self) -> Vec<(String, String)> {
        [("gateway.listen", &self.listen), ("admin.listen", &self.admin_listen)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect()
    }
}

/// Runs the command that the program's arguments name.
pub fn run() -> ExitCode {
    // Two of them are in the tree; whoever asks for "the" provider must find one that was chosen.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    dispatch(cli).unwrap_or_else(|error| {
        let told = format!("{error:#}");
        eprintln!("cedargate: {}", told.lines().collect::<Vec<_>>().join(" "));
        ExitCode::FAILURE
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let load = |mode, flags| load(&cli.global, mode, flags);
    let offline = || load(Mode::Offline, Vec::new());
    match cli.command {
        Command::Serve(args) => {
            let start = operate::Start::new(sources(&cli.global, Mode::Serve, args.listeners.flags()))?;
            block_on(CONTROL_THREADS, serve::run(start))
        }
        Command::Dev(args) => {
            let start = operate::Start::new(sources(&cli.global, Mode::Dev, args.listeners.flags()))?;
            block_on(CONTROL_THREADS, dev::run(start))
        }
        Command::DemoBackend(args) => block_on(1, demo_backend::run(args)),
        Command::Migrate(args) => block_on(1, migrate::run(args, offline()?)),
        Command::CheckConfig => check_config::run(&load(Mode::Serve, Vec::new())?),
        Command::Import(args) => block_on(1, import::run(args, offline()?)),
        Command::Config(args) => config::run(&args, &offline()?),
        Command::Explain(args) => block_on(1, explain::run(args, offline()?)),
        Command::Policy(args) => block_on(1, policy::run(args, offline()?)),
        Command::Keys(args) => block_on(1, keys::run(args, offline()?)),
        Command::User(args) => block_on(1, user::run(args, offline()?)),
        Command::Healthcheck(args) => {
            let url = healthcheck::url(&args, offline)?;
            block_on(1, healthcheck::run(url))
        }
        Command::Reload(args) => upgrade::run(&args, &cli.global.data_dir, Asked::Reload),
        Command::Upgrade(args) => upgrade::run(&args, &cli.global.data_dir, Asked::Upgrade),
        Command::Version(args) => version::run(&args),
    }
}

fn load(global: &Global, mode: Mode, flags: Vec<(String, String)>) -> anyhow::Result<Settings> {
    Ok(Settings::load(&sources(global, mode, flags))?)
}

fn sources(global: &Global, mode: Mode, flags: Vec<(String, String)>) -> Sources {
    // Names that are not Unicode are none of ours; a value that is not is refused when its key is read.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    Sources {
        config_file: global.config.clone(),
        data_dir: global.data_dir.clone(),
        mode,
        environment,
        dotenv: Some(PathBuf::from(".env")),
        flags,
    }
}

/// For the admin service and all that waits for the database; the gateway has threads of its own, and so has what
/// blocks.
const CONTROL_THREADS: usize = 2;

fn block_on(threads: usize, command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
