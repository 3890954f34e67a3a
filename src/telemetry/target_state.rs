//! Each upstream's targets: which are well, which are left out and why.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// So many targets are series of their own; health tells of all.
const MAX_SERIES: usize = 4_096;

/// One address of an upstream, as the gateway sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// As it is configured: an address, or a name.
    pub target: String,
    /// Where that is; none while a name has no address.
    pub address: Option<SocketAddr>,
    /// Why it gets no requests, if so.
    pub out: Option<TargetOut>,
}

/// Why a target gets no requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetOut {
    /// What has found that it is not well.
    pub by: TargetFault,
    /// The kind of failure.
    pub kind: &'static str,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When one request may try it; none where only a check can bring it back.
    pub next_trial: Option<DateTime<Utc>>,
}

/// What finds that a target is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFault {
    /// Requests that failed.
    Requests,
    /// The health check.
    Check,
    /// Its name has no address.
    Name,
}

impl TargetFault {
    /// For answers and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Check => "check",
            Self::Name => "name",
        }
    }
}

/// Counters of one upstream, to be kept by who forwards to it.
#[derive(Clone, Debug)]
pub struct FleetMeter {
    /// Targets that were left out because requests to them failed.
    pub ejections: IntCounter,
    /// Requests that were tried once more.
    pub retried: IntCounter,
    /// Requests that would have been, were there not too many already.
    pub over_budget: IntCounter,
    /// Checks that found a target well.
    pub checks_passed: IntCounter,
    /// Checks that did not.
    pub checks_failed: IntCounter,
    /// Requests that went to a target that was left out, since all were.
    pub all_out: IntCounter,
}

/// The state of all targets.
#[derive(Debug)]
pub struct TargetState {
    up: IntGaugeVec,
    ejections: IntCounterVec,
    retries: IntCounterVec,
    checks: IntCounterVec,
    all_out: IntCounterVec,
    fleets: RwLock<BTreeMap<i64, Fleet>>,
}

#[derive(Debug)]
struct Fleet {
    name: String,
    targets: Vec<TargetHealth>,
}

