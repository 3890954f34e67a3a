use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{UpstreamId, UpstreamName};

/// How the gateway speaks to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
}

/// How targets share the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `address:port`, or `name:port`, which is resolved again every few seconds.
    pub address: String,
    /// Share of the load, 1 to 100.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// Verified TLS towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The name to ask for and to verify; never empty, since an empty one silently skips verification.
    pub server_name: String,
}

/// Time limits towards an upstream, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To open a connection.
    pub connect_ms: u64,
    /// For each read of the answer.
    pub read_ms: u64,
    /// For each write of the request.
    pub write_ms: u64,
    /// From the decision to the last byte of the answer's head.
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 1_000, read_ms: 30_000, write_ms: 30_000, total_ms: 60_000 }
    }
}

/// A back end: row and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::FromRow)]
pub struct Upstream {
    /// Identity.
    pub id: UpstreamId,
    /// Unique among undeleted upstreams.
    pub name: UpstreamName,
    /// Routes to an inactive upstream are answered with 502.
    pub is_active: bool,
    /// How to speak to it.
    #[sqlx(json)]
    pub protocol: Protocol,
    /// Where it is.
    #[sqlx(json)]
    pub targets: Vec<Target>,
    /// How targets share the load.
    #[sqlx(json)]
    pub balance: Balance,
    /// Verified TLS, if any.
    #[sqlx(json)]
    pub tls: Option<Tls>,
    /// Sent as `Host` instead of the client's.
    pub host_header: Option<String>,
    /// Time limits.
    #[sqlx(json)]
    pub timeouts: Timeouts,
    /// How often a failed connection is tried again.
    pub retries: i64,
    /// Active health check; none yet.
    #[sqlx(json)]
    pub health_check: Option<serde_json::Value>,
    /// Largest request body, in bytes; the gateway's own bound when absent.
    pub max_body_bytes: Option<i64>,
}

/// An upstream to be stored.
#[derive(Clone, Debug)]
pub struct NewUpstream {
    /// Unique among undeleted upstreams.
    pub name: UpstreamName,
    /// Whether requests are forwarded to it.
    pub is_active: bool,
    /// How to speak to it.
    pub protocol: Protocol,
    /// Where it is; at least one.
    pub targets: Vec<Target>,
    /// How targets share the load.
    pub balance: Balance,
    /// Verified TLS, if any.
    pub tls: Option<Tls>,
    /// Sent as `Host` instead of the client's.
    pub host_header: Option<String>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// How often a failed connection is tried again.
    pub retries: i64,
    /// Largest request body, in bytes.
    pub max_body_bytes: Option<i64>,
}

/// Changes to an upstream; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamPatch {
    /// New name.
    pub name: Option<UpstreamName>,
    /// Whether requests are forwarded to it.
    pub is_active: Option<bool>,
    /// New targets.
    pub targets: Option<Vec<Target>>,
    /// New TLS settings.
    pub tls: Option<Option<Tls>>,
    /// New `Host`.
    pub host_header: Option<Option<String>>,
    /// New time limits.
    pub timeouts: Option<Timeouts>,
    /// New number of retries.
    pub retries: Option<i64>,
    /// New bound on request bodies.
    pub max_body_bytes: Option<Option<i64>>,
}
