use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use uuid::Uuid;

use super::Kind;
use crate::model::{Secret, Timestamp, UserId, Username};

/// Makes tokens signed with the shared secret, in the shape of the contract's section 6.
#[derive(Clone)]
pub struct Minter(Arc<Inner>);

struct Inner {
    key: EncodingKey,
    access_life: Duration,
    refresh_life: Duration,
}

/// A new token.
#[derive(Debug)]
pub struct Minted {
    /// The token itself.
    pub token: Secret<String>,
    /// Its `jti`.
    pub id: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter").field("access_life", &self.0.access_life).finish_non_exhaustive()
    }
}

impl Minter {
    /// A minter of tokens with these lifetimes.
    pub fn new(secret: &Secret<String>, access_life: Duration, refresh_life: Duration) -> Self {
        let key = EncodingKey::from_secret(secret.expose().as_bytes());
        Self(Arc::new(Inner { key, access_life, refresh_life }))
    }

    /// How long a token of `kind` lives.
    pub fn life(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Access => self.0.access_life,
            Kind::Refresh => self.0.refresh_life,
        }
    }

    /// Makes a token for a user's session; `epoch` is the user's token epoch.
    ///
    /// # Errors
    /// Only when the crypto library fails.
    pub fn mint(
        &self,
        kind: Kind,
        user: (UserId, &Username),
        epoch: i64,
        session: &str,
        now: Timestamp,
    ) -> Result<Minted, jsonwebtoken::errors::Error> {
        let life = i64::try_from(self.life(kind).as_secs()).unwrap_or(i64::MAX);
        let expires_at = now.plus_seconds(life);
        let id = Uuid::now_v7().to_string();
        let claims = json!({
            "sub": user.1,
            "uid": user.0,
            "ver": epoch,
            "sid": session,
            "jti": id,
            "iat": now.unix_seconds(),
            "exp": expires_at.unix_seconds(),
            "type": kind.name(),
        });
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0.key)?;
        Ok(Minted { token: Secret::new(token), id, expires_at })
    }
}
