//! Metrics, the access log and the log: what the service says about itself.

pub mod access_log;
mod batch;
mod certificate_state;
mod connection_state;
mod issuer_state;
pub mod logs;
pub mod metrics;
mod operation_state;
mod recent;
mod request_meters;
mod security_log;
mod sink;
mod target_state;
mod upstream_state;

pub use access_log::AccessLog;
pub use batch::Flush;
pub use certificate_state::{CertificateState, ServedCertificate};
pub use connection_state::{ConnectionState, Ended, Turned};
pub use issuer_state::{IssuerKeys, IssuerState};
pub use logs::Logs;
pub use metrics::Metrics;
pub use operation_state::OperationState;
pub use recent::Recent;
pub use request_meters::{RequestMeters, RouteLabel};
pub use security_log::Rotation;
pub use target_state::{FleetMeter, TargetFault, TargetHealth, TargetOut, TargetState};
pub use upstream_state::{Failing, UpstreamState};
