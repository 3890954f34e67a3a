//! What is known of one request, from its head to its log line.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::http::{Connection, Remote, RequestId, Scheme, Standing, Target};
use crate::model::{Claims, ClientCertificate, Reason, Timestamp, Upstream};
use crate::policy::{Caller, CompiledOperation, Decided, Determining, GatewayRoute, Permit, Snapshot};
use crate::telemetry::access_log::Record;
use crate::telemetry::logs::SECURITY;
use crate::telemetry::{Ended, RouteLabel};

use super::attempt::Attempts;
use super::live::Listed;
use super::load::InFlight;
use super::peer::{BodyClock, Peer};
use super::shared::Shared;

/// How an answer fails whose head takes too long.
pub(super) const OVERDUE: &str = "read_timeout";
/// As much of a path as is remembered, in bytes.
const MAX_PATH: usize = 2 * 1024;

/// One request.
///
/// Dropping it writes the log line and the metrics: Pingora runs no hook for a request that is cut off.
#[derive(Debug)]
pub(super) struct Context {
    shared: Arc<Shared>,
    _in_flight: InFlight,
    started: Instant,
    pub(super) request_id: RequestId,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) client: Option<IpAddr>,
    /// The version of TLS, if any.
    pub(super) tls: Option<&'static str>,
    /// Where nothing else times the request's body.
    pub(super) body_clock: Option<Arc<BodyClock>>,
    /// How the client speaks to whom it sees, be that us or a trusted proxy.
    pub(super) scheme: Scheme,
    /// The host it asked for, where a trusted proxy says so.
    pub(super) forwarded_host: Option<HeaderValue>,
    /// What the client's certificate says, if it presented one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    pub(super) method: Option<Method>,
    pub(super) target: Option<Target>,
    /// What can be told of a target that was refused.
    pub(super) refused_path: Option<String>,
    pub(super) host: Option<String>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) route: RouteLabel,
    pub(super) matched: Option<Arc<GatewayRoute>>,
    pub(super) operation: Option<Arc<CompiledOperation>>,
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) caller: Option<Caller>,
    pub(super) owner: Option<String>,
    /// How the client stands, where it is limited.
    pub(super) standing: Option<Standing>,
    /// When it may try again, if it was one too many.
    pub(super) retry_after: Option<Duration>,
    pub(super) permit: Option<Permit>,
    /// Where the answer is listed, if it may go on for long.
    pub(super) listed: Option<Listed>,
    decision: Option<bool>,
    reason: Option<Reason>,
    pub(super) policies: Option<Determining>,
    /// Policies that could not be evaluated.
    pub(super) errors: Vec<(String, String)>,
    decided_at: Option<Instant>,
    pub(super) upstream: Option<Arc<Upstream>>,
    upstream_took: Option<Duration>,
    pub(super) attempts: Attempts,
    /// Informational answers so far.
    pub(super) hints: u32,
    pub(super) status: Option<u16>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Context {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            _in_flight: shared.load.request(),
            shared,
            started: Instant::now(),
            request_id: RequestId::fresh(),
            snapshot: None,
            client: None,
            scheme: Scheme::default(),
            forwarded_host: None,
            tls: None,
            body_clock: None,
            certificate: None,
            method: None,
            target: None,
            refused_path: None,
            host: None,
            user_agent: None,
            route: RouteLabel::None,
            matched: None,
            operation: None,
            claims: None,
            caller: None,
            owner: None,
            standing: None,
            retry_after: None,
            permit: None,
            listed: None,
            decision: None,
            reason: None,
            policies: None,
            errors: Vec::new(),
            decided_at: None,
            upstream: None,
            upstream_took: None,
            attempts: Attempts::default(),
            hints: 0,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What was in force when the request came.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Records a request that is refused before anything of it is looked at.
    pub(super) fn overloaded(&mut self, snapshot: Arc<Snapshot>, method: &Method) {
        self.snapshot = Some(snapshot);
        self.method = Some(method.clone());
        self.retry_after = Some(Duration::from_secs(1));
    }

    /// Records who makes the request, by its connection and what a trusted proxy says in `headers`.
    pub(super) fn arrived(&mut self, peer: &Peer, headers: &HeaderMap) {
        self.tls = peer.tls;
        self.certificate.clone_from(&peer.certificate);
        let connection = Connection { peer: Some(peer.address), tls: peer.tls.is_some() };
        let nothing = HeaderMap::new();
        let headers = if peer.is_relay { &nothing } else { headers };
        let Remote { address, scheme, host, request_id } = self.shared.proxies.remote(connection, headers);
        self.client = address;
        self.scheme = scheme;
        self.forwarded_host = host;
        self.request_id = request_id.unwrap_or(self.request_id);
    }

    /// Records that the request may pass.
    pub(super) fn permitted(&mut self, permit: Permit) {
        self.permit = Some(permit);
        self.decided(true, Reason::Allowed);
    }

    /// Records why the request is refused; after a decision, what kept it from being fulfilled.
    pub(super) fn refused(&mut self, reason: Reason) {
        if self.decision.is_some() {
            // Once, whatever else goes wrong with the request afterwards.
            if self.reason == Some(Reason::Allowed) {
                self.shared.count(reason);
            }
            self.reason = Some(reason);
        } else {
            self.decided(false, reason);
        }
    }

    fn decided(&mut self, allow: bool, reason: Reason) {
        let now = Instant::now();
        self.decision = Some(allow);
        self.reason = Some(reason);
        self.decided_at = Some(now);
        self.shared.metrics.decided(now - self.started);
        self.shared.count(reason);
        if matches!(reason.status(), 401 | 403) {
            tracing::info!(
                target: SECURITY,
                reason = reason.code(),
                request.id = %self.request_id,
                client = self.client.map(tracing::field::display),
                user.id = self.caller.as_ref().map(|caller| tracing::field::display(caller.id())),
                path = self.target.as_ref().map(Target::raw_path),
                "request refused"
            );
        }
    }

    /// Records the head of the upstream's answer.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        self.attempts.answered();
        if let Some(upstream) = &self.upstream {
            self.shared.metrics.upstreams().answered(upstream.name.as_str());
        }
        if self.shared.access_log.is_on() {
            self.upstream_took = self.decided_at.map(|at| at.elapsed());
        }
    }

    /// The rules the request was decided by.
    pub(super) fn policy_revision(&self) -> Option<i64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.policy_revision())
    }

    /// What the gateway's own answer to this client tells browsers.
    pub(super) fn security_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.shared.security_headers.iter().flat_map(|headers| headers.of(self.scheme == Scheme::Https))
    }

    /// Whether the exchange has gone over to another protocol.
    pub(super) fn is_upgraded(&self) -> bool {
        self.status == Some(StatusCode::SWITCHING_PROTOCOLS.as_u16())
    }

    /// Time since the request's head.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// When `total` is over, since the decision.
    pub(super) fn due(&self, total: Duration) -> Option<Instant> {
        self.decided_at.map(|at| at + total)
    }

    /// What is left of `total` since the decision.
    pub(super) fn remaining(&self, total: Duration) -> Duration {
        total.saturating_sub(self.decided_at.map_or(Duration::ZERO, |at| at.elapsed()))
    }

    /// Whether its upstream was asked, and has taken too long for an answer.
    fn is_overdue(&self) -> bool {
        let upstream = self.upstream.as_ref().filter(|_| self.attempts.have_begun());
        upstream.is_some_and(|upstream| self.remaining(upstream.timeouts.total()).is_zero())
    }

    /// The second of the decision, for counting.
    pub(super) fn second(&self) -> u64 {
        self.decided_at.map_or(0, second)
    }

    /// Whether another target, or the same once more, may be asked; counts it if so.
    pub(super) fn may_try_again(&mut self) -> bool {
        let Some(upstream) = &self.upstream else { return false };
        !self.remaining(upstream.timeouts.total()).is_zero() && self.attempts.again(second(Instant::now()))
    }

    fn write(&self) {
        let took = self.started.elapsed();
        let method = self.method.as_ref().map(Method::as_str);
        if let Some(status) = self.status {
            self.shared.metrics.requests().count(self.route, method.unwrap_or_default(), status, took);
        }
        if self.shared.access_log.is_on() {
            self.log(took, method);
        }
    }

    /// Moves what is known of the request to where it can be explained; the admin service does so for what it refuses.
    fn remember(&mut self) {
        let (Some(allowed), Some(reason), Some(snapshot)) = (self.decision, self.reason, &self.snapshot) else {
            return;
        };
        if self.route == RouteLabel::Admin || !self.shared.recent.is_on() {
            return;
        }
        let path = self.target.take().map(Target::into_raw_path).or(self.refused_path.take());
        let decided = Decided {
            at: Timestamp::now(),
            policy_revision: snapshot.policy_revision(),
            method: self.method.take(),
            host: self.host.take(),
            path: kept(path.unwrap_or_default()),
            client: self.client,
            client_certificate: self.certificate.take(),
            claims: self.claims.take(),
            caller: self.caller.take(),
            route: self.matched.take(),
            operation: self.operation.take(),
            owner: self.owner.take(),
            allowed,
            reason,
            policies: self.policies.take().unwrap_or_default(),
            errors: std::mem::take(&mut self.errors),
            status: self.status,
        };
        self.shared.recent.put(self.request_id, decided);
    }

    fn log(&self, took: Duration, method: Option<&str>) {
        let path = self.target.as_ref().map(Target::raw_path).or(self.refused_path.as_deref());
        self.shared.access_log.write(Record {
            time: SystemTime::now(),
            request_id: self.request_id.as_str(),
            client: self.client,
            method,
            host: self.host.as_deref(),
            path,
            status: self.status,
            decision: self.decision.map(|allow| if allow { "allow" } else { "deny" }),
            reason: self.reason.map(Reason::code),
            user_id: self.caller.as_ref().and_then(Caller::user_id).map(|id| id.0),
            username: self.caller.as_ref().map(Caller::username),
            route_id: if let RouteLabel::Route(route) = self.route { Some(route) } else { None },
            operation: self.operation.as_ref().map(|operation| operation.label.as_str()),
            policies: self.policies.as_ref(),
            revision: self.snapshot.as_ref().map(|snapshot| snapshot.revision()),
            upstream: self.upstream.as_ref().map(|upstream| upstream.name.as_str()),
            upstream_ms: self.upstream_took.map(millis),
            total_ms: millis(took),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            user_agent: self.user_agent.as_ref().and_then(|value| value.to_str().ok()),
            tls: self.tls,
            client_certificate: self.certificate.as_ref().map(|certificate| certificate.fingerprint.as_str()),
        });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.status.is_none() && self.body_clock.as_ref().is_some_and(|clock| clock.is_over()) {
            // Its stream was reset, which has no status.
            self.refused(Reason::RequestTimeout);
        } else if self.status.is_none() && self.is_overdue() {
            // The same, since nothing came for it.
            self.attempts.silent(OVERDUE);
            self.refused(Reason::UpstreamTimeout);
        }
        let ended = self.listed.as_ref().and_then(|listed| listed.open.ended());
        if ended.is_some_and(|(cause, _)| cause != Ended::Stopping) {
            self.refused(Reason::StreamEnded);
        }
        self.write();
        self.remember();
    }
}

