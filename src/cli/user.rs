use std::process::ExitCode;

use crate::config::Settings;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Create a user; a random password is printed unless one is given
    Create {
        /// Sign-in name
        username: String,
        /// Mail address
        email: String,
        /// A role to grant; may be repeated [default: user]
        #[arg(long = "role", value_name = "NAME")]
        roles: Vec<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a user a new password, and end their sessions
    ResetPassword {
        /// Id, name or mail address
        user: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[expect(clippy::unused_async, reason = "it waits once it is wired")]
pub(super) async fn run(_args: Args, _settings: Settings) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not wired yet")
}
