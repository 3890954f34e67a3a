//! The metrics of one process, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::request_meters::Collected;
use super::{
    CertificateState, ConnectionState, IssuerState, OperationState, RequestMeters, TargetState, UpstreamState,
};

/// Asks some logs how many lines each has lost.
struct LostLines(Box<dyn Fn() -> Vec<(&'static str, usize)> + Send + Sync>);

impl std::fmt::Debug for LostLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LostLines")
    }
}

const MICROSECONDS: &[f64] = &[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2];
const MILLISECONDS: &[f64] =
    &[5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Every metric the service has; names and labels are an interface.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: RequestMeters,
    decisions: IntCounterVec,
    decision_seconds: Histogram,
    upstream_errors: IntCounterVec,
    snapshot_revision: IntGauge,
    snapshot_age: Gauge,
    snapshot_rebuild: Histogram,
    snapshot_failures: IntCounter,
    policy_errors: IntCounterVec,
    policy_files: IntGauge,
    logins: IntCounterVec,
    mails: IntCounterVec,
    mails_waiting: IntGauge,
    lost_lines: IntCounterVec,
    logs: Mutex<Vec<LostLines>>,
    upstreams: UpstreamState,
    targets: TargetState,
    issuers: IssuerState,
    certificates: CertificateState,
    connections: ConnectionState,
    operation: OperationState,
    activated: Mutex<Option<Instant>>,
}

