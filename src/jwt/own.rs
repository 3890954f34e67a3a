//! Our own keys: what signs, and what verifies.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::{Error, Kind, UnusableKey, header::Header, verifying::VerifyingKey};
use crate::model::{Secret, Timestamp};

/// What verifies one of our tokens, and with it what is demanded of the token.
#[derive(Clone, Copy)]
pub(super) enum OwnKey<'k> {
    /// The shared secret.
    Secret(&'k hmac::Key),
    /// A key with a name: `iss` and `aud` must stand in the token.
    Named(Algorithm, &'k VerifyingKey),
}

impl OwnKey<'_> {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::HS256,
            Self::Named(algorithm, _) => algorithm,
        }
    }

    /// Whether the token must say by whom and for whom it is.
    pub(super) fn is_addressed(self) -> bool {
        matches!(self, Self::Named(..))
    }

    /// # Errors
    /// `Invalid` unless the message was signed with this key.
    pub(super) fn check(self, message: &str, signature: &str) -> Result<(), Error> {
        match self {
            Self::Secret(key) => {
                // Set up once, which takes as long as to verify.
                let wrong = || Error::Invalid("wrong signature");
                let tag = URL_SAFE_NO_PAD.decode(signature).map_err(|_| wrong())?;
                hmac::verify(key, message.as_bytes(), &tag).map_err(|_| wrong())
            }
            Self::Named(algorithm, key) => key.check(algorithm, message, signature),
        }
    }
}

/// What signs.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Arc<str>>,
    pub(super) key: EncodingKey,
    /// It signs from this moment on.
    since: Timestamp,
}

/// Our own keys: the shared secret, which has no name, and any number of others by name, each with one algorithm.
#[derive(Clone)]
pub struct Own {
    issuer: Arc<str>,
    audience: Vec<String>,
    secret: hmac::Key,
    keys: HashMap<Box<str>, (Algorithm, VerifyingKey)>,
    /// By the moment from which they sign.
    signers: Vec<Signer>,
    /// Headers as we write them, with what they say: most tokens have one of these.
    headers: HashMap<String, Header>,
    published: Arc<str>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("issuer", &self.issuer).field("keys", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl Own {
    /// The shared secret alone, which verifies and signs (HS256), in the shape of the contract's section 6.
    pub fn secret(secret: &Secret<String>) -> Self {
        let bytes = secret.expose().as_bytes();
        let key = EncodingKey::from_secret(bytes);
        let mut own = Self {
            issuer: "cedargate".into(),
            audience: vec!["cedargate".to_owned()],
            secret: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            keys: HashMap::new(),
            signers: vec![Signer { algorithm: Algorithm::HS256, kid: None, key, since: Timestamp::FIRST }],
            headers: HashMap::new(),
            published: r#"{"keys":[]}"#.into(),
        };
        own.know_headers(Algorithm::HS256, None);
        own
    }

    /// Notes what tokens of this key begin with.
    fn know_headers(&mut self, algorithm: Algorithm, kid: Option<&str>) {
        for kind in [Kind::Access, Kind::Refresh] {
            let text = serde_json::to_vec(&header(algorithm, kid, kind)).map(|json| URL_SAFE_NO_PAD.encode(json));
            if let Ok(text) = text
                && let Ok(read) = Header::read(&text)
            {
                self.headers.insert(text, read);
            }
        }
    }

    /// What the header of a token says, if it is written as we do.
    pub(super) fn header(&self, text: &str) -> Option<&Header> {
        self.headers.get(text)
    }

    /// The `iss` and `aud` that tokens of keys with a name carry, and that are compared wherever they stand.
    #[must_use]
    pub fn named(mut self, issuer: &str, audience: &str) -> Self {
        self.issuer = issuer.into();
        self.audience = vec![audience.to_owned()];
        self
    }

    /// Adds a key that verifies tokens of `algorithm` and no other.
    ///
    /// # Errors
    /// A shared secret, an algorithm of another kind than the key, or what is no key of its kind.
    pub fn put_key(&mut self, kid: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<(), UnusableKey> {
        self.keys.insert(kid.into(), (algorithm, VerifyingKey::new(key, &[algorithm])?));
        self.know_headers(algorithm, Some(kid));
        Ok(())
    }

    /// From now on nothing signs but what is added by [`Own::put_signer`].
    pub fn clear_signers(&mut self) {
        self.signers.clear();
    }

    /// Adds a key that signs from `since` on, until a later one does.
    ///
    /// # Errors
    /// An algorithm of another kind than the key.
    pub fn put_signer(
        &mut self,
        kid: &str,
        algorithm: Algorithm,
        key: EncodingKey,
        since: Timestamp,
    ) -> Result<(), UnusableKey> {
        if key.family() != algorithm.family() {
            return Err(UnusableKey::Mismatch);
        }
        let place = self.signers.partition_point(|signer| signer.since <= since);
        self.signers.insert(place, Signer { algorithm, kid: Some(kid.into()), key, since });
        Ok(())
    }

    /// Says what is published of these keys: public keys as JWKS.
    pub fn publish(&mut self, jwks: String) {
        self.published = jwks.into();
    }

    /// What is published of these keys.
    pub fn published(&self) -> &Arc<str> {
        &self.published
    }

    /// Our name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whom our tokens are for.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// What signs at `now`.
    pub(super) fn signer(&self, now: Timestamp) -> Option<&Signer> {
        self.signers.iter().rev().find(|signer| signer.since <= now)
    }

    /// Whether anything signs at `now`.
    pub fn signs(&self, now: Timestamp) -> bool {
        self.signer(now).is_some()
    }

    /// The name of the key that signs at `now`; `None` is the shared secret, or nothing.
    pub fn signing_kid(&self, now: Timestamp) -> Option<&str> {
        self.signer(now)?.kid.as_deref()
    }

    /// The key that a token with this header must be signed with: by its `kid`, and with the algorithm that our record of
    /// the key says (CVE-2022-29217).
    ///
    /// # Errors
    /// `Invalid` for a key that is not ours, or that is not for tokens of this header.
    pub(super) fn key(&self, header: &Header, kind: Kind) -> Result<OwnKey<'_>, Error> {
        let (found, typ) = match header.kid.as_deref() {
            None => (OwnKey::Secret(&self.secret), header.is_of_type(&["jwt", kind.typ()], true)),
            Some(kid) => {
                let (algorithm, key) = self.keys.get(kid).ok_or(Error::Invalid("kid is no key of ours"))?;
                // Said in words of its own, so that no other kind of token is mistaken for it (RFC 8725 3.11).
                let is_access_or_refresh = header.is_of_type(&[kind.typ()], false);
                (OwnKey::Named(*algorithm, key), is_access_or_refresh)
            }
        };
        if header.algorithm != found.algorithm() {
            return Err(Error::Invalid("alg is not that of the key"));
        }
        if !typ {
            let other = [Kind::Access.typ(), Kind::Refresh.typ()];
            return Err(if header.is_of_type(&other, false) { Error::Kind } else { Error::Invalid("typ is another") });
        }
        Ok(found)
    }
}

/// The header of a token that this key signs.
pub(super) fn header(algorithm: Algorithm, kid: Option<&str>, kind: Kind) -> jsonwebtoken::Header {
    let mut header = jsonwebtoken::Header::new(algorithm);
    if let Some(kid) = kid {
        header.kid = Some(kid.to_owned());
        header.typ = Some(kind.typ().to_owned());
    }
    header
}
