//! What both listeners share.

pub mod cors;
mod failures;
mod lifecycle;
mod limiter;
mod network;
pub mod problem;
pub mod request_id;
mod security_headers;

pub use cors::Cors;
pub use failures::LoginFailures;
pub use lifecycle::Lifecycle;
pub use limiter::{Allowance, RateLimits, Refusal, Standing};
pub use problem::Problem;
pub use request_id::RequestId;
pub use security_headers::SecurityHeaders;
