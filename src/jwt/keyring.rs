//! Our own keys from both of their places: the settings and the database.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{KeyError, Own, PrivateKey, PublicKey, Sealer, Verifier, private_key::of_jwt};
use crate::model::{NewSigningKey, Secret, SigningAlgorithm, SigningKey, Timestamp};

/// What the settings say of our keys.
#[derive(Debug)]
pub struct KeySettings {
    /// Signs if nothing else does, and verifies (HS256).
    pub secret: Secret<String>,
    /// `iss` of what other keys sign.
    pub issuer: String,
    /// `aud` of what other keys sign.
    pub audience: String,
    /// What signs; `None` is the secret.
    pub signs: Option<SigningAlgorithm>,
    /// The key file that signs; without one it is a key of the database.
    pub file: Option<PrivateKey>,
    /// Further keys that verify.
    pub verifying: Vec<PublicKey>,
    /// Opens the private keys of the database, and closes new ones.
    pub sealer: Option<Sealer>,
    /// How long the longest token of ours is accepted.
    pub longest: Duration,
}

/// What cannot be done with our keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A kept key that is needed cannot be used.
    #[error("the signing key {kid}: {reason}")]
    Kept {
        /// Its name.
        kid: String,
        /// What is wrong with it.
        reason: KeyError,
    },
    /// Private keys are kept encrypted, and nothing says with what.
    #[error("auth.key_encryption_key is not set")]
    NoSealer,
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Our own keys: puts what the settings and the database say into force.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    verifier: Verifier,
    settings: KeySettings,
}

impl Keyring {
    /// For this verifier, and whoever signs what it accepts.
    pub fn new(verifier: &Verifier, settings: KeySettings) -> Self {
        Self(Arc::new(Inner { verifier: verifier.clone(), settings }))
    }

    /// What the settings say.
    pub fn settings(&self) -> &KeySettings {
        &self.0.settings
    }

    /// What signs, if it is a key of the database.
    pub fn signs_with_kept(&self) -> Option<SigningAlgorithm> {
        self.0.settings.signs.filter(|_| self.0.settings.file.is_none())
    }

    /// Our keys, if those that are kept and not retired are `kept`, and what is wrong with one that should sign: whatever
    /// that is, what was retired verifies no more, and another one that was put there to sign does.
    ///
    /// # Errors
    /// `Kept` for one that is not what it says.
    pub fn ready(&self, kept: &[SigningKey], now: Timestamp) -> Result<(Own, Option<KeyringError>), KeyringError> {
        let settings = &self.0.settings;
        let mut own = Own::secret(&settings.secret).named(&settings.issuer, &settings.audience);
        let mut public: Vec<PublicKey> = Vec::new();
        public.extend(settings.file.as_ref().map(|file| file.public_key().clone()));
        public.extend(settings.verifying.iter().cloned());
        for row in kept {
            let read = PublicKey::from_jwk(&row.kid, row.algorithm, &row.jwk);
            public.push(read.map_err(|reason| KeyringError::Kept { kid: row.kid.clone(), reason })?);
        }
        for key in &public {
            let kept = |reason| KeyringError::Kept { kid: key.kid().to_owned(), reason };
            let verifies = key.key().map_err(kept)?;
            own.put_key(key.kid(), of_jwt(key.algorithm()), &verifies).map_err(|_| kept(KeyError::Public))?;
        }
        let mut fault = None;
        if let Some(algorithm) = settings.signs {
            own.clear_signers();
            match &settings.file {
                Some(file) => put_signer(&mut own, file, Timestamp::FIRST)?,
                None => fault = self.put_kept_signers(&mut own, algorithm, kept, now),
            }
        }
        public.sort_by(|a, b| a.kid().cmp(b.kid()));
        public.dedup_by(|a, b| a.kid() == b.kid());
        let keys: Vec<_> = public.iter().map(PublicKey::jwk).collect();
        own.publish(json!({ "keys": keys }).to_string());
        Ok((own, fault))
    }

    /// Those of `algorithm` that sign or will; returns what is wrong with one of them.
    fn put_kept_signers(
        &self,
        own: &mut Own,
        algorithm: SigningAlgorithm,
        kept: &[SigningKey],
        now: Timestamp,
    ) -> Option<KeyringError> {
        let mut fault = None;
        let mut put = |row: &SigningKey| {
            let opened = self.open(row).map_err(|reason| KeyringError::Kept { kid: row.kid.clone(), reason });
            match opened.and_then(|key| put_signer(own, &key, row.activated_at)) {
                Ok(()) => true,
                Err(error) => {
                    fault.get_or_insert(error);
                    false
                }
            }
        };
        let mut rows: Vec<&SigningKey> = kept.iter().filter(|row| row.algorithm == algorithm).collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.activated_at, row.id)));
        for next in rows.iter().filter(|row| row.activated_at > now) {
            put(next);
        }
        // The newest, or if it cannot be opened here the one before: better than none.
        let _one_signs = rows.iter().filter(|row| row.activated_at <= now).any(|row| put(row));
        fault
    }

    /// Whether private keys that are kept can be opened here.
    ///
    /// # Errors
    /// `Kept` for the first that cannot.
    pub fn opens<'k>(&self, kept: impl IntoIterator<Item = &'k SigningKey>) -> Result<(), KeyringError> {
        let mut kept = kept.into_iter();
        kept.try_for_each(|row| match self.open(row) {
            Ok(_) => Ok(()),
            Err(reason) => Err(KeyringError::Kept { kid: row.kid.clone(), reason }),
        })
    }

    fn open(&self, row: &SigningKey) -> Result<PrivateKey, KeyError> {
        let sealer = self.0.settings.sealer.as_ref().ok_or(KeyError::NoSealer)?;
        let sealed = row.sealed.as_deref().ok_or(KeyError::Sealed)?;
        let key = PrivateKey::from_pem(&sealer.open(&row.kid, row.algorithm, sealed)?)?;
        if key.kid() == row.kid && key.algorithm() == row.algorithm { Ok(key) } else { Err(KeyError::Private) }
    }

    /// Puts these keys into force, for the very next token.
    pub fn put(&self, own: Own) {
        self.0.verifier.put_own(own);
    }

    /// The public keys in force, as JWKS (RFC 7517).
    pub fn published(&self) -> Arc<str> {
        Arc::clone(self.0.verifier.keys().own().published())
    }
}

fn put_signer(own: &mut Own, key: &PrivateKey, since: Timestamp) -> Result<(), KeyringError> {
    Ok(own.put_signer(key.kid(), of_jwt(key.algorithm()), key.signing()?, since).map_err(|_| KeyError::Private)?)
}

/// Makes a key pair, ready to be kept. It takes a moment: for RSA seconds.
///
/// # Errors
/// `NoSealer` without a sealer, `Key` when the crypto library fails.
pub fn make_key(
    sealer: Option<&Sealer>,
    algorithm: SigningAlgorithm,
    bits: Option<u32>,
) -> Result<NewSigningKey, KeyringError> {
    let sealer = sealer.ok_or(KeyringError::NoSealer)?;
    let key = PrivateKey::generate(algorithm, bits)?;
    Ok(NewSigningKey {
        kid: key.kid().to_owned(),
        algorithm,
        jwk: key.public_key().jwk().to_string(),
        sealed: sealer.seal(key.kid(), algorithm, key.pem())?,
    })
}
