use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use foldhash::quality::RandomState;
use jsonwebtoken::{Algorithm, DecodingKey};
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{claims, claims::Kind, strict::StrictObject};
use crate::model::{Claims, Secret, Timestamp};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;

/// Why a token is refused. The text is for the log, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Malformed, forged, or not meant for this.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// Genuine, but of the other type.
    #[error("a token of another type")]
    Kind,
    /// `exp` and the leeway have passed.
    #[error("the token has expired")]
    Expired,
}

/// A verified token as the cache keeps it.
#[derive(Clone, Debug)]
pub struct Cached {
    claims: Arc<Claims>,
    not_before: Option<i64>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Cached> for Bytes {
    fn weight(&self, token: &Box<str>, _: &Cached) -> u64 {
        // The claims hold about what the token holds, decoded, and each map entry some 100 bytes.
        (token.len() * 3 + 512) as u64
    }
}

/// Verifies tokens signed with the shared secret (HS256).
///
/// Signatures are checked once per token: what was verified is kept in a cache, bounded in bytes and keyed by
/// the whole token. Times are checked on every use, user state and revocation by the snapshot.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    key: DecodingKey,
    leeway: i64,
    verified: Cache<Box<str>, Cached, Bytes, RandomState>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("leeway", &self.0.leeway).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that tolerates `leeway` of clock skew and remembers about `cache_entries` ordinary tokens.
    pub fn new(secret: &Secret<String>, leeway: Duration, cache_entries: usize) -> Self {
        let weight = cache_entries as u64 * 2 * 1024;
        Self(Arc::new(Inner {
            key: DecodingKey::from_secret(secret.expose().as_bytes()),
            leeway: i64::try_from(leeway.as_secs()).unwrap_or(0),
            verified: Cache::with(cache_entries, weight, Bytes, RandomState::default(), DefaultLifecycle::default()),
        }))
    }

    /// For how long after its `exp` a token is accepted.
    pub fn leeway(&self) -> Duration {
        Duration::from_secs(self.0.leeway.unsigned_abs())
    }

    /// Verifies an access token.
    ///
    /// # Errors
    /// `Invalid` unless signed with our key as HS256, well formed, of type `access` and past its `nbf`;
    /// `Expired` once `exp` + leeway has passed (RFC 7519 4.1.4).
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Error> {
        if let Some(cached) = self.0.verified.get(token) {
            self.check_times(cached.claims.expires_at, cached.not_before, now)?;
            return Ok(cached.claims);
        }
        let (claims, not_before) = self.check(token, Kind::Access)?;
        self.check_times(claims.expires_at, not_before, now)?;
        let claims = Arc::new(claims);
        self.0.verified.insert(token.into(), Cached { claims: Arc::clone(&claims), not_before });
        Ok(claims)
    }

    /// Verifies a refresh token; never cached.
    ///
    /// # Errors
    /// As [`Verifier::verify`], for type `refresh`.
    pub fn verify_refresh(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let (claims, not_before) = self.check(token, Kind::Refresh)?;
        self.check_times(claims.expires_at, not_before, now)?;
        Ok(claims)
    }

    fn check_times(&self, expires_at: i64, not_before: Option<i64>, now: Timestamp) -> Result<(), Error> {
        let now = now.unix_seconds();
        if now >= expires_at.saturating_add(self.0.leeway) {
            return Err(Error::Expired);
        }
        if not_before.is_some_and(|start| now < start.saturating_sub(self.0.leeway)) {
            return Err(Error::Invalid("not valid yet"));
        }
        Ok(())
    }

    fn check(&self, token: &str, kind: Kind) -> Result<(Claims, Option<i64>), Error> {
        if token.len() > MAX_TOKEN {
            return Err(Error::Invalid("too long"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Error::Invalid("not three parts"))?;
        let (header, payload) = message.split_once('.').ok_or(Error::Invalid("not three parts"))?;
        if payload.contains('.') {
            return Err(Error::Invalid("not three parts"));
        }
        check_header(&object(header)?)?;
        let genuine = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.0.key, Algorithm::HS256);
        if !genuine.unwrap_or(false) {
            return Err(Error::Invalid("wrong signature"));
        }
        let (mut claims, not_before) = claims::read(object(payload)?, kind)?;
        if claims.token_id.is_none() && claims.session_id.is_none() {
            // The predecessor's tokens have no id, and must still be revocable one by one.
            claims.token_id = Some(URL_SAFE_NO_PAD.encode(Sha256::digest(token)));
        }
        Ok((claims, not_before))
    }
}

/// The algorithm is ours to choose, never the token's (CVE-2022-23540); keys that a header carries or points to
/// are not looked at (CVE-2018-0114); an extension that must be understood is not (RFC 7515 4.1.11).
fn check_header(header: &serde_json::Map<String, Value>) -> Result<(), Error> {
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(Error::Invalid("alg is not HS256"));
    }
    if header.contains_key("crit") || header.contains_key("b64") || header.contains_key("zip") {
        return Err(Error::Invalid("an extension that is not understood"));
    }
    if ["jwk", "jku", "x5u", "x5c"].iter().any(|name| header.contains_key(*name)) {
        return Err(Error::Invalid("a key within the token"));
    }
    Ok(())
}

