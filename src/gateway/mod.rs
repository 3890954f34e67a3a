//! The data plane: every request is matched, authenticated, authorised, and only then forwarded.
//!
//! ## Why
//! Pingora moves the bytes; what may move is decided here, in one order that each request goes through: its
//! raw head is checked ([`head`]), its target accepted ([`Target`](crate::http::Target)), its route and operation found, its
//! credentials verified ([`credentials`]), and the pinned snapshot asked. What comes out is a
//! [`Permit`](crate::policy::Permit), which only the policy engine can make, and without which there is no
//! peer to forward to. Nothing on this path waits for a database: this module does not know one.

mod authorise;
mod client_certificate;
mod context;
pub mod credentials;
mod edge;
mod forward;
pub mod head;
pub mod headers;
mod host;
mod load;
mod meters;
mod proxy;
mod respond;
mod service;
mod shared;
mod tls;
mod upstreams;
mod workers;

#[cfg(test)]
mod tests;

pub use service::{Limits, Parts, Running, Settings, StartError, TlsFiles, start};
pub use shared::Mount;

use proxy::Gateway;
