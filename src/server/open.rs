//! What every command that works with the database needs.

use std::sync::Arc;

use anyhow::Context;

use super::policy_files;
use crate::admin;
use crate::config::Settings;
use crate::control::Control;
use crate::model::UserId;
use crate::password::{Cost, Hasher, Policy};
use crate::policy::{Fixed, MountedPath};
use crate::store::{self, Db, PoolSettings, users};
use crate::telemetry::Metrics;

/// Names folded in one transaction.
const FOLDED_AT_ONCE: u32 = 1_000;

/// The database of the settings, as it is.
///
/// # Errors
/// The database cannot be opened.
pub async fn open_database(settings: &Settings) -> anyhow::Result<Db> {
    let pool = PoolSettings {
        max_connections: settings.database.max_connections,
        acquire_timeout: settings.database.acquire_timeout,
    };
    Db::open(settings.database.url.expose(), &pool).await.map_err(|error| explain_store(&error))
}

/// The database, migrated, with the first snapshot compiled from it.
///
/// # Errors
/// The database cannot be opened or migrated, or its rules do not compile.
pub async fn open(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Control> {
    let db = open_database(settings).await?;
    store::migrate::up(&db).await.map_err(|error| explain_store(&error))?;
    fold_names(&db).await.map_err(|error| explain_store(&error))?;
    let files = policy_files::read(settings.policy.dir.as_deref())?;
    let fixed = Fixed {
        mounts: mounts(settings),
        files: files.clone().into(),
        issuers: settings.auth.issuers.iter().cloned().map(Arc::new).collect(),
    };
    let started = Control::start(db, fixed, metrics).await;
    let control = started.map_err(|error| policy_files::blame(settings.policy.dir.as_deref(), &files, error))?;
    control.keep_activity_for(settings.activity.retention);
    Ok(control)
}

/// Folds user names of the time before they were, where the database itself could not.
async fn fold_names(db: &Db) -> Result<(), store::Error> {
    let mut after = UserId(0);
    loop {
        let mut tx = db.write().await?;
        let last = users::fold_names(&mut tx, after, FOLDED_AT_ONCE).await?;
        tx.commit().await?;
        match last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// The admin service's paths on the gateway's listener, if the settings put them there.
pub fn mounts(settings: &Settings) -> Vec<Arc<MountedPath>> {
    match settings.gateway.mount {
        true => admin::mounted_paths(&settings.admin.api_prefix, settings.docs.enabled),
        false => Vec::new(),
    }
}

/// The hasher that the settings describe.
///
/// # Errors
/// Costs that argon2 does not accept.
pub fn hasher(settings: &Settings) -> anyhow::Result<Hasher> {
    let auth = &settings.auth;
    let cost = Cost {
        memory_kib: auth.argon2.memory_kib,
        iterations: auth.argon2.iterations,
        parallelism: auth.argon2.parallelism,
        threads: auth.hash_threads,
        queue: auth.hash_queue,
    };
    Hasher::new(cost).context("auth.argon2_*")
}

/// What new passwords must satisfy.
pub fn password_policy(settings: &Settings) -> Policy {
    let rules = settings.password_policy;
    Policy {
        min_length: rules.min_length,
        uppercase: rules.require_uppercase,
        lowercase: rules.require_lowercase,
        numbers: rules.require_numbers,
        special: rules.require_special,
        strength: rules.min_strength,
    }
}

/// The store's error with its cause, on one line.
fn explain_store(error: &store::Error) -> anyhow::Error {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    anyhow::anyhow!("{error}{cause}")
}
