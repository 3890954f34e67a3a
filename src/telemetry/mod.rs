//! Metrics, the access log and the log: what the service says about itself.

pub mod access_log;
pub mod logs;
pub mod metrics;

pub use access_log::AccessLog;
pub use metrics::Metrics;
