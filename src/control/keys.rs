//! Keys that tokens are signed with: put into force with the write that changes them, and retired when they are of no
//! more use.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use tracing::info;

use super::{Control, Error, Inner, Write};
use crate::{
    jwt::{self, Keyring, KeyringError, Own},
    model::{NewSigningKey, SigningAlgorithm, SigningKey, SigningKeyId, Timestamp},
    store::{Tx, changes::Change, signing_keys},
    telemetry::logs::SECURITY,
};

/// Keys that verify at once: more are nobody's intention, and each token's key is looked up among them.
const MOST_LIVE: usize = 32;

/// How long a retired key is still listed.
const LISTED: Duration = Duration::from_hours(24 * 90);

/// How the audit trail calls a key.
pub const RESOURCE: &str = "key";

/// Why a key is not made or retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// There are enough of them.
    #[error("There are {MOST_LIVE} keys already: retire those that are not needed")]
    TooMany,
    /// A key file is set, and would go on signing.
    #[error("Tokens are signed with a key file (auth.signing_key_file): exchange the file")]
    File,
    /// Nothing would sign without it.
    #[error("The key signs: rotate first, and retire it when another one signs")]
    Signs,
    /// It is not there, or is retired.
    #[error("Key not found")]
    NotFound,
}

/// What the change of a key leads to, for whoever has the keys.
impl Inner {
    /// Our keys as `tx` has them; `None` where nobody signs or verifies.
    pub(super) async fn own_keys(&self, tx: &mut Tx, now: Timestamp) -> Result<Option<Own>, Error> {
        let Some(keyring) = self.keyring.get() else { return Ok(None) };
        let kept = signing_keys::live(tx).await?;
        let (own, fault) = keyring.ready(&kept, now)?;
        if let Some(fault) = fault {
            tracing::error!(%fault, "a key that should sign cannot be used here");
        }
        Ok(Some(own))
    }

    pub(super) fn put_keys(&self, own: Option<Own>) {
        if let (Some(keyring), Some(own)) = (self.keyring.get(), own) {
            keyring.put(own);
            info!(target: SECURITY, "keys for tokens changed");
        }
    }

    /// The same for a writer, whom keys that cannot be opened here do not concern: whoever follows says so.
    pub(super) async fn catch_up_keys(&self, tx: &mut Tx, told: bool, now: Timestamp) {
        self.keys_due.fetch_or(told, Ordering::AcqRel);
        if let Err(error) = self.follow_keys(tx, now).await {
            tracing::debug!(%error, "keys of others are not in force yet");
        }
    }

    /// Puts what others did to keys into force, which may be still due from before.
    pub(super) async fn follow_keys(&self, tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
        if self.keys_due.load(Ordering::Acquire) {
            let own = self.own_keys(tx, now).await?;
            self.put_keys(own);
            self.keys_due.store(false, Ordering::Release);
        }
        Ok(())
    }
}

impl Control {
    /// Puts the database's keys into force beside those of the settings, now and whenever they change. If the settings
    /// want a kept key to sign and there is none, it is made.
    ///
    /// # Errors
    /// The database is away, or a key that signs cannot be opened or made.
    pub async fn keep_keys(&self, keyring: Keyring) -> Result<(), Error> {
        if let Some(algorithm) = keyring.signs_with_kept() {
            self.make_first(&keyring, algorithm).await?;
        }
        let _turn = self.0.turn.lock().await;
        let mut tx = self.0.db.read().await?;
        let now = Timestamp::now();
        let (own, fault) = keyring.ready(&signing_keys::live(&mut tx).await?, now)?;
        if let Some(fault) = fault {
            if !own.signs(now) {
                return Err(fault.into());
            }
            tracing::error!(%fault, "a key that should sign cannot be used here");
        }
        keyring.put(own);
        // Only one server is made of it.
        let _set_before = self.0.keyring.set(keyring);
        Ok(())
    }

