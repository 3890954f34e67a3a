//! SQL: one text for SQLite and PostgreSQL, one file per table family.
//!
//! Every function takes an open [`Tx`] and leaves the commit to its caller, so that a write, its revision and its
//! entry in the feed are one transaction. After an error a transaction must be dropped.
//!
//! ## Why
//!
//! SQLite makes the gateway run with nothing to install, PostgreSQL makes many nodes share one set of rules. Two
//! dialects kept apart drift apart: so each statement is written once, in the SQL that both accept, `db` is the
//! only place that knows which driver runs it, and the tests run every statement on both. A query builder or an
//! object mapper would hide the statements, which are what a reviewer has to judge.
//!
//! What both do not share is designed out: text is compared by bytes (`COLLATE "C"`), letters beyond ASCII are put
//! into lower case before they are stored, times have microseconds, sets of ids travel in one placeholder.

pub mod activity;
mod assignments;
pub mod audit;
mod bindings;
pub mod changes;
mod credentials;
mod db;
mod error;
pub mod hierarchy;
pub mod issuers;
mod list;
pub mod mail_tokens;
pub mod migrate;
pub mod modules;
pub mod navigation;
pub mod outbox;
pub mod permissions;
pub mod policies;
pub mod predecessor;
pub mod revocations;
pub mod roles;
pub mod route_permissions;
pub mod routes;
pub mod rules;
pub mod sessions;
pub mod signing_keys;
mod sql;
mod statement;
pub mod takeover;
pub mod upstreams;
pub mod users;

pub use db::{Bell, Db, Kind, PoolSettings, PoolState, Query, Record, Tx, Value};
pub use error::{Error, Result};
pub use list::{MOST_COUNTED, Period, Plan, Sort, SortKey, Total};
pub use sql::Page;
