use std::time::Duration;

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
    /// HTTP/2: agreed upon with TLS, else from the first byte on (RFC 9113 3.3). What gRPC needs.
    Http2,
}

/// How targets share the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
    /// Requests with the same key go to the same target for as long as it is there, and few move when targets change.
    ConsistentHash,
}

/// What is alike in requests that a consistent hash sends to the same target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, example = "header.x-tenant")]
#[serde(try_from = "String", into = "String")]
pub enum HashOn {
    /// `client`: the client's address.
    #[default]
    Client,
    /// `user`: who is signed in; the client's address where nobody is.
    User,
    /// `path`: the path, without its query.
    Path,
    /// `header.NAME`: a field of the request; the client's address without it.
    Header(String),
    /// `cookie.NAME`: a cookie; the client's address without it.
    Cookie(String),
}

impl TryFrom<String> for HashOn {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        const KINDS: &str = "hash_on must be client, user, path, header.NAME or cookie.NAME";
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let named = |name: &str| {
            let fits = (1..=100).contains(&name.len()) && name.bytes().all(is_token);
            fits.then(|| name.to_owned()).ok_or(KINDS)
        };
        match text.split_once('.') {
            None if text == "client" => Ok(Self::Client),
            None if text == "user" => Ok(Self::User),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) => Ok(Self::Header(named(name)?.to_ascii_lowercase())),
            Some(("cookie", name)) => Ok(Self::Cookie(named(name)?)),
            _ => Err(KINDS),
        }
    }
}

impl From<HashOn> for String {
    fn from(on: HashOn) -> Self {
        match on {
            HashOn::Client => "client".to_owned(),
            HashOn::User => "user".to_owned(),
            HashOn::Path => "path".to_owned(),
            HashOn::Header(name) => format!("header.{name}"),
            HashOn::Cookie(name) => format!("cookie.{name}"),
        }
    }
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
    /// Certificates to trust instead of the system's, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The certificate to show, by its name in the settings (`gateway.upstream_certificates`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
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
    /// For an unused connection that is kept.
    pub idle_ms: u64,
}

impl Timeouts {
    /// To open a connection.
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// For each read of the answer.
    pub fn read(&self) -> Duration {
        Duration::from_millis(self.read_ms)
    }

    /// For each write of the request.
    pub fn write(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }

    /// From the decision to the last byte of the answer's head.
    pub fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }

    /// For an unused connection that is kept.
    pub fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 1_000, read_ms: 30_000, write_ms: 30_000, total_ms: 60_000, idle_ms: 30_000 }
    }
}

/// Asks each target, again and again, whether it is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// What is asked for, with GET; where absent, an opened connection will do.
    pub path: Option<String>,
    /// From one question to the next, in milliseconds.
    pub interval_ms: u64,
    /// For the answer, in milliseconds.
    pub timeout_ms: u64,
    /// Answers in a row after which a target is well.
    pub healthy_after: u32,
    /// Failures in a row after which it is not.
    pub unhealthy_after: u32,
    /// Which status says that it is well; 200 to 299 when empty.
    pub status: Vec<u16>,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            interval_ms: 5_000,
            timeout_ms: 2_000,
            healthy_after: 1,
            unhealthy_after: 2,
            status: Vec::new(),
        }
    }
}

/// Leaves out a target that fails requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Failures in a row after which it is left out.
    pub failures: u32,
    /// For how long, in milliseconds; doubled each time it fails again, up to ten times as long.
    pub ms: u64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self { failures: 5, ms: 10_000 }
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
    /// What a consistent hash is made of.
    #[sqlx(json)]
    pub hash_on: HashOn,
    /// Verified TLS, if any.
    #[sqlx(json)]
    pub tls: Option<Tls>,
    /// Sent as `Host` instead of the client's.
    pub host_header: Option<String>,
    /// Time limits.
    #[sqlx(json)]
    pub timeouts: Timeouts,
    /// How often a request is tried again: on a failed connection, or, if it is idempotent, on a failed answer.
    pub retries: i64,
    /// Retries at most, in percent of the requests of late; a few are always allowed.
    pub retry_budget_percent: i64,
    /// Active health check, if any.
    #[sqlx(json)]
    pub health_check: Option<HealthCheck>,
    /// When targets are left out; never when absent.
    #[sqlx(json)]
    pub ejection: Option<Ejection>,
    /// Largest request body, in bytes; the gateway's own bound when absent.
    pub max_body_bytes: Option<i64>,
}

impl Upstream {
    /// Retries that are allowed where nobody says otherwise, in percent of the requests.
    pub const RETRY_BUDGET_PERCENT: i64 = 20;
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
    /// What a consistent hash is made of.
    pub hash_on: HashOn,
    /// Verified TLS, if any.
    pub tls: Option<Tls>,
    /// Sent as `Host` instead of the client's.
    pub host_header: Option<String>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// How often a request is tried again.
    pub retries: i64,
    /// Retries at most, in percent of the requests of late.
    pub retry_budget_percent: i64,
    /// Active health check, if any.
    pub health_check: Option<HealthCheck>,
    /// When targets are left out; never when absent.
    pub ejection: Option<Ejection>,
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
    /// How to speak to it.
    pub protocol: Option<Protocol>,
    /// New targets.
    pub targets: Option<Vec<Target>>,
    /// How targets share the load.
    pub balance: Option<Balance>,
    /// What a consistent hash is made of.
    pub hash_on: Option<HashOn>,
    /// New TLS settings.
    pub tls: Option<Option<Tls>>,
    /// New `Host`.
    pub host_header: Option<Option<String>>,
    /// New time limits.
    pub timeouts: Option<Timeouts>,
    /// New number of retries.
    pub retries: Option<i64>,
    /// New bound on retries.
    pub retry_budget_percent: Option<i64>,
    /// New health check.
    pub health_check: Option<Option<HealthCheck>>,
    /// New bound on failures.
    pub ejection: Option<Option<Ejection>>,
    /// New bound on request bodies.
    pub max_body_bytes: Option<Option<i64>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_hashed_is_said_as_it_is_read(text in "(client|user|path|(header|cookie)\\.[!-~]{0,20}|[a-z.]{0,8})") {
            if let Ok(on) = HashOn::try_from(text.clone()) {
                let said = String::from(on.clone());
                // Names of fields are in lower case.
                prop_assert!(said == text || (text.starts_with("header.") && said == text.to_ascii_lowercase()));
                prop_assert_eq!(HashOn::try_from(said), Ok(on));
            }
        }
    }

    #[test]
    fn what_is_hashed_has_a_name_that_fields_have() {
        for (text, on) in [
            ("client", HashOn::Client),
            ("user", HashOn::User),
            ("path", HashOn::Path),
            ("header.X-Tenant", HashOn::Header("x-tenant".to_owned())),
            ("cookie.a.B", HashOn::Cookie("a.B".to_owned())),
        ] {
            assert_eq!(HashOn::try_from(text.to_owned()), Ok(on));
        }
        for text in ["", "header", "header.", "cookie.a b", "header.a:", "query.a", "Client"] {
            assert!(HashOn::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(HashOn::try_from(format!("cookie.{}", "a".repeat(101))).is_err());
    }
}
