//! Private keys: made here or read from a file, and named by what is public of them.

use std::str::FromStr;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};

use crate::model::Secret;

/// Base64url characters of a modulus of 2048 bits.
const MIN_MODULUS: usize = 342;

/// What we sign with, beside the shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// RSA with PKCS#1 v1.5, for those who know nothing else.
    Rs256,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// As `alg` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// As the crypto library calls it.
    pub fn of_jwt(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

impl FromStr for SigningAlgorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(KeyError::Algorithm)
    }
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// None of [`SigningAlgorithm`].
    #[error("the algorithm is none of EdDSA, ES256, RS256")]
    Algorithm,
    /// Not what it should be, or not usable.
    #[error("not a usable private key for EdDSA (Ed25519), ES256 (P-256) or RS256 (2048 bits and more) in PKCS#8 PEM")]
    Private,
    /// Not what it should be, or not usable.
    #[error("not a usable public key for EdDSA (Ed25519), ES256 (P-256) or RS256 (2048 bits and more) in PEM")]
    Public,
    /// The crypto library failed.
    #[error("the key cannot be made")]
    Generation,
}

/// A private key, and what is public of it.
#[derive(Debug)]
pub struct PrivateKey {
    algorithm: SigningAlgorithm,
    pem: Secret<String>,
    public: PublicKey,
}

/// A public key with its name: the thumbprint of what it is (RFC 7638).
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: SigningAlgorithm,
    kid: String,
    jwk: Jwk,
}

impl PrivateKey {
    /// Makes a key; `bits` is for RSA alone, 2048 or 3072.
    ///
    /// # Errors
    /// `Generation`.
    pub fn generate(algorithm: SigningAlgorithm, bits: Option<u32>) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generation;
        let der = match algorithm {
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Rs256 => {
                let size = if bits == Some(3072) { KeySize::Rsa3072 } else { KeySize::Rsa2048 };
                let pair = RsaKeyPair::generate(size).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
        };
        Self::from_pem(&Secret::new(pem(&der))).map_err(|_| KeyError::Generation)
    }

    /// Reads a key; its algorithm is the one that it is made for.
    ///
    /// # Errors
    /// `Private`.
    pub fn from_pem(pem: &Secret<String>) -> Result<Self, KeyError> {
        SigningAlgorithm::ALL
            .into_iter()
            .find_map(|algorithm| {
                let key = signing(algorithm, pem)?;
                let jwk = Jwk::from_encoding_key(&key, algorithm.of_jwt()).ok()?;
                let public = PublicKey::new(algorithm, jwk).ok()?;
                // It can do what it is for: some are well-formed and too short.
                let signature = jsonwebtoken::crypto::sign(b"", &key, algorithm.of_jwt()).ok()?;
                let verified = jsonwebtoken::crypto::verify(&signature, b"", &public.key().ok()?, algorithm.of_jwt());
                verified.is_ok_and(|genuine| genuine).then(|| Self { algorithm, pem: pem.clone(), public })
            })
            .ok_or(KeyError::Private)
    }

    /// What it signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.public.kid
    }

    /// The key itself, PKCS#8.
    pub fn pem(&self) -> &Secret<String> {
        &self.pem
    }

    /// What may be shown of it.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What verifies.
    ///
    /// # Errors
    /// `Public`, which no key that was read is.
    pub fn public(&self) -> Result<DecodingKey, KeyError> {
        self.public.key()
    }

    /// What signs.
    ///
    /// # Errors
    /// `Private`, which no key that was read is.
    pub fn signing(&self) -> Result<EncodingKey, KeyError> {
        signing(self.algorithm, &self.pem).ok_or(KeyError::Private)
    }
}

fn signing(algorithm: SigningAlgorithm, pem: &Secret<String>) -> Option<EncodingKey> {
    let pem = pem.expose().as_bytes();
    match algorithm {
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_pem(pem),
        SigningAlgorithm::Es256 => EncodingKey::from_ec_pem(pem),
        SigningAlgorithm::Rs256 => EncodingKey::from_rsa_pem(pem),
    }
    .ok()
}

impl PublicKey {
    fn new(algorithm: SigningAlgorithm, mut jwk: Jwk) -> Result<Self, KeyError> {
        let fits = match (algorithm, &jwk.algorithm) {
            (SigningAlgorithm::EdDsa, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
            (SigningAlgorithm::Es256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
            (SigningAlgorithm::Rs256, AlgorithmParameters::RSA(key)) => key.n.len() >= MIN_MODULUS,
            _ => false,
        };
        if !fits {
            return Err(KeyError::Public);
        }
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Public)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(match algorithm {
            SigningAlgorithm::EdDsa => KeyAlgorithm::EdDSA,
            SigningAlgorithm::Es256 => KeyAlgorithm::ES256,
            SigningAlgorithm::Rs256 => KeyAlgorithm::RS256,
        });
        Ok(Self { algorithm, kid, jwk })
    }

    /// Reads what [`PublicKey::jwk`] has written.
    ///
    /// # Errors
    /// `Public` also if it is not the key of this name and algorithm.
    pub fn from_jwk(kid: &str, algorithm: SigningAlgorithm, jwk: &str) -> Result<Self, KeyError> {
        let jwk: Jwk = serde_json::from_str(jwk).map_err(|_| KeyError::Public)?;
        let read = Self::new(algorithm, jwk)?;
        (read.kid == kid).then_some(read).ok_or(KeyError::Public)
    }

    /// Reads a public key, or the public part of a private one.
    ///
    /// # Errors
    /// `Public`.
    pub fn from_pem(pem: &Secret<String>) -> Result<Self, KeyError> {
        if let Ok(private) = PrivateKey::from_pem(pem) {
            return Ok(private.public);
        }
        let bytes = pem.expose().as_bytes();
        let read = |algorithm| {
            let key = match algorithm {
                SigningAlgorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
                SigningAlgorithm::Es256 => DecodingKey::from_ec_pem(bytes),
                SigningAlgorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
            };
            let jwk = Jwk::from_decoding_key(&key.ok()?, Some(algorithm.of_jwt())).ok()?;
            Self::new(algorithm, jwk).ok()
        };
        SigningAlgorithm::ALL.into_iter().find_map(read).ok_or(KeyError::Public)
    }

    /// What it verifies.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// As a JWK (RFC 7517), with its name, use and algorithm.
    pub fn jwk(&self) -> serde_json::Value {
        serde_json::to_value(&self.jwk).unwrap_or_default()
    }

    /// What verifies.
    ///
    /// # Errors
    /// `Public`, if what was read is not what it says.
    pub fn key(&self) -> Result<DecodingKey, KeyError> {
        DecodingKey::from_jwk(&self.jwk).map_err(|_| KeyError::Public)
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
