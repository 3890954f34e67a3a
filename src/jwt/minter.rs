use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{Kind, Verifier, own::header};
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

    /// Makes a token.
    ///
    /// # Errors
    /// Nothing signs, or the crypto library fails.
    pub fn mint(&self, new: &NewToken<'_>) -> Result<Secret<String>, MintError> {
        let keys = self.0.verifier.keys();
        let own = keys.own();
        let signer = own.signer(Timestamp::now()).ok_or(MintError::NoKey)?;
        let mut claims = json!({
            "sub": new.user.1,
            "uid": new.user.0,
            "ver": new.epoch,
            "sid": new.session,
            "jti": new.id,
            "iat": new.issued_at.unix_seconds(),
            "exp": new.expires_at.unix_seconds(),
            "type": new.kind.name(),
        });
        let header = header(signer.algorithm, signer.kid.as_deref(), new.kind);
        if signer.kid.is_some() {
            claims["iss"] = own.issuer().into();
            claims["aud"] = own.audience().first().map_or("", String::as_str).into();
        }
        Ok(Secret::new(jsonwebtoken::encode(&header, &claims, &signer.key)?))
    }
}
