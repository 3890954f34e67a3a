use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    Error, Issuers, KeySet, Kind, Own,
    claims::Payload,
    header::Header,
    part,
    remembered::{Remembered, Verified},
};
use crate::model::{Claims, Timestamp};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// Verifies tokens: our own, and those of other issuers that are trusted.
///
/// Signatures are checked once per token: what was verified is kept in a cache, bounded in bytes and keyed by
/// the whole token, which its issuer is a part of. Times are checked on every use, user state and revocation by the
/// snapshot; what another key set has verified is verified again.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    keys: ArcSwap<KeySet>,
    leeway: i64,
    verified: Remembered,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("leeway", &self.0.leeway).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier of tokens by our `own` keys, that tolerates `leeway` of clock skew and remembers about
    /// `cache_entries` ordinary tokens.
    pub fn new(own: Own, leeway: Duration, cache_entries: usize) -> Self {
        let keys = KeySet { version: 0, own: Arc::new(own), issuers: Arc::default() };
        Self(Arc::new(Inner {
            keys: ArcSwap::from_pointee(keys),
            leeway: seconds(leeway),
            verified: Remembered::new(cache_entries),
        }))
    }

    /// For how long after its `exp` a token of ours is accepted.
    pub fn leeway(&self) -> Duration {
        Duration::from_secs(self.0.leeway.unsigned_abs())
    }

    /// What is trusted now.
    pub fn keys(&self) -> Arc<KeySet> {
        self.0.keys.load_full()
    }

    /// When a token that was verified ends by itself, in seconds since 1970.
    pub fn accepted_until(&self, claims: &Claims) -> i64 {
        let keys = self.0.keys.load();
        let leeway = match claims.issuer.as_deref() {
            None => self.0.leeway,
            Some(name) => keys.issuers.get(name).map_or(0, |issuer| seconds(issuer.leeway)),
        };
        claims.expires_at.saturating_add(leeway)
    }

    /// Exchanges our own keys. No token that is verified after this is verified by another.
    pub fn put_own(&self, own: Own) {
        let own = Arc::new(own);
        self.0.keys.rcu(|keys| KeySet {
            version: keys.version + 1,
            own: Arc::clone(&own),
            issuers: Arc::clone(&keys.issuers),
        });
    }

    /// Exchanges the issuers that are believed by what `change` makes of them; it may be called again, for what another
    /// has made of them meanwhile.
    pub fn change_issuers(&self, change: impl Fn(&mut Issuers)) {
        self.0.keys.rcu(|keys| {
            let mut issuers = Issuers::clone(&keys.issuers);
            change(&mut issuers);
            KeySet { version: keys.version + 1, own: Arc::clone(&keys.own), issuers: Arc::new(issuers) }
        });
    }

    /// Verifies an access token.
    ///
    /// # Errors
    /// `Invalid` unless signed by a key that its issuer has, well formed, of type `access`, for us and past its `nbf`;
    /// `UnknownKey` for a key that a trusted issuer may have; `Expired` once `exp` + leeway has passed (RFC 7519 4.1.4).
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Error> {
        let keys = self.0.keys.load();
        let sought = self.0.verified.sought(token);
        if let Some(known) = self.0.verified.get(sought, keys.version) {
            known.check_times(now)?;
            return Ok(known.claims);
        }
        let verified = self.check(&keys, token, Kind::Access)?;
        verified.check_times(now)?;
        let claims = Arc::clone(&verified.claims);
        self.0.verified.put(sought, verified);
        Ok(claims)
    }

    /// Verifies a refresh token, which only we ourselves make; never cached.
    ///
    /// # Errors
    /// As [`Verifier::verify`], for type `refresh`.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let verified = self.check(&self.0.keys.load(), token, Kind::Refresh)?;
        verified.check_times(now)?;
        Ok(Arc::unwrap_or_clone(verified.claims))
    }

    fn check(&self, keys: &KeySet, token: &str, kind: Kind) -> Result<Verified, Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Invalid("too long"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Error::Invalid("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(Error::Invalid("not three parts"))?;
        if payload.contains('.') {
            return Err(Error::Invalid("not three parts"));
        }
        let parsed;
        let header = match keys.own.header(header) {
            Some(known) => known,
            None => {
                parsed = Header::read(header)?;
                &parsed
            }
        };
        let payload = Payload(part::read(payload)?);
        let ((claims, not_before), leeway) = match keys.issuer(payload.issuer()?.as_deref())? {
            None => {
                let own = keys.own.key(header, kind)?;
                own.check(message, signature)?;
                let (mut claims, not_before) = payload.of_ours(kind, keys.own.audience(), own.is_addressed())?;
                if claims.token_id.is_none() && claims.session_id.is_none() {
                    // The predecessor's tokens have no id, and must still be revocable one by one.
                    claims.token_id = Some(digest(token));
                }
                ((claims, not_before), self.0.leeway)
            }
            Some(_) if kind == Kind::Refresh => return Err(Error::Kind),
            Some(issuer) => {
                issuer.key(header)?.check(header.algorithm, message, signature)?;
                // Of what is signed alone: some signatures have a second form that is as good.
                (payload.of_another(issuer, digest(message))?, seconds(issuer.leeway))
            }
        };
        Ok(Verified { claims: Arc::new(claims), not_before, leeway, version: keys.version })
    }

    #[cfg(test)]
    pub(super) fn remembered_bytes(&self) -> u64 {
        self.0.verified.bytes()
    }
}

impl Verified {
    fn check_times(&self, now: Timestamp) -> Result<(), Error> {
        let now = now.unix_seconds();
        if now >= self.claims.expires_at.saturating_add(self.leeway) {
            return Err(Error::Expired);
        }
        if self.not_before.is_some_and(|start| now < start.saturating_sub(self.leeway)) {
            return Err(Error::Invalid("not valid yet"));
        }
        Ok(())
    }
}

fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text))
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(0)
}
