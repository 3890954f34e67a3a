use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::output::{print, print_json};
use crate::config::Settings;
use crate::control::{Control, keys, keys::KeyRefusal};
use crate::jwt::Keyring;
use crate::model::{KeyState, SigningAlgorithm, SigningKey, SigningKeyId, Timestamp};
use crate::server;
use crate::store::{Page, signing_keys};
use crate::telemetry::Metrics;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Show the keys that tokens are signed with, the newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key that signs from now on, or soon; those before it go on verifying
    Rotate {
        #[arg(long, value_name = "NAME", help = "EdDSA, ES256 or RS256 [default: auth.signing_algorithm]")]
        algorithm: Option<SigningAlgorithm>,
        /// Of RSA: 2048 or 3072
        #[arg(long, value_parser = bits, default_value = "2048")]
        bits: u32,
        /// Seconds until it signs; other nodes, and whoever keeps the public keys, learn of it meanwhile
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(i64).range(0..=604_800))]
        delay: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key and every token it has signed
    Retire {
        /// Its id or its name (kid)
        key: String,
        /// Even if it is the key that signs: nobody signs in until there is another
        #[arg(long)]
        force: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What RSA keys may have.
fn bits(text: &str) -> Result<u32, &'static str> {
    match text {
        "2048" => Ok(2048),
        "3072" => Ok(3072),
        _ => Err("2048 or 3072"),
    }
}

pub(super) async fn run(args: Args, settings: Settings) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics")?);
    let control = server::open(&settings, metrics).await?;
    let keyring = server::offline_keyring(&settings)?;
    match args.command {
        Command::List { json } => list(&control, json).await?,
        Command::Rotate { algorithm, bits, delay, json } => {
            let algorithm = algorithm.or(settings.auth.signing_algorithm);
            let algorithm = algorithm.context("auth.signing_algorithm is HS256: name an --algorithm for the key")?;
            let id = rotate(&control, &keyring, (algorithm, bits), delay).await?;
            tell(&control, id, json).await?;
        }
        Command::Retire { key, force, json } => {
            let id = retire(&control, &keyring, &key, force).await?;
            tell(&control, id, json).await?;
        }
    }
    control.db().close().await;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(
    control: &Control,
    keyring: &Keyring,
    (algorithm, bits): (SigningAlgorithm, u32),
    delay: i64,
) -> anyhow::Result<SigningKeyId> {
    let new = keys::make(keyring, algorithm, Some(bits)).await?;
    let mut write = control.write().await?;
    let activated_at = write.now().plus_seconds(delay);
    let id = keys::rotate(&mut write, keyring, &new, activated_at).await?.map_err(refused)?;
    Ok(write.commit(id).await?.value)
}

async fn retire(control: &Control, keyring: &Keyring, name: &str, force: bool) -> anyhow::Result<SigningKeyId> {
    let mut write = control.write().await?;
    let named = match name.parse() {
        Ok(id) => signing_keys::get(write.tx(), SigningKeyId(id)).await?,
        Err(_) => signing_keys::by_kid(write.tx(), name).await?,
    };
    let Some(key) = named else { bail!("there is no key '{name}'") };
    let live = signing_keys::live(write.tx()).await?;
    let is_active = key.state(&live, write.now()) == KeyState::Active;
    if is_active && !force && keyring.settings().signs.is_none() {
        bail!(
            "a server may sign with it: these settings have no auth.signing_algorithm (--force retires it nevertheless)"
        );
    }
    keys::retire(&mut write, keyring, key.id, force).await?.map_err(refused)?;
    Ok(write.commit(key.id).await?.value)
}

fn refused(refusal: KeyRefusal) -> anyhow::Error {
    anyhow::anyhow!("{refusal}")
}

async fn tell(control: &Control, id: SigningKeyId, as_json: bool) -> anyhow::Result<()> {
    let mut tx = control.read().await?;
    let live = signing_keys::live(&mut tx).await?;
    let key = signing_keys::get(&mut tx, id).await?.context("the key is gone again")?;
    match as_json {
        true => print_json(&shown(&key, &live)),
        false => print(&line(&key, &live)),
    }
}

async fn list(control: &Control, as_json: bool) -> anyhow::Result<()> {
    let mut tx = control.read().await?;
    let all = signing_keys::list(&mut tx, Page::ALL).await?;
    let live = signing_keys::live(&mut tx).await?;
    if as_json {
        return print_json(&all.iter().map(|key| shown(key, &live)).collect::<Vec<_>>());
    }
    if all.is_empty() {
        return print("there are no keys in the database");
    }
    print(&all.iter().map(|key| line(key, &live)).collect::<Vec<_>>().join("\n"))
}

fn shown(key: &SigningKey, live: &[SigningKey]) -> Value {
    json!({
        "id": key.id,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key.state(live, Timestamp::now()),
        "created_at": key.created_at,
        "activated_at": key.activated_at,
        "retired_at": key.retired_at,
        "jwk": serde_json::from_str::<Value>(&key.jwk).unwrap_or_default(),
    })
}

fn line(key: &SigningKey, live: &[SigningKey]) -> String {
    let state = match key.state(live, Timestamp::now()) {
        KeyState::Next => format!("signs from {}", key.activated_at),
        KeyState::Active => format!("active since {}", key.activated_at),
        KeyState::Retiring => "verifies what it has signed".to_owned(),
        KeyState::Retired => format!("retired {}", key.retired_at.unwrap_or(key.created_at)),
    };
    format!("{}  {}  {:5}  {state}", key.id, key.kid, key.algorithm.name())
}
