//! A public key, as signatures are checked with it.
//!
//! ## Why
//! To make a key of its parts takes as long as half a verification (RSA), and is the same each time.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};

use super::{Error, UnusableKey};

/// A key, read once for each algorithm that it may be used with.
#[derive(Clone)]
pub(super) struct VerifyingKey(Vec<(Algorithm, ParsedPublicKey)>);

impl VerifyingKey {
    /// `key`, for signatures by these algorithms and no others.
    ///
    /// # Errors
    /// A shared secret, no algorithm, one of another kind than the key, or what is no key of its kind.
    pub(super) fn new(key: &DecodingKey, algorithms: &[Algorithm]) -> Result<Self, UnusableKey> {
        if key.family() == AlgorithmFamily::Hmac {
            return Err(UnusableKey::Secret);
        }
        if algorithms.is_empty() {
            return Err(UnusableKey::NoAlgorithm);
        }
        if !algorithms.iter().all(|algorithm| key.family().algorithms().contains(algorithm)) {
            return Err(UnusableKey::Mismatch);
        }
        let read = |algorithm: &Algorithm| Some((*algorithm, parsed(key, *algorithm)?));
        algorithms.iter().map(read).collect::<Option<_>>().map(Self).ok_or(UnusableKey::Malformed)
    }

    /// Whether it may be used with this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.get(algorithm).is_some()
    }

    /// Checks a signature, in base64url; `algorithm` is what both the token's header and our record of the key say.
    ///
    /// # Errors
    /// `Invalid` unless `message` was signed with this key.
    pub(super) fn check(&self, algorithm: Algorithm, message: &str, signature: &str) -> Result<(), Error> {
        let wrong = || Error::Invalid("wrong signature");
        let key = self.get(algorithm).ok_or_else(wrong)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong())?;
        key.verify_sig(message.as_bytes(), &signature).map_err(|_| wrong())
    }

    fn get(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.0.iter().find_map(|(known, key)| (*known == algorithm).then_some(key))
    }
}

fn parsed(key: &DecodingKey, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    let rsa: &'static RsaParameters = match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => return read(key, &ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => return read(key, &ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => return read(key, &ED25519),
        // Secrets, which are no public keys, and what nobody has heard of yet.
        _ => return None,
    };
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => RsaPublicKeyComponents { n, e }.to_parsed_public_key(rsa).ok(),
        DecodingKeyKind::SecretOrDer(_) => read(key, rsa),
    }
}

fn read(key: &DecodingKey, algorithm: &'static dyn VerificationAlgorithm) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(algorithm, key.try_get_as_bytes().ok()?).ok()
}
