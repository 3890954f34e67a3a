//! Password hashing: argon2id for new hashes, bcrypt still verified, on a bounded number of threads.
//!
//! ## Why
//! One argon2id hash costs 19 MiB and tens of milliseconds of a core. Without a bound, a storm of logins would
//! starve the data plane and exhaust memory, so hashing waits in a short queue and refuses beyond it.

mod hasher;
mod policy;
mod threads;

pub use hasher::{Cost, Error, Hasher, Verdict, random_password};
pub use policy::{About, MAX_PASSWORD_BYTES, Policy};