impl TargetState {
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let state = Self {
            up: IntGaugeVec::new(
                Opts::new("cedargate_upstream_target_up", "1 if the target gets requests, 0 if it is left out."),
                &["upstream", "target"],
            )?,
            ejections: counters(
                "cedargate_upstream_ejections_total",
                "Targets left out because requests to them failed.",
                &["upstream"],
            )?,
            retries: counters(
                "cedargate_upstream_retries_total",
                "Requests tried once more, or not since too many were.",
                &["upstream", "outcome"],
            )?,
            checks: counters(
                "cedargate_upstream_health_checks_total",
                "Health checks of targets, by outcome.",
                &["upstream", "outcome"],
            )?,
            all_out: counters(
                "cedargate_upstream_all_out_total",
                "Requests sent to a target that was left out, since all were.",
                &["upstream"],
            )?,
            fleets: RwLock::default(),
        };
        registry.register(Box::new(state.up.clone()))?;
        registry.register(Box::new(state.ejections.clone()))?;
        registry.register(Box::new(state.retries.clone()))?;
        registry.register(Box::new(state.checks.clone()))?;
        registry.register(Box::new(state.all_out.clone()))?;
        Ok(state)
    }

    /// The counters of the upstream of this name.
    pub fn meter(&self, upstream: &str) -> FleetMeter {
        FleetMeter {
            ejections: self.ejections.with_label_values(&[upstream]),
            retried: self.retries.with_label_values(&[upstream, "retried"]),
            over_budget: self.retries.with_label_values(&[upstream, "over_budget"]),
            checks_passed: self.checks.with_label_values(&[upstream, "passed"]),
            checks_failed: self.checks.with_label_values(&[upstream, "failed"]),
            all_out: self.all_out.with_label_values(&[upstream]),
        }
    }

    /// Replaces what is known of an upstream's targets.
    pub fn note(&self, id: i64, name: &str, targets: Vec<TargetHealth>) {
        let mut fleets = self.fleets.write();
        let before = fleets.remove(&id);
        if let Some(before) = before {
            self.forget_up(&before);
            if before.name != name {
                self.forget_counts(&before.name);
            }
        }
        fleets.insert(id, Fleet { name: name.to_owned(), targets });
        let series: usize = fleets.values().map(|fleet| fleet.targets.len()).sum();
        if let (true, Some(fleet)) = (series <= MAX_SERIES, fleets.get(&id)) {
            fleet.targets.iter().for_each(|target| self.show(name, target));
        }
    }

    /// Notes that a target went out, or came back.
    pub fn changed(&self, id: i64, address: SocketAddr, out: Option<TargetOut>) {
        let mut fleets = self.fleets.write();
        let series: usize = fleets.values().map(|fleet| fleet.targets.len()).sum();
        let Some(fleet) = fleets.get_mut(&id) else { return };
        // It may be gone by now.
        let Some(target) = fleet.targets.iter_mut().find(|target| target.address == Some(address)) else { return };
        target.out = out;
        if series <= MAX_SERIES {
            self.show(&fleet.name, target);
        }
    }

    fn show(&self, upstream: &str, target: &TargetHealth) {
        if let Some(address) = target.address {
            self.up.with_label_values(&[upstream, &*address.to_string()]).set(target.out.is_none().into());
        }
    }

    fn forget_up(&self, fleet: &Fleet) {
        for address in fleet.targets.iter().filter_map(|target| target.address) {
            // It may have had no series.
            let _ = self.up.remove_label_values(&[&*fleet.name, &*address.to_string()]);
        }
    }

    fn forget_counts(&self, name: &str) {
        for family in [&self.ejections, &self.all_out] {
            let _ = family.remove_label_values(&[name]);
        }
        for (family, outcomes) in [(&self.retries, ["retried", "over_budget"]), (&self.checks, ["passed", "failed"])] {
            for outcome in outcomes {
                let _ = family.remove_label_values(&[name, outcome]);
            }
        }
    }

    /// Forgets an upstream that is gone.
    pub fn forget(&self, id: i64) {
        if let Some(fleet) = self.fleets.write().remove(&id) {
            self.forget_up(&fleet);
            self.forget_counts(&fleet.name);
        }
    }

    /// The targets of an upstream.
    pub fn of(&self, id: i64) -> Vec<TargetHealth> {
        self.fleets.read().get(&id).map(|fleet| fleet.targets.clone()).unwrap_or_default()
    }

    /// The upstreams of which every target is left out.
    pub fn without_any(&self) -> Vec<String> {
        let fleets = self.fleets.read();
        let dead =
            |fleet: &&Fleet| !fleet.targets.is_empty() && fleet.targets.iter().all(|target| target.out.is_some());
        fleets.values().filter(dead).map(|fleet| fleet.name.clone()).collect()
    }

    /// All targets that are left out, with the names of their upstreams.
    pub fn out(&self) -> Vec<(String, TargetHealth)> {
        let fleets = self.fleets.read();
        let all = fleets.values().flat_map(|fleet| fleet.targets.iter().map(|target| (fleet.name.clone(), target)));
        all.filter(|(_, target)| target.out.is_some()).map(|(name, target)| (name, target.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> TargetHealth {
        TargetHealth { target: format!("127.0.0.1:{port}"), address: Some(([127, 0, 0, 1], port).into()), out: None }
    }

    #[test]
    fn what_is_gone_leaves_no_series() {
        let registry = Registry::new();
        let state = TargetState::new(&registry).unwrap();
        let series = || registry.gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        let out = TargetOut { by: TargetFault::Requests, kind: "closed", since: Utc::now(), next_trial: None };
        state.meter("a").ejections.inc();
        state.note(1, "a", vec![target(1), target(2)]);
        state.changed(1, ([127, 0, 0, 1], 2).into(), Some(out));
        state.changed(1, ([127, 0, 0, 1], 3).into(), None);
        assert_eq!(state.of(1).len(), 2);
        assert_eq!(state.out(), [("a".to_owned(), state.of(1)[1].clone())]);
        assert_eq!(series(), 8);
        state.note(1, "a", vec![target(1)]);
        assert_eq!((state.out(), series()), (Vec::new(), 7));
        state.note(1, "b", vec![target(1)]);
        assert_eq!(series(), 1);
        state.forget(1);
        assert_eq!((state.of(1), series()), (Vec::new(), 0));
    }
}