/// The path that is remembered. One that is too long to be kept ends in a sign that no path has.
fn kept(mut path: String) -> String {
    if path.len() > MAX_PATH {
        path.truncate(path.floor_char_boundary(MAX_PATH));
        path.push('…');
    }
    if path.capacity() > 2 * MAX_PATH {
        // A long query was given up, which should not be carried along.
        path.shrink_to_fit();
    }
    path
}

fn second(at: Instant) -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    at.saturating_duration_since(*FIRST).as_secs()
}

/// Whole microseconds, so that the log shows no noise beyond them.
fn millis(took: Duration) -> f64 {
    f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_cut_so_that_nobody_takes_them_for_whole() {
        assert_eq!(kept("/a".to_owned()), "/a");
        let whole = format!("/{}", "a".repeat(MAX_PATH - 1));
        assert_eq!(kept(whole.clone()), whole);
        let cut = kept(format!("{whole}b"));
        assert_eq!(cut, format!("{whole}…"));
        assert!(Target::parse(cut.as_bytes()).is_err());

        let query = format!("/a?{}", "q".repeat(3 * MAX_PATH));
        let path = kept(Target::parse(query.as_bytes()).unwrap().into_raw_path());
        assert!(path == "/a" && path.capacity() < MAX_PATH, "{}", path.capacity());
    }
}
