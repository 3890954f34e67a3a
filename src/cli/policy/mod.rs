//! Commands on policies: one file for each.

mod check;
mod deactivate;
mod diff;
mod matrix;
mod schema;
mod show;
mod source;
mod test;

use std::process::ExitCode;

use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the complete policy set, schema and entities
    Show(show::Args),
    /// Check policy files as the server would, and tell all that is wrong with them
    Check(check::Args),
    /// Ask what files of tests say, and compare the answers with what they expect
    Test(test::Args),
    /// Deactivate a policy of the database, when the API no longer lets anybody do so
    Deactivate(deactivate::Args),
    /// Print the Cedar schema that policies are validated against, for editors
    Schema(schema::Args),
    /// Print which role may do what
    Matrix(matrix::Args),
    /// Print what becomes of access from some rules to others
    Diff(diff::Args),
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Show(args) => show::run(args, &settings).await,
        Command::Check(args) => check::run(args, &settings).await,
        Command::Test(args) => test::run(args, &settings).await,
        Command::Deactivate(args) => deactivate::run(args, &settings).await,
        Command::Schema(args) => schema::run(args, &settings).await,
        Command::Matrix(args) => matrix::run(&args, &settings).await,
        Command::Diff(args) => diff::run(&args, &settings).await,
    }
}