impl Metrics {
    /// Makes the metrics of this process, with a registry of their own.
    ///
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            requests: RequestMeters::default(),
            decisions: IntCounterVec::new(
                Opts::new("cedargate_decisions_total", "Decisions by outcome and reason."),
                &["decision", "reason"],
            )?,
            decision_seconds: Histogram::with_opts(histogram(
                "cedargate_decision_seconds",
                "From the request's head to its decision.",
                MICROSECONDS,
            ))?,
            upstream_errors: IntCounterVec::new(
                Opts::new("cedargate_upstream_errors_total", "Failed exchanges with upstreams."),
                &["upstream", "kind"],
            )?,
            snapshot_revision: IntGauge::new("cedargate_snapshot_revision", "Revision of the active snapshot.")?,
            snapshot_age: Gauge::new(
                "cedargate_snapshot_age_seconds",
                "Time since the active snapshot was activated.",
            )?,
            snapshot_rebuild: Histogram::with_opts(histogram(
                "cedargate_snapshot_rebuild_seconds",
                "Time to compile a snapshot.",
                MILLISECONDS,
            ))?,
            snapshot_failures: IntCounter::new(
                "cedargate_snapshot_failures_total",
                "Snapshots that could not be compiled; the last good one stayed active.",
            )?,
            policy_errors: IntCounterVec::new(
                Opts::new("cedargate_policy_errors_total", "Policies that could not be evaluated, by policy id."),
                &["policy"],
            )?,
            policy_files: IntGauge::new(
                "cedargate_policy_files_in_force",
                "1 if the policy files are in force as they are, 0 if older ones are, since they have a fault.",
            )?,
            logins: IntCounterVec::new(
                Opts::new("cedargate_logins_total", "Attempts to sign in, by result."),
                &["result"],
            )?,
            mails: IntCounterVec::new(
                Opts::new("cedargate_mails_total", "Mails by kind and by what became of them."),
                &["kind", "result"],
            )?,
            mails_waiting: IntGauge::new("cedargate_mails_waiting", "Mails that wait to be sent.")?,
            lost_lines: IntCounterVec::new(
                Opts::new("cedargate_log_lines_lost_total", "Log lines that were not written, by log."),
                &["log"],
            )?,
            logs: Mutex::default(),
            upstreams: UpstreamState::default(),
            targets: TargetState::new(&registry)?,
            issuers: IssuerState::new(&registry)?,
            certificates: CertificateState::new(&registry)?,
            connections: ConnectionState::new(&registry)?,
            operation: OperationState::new(&registry)?,
            activated: Mutex::new(None),
            registry,
        };
        metrics.register(version)?;
        Ok(metrics)
    }

    fn register(&self, version: &str) -> Result<(), prometheus::Error> {
        let build =
            IntGaugeVec::new(Opts::new("cedargate_build_info", "Always 1; the version is a label."), &["version"])?;
        build.with_label_values(&[version]).set(1);
        let registry = &self.registry;
        registry.register(Box::new(build))?;
        registry.register(Box::new(Collected::of(&self.requests)?))?;
        registry.register(Box::new(self.decisions.clone()))?;
        registry.register(Box::new(self.decision_seconds.clone()))?;
        registry.register(Box::new(self.upstream_errors.clone()))?;
        registry.register(Box::new(self.snapshot_revision.clone()))?;
        registry.register(Box::new(self.snapshot_age.clone()))?;
        registry.register(Box::new(self.snapshot_rebuild.clone()))?;
        registry.register(Box::new(self.snapshot_failures.clone()))?;
        registry.register(Box::new(self.policy_errors.clone()))?;
        registry.register(Box::new(self.policy_files.clone()))?;
        self.policy_files(true);
        registry.register(Box::new(self.logins.clone()))?;
        registry.register(Box::new(self.mails.clone()))?;
        registry.register(Box::new(self.mails_waiting.clone()))?;
        registry.register(Box::new(self.lost_lines.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// What counts answered requests.
    pub fn requests(&self) -> &RequestMeters {
        &self.requests
    }

    /// The counter of one kind of decision, to be kept by who decides.
    pub fn decisions(&self, decision: &str, reason: &str) -> IntCounter {
        self.decisions.with_label_values(&[decision, reason])
    }

    /// Records how long a decision took.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// Counts a failed exchange with an upstream; `kind` is one of a fixed set.
    pub fn upstream_error(&self, upstream: &str, kind: &'static str) {
        self.upstreams.failed(upstream, kind);
        self.upstream_errors.with_label_values(&[upstream, kind]).inc();
    }

    /// How the latest exchanges with each upstream went.
    pub fn upstreams(&self) -> &UpstreamState {
        &self.upstreams
    }

    /// How each target of each upstream is.
    pub fn targets(&self) -> &TargetState {
        &self.targets
    }

    /// How it stands with the keys of other issuers.
    pub fn issuers(&self) -> &IssuerState {
        &self.issuers
    }

    /// Certificates that are served to clients.
    pub fn certificates(&self) -> &CertificateState {
        &self.certificates
    }

    /// Reloads and upgrades.
    pub fn operation(&self) -> &OperationState {
        &self.operation
    }

    /// Connections of clients.
    pub fn connections(&self) -> &ConnectionState {
        &self.connections
    }

    /// Records that a snapshot became active.
    pub fn snapshot_activated(&self, revision: i64, rebuild: Duration) {
        self.snapshot_revision.set(revision);
        self.snapshot_rebuild.observe(rebuild.as_secs_f64());
        *self.activated.lock() = Some(Instant::now());
    }

    /// Counts a snapshot that could not be made.
    pub fn snapshot_failed(&self) {
        self.snapshot_failures.inc();
    }

    /// Counts a policy that could not be evaluated.
    pub fn policy_error(&self, policy: &str) {
        self.policy_errors.with_label_values(&[policy]).inc();
    }

    /// Records whether the operator's policy files are in force as they are.
    pub fn policy_files(&self, in_force: bool) {
        self.policy_files.set(in_force.into());
    }

    /// Counts an attempt to sign in; `result` is one of a fixed set.
    pub fn login(&self, result: &str) {
        self.logins.with_label_values(&[result]).inc();
    }

    /// Counts what became of a mail; both labels are of fixed sets.
    pub fn mail(&self, kind: &str, result: &str) {
        self.mails.with_label_values(&[kind, result]).inc();
    }

    /// Records how many mails wait.
    pub fn mails_waiting(&self, waiting: i64) {
        self.mails_waiting.set(waiting);
    }

    /// Counts the lines that logs lose; `lost` says how many each has lost so far.
    pub fn watch(&self, lost: impl Fn() -> Vec<(&'static str, usize)> + Send + Sync + 'static) {
        self.logs.lock().push(LostLines(Box::new(lost)));
    }

    fn count_lost_lines(&self) {
        let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
        for (log, lines) in self.logs.lock().iter().flat_map(|lines| lines.0()) {
            *lost.entry(log).or_default() += lines as u64;
        }
        for (log, lines) in lost {
            let counter = self.lost_lines.with_label_values(&[log]);
            counter.inc_by(lines.saturating_sub(counter.get()));
        }
    }

    /// All metrics as text.
    pub fn render(&self) -> String {
        self.count_lost_lines();
        self.issuers.measure();
        if let Some(activated) = *self.activated.lock() {
            self.snapshot_age.set(activated.elapsed().as_secs_f64());
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(buckets.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RouteLabel;

    #[test]
    fn every_promised_metric_is_there() {
        let metrics = Metrics::new("1.2.3").unwrap();
        metrics.requests().count(RouteLabel::Route(17), "GET", 200, Duration::from_millis(3));
        metrics.decisions("deny", "no_grant").inc();
        metrics.decided(Duration::from_micros(7));
        metrics.upstream_error("articles", "connect_refused");
        metrics.snapshot_activated(42, Duration::from_millis(5));
        metrics.snapshot_failed();
        metrics.policy_error("policy:guard");
        metrics.policy_files(false);
        metrics.login("ok");
        metrics.mail("reset", "sent");
        metrics.mails_waiting(3);
        metrics.issuers().fetched("corp", "ok");
        metrics.issuers().note("corp", 2, Some(Instant::now()), None);
        metrics.issuers().note("gone", 0, None, None);
        metrics.issuers().forget("gone");
        let text = metrics.render();
        for line in [
            "cedargate_requests_total{method=\"GET\",route=\"17\",status=\"200\"} 1",
            "cedargate_request_seconds_count{route=\"17\"} 1",
            "cedargate_decisions_total{decision=\"deny\",reason=\"no_grant\"} 1",
            "cedargate_decision_seconds_count 1",
            "cedargate_upstream_errors_total{kind=\"connect_refused\",upstream=\"articles\"} 1",
            "cedargate_snapshot_revision 42",
            "cedargate_snapshot_age_seconds ",
            "cedargate_snapshot_rebuild_seconds_count 1",
            "cedargate_snapshot_failures_total 1",
            "cedargate_policy_errors_total{policy=\"policy:guard\"} 1",
            "cedargate_policy_files_in_force 0",
            "cedargate_logins_total{result=\"ok\"} 1",
            "cedargate_mails_total{kind=\"reset\",result=\"sent\"} 1",
            "cedargate_mails_waiting 3",
            "cedargate_build_info{version=\"1.2.3\"} 1",
            "cedargate_issuer_fetches_total{issuer=\"corp\",outcome=\"ok\"} 1",
            "cedargate_issuer_keys{issuer=\"corp\"} 2",
            "cedargate_issuer_keys_age_seconds{issuer=\"corp\"} ",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("issuer=\"gone\""));
    }
}
