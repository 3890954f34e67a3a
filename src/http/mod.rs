//! What both listeners share.

pub(crate) mod bytes;
pub mod cors;
mod forwarded;
pub mod host;
mod lifecycle;
mod limit;
mod method;
mod network;
pub mod problem;
pub mod request_id;
mod security_headers;
pub mod target;

pub use cors::Cors;
pub use forwarded::{Connection, Remote, Scheme, TrustedProxies};
pub use lifecycle::Lifecycle;
pub use limit::{
    Allowance, Attempt, Client, GatewayLimits, LIMIT, LoginFailures, Patience, RateLimits, Refusal, Standing,
    retry_after,
};
pub use method::is_method;
pub use network::{is_same_network, network};
pub use problem::Problem;
pub use request_id::RequestId;
pub use security_headers::SecurityHeaders;
pub use target::Target;
