use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::control::Control;
use crate::model::{DEFAULT_ROLE, Email, NewUser, Secret, UserPatch, Username, stored_role_name};
use crate::password::random_password;
use crate::server;
use crate::store::{changes::Change, roles, users};
use crate::telemetry::Metrics;

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

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(&settings, metrics).await?;
    crate::control::seed(&control, Vec::new()).await?;
    match args.command {
        Command::Create { username, email, roles, password_stdin, json } => {
            let password = Password::choose(password_stdin, &settings)?;
            let id = create(&control, &settings, (username, email), roles, &password).await?;
            password.tell(&format!("user {id} created"), json!({ "id": id }), json)?;
        }
        Command::ResetPassword { user, password_stdin, json } => {
            let password = Password::choose(password_stdin, &settings)?;
            let id = reset(&control, &settings, &user, &password).await?;
            password.tell(
                &format!("user {id} has a new password; all sessions are ended"),
                json!({ "id": id }),
                json,
            )?;
        }
    }
    control.db().close().await;
    Ok(ExitCode::SUCCESS)
}

/// A new password, and whether somebody must be told.
struct Password {
    text: Secret<String>,
    made_up: bool,
}

impl Password {
    fn choose(from_stdin: bool, settings: &Settings) -> anyhow::Result<Self> {
        if !from_stdin {
            return Ok(Self { text: random_password(), made_up: true });
        }
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("reading the password")?;
        let text = line.trim_end_matches(['\r', '\n']).to_owned();
        server::password_policy(settings).check(&text).map_err(anyhow::Error::msg)?;
        Ok(Self { text: Secret::new(text), made_up: false })
    }

    fn tell(&self, done: &str, mut value: serde_json::Value, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            if self.made_up {
                value["password"] = self.text.expose().clone().into();
            }
            return print_json(&value);
        }
        match self.made_up {
            true => print(&format!("{done}\npassword: {} (shown once)\n", self.text.expose())),
            false => print(&format!("{done}\n")),
        }
    }
}

async fn create(
    control: &Control,
    settings: &Settings,
    (username, email): (String, String),
    role_names: Vec<String>,
    password: &Password,
) -> anyhow::Result<crate::model::UserId> {
    let username = Username::try_from(username).context("USERNAME")?;
    let email = Email::try_from(email).map_err(|reason| anyhow::anyhow!("EMAIL: {reason}"))?;
    let password_hash = server::hasher(settings)?.hash(password.text.clone()).await?;
    let names = if role_names.is_empty() { vec![DEFAULT_ROLE.to_owned()] } else { role_names };
    let mut write = control.write().await?;
    let now = write.now();
    let mut role_ids = Vec::new();
    for name in &names {
        let role = roles::find(write.tx(), stored_role_name(name)).await?;
        role_ids.push(role.with_context(|| format!("there is no role '{name}'"))?);
    }
    let new = NewUser { username, email, password_hash, is_active: true, role_ids, granted_by: None };
    let id = users::insert(write.tx(), &new, now).await?;
    write.touch(Change::User(id));
    Ok(write.commit(id).await?.value)
}

async fn reset(
    control: &Control,
    settings: &Settings,
    user: &str,
    password: &Password,
) -> anyhow::Result<crate::model::UserId> {
    let hash = server::hasher(settings)?.hash(password.text.clone()).await?;
    let mut write = control.write().await?;
    let now = write.now();
    let id = users::named(write.tx(), user).await?.with_context(|| format!("there is no user '{user}'"))?;
    let patch = UserPatch { password_hash: Some(hash), ..UserPatch::default() };
    users::update(write.tx(), id, &patch, now).await?;
    write.touch(Change::User(id));
    Ok(write.commit(id).await?.value)
}
