//! The tests that need a running part of Cedargate, in one binary: linking is the slow part.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod support;

mod admin;
mod control;
mod corpus;
mod edge;
mod failures;
mod fleet;
mod health;
mod import;
mod issuers;
mod mail;
mod metrics;
mod policy;
mod policy_files;
mod scanners;
mod shows;
mod store;
mod streams;
mod threats;
mod tokens;
mod traffic;
