//! What both listeners share.

pub mod cors;
mod failures;
pub mod problem;
pub mod request_id;

pub use cors::Cors;
pub use failures::{LoginFailures, Refusal};
pub use problem::Problem;
pub use request_id::RequestId;
