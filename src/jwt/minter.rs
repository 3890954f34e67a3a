use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

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

/// What a token shall say.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'t> {
    /// What it is for.
    pub kind: Kind,
    /// Whose it is.
    pub user: (UserId, &'t Username),
    /// The user's token epoch.
    pub epoch: i64,
    /// The session it belongs to.
    pub session: &'t str,
    /// Its `jti`.
    pub id: &'t str,
    /// When it was issued.
    pub issued_at: Timestamp,
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

    /// Makes a token.
    ///
    /// # Errors
    /// Only when the crypto library fails.
    pub fn mint(&self, new: &NewToken<'_>) -> Result<Secret<String>, jsonwebtoken::errors::Error> {
        let claims = json!({
            "sub": new.user.1,
            "uid": new.user.0,
            "ver": new.epoch,
            "sid": new.session,
            "jti": new.id,
            "iat": new.issued_at.unix_seconds(),
            "exp": new.expires_at.unix_seconds(),
            "type": new.kind.name(),
        });
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0.key).map(Secret::new)
    }
}
