//! What both listeners share.

pub(crate) mod bytes;
pub mod cors;
mod failures;
pub mod host;
mod lifecycle;
mod limiter;
mod method;
mod network;
pub mod problem;
pub mod request_id;
mod security_headers;
pub mod target;

pub use cors::Cors;
pub use failures::{Attempt, LoginFailures, Patience};
pub use lifecycle::Lifecycle;
pub use limiter::{Allowance, RateLimits, Refusal, Standing};
pub use method::is_method;
pub use network::is_same_network;
pub use problem::Problem;
pub use request_id::RequestId;
pub use security_headers::SecurityHeaders;
pub use target::Target;
