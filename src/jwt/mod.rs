//! Access and refresh tokens: made, verified, and remembered while they are valid.
//!
//! ## Why
//! `jsonwebtoken` does the cryptography only. It accepts a float `exp`, ignores `crit` and lets the last of two
//! equal keys win, so header and claims are read here, strictly (RFC 8725).
//!
//! Everything that is trusted stands in one [`KeySet`], which is exchanged as a whole. What was verified is remembered
//! with the version of the set it was verified by, so a key that is withdrawn takes its tokens with it.

mod claims;
mod errands;
mod error;
mod header;
mod key_set;
mod keyring;
mod minter;
mod own;
mod part;
mod private_key;
mod remembered;
mod sealer;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;
mod verifying;

pub use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

pub use claims::Kind;
pub use errands::{Arrivals, Errand, Errands, Waiting};
pub use error::Error;
pub use key_set::KeySet;
pub use keyring::{KeySettings, Keyring, KeyringError, make_key};
pub use minter::{MintError, Minter, NewToken};
pub use own::Own;
pub use private_key::{KeyError, PrivateKey, PublicKey};
pub use sealer::Sealer;
pub use trust::{Issuer, Issuers, TrustedKey, UnusableKey};
pub use verifier::Verifier;
