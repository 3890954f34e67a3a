//! Questions about requests, asked in words: a user, a method, an address, and what the token and the moment would be.
//!
//! ## Why
//! The admin API, the command line and policy tests ask the same thing, and must hear what the gateway would answer. So
//! addresses are read by the gateway's own parsers, the context is turned into a token's claims rather than into facts for
//! Cedar, and the engine does the rest.

mod context;
mod question;
mod recall;
mod url;

pub use context::{Context, KEYS};
pub use question::{Fault, Part, Question};
pub use recall::recall;
pub use url::Url;
