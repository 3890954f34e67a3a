use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use rand::RngExt;

use super::threads::Threads;
use crate::model::Secret;

/// How much each hash costs, and how many run at once.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Hashes computed at the same time.
    pub threads: usize,
    /// Hashes that may wait.
    pub queue: usize,
}

/// Why a password could not be hashed or verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue is full; try again later.
    #[error("too many passwords are being checked")]
    Busy,
    /// The library refused: a bad setting, or a bug.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// What became of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match,
    /// The password is right, and its hash should be replaced by a new one.
    MatchOutdated,
    /// The password is wrong.
    Mismatch,
}

/// Hashes and verifies passwords.
#[derive(Clone, Debug)]
pub struct Hasher {
    inner: Arc<Inner>,
    /// Whether hashes are not to be kept, and so need not be made.
    rehearses: bool,
}

#[derive(Debug)]
struct Inner {
    argon2: Argon2<'static>,
    params: Params,
    /// Verified when there is no such user, so that the answer takes as long.
    decoy: Secret<String>,
    threads: Threads,
}

impl Hasher {
    /// Prepares hashing.
    ///
    /// # Errors
    /// `Failed` for costs that argon2 does not accept.
    pub fn new(cost: Cost) -> Result<Self, Error> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None)
            .map_err(|error| Error::Failed(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let decoy = hash(&argon2, &random_password())?;
        let threads = Threads::start(cost.threads, cost.queue)?;
        Ok(Self { inner: Arc::new(Inner { argon2, params, decoy, threads }), rehearses: false })
    }

    /// One for accounts that nobody will ever have: its hashes cost nothing, and no password has them.
    #[must_use]
    pub fn rehearsing(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), rehearses: true }
    }

    /// Hashes a password into a PHC string.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, Error> {
        let inner = Arc::clone(&self.inner);
        if self.rehearses {
            return Ok(inner.decoy.clone());
        }
        self.inner.threads.run(move || hash(&inner.argon2, &password)).await?
    }

    /// Verifies a password against the hash of a user, or against a decoy when there is no such user.
    ///
    /// # Errors
    /// `Busy`, `Failed`.
    pub async fn verify(&self, password: Secret<String>, stored: Option<Secret<String>>) -> Result<Verdict, Error> {
        let inner = Arc::clone(&self.inner);
        let work = move || match stored {
            // What is no hash, of an account without a password, takes as long as one.
            Some(stored) if stored.expose().starts_with('$') => inner.verify(password.expose(), stored.expose()),
            Some(_) | None => {
                let _wasted = inner.verify(password.expose(), inner.decoy.expose());
                Verdict::Mismatch
            }
        };
        self.inner.threads.run(work).await
    }
}

impl Inner {
    fn verify(&self, password: &str, stored: &str) -> Verdict {
        if stored.starts_with("$2") {
            // The predecessor cut passwords at 72 bytes before hashing; so does this function.
            let right = bcrypt::verify(password, stored).unwrap_or(false);
            return if right { Verdict::MatchOutdated } else { Verdict::Mismatch };
        }
        let Ok(parsed) = PasswordHash::new(stored) else {
            return Verdict::Mismatch;
        };
        if self.argon2.verify_password(password.as_bytes(), &parsed).is_err() {
            return Verdict::Mismatch;
        }
        let current = Params::try_from(&parsed).is_ok_and(|params| {
            (params.m_cost(), params.t_cost(), params.p_cost())
                == (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
        });
        if current { Verdict::Match } else { Verdict::MatchOutdated }
    }
}

fn hash(argon2: &Argon2<'_>, password: &Secret<String>) -> Result<Secret<String>, Error> {
    let hash: PasswordHash =
        argon2.hash_password(password.expose().as_bytes()).map_err(|error| Error::Failed(error.to_string()))?;
    Ok(Secret::new(hash.to_string()))
}

/// A password nobody has seen: 24 characters that read well, about 138 bits.
pub fn random_password() -> Secret<String> {
    const LETTERS: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut rng = rand::rng();
    let letters = (0..24).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]));
    Secret::new(letters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher() -> Hasher {
        Hasher::new(Cost { memory_kib: 64, iterations: 1, parallelism: 1, threads: 1, queue: 1 }).unwrap()
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn hashes_verify() {
        let hasher = hasher();
        let stored = hasher.hash(secret("correct horse")).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{}", stored.expose());
        let verify = |password, stored: Secret<String>| hasher.verify(secret(password), Some(stored));
        assert_eq!(verify("correct horse", stored.clone()).await.unwrap(), Verdict::Match);
        assert_eq!(verify("wrong", stored).await.unwrap(), Verdict::Mismatch);
        assert_eq!(hasher.verify(secret("x"), None).await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn old_hashes_are_recognised_and_outdated() {
        let hasher = hasher();
        let bcrypt = bcrypt::hash("admin123", 4).unwrap();
        assert_eq!(hasher.verify(secret("admin123"), Some(secret(&bcrypt))).await.unwrap(), Verdict::MatchOutdated);
        let long = "x".repeat(80);
        let cut = bcrypt::hash(&long[..72], 4).unwrap();
        assert_eq!(hasher.verify(secret(&long), Some(secret(&cut))).await.unwrap(), Verdict::MatchOutdated);
        let other = Hasher::new(Cost { memory_kib: 128, iterations: 1, parallelism: 1, threads: 1, queue: 1 }).unwrap();
        let stored = other.hash(secret("a")).await.unwrap();
        assert_eq!(hasher.verify(secret("a"), Some(stored)).await.unwrap(), Verdict::MatchOutdated);
        assert_eq!(hasher.verify(secret("a"), Some(secret("junk"))).await.unwrap(), Verdict::Mismatch);
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let hasher = hasher();
        let storm: Vec<_> = (0..20)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.hash(secret("p")).await })
            })
            .collect();
        let mut busy = 0;
        for task in storm {
            busy += usize::from(matches!(task.await.unwrap(), Err(Error::Busy)));
        }
        assert!(busy > 0 && busy < 20, "{busy} of 20 refused");
    }
}