fn object(part: &str) -> Result<serde_json::Map<String, Value>, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Invalid("not base64url"))?;
    let object: StrictObject = serde_json::from_slice(&bytes).map_err(|_| Error::Invalid("not a JSON object"))?;
    Ok(object.0)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn verifier() -> Verifier {
        Verifier::new(&Secret::new(SECRET.to_owned()), Duration::ZERO, 100)
    }

    fn now() -> Timestamp {
        Timestamp::now()
    }

    fn signed(header: &Value, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn refused(token: &str) -> bool {
        matches!(verifier().verify(token, now()), Err(Error::Invalid(_) | Error::Kind))
    }

    #[test]
    fn tokens_of_the_predecessor_are_honoured() {
        let exp = now().unix_seconds() + 60;
        let claims = json!({ "sub": "alice", "exp": exp });
        let token =
            jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        let read = verifier().verify(&token, now()).unwrap();
        assert_eq!((read.subject.as_str(), read.user_id, read.epoch), ("alice", None, 0));
    }

    #[test]
    fn expiry_is_checked_on_a_cache_hit() {
        let verifier = verifier();
        let exp = now().unix_seconds() + 60;
        let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "a", "exp": exp }).to_string());
        assert!(verifier.verify(&token, now()).is_ok());
        assert_eq!(verifier.verify(&token, now().plus_seconds(61)), Err(Error::Expired));
        assert!(verifier.verify(&token, now()).is_ok());
    }

    #[test]
    fn headers_are_refused() {
        let payload = json!({ "sub": "a", "exp": now().unix_seconds() + 60 }).to_string();
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "None" }),
            json!({ "alg": "nOnE" }),
            json!({ "alg": "HS384" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": ["HS256"] }),
            json!({ "alg": "HS256", "crit": ["exp"] }),
            json!({ "alg": "HS256", "jwk": {} }),
            json!({ "alg": "HS256", "jku": "http://127.0.0.1/keys" }),
            json!({}),
        ] {
            assert!(refused(&signed(&header, &payload)), "{header}");
        }
    }

    #[test]
    fn claims_are_refused() {
        let exp = now().unix_seconds() + 60;
        for payload in [
            r#"{"sub":"a"}"#.to_owned(),
            format!(r#"{{"sub":"a","exp":"{exp}"}}"#),
            format!(r#"{{"sub":"a","exp":{exp}.0}}"#),
            r#"{"sub":"a","exp":1e400}"#.to_owned(),
            r#"{"sub":"a","exp":null}"#.to_owned(),
            r#"{"sub":"a","exp":-1}"#.to_owned(),
            format!(r#"{{"sub":"a","exp":{exp},"nbf":{}}}"#, exp + 60),
            format!(r#"{{"sub":"a","exp":{exp},"nbf":"1"}}"#),
            format!(r#"{{"sub":"a","sub":"b","exp":{exp}}}"#),
            format!(r#"{{"sub":"","exp":{exp}}}"#),
            format!(r#"{{"exp":{exp}}}"#),
            format!(r#"{{"sub":"a","exp":{exp},"type":"refresh"}}"#),
            "[]".to_owned(),
        ] {
            assert!(refused(&signed(&json!({ "alg": "HS256" }), &payload)), "{payload}");
        }
    }

    #[test]
    fn shapes_are_refused() {
        let dots = ".".repeat(1_000_000);
        let long = "a".repeat(1_000_000);
        for token in ["", ".", "..", "a.b", "a.b.c.d", dots.as_str(), long.as_str()] {
            assert!(refused(token));
        }
    }

    proptest! {
        #[test]
        fn no_mutation_of_a_valid_token_is_accepted(position in 0usize..120, byte in 33u8..127) {
            let token = signed(&json!({ "alg": "HS256" }), &json!({ "sub": "a", "exp": 4_000_000_000_i64 }).to_string());
            let position = position % token.len();
            let mut bytes = token.clone().into_bytes();
            bytes[position] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assume!(changed != token);
            prop_assert!(verifier().verify(&changed, now()).is_err());
        }
    }
}
