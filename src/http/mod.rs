//! What both listeners share.

pub mod cors;
pub mod problem;
pub mod request_id;

pub use cors::Cors;
pub use problem::Problem;
pub use request_id::RequestId;
