//! Our own keys as the settings want them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::config::Settings;
use crate::jwt::{KeySettings, Keyring, Own, PrivateKey, PublicKey, Sealer, Verifier};
use crate::model::Secret;

/// The largest key file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A verifier by the settings' secret alone; the keyring adds the rest.
pub(super) fn verifier(settings: &Settings) -> Verifier {
    let auth = &settings.auth;
    let own = Own::secret(&auth.secret_key).named(&auth.issuer, &auth.audience);
    Verifier::new(own, auth.leeway, settings.gateway.token_cache_entries)
}

/// Our own keys, for tokens that `verifier` verifies.
///
/// # Errors
/// A key file that cannot be read, or is of another algorithm.
pub(super) fn keyring(settings: &Settings, verifier: &Verifier) -> anyhow::Result<Keyring> {
    let auth = &settings.auth;
    let file = auth.signing_key_file.as_deref().map(|path| {
        let key = PrivateKey::from_pem(&read(path)?)?;
        let wanted = auth.signing_algorithm.map_or("HS256", crate::model::SigningAlgorithm::name);
        let is = key.algorithm().name();
        ensure!(is == wanted, "it is a key for {is}, but auth.signing_algorithm is {wanted}");
        Ok(key)
    });
    let verifying = auth.verifying_key_files.iter().map(|path| {
        let key = read(path).and_then(|pem| Ok(PublicKey::from_pem(&pem)?));
        key.with_context(|| format!("auth.verifying_key_files: {}", path.display()))
    });
    let shown = auth.signing_key_file.as_deref().unwrap_or(Path::new("")).display();
    Ok(Keyring::new(
        verifier,
        KeySettings {
            secret: auth.secret_key.clone(),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            signs: auth.signing_algorithm,
            file: file.transpose().with_context(|| format!("auth.signing_key_file: {shown}"))?,
            verifying: verifying.collect::<anyhow::Result<_>>()?,
            sealer: Sealer::new(&auth.key_encryption_key),
            longest: settings.sessions.idle.max(auth.access_token) + auth.leeway,
        },
    ))
}

fn read(path: &Path) -> anyhow::Result<Secret<String>> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(Secret::new(text))
}

/// The same without anything that verifies: for commands on the database.
///
/// # Errors
/// A key file that cannot be read, or is of another algorithm.
pub fn offline_keyring(settings: &Settings) -> anyhow::Result<Keyring> {
    keyring(settings, &verifier(settings))
}
