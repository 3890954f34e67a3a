//! The data plane: every request is matched, authenticated, authorised, and only then forwarded.
//!
//! ## Why
//! Pingora moves the bytes; what may move is decided here, in one order that each request goes through: its
//! raw head is checked ([`head`]), its target accepted ([`Target`](crate::http::Target)), its route and operation found, its
//! credentials verified ([`credentials`]), and the pinned snapshot asked. What comes out is a
//! [`Permit`](crate::policy::Permit), which only the policy engine can make, and without which there is no
//! peer to forward to. Nothing on this path waits for a database: this module does not know one.

mod admit;
mod attempt;
mod authorise;
mod client;
mod client_certificate;
mod context;
pub mod credentials;
mod direct;
mod edge;
mod fail;
mod filters;
mod forward;
pub mod head;
pub mod headers;
mod host;
mod live;
mod load;
mod memory;
mod pace;
mod peer;
mod proxy;
pub mod proxy_protocol;
mod respond;
mod service;
mod shared;
mod stream;
mod tls;
mod turned;
mod upstreams;
mod workers;

#[cfg(test)]
mod tests;

pub use head::Bounds;
pub use memory::bound as memory_bound;
pub use pace::Pace;
pub use service::{Http2Limits, Limits, Parts, Redirect, Running, Settings, StartError, start};
pub use shared::{Mount, Terms};
pub use stream::frames::Allowances;
pub use stream::{chunks, frames};
pub use tls::{ClientAuth, Tls, TlsError, TlsFiles, TlsSettings};

use proxy::Gateway;
