//! What both listeners share.

pub mod cors;
mod failures;
mod lifecycle;
pub mod problem;
pub mod request_id;

pub use cors::Cors;
pub use failures::{LoginFailures, Refusal};
pub use lifecycle::Lifecycle;
pub use problem::Problem;
pub use request_id::RequestId;
