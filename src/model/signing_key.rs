use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Secret, SigningKeyId, Timestamp};

/// What tokens are signed with, beside the shared secret (HS256).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum SigningAlgorithm {
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with PKCS#1 v1.5, for those who know nothing else.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The name of no [`SigningAlgorithm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of EdDSA, ES256, RS256")]
pub struct UnknownAlgorithm;

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];
    /// Their names.
    pub const NAMES: [&str; 3] = ["EdDSA", "ES256", "RS256"];

    /// As `alg` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl std::str::FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

impl TryFrom<String> for SigningAlgorithm {
    type Error = UnknownAlgorithm;

    fn try_from(name: String) -> Result<Self, UnknownAlgorithm> {
        name.parse()
    }
}

/// A key pair that is kept in the database.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKey {
    /// Identity.
    pub id: SigningKeyId,
    /// Its name in tokens: the thumbprint of the public key.
    pub kid: String,
    /// The only one it is used with.
    #[sqlx(try_from = "String")]
    pub algorithm: SigningAlgorithm,
    /// The public key, as JSON (RFC 7517).
    pub jwk: String,
    /// The private key, encrypted; none once it is retired.
    pub sealed: Option<String>,
    /// Creation.
    pub created_at: Timestamp,
    /// From then on it signs, until a later one does.
    pub activated_at: Timestamp,
    /// From then on it verifies nothing.
    pub retired_at: Option<Timestamp>,
}

/// A key pair to be stored.
#[derive(Clone, Debug)]
pub struct NewSigningKey {
    /// The thumbprint of the public key.
    pub kid: String,
    /// The only one it is used with.
    pub algorithm: SigningAlgorithm,
    /// The public key, as JSON (RFC 7517).
    pub jwk: String,
    /// The private key, encrypted.
    pub sealed: Secret<String>,
}

/// What a key is for at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyState {
    /// It will sign; it is published and verifies already.
    Next,
    /// It signs what is signed with its algorithm.
    Active,
    /// It verifies what it has signed.
    Retiring,
    /// It verifies nothing.
    Retired,
}

impl SigningKey {
    /// What the key is for at `now`, as one of `all`.
    pub fn state(&self, all: &[Self], now: Timestamp) -> KeyState {
        if self.retired_at.is_some() {
            return KeyState::Retired;
        }
        if self.activated_at > now {
            return KeyState::Next;
        }
        match self.successor(all).is_some_and(|successor| successor.activated_at <= now) {
            true => KeyState::Retiring,
            false => KeyState::Active,
        }
    }

    /// When it verifies nothing of use any more, if tokens live for `longest` seconds at most; none while no other follows it.
    pub fn retires_at(&self, all: &[Self], longest: i64) -> Option<Timestamp> {
        let unretired = self.retired_at.is_none();
        self.successor(all).filter(|_| unretired).map(|next| next.activated_at.plus_seconds(longest))
    }

    /// The key that signs after this one.
    fn successor<'k>(&self, all: &'k [Self]) -> Option<&'k Self> {
        let later = all.iter().filter(|other| {
            other.algorithm == self.algorithm
                && other.retired_at.is_none()
                && (other.activated_at, other.id) > (self.activated_at, self.id)
        });
        later.min_by_key(|other| (other.activated_at, other.id))
    }
}
