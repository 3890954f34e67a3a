use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use prometheus::IntCounter;

use crate::http::{Cors, GatewayLimits, RequestId, SecurityHeaders, TrustedProxies};
use crate::jwt::{Errands, Verifier};
use crate::model::{Reason, Secret};
use crate::policy::{Decided, SnapshotHandle};
use crate::telemetry::{AccessLog, Metrics, Recent};

use super::live::Streams;
use super::load::Load;
use super::service::Limits;
use super::turned::TurnedLog;
use super::upstreams::Upstreams;

/// The admin service, as mounted.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it listens.
    pub address: SocketAddr,
    /// Sent along as [`MOUNT`](super::headers::MOUNT), so that it can tell the gateway from other clients.
    pub secret: Secret<String>,
}

/// What may change while requests are served: each is served on the terms that were in force when it came.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Bounds.
    pub limits: Limits,
    /// How preflights are answered.
    pub cors: Cors,
    /// Sent with the gateway's own answers, unless they are turned off; what upstreams answer is theirs.
    pub security_headers: Option<SecurityHeaders>,
    /// How much one client may ask for; none where that is not limited.
    pub rates: Option<Arc<GatewayLimits>>,
    /// Whose word about clients is believed.
    pub proxies: TrustedProxies,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Where what is in force is found.
pub(super) type Current = ArcSwap<Shared>;
/// The same for one connection, which looks whether it has changed without writing to what all threads share.
pub(super) type Followed<'a> = Cache<&'a Current, Arc<Shared>>;

/// What all requests of one gateway have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) snapshots: SnapshotHandle,
    pub(super) verifier: Verifier,
    pub(super) errands: Errands,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access_log: AccessLog,
    pub(super) recent: Recent<RequestId, Decided>,
    pub(super) cors: Cors,
    pub(super) security_headers: Option<SecurityHeaders>,
    pub(super) proxies: TrustedProxies,
    /// Whether connections of those begin with a header of the PROXY protocol.
    pub(super) proxy_protocol: bool,
    pub(super) rates: Option<Arc<GatewayLimits>>,
    pub(super) limits: Limits,
    pub(super) mount: Option<Mount>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) load: Arc<Load>,
    pub(super) streams: Arc<Streams>,
    pub(super) turned: Arc<TurnedLog>,
    /// Looked up once: a counter for each reason, in the order of `Reason::ALL`.
    pub(super) decisions: Arc<[IntCounter]>,
}

impl Shared {
    /// The same on other terms; what was counted goes on being counted.
    pub(super) fn on(&self, terms: Terms) -> Self {
        let Terms { limits, cors, security_headers, rates, proxies, proxy_protocol } = terms;
        Self { cors, security_headers, proxies, proxy_protocol, rates, limits, ..self.clone() }
    }

    /// The decision counters of `metrics`, for [`Shared::decisions`].
    pub(super) fn counters(metrics: &Metrics) -> Arc<[IntCounter]> {
        let counter = |reason: &Reason| {
            let decision = if reason.is_of_allowed() { "allow" } else { "deny" };
            metrics.decisions(decision, reason.code())
        };
        Reason::ALL.iter().map(counter).collect()
    }

    /// Counts one decision, or what kept a permitted request from being fulfilled.
    pub(super) fn count(&self, reason: Reason) {
        if let Some(counter) = self.decisions.get(reason as usize) {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_their_own_order() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
