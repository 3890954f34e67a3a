use std::{sync::Arc, time::Duration};

use jsonwebtoken::Header;
use serde_json::json;
use uuid::Uuid;

use super::{Kind, Verifier};
use crate::model::{Secret, Timestamp, UserId, Username};

/// Makes tokens signed with what its verifier's key set signs with: with the shared secret in the shape of the contract's
/// section 6, with any other key addressed (`iss`, `aud`) and typed (`typ`) too.
#[derive(Clone)]
pub struct Minter(Arc<Inner>);

struct Inner {
    verifier: Verifier,
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

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No key signs, or none yet.
    #[error("no key signs")]
    NoKey,
    /// The crypto library failed.
    #[error("cannot sign")]
    Crypto(#[from] jsonwebtoken::errors::Error),
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter").field("access_life", &self.0.access_life).finish_non_exhaustive()
    }
}

impl Minter {
    /// A minter of tokens with these lifetimes, which `verifier` accepts.
    pub fn new(verifier: &Verifier, access_life: Duration, refresh_life: Duration) -> Self {
        Self(Arc::new(Inner { verifier: verifier.clone(), access_life, refresh_life }))
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
    /// Nothing signs, or the crypto library fails.
    pub fn mint(
        &self,
        kind: Kind,
        user: (UserId, &Username),
        epoch: i64,
        session: &str,
        now: Timestamp,
    ) -> Result<Minted, MintError> {
        let life = i64::try_from(self.life(kind).as_secs()).unwrap_or(i64::MAX);
        let expires_at = now.plus_seconds(life);
        let id = Uuid::now_v7().to_string();
        let keys = self.0.verifier.keys();
        let own = keys.own();
        let signer = own.signer(now).ok_or(MintError::NoKey)?;
        let mut claims = json!({
            "sub": user.1,
            "uid": user.0,
            "ver": epoch,
            "sid": session,
            "jti": id,
            "iat": now.unix_seconds(),
            "exp": expires_at.unix_seconds(),
            "type": kind.name(),
        });
        let mut header = Header::new(signer.algorithm);
        if let Some(kid) = &signer.kid {
            claims["iss"] = own.issuer().into();
            claims["aud"] = own.audience().first().map_or("", String::as_str).into();
            header.kid = Some(kid.to_string());
            header.typ = Some(kind.typ().to_owned());
        }
        let token = jsonwebtoken::encode(&header, &claims, &signer.key)?;
        Ok(Minted { token: Secret::new(token), id, expires_at })
    }
}
