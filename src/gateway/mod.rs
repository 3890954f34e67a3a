//! The data plane.

pub mod credentials;
pub mod head;
pub mod headers;
pub mod host;
pub mod target;