    /// Our own keys, where there is a server.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.0.keyring.get()
    }

    async fn make_first(&self, keyring: &Keyring, algorithm: SigningAlgorithm) -> Result<(), Error> {
        let has_signer =
            |keys: &[SigningKey], now| keys.iter().any(|key| key.algorithm == algorithm && key.activated_at <= now);
        let known = signing_keys::live(&mut self.read().await?).await?;
        if has_signer(&known, Timestamp::now()) {
            return Ok(());
        }
        let new = make(keyring, algorithm, None).await?;
        let mut write = self.write().await?;
        let now = write.now();
        // Another node may have been first.
        if !has_signer(&signing_keys::live(write.tx()).await?, now) {
            let id = insert(&mut write, &new, now).await?;
            info!(target: SECURITY, { key.id = %id, key.kid = new.kid, key.algorithm = algorithm.name() }, "first key made");
            write.commit(()).await?;
        }
        Ok(())
    }

    /// Retires keys that others have followed so long ago that nothing they have signed is valid, and forgets those
    /// that were retired long ago; returns how many were retired.
    ///
    /// # Errors
    /// The database is away.
    pub async fn retire_keys(&self) -> Result<usize, Error> {
        let Some(keyring) = self.keyring() else { return Ok(0) };
        let longest = i64::try_from(keyring.settings().longest.as_secs()).unwrap_or(i64::MAX);
        let due = |keys: &[SigningKey], now| -> BTreeSet<SigningKeyId> {
            let over = |key: &&SigningKey| key.retires_at(keys, longest).is_some_and(|at| at <= now);
            keys.iter().filter(over).map(|key| key.id).collect()
        };
        let now = Timestamp::now();
        if due(&signing_keys::live(&mut self.read().await?).await?, now).is_empty() {
            return Ok(0);
        }
        let mut write = self.write().await?;
        let live = signing_keys::live(write.tx()).await?;
        let ids = due(&live, now);
        for key in live.iter().filter(|key| ids.contains(&key.id)) {
            end(&mut write, key).await?;
        }
        signing_keys::purge(write.tx(), now.minus(LISTED)).await?;
        write.commit(()).await?;
        Ok(ids.len())
    }
}

/// Makes a key pair away from the threads that serve requests.
///
/// # Errors
/// Nothing says how it is to be encrypted, or the crypto library fails.
pub async fn make(keyring: &Keyring, algorithm: SigningAlgorithm, bits: Option<u32>) -> Result<NewSigningKey, Error> {
    let sealer = keyring.settings().sealer.clone();
    let made = tokio::task::spawn_blocking(move || jwt::make_key(sealer.as_ref(), algorithm, bits)).await;
    Ok(made.map_err(|_| Error::Interrupted)??)
}

/// Stores a key that signs from `activated_at` on; those before it go on verifying.
///
/// # Errors
/// The database is away; within, why not.
pub async fn rotate(
    write: &mut Write,
    keyring: &Keyring,
    new: &NewSigningKey,
    activated_at: Timestamp,
) -> Result<Result<SigningKeyId, KeyRefusal>, Error> {
    if keyring.settings().file.is_some() && keyring.settings().signs == Some(new.algorithm) {
        return Ok(Err(KeyRefusal::File));
    }
    let live = signing_keys::live(write.tx()).await?;
    if live.len() >= MOST_LIVE {
        return Ok(Err(KeyRefusal::TooMany));
    }
    // Sealed with another secret than those before, it would be of no use to whoever has theirs.
    keyring.opens(live.iter().filter(|key| key.algorithm == new.algorithm))?;
    insert(write, new, activated_at).await.map(Ok)
}

async fn insert(write: &mut Write, new: &NewSigningKey, activated_at: Timestamp) -> Result<SigningKeyId, Error> {
    let now = write.now();
    let id = signing_keys::insert(write.tx(), new, activated_at, now).await?;
    write.touch(Change::Key(id));
    if let Some(key) = signing_keys::get(write.tx(), id).await? {
        write.becomes(RESOURCE, id.0, &on_record(&key));
    }
    Ok(id)
}

/// Retires a key: nothing it has signed is accepted once the write is committed.
///
/// # Errors
/// The database is away; within, why not.
pub async fn retire(
    write: &mut Write,
    keyring: &Keyring,
    id: SigningKeyId,
    even_if_it_signs: bool,
) -> Result<Result<SigningKey, KeyRefusal>, Error> {
    let live = signing_keys::live(write.tx()).await?;
    let Some(key) = live.iter().find(|key| key.id == id) else { return Ok(Err(KeyRefusal::NotFound)) };
    let signs = keyring.signs_with_kept() == Some(key.algorithm);
    if signs && !even_if_it_signs && key.state(&live, write.now()) == crate::model::KeyState::Active {
        return Ok(Err(KeyRefusal::Signs));
    }
    end(write, key).await.map(Ok)
}

async fn end(write: &mut Write, key: &SigningKey) -> Result<SigningKey, Error> {
    let now = write.now();
    write.leaves(RESOURCE, key.id.0, &on_record(key));
    signing_keys::retire(write.tx(), key.id, now).await?;
    write.touch(Change::Key(key.id));
    let ended = SigningKey { retired_at: Some(now), sealed: None, ..key.clone() };
    write.becomes(RESOURCE, key.id.0, &on_record(&ended));
    info!(target: SECURITY, { key.id = %key.id, key.kid = key.kid }, "key retired");
    Ok(ended)
}

/// What the audit trail has of a key: nothing that is secret.
fn on_record(key: &SigningKey) -> serde_json::Value {
    serde_json::json!({
        "id": key.id,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "activated_at": key.activated_at,
        "retired_at": key.retired_at,
    })
}

impl From<jwt::KeyError> for Error {
    fn from(error: jwt::KeyError) -> Self {
        Self::Keys(KeyringError::Key(error))
    }
}
