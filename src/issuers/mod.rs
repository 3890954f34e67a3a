//! The keys of other issuers: found, refreshed, and given up when they have been out of reach for too long.
//!
//! ## Why
//! A token is verified by keys that are at hand: nothing that a request brings along makes it wait for the network, but
//! one thing. An issuer that exchanges its keys signs with one that nobody has seen; then the request waits, shortly, for
//! the keys to be fetched. That can be caused by anybody, so it happens once at a time for each issuer, and no more often
//! than the settings say.

mod fetch;
mod jwks;
mod keeper;
mod standing;

pub use keeper::{Keeper, Terms};
