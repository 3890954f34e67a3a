//! Access and refresh tokens: made, verified, and remembered while they are valid.
//!
//! ## Why
//! `jsonwebtoken` does the cryptography only. It accepts a float `exp`, ignores `crit` and lets the last of two
//! equal keys win, so header and claims are read here, strictly (RFC 8725).

mod claims;
mod minter;
mod strict;
mod verifier;

pub use claims::Kind;
pub use minter::{Minter, NewToken};
pub use verifier::{Cached, Error, Verifier};
