//! Other issuers whose tokens are believed, and how far.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey};
use smallvec::SmallVec;

use super::{Error, header::Header, verifying::VerifyingKey};

/// A public key, and what it may be used for.
#[derive(Clone)]
pub struct TrustedKey {
    kid: Option<Box<str>>,
    key: VerifyingKey,
}

/// A key that cannot be trusted as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// Whoever can verify with it can sign as well.
    #[error("a secret, not a public key")]
    Secret,
    /// It has no algorithm left.
    #[error("a key without an algorithm that is allowed")]
    NoAlgorithm,
    /// An algorithm that the key is not made for.
    #[error("a key for another kind of algorithm")]
    Mismatch,
    /// Nothing can be verified with it.
    #[error("not a key of its kind")]
    Malformed,
}

impl std::fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl TrustedKey {
    /// The key that is named `kid`, for tokens of these algorithms and no others.
    ///
    /// # Errors
    /// A shared secret, no algorithm, one of another kind than the key, or what is no key of its kind.
    pub fn new(kid: Option<&str>, algorithms: &[Algorithm], key: &DecodingKey) -> Result<Self, UnusableKey> {
        Ok(Self { kid: kid.map(Into::into), key: VerifyingKey::new(key, algorithms)? })
    }

    /// Its name, as the issuer calls it.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

/// An issuer whose tokens are believed, with what is demanded of them.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss`, compared byte for byte.
    pub name: Arc<str>,
    /// One of these must be in `aud`. With none, no token is accepted.
    pub audiences: Vec<String>,
    /// Clocks may differ by this much.
    pub leeway: Duration,
    /// What `typ` may be, in lower case and without `application/`; `jwt` includes its absence.
    pub types: Vec<String>,
    /// Its keys as last seen.
    pub keys: Vec<TrustedKey>,
}

impl Issuer {
    /// The key that a token with this header must be signed with.
    ///
    /// # Errors
    /// `UnknownKey` if the issuer may have it nevertheless, `Invalid` for what no key could help.
    pub(super) fn key(&self, header: &Header) -> Result<&VerifyingKey, Error> {
        let types: SmallVec<[&str; 4]> = self.types.iter().map(String::as_str).collect();
        if !header.is_of_type(&types, types.contains(&"jwt")) {
            return Err(Error::Invalid("typ is another"));
        }
        let fits = |key: &&TrustedKey| key.key.is_for(header.algorithm);
        let unknown = || Error::UnknownKey { issuer: Arc::clone(&self.name) };
        if let Some(kid) = header.kid.as_deref() {
            let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
            named.peek().ok_or_else(unknown)?;
            return named.find(fits).map(|found| &found.key).ok_or(Error::Invalid("alg is not that of the key"));
        }
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(found), None) => Ok(&found.key),
            (None, _) => Err(unknown()),
            // Which one was meant would have to be tried out.
            (Some(_), Some(_)) => Err(Error::Invalid("no kid, and several keys")),
        }
    }
}

/// All issuers that are believed, by name.
#[derive(Clone, Debug, Default)]
pub struct Issuers(HashMap<Arc<str>, Arc<Issuer>>);

impl Issuers {
    /// Adds one, or replaces the one of this name.
    pub fn put(&mut self, issuer: Issuer) {
        self.0.insert(Arc::clone(&issuer.name), Arc::new(issuer));
    }

    /// Takes one away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The issuer of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.0.get(name)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.0.values()
    }
}
