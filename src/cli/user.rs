use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use super::output::{print, print_json};
use crate::config::Settings;
use crate::control::Control;
use crate::model::{DEFAULT_ROLE, Email, NewUser, Secret, UserPatch, Username, stored_role_name};
use crate::password::{About, random_password};
use crate::server;
use crate::store::{changes::Change, mail_tokens, roles, users};
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
        /// Have another password set at the next sign-in
        #[arg(long)]
        must_change: bool,
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
        /// Have another password set at the next sign-in
        #[arg(long)]
        must_change: bool,
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
        Command::Create { username, email, roles, password_stdin, must_change, json } => {
            let password = Password::choose(password_stdin, &settings)?;
            let id = create(&control, &settings, (username, email), roles, (&password, must_change)).await?;
            password.tell(&format!("user {id} created"), json!({ "id": id }), json)?;
        }
        Command::ResetPassword { user, password_stdin, must_change, json } => {
            let password = Password::choose(password_stdin, &settings)?;
            let id = reset(&control, &settings, &user, (&password, must_change)).await?;
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

    fn suits(&self, settings: &Settings, (username, email): (&Username, &Email)) -> anyhow::Result<()> {
        let about = About { username: username.as_str(), email: email.as_str() };
        server::password_policy(settings).suits(self.text.expose(), about).map_err(anyhow::Error::msg)
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
    (password, must_change): (&Password, bool),
) -> anyhow::Result<crate::model::UserId> {
    let username = Username::try_from(username).context("USERNAME")?;
    let email = Email::try_from(email).map_err(|reason| anyhow::anyhow!("EMAIL: {reason}"))?;
    password.suits(settings, (&username, &email))?;
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
    // Whoever has this command vouches for the address.
    users::verify_email(write.tx(), id).await?;
    users::demand_new_password(write.tx(), id, must_change).await?;
    write.touch(Change::User(id));
    Ok(write.commit(id).await?.value)
}

async fn reset(
    control: &Control,
    settings: &Settings,
    user: &str,
    (password, must_change): (&Password, bool),
) -> anyhow::Result<crate::model::UserId> {
    let unknown = || format!("there is no user '{user}'");
    let mut tx = control.read().await?;
    let id = users::named(&mut tx, user).await?.with_context(unknown)?;
    let known = users::credentials_of(&mut tx, id).await?.with_context(unknown)?;
    drop(tx);
    password.suits(settings, (&known.username, &known.email))?;
    let hash = server::hasher(settings)?.hash(password.text.clone()).await?;
    let mut write = control.write().await?;
    let now = write.now();
    let patch =
        UserPatch { password_hash: Some(hash), must_change_password: Some(must_change), ..UserPatch::default() };
    users::update(write.tx(), id, &patch, now).await?;
    mail_tokens::void(write.tx(), id).await?;
    write.touch(Change::User(id));
    Ok(write.commit(id).await?.value)
}
