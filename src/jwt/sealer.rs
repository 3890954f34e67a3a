//! Private keys as the database keeps them: encrypted, each with a key of its own.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, RandomizedNonceKey},
    hkdf,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::KeyError;
use crate::model::{Secret, SigningAlgorithm};

/// Says how the rest is to be read.
const VERSION: u8 = 1;
const SALT: usize = 16;
const NONCE: usize = 12;
const PURPOSE: &[u8] = b"cedargate signing key";

/// Encrypts and decrypts with what a setting says (`auth.key_encryption_key`): AES-256-GCM, with a key that HKDF-SHA-256
/// derives from the setting and a salt of each private key.
#[derive(Clone)]
pub struct Sealer(Secret<String>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With this secret; `None` if it is empty.
    pub fn new(secret: &Secret<String>) -> Option<Self> {
        (!secret.expose().is_empty()).then(|| Self(secret.clone()))
    }

    fn key(&self, salt: &[u8]) -> Result<RandomizedNonceKey, KeyError> {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.expose().as_bytes());
        let mut bytes = [0; 32];
        let filled = derived.expand(&[PURPOSE], hkdf::HKDF_SHA256).and_then(|output| output.fill(&mut bytes));
        filled.map_err(|_| KeyError::Sealed)?;
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyError::Sealed)
    }

    /// Encrypts the private key of this name.
    ///
    /// # Errors
    /// `Sealed` when the crypto library fails.
    pub(super) fn seal(
        &self,
        kid: &str,
        algorithm: SigningAlgorithm,
        pem: &Secret<String>,
    ) -> Result<Secret<String>, KeyError> {
        let salt: [u8; SALT] = rand::random();
        let mut text = pem.expose().clone().into_bytes();
        let about = Aad::from(about(kid, algorithm));
        let nonce = self.key(&salt)?.seal_in_place_append_tag(about, &mut text).map_err(|_| KeyError::Sealed)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(Secret::new(STANDARD_NO_PAD.encode(sealed)))
    }

    /// Decrypts what was sealed under this name and for this algorithm.
    ///
    /// # Errors
    /// `Sealed` for anything else, and under another secret.
    pub(super) fn open(
        &self,
        kid: &str,
        algorithm: SigningAlgorithm,
        sealed: &str,
    ) -> Result<Secret<String>, KeyError> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| KeyError::Sealed)?;
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(KeyError::Sealed)?;
        let (salt, rest) = rest.split_at_checked(SALT).ok_or(KeyError::Sealed)?;
        let (nonce, text) = rest.split_at_checked(NONCE).ok_or(KeyError::Sealed)?;
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Sealed)?;
        let mut text = text.to_vec();
        let about = Aad::from(about(kid, algorithm));
        let opened = self.key(salt)?.open_in_place(nonce, about, &mut text).map_err(|_| KeyError::Sealed)?;
        String::from_utf8(opened.to_vec()).map(Secret::new).map_err(|_| KeyError::Sealed)
    }
}

/// Neither part holds a zero, so no two pairs read alike.
fn about(kid: &str, algorithm: SigningAlgorithm) -> Vec<u8> {
    [algorithm.name().as_bytes(), b"\0", kid.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_own_name_alone() {
        let secret = |text: &str| Sealer::new(&Secret::new(text.to_owned())).unwrap();
        let (sealer, pem) = (secret("one"), Secret::new("private".to_owned()));
        let sealed = sealer.seal("k", SigningAlgorithm::Es256, &pem).unwrap();
        let open = |sealer: &Sealer, kid, algorithm, text: &str| sealer.open(kid, algorithm, text);
        assert_eq!(open(&sealer, "k", SigningAlgorithm::Es256, sealed.expose()), Ok(pem.clone()));
        assert!(!sealed.expose().contains("private"));
        assert_ne!(sealer.seal("k", SigningAlgorithm::Es256, &pem).unwrap(), sealed);
        let refused = Err(KeyError::Sealed);
        assert_eq!(open(&sealer, "l", SigningAlgorithm::Es256, sealed.expose()), refused);
        assert_eq!(open(&sealer, "k", SigningAlgorithm::EdDsa, sealed.expose()), refused);
        assert_eq!(open(&secret("other"), "k", SigningAlgorithm::Es256, sealed.expose()), refused);
        for (at, _) in sealed.expose().char_indices() {
            let mut changed = sealed.expose().clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(open(&sealer, "k", SigningAlgorithm::Es256, &changed), refused, "{at}");
            assert_eq!(open(&sealer, "k", SigningAlgorithm::Es256, &sealed.expose()[..at]), refused);
        }
        assert!(Sealer::new(&Secret::new(String::new())).is_none());
    }
}
