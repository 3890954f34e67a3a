//! The targets of one upstream: whose turn it is, who is left out, and what may be tried again.
//!
//! ## Why
//! A request must find its target without waiting for others: what depends on the upstream alone is worked out when it
//! changes, and what moves with every request are counters. Only a target that goes out or comes back takes a lock.
//!
//! What counts as a failure of a target is that it does not answer: it cannot be connected to, it is silent, it ends the
//! connection, it answers what is no HTTP. A status does not count, not even 503: any client could have targets left out,
//! one after the other, by asking for what makes them answer so. Health checks judge by status.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::budget::Budget;
use super::endpoint::{Endpoint, Turn};
use super::names::{Known, Names};
use super::ring::Ring;
use super::schedule;
use super::secure::{Certificates, Insecure, Secure};
use crate::model::{Balance, Upstream};
use crate::telemetry::{FleetMeter, Metrics, TargetFault, TargetHealth, TargetOut};

/// More addresses than this are not used for one upstream.
const MOST_ENDPOINTS: usize = 512;
/// So many turns are drawn until one hits who is well; after that they are gone through.
const DRAWS: usize = 8;
/// Where the number of the terms begins in that of a group of connections; endpoints do not come to so many.
const TERMS_AT: u32 = 40;
static TERMS: AtomicU64 = AtomicU64::new(1);

/// One upstream at work.
#[derive(Debug)]
pub(in crate::gateway) struct Fleet {
    pub(in crate::gateway) upstream: Arc<Upstream>,
    /// The rules that say so.
    pub(super) revision: i64,
    /// The number of how its targets are spoken to: who is asked on other terms shares no connection, although the terms
    /// may have changed while it waited.
    terms: u64,
    pub(super) endpoints: Box<[Arc<Endpoint>]>,
    /// As each is configured.
    targets: Box<[String]>,
    schedule: Box<[u16]>,
    ring: Option<Ring>,
    /// Names among its targets.
    pub(super) names: Box<[String]>,
    pub(in crate::gateway) secure: Result<Option<Secure>, Insecure>,
    lasting: Arc<Lasting>,
    pub(super) meter: FleetMeter,
    metrics: Arc<Metrics>,
}

/// What outlasts changes of an upstream.
#[derive(Debug, Default)]
struct Lasting {
    turn: AtomicUsize,
    /// Turns that are drawn because those before have met somebody who is out.
    spare: AtomicUsize,
    budget: Budget,
    /// Held while targets go out, so that two cannot both be the last but one.
    changing: Mutex<()>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Chosen {
    pub(in crate::gateway) index: usize,
    pub(in crate::gateway) stood: Stood,
}

/// How a target stood when it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Stood {
    /// It was well, or has answered since.
    Well,
    /// It was out, and this request tries it.
    Trial,
    /// It was out, and so was everybody.
    LastResort,
}

impl Fleet {
    /// What `upstream` says, with what `before` knows of targets that are still there.
    pub(super) fn new(
        upstream: &Arc<Upstream>,
        revision: i64,
        before: Option<&Self>,
        names: &Names,
        certificates: &Certificates,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mut known: HashMap<SocketAddr, &Arc<Endpoint>> = HashMap::new();
        known.extend(before.into_iter().flat_map(|before| before.endpoints.iter().map(|one| (one.address, one))));
        let found = Found::of(upstream, names);
        let endpoints: Box<[Arc<Endpoint>]> = found
            .addresses
            .iter()
            .map(|(address, _)| match known.get(address) {
                Some(one) => Arc::clone(one),
                None => Arc::new(Endpoint::new(*address)),
            })
            .collect();
        let same_talk = before.is_some_and(|before| {
            (&before.upstream.tls, before.upstream.protocol) == (&upstream.tls, upstream.protocol)
        });
        for endpoint in &endpoints {
            endpoint.only(upstream.ejection.is_some(), upstream.health_check.is_some());
        }
        let weights: Vec<u32> = found.addresses.iter().map(|(_, weight)| *weight).collect();
        let health = found.health(&endpoints);
        metrics.targets().note(upstream.id.0, upstream.name.as_str(), health);
        Self {
            upstream: Arc::clone(upstream),
            revision,
            terms: before.filter(|_| same_talk).map_or_else(|| TERMS.fetch_add(1, Ordering::Relaxed), |one| one.terms),
            schedule: schedule::of(&weights),
            ring: (upstream.balance == Balance::ConsistentHash).then(|| Ring::new(&found.addresses)),
            endpoints,
            targets: found.targets.into(),
            names: found.names.into(),
            secure: Secure::of(upstream, certificates),
            lasting: before.map(|before| Arc::clone(&before.lasting)).unwrap_or_default(),
            meter: metrics.targets().meter(upstream.name.as_str()),
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// How many addresses it has.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// How a target is configured.
    pub(super) fn target(&self, index: usize) -> Option<&str> {
        self.targets.get(index).map(String::as_str)
    }

    /// Whether requests are sent by what they have in common.
    pub(in crate::gateway) fn is_hashed(&self) -> bool {
        self.ring.is_some() && self.endpoints.len() > 1
    }

    /// Where a target is, and who may share its connections.
    pub(in crate::gateway) fn place(&self, index: usize) -> Option<(SocketAddr, u64)> {
        self.endpoints.get(index).map(|endpoint| (endpoint.address, (self.terms << TERMS_AT) ^ endpoint.group()))
    }

    /// Who is asked next, by `key` where that counts; somebody else than who was `tried`, if there is anybody.
    pub(in crate::gateway) fn choose(&self, key: &[u8], tried: &[usize]) -> Option<Chosen> {
        let first = match &self.ring {
            Some(ring) if self.endpoints.len() > 1 => match self.along(ring, key, tried) {
                Ok(chosen) => return Some(chosen),
                Err(first) => first?,
            },
            _ => match self.draw(tried) {
                Ok(chosen) => return Some(chosen),
                Err(first) => first?,
            },
        };
        let count = self.endpoints.len();
        let mut all = (first..count).chain(0..first);
        // Whoever is well has been tried, or nobody is: then better somebody than nobody.
        if let Some(chosen) = all
            .clone()
            .find_map(|index| self.take(index, tried))
            .or_else(|| all.clone().find_map(|index| self.take(index, &[])))
        {
            return Some(chosen);
        }
        self.meter.all_out.inc();
        // Better whom requests found failing, some time ago, than whom a check has just found so.
        let untried = |index: &usize| !tried.contains(index);
        let unchecked =
            |index: &usize| untried(index) && self.endpoints.get(*index).is_some_and(|one| !one.is_unwell());
        let index = all.clone().find(unchecked).or_else(|| all.find(untried)).unwrap_or(first);
        Some(Chosen { index, stood: Stood::LastResort })
    }

    /// The one whose turn it is, or another one that is well; else whose turn it would be.
    fn draw(&self, tried: &[usize]) -> Result<Chosen, Option<usize>> {
        if self.endpoints.len() <= 1 {
            let only = (!self.endpoints.is_empty()).then_some(0);
            return only.and_then(|index| self.take(index, tried)).ok_or(only);
        }
        let drawn = |turns: &AtomicUsize| {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            self.schedule.get(turn % self.schedule.len().max(1)).map(|index| usize::from(*index))
        };
        // A second attempt takes nobody's turn: else whoever fails would be the first to be asked again and again.
        let turns = if tried.is_empty() { &self.lasting.turn } else { &self.lasting.spare };
        let first = drawn(turns).ok_or(None)?;
        // Not simply the next one, who would do the work of two.
        let spare = (0..DRAWS).filter_map(|_| drawn(&self.lasting.spare));
        std::iter::once(first).chain(spare).find_map(|index| self.take(index, tried)).ok_or(Some(first))
    }

    /// The one that `key` belongs to, or the next one on the ring that is well; else whom it belongs to.
    fn along(&self, ring: &Ring, key: &[u8], tried: &[usize]) -> Result<Chosen, Option<usize>> {
        let mut places = ring.along(key);
        let first = places.next().ok_or(None)?;
        if let Some(chosen) = self.take(first, tried) {
            return Ok(chosen);
        }
        if !self.endpoints.iter().any(|endpoint| endpoint.is_well()) {
            // Thousands of points would be looked at for nobody.
            return Err(Some(first));
        }
        places.find_map(|index| self.take(index, tried)).ok_or(Some(first))
    }

    fn take(&self, index: usize, tried: &[usize]) -> Option<Chosen> {
        let endpoint = self.endpoints.get(index)?;
        if tried.contains(&index) {
            return None;
        }
        if endpoint.is_well() {
            return Some(Chosen { index, stood: Stood::Well });
        }
        endpoint.take_trial().then_some(Chosen { index, stood: Stood::Trial })
    }

    /// Notes an answer.
    pub(in crate::gateway) fn answered(&self, Chosen { index, stood }: Chosen) {
        let Some(endpoint) = self.endpoints.get(index) else { return };
        match stood {
            Stood::Well => endpoint.answered(),
            Stood::Trial | Stood::LastResort => self.readmit(endpoint),
        }
    }

    fn readmit(&self, endpoint: &Endpoint) {
        let _one_by_one = self.lasting.changing.lock();
        if endpoint.readmit() == Turn::Back {
            self.tell(endpoint, &Turn::Back);
        }
    }

    /// Gives a trial back that has told nothing about the target.
    pub(in crate::gateway) fn undecided(&self, chosen: Chosen) {
        if let (Stood::Trial, Some(endpoint)) = (chosen.stood, self.endpoints.get(chosen.index)) {
            endpoint.give_back();
        }
    }

    /// Notes a failure of a target.
    pub(in crate::gateway) fn failed(&self, Chosen { index, stood }: Chosen, kind: &'static str) {
        let Some(endpoint) = self.endpoints.get(index) else { return };
        let is_trial = stood == Stood::Trial;
        let Some(ejection) = self.upstream.ejection else {
            // It was left out by terms of before, which nobody would look at again.
            if is_trial {
                self.readmit(endpoint);
            }
            return;
        };
        if stood == Stood::LastResort || (!is_trial && !endpoint.failed(ejection)) {
            return;
        }
        let _one_by_one = self.lasting.changing.lock();
        let others = || self.endpoints.iter().filter(|other| !Arc::ptr_eq(other, endpoint));
        // Never the last one: a bad target is better than none.
        if !is_trial && (!endpoint.is_well() || !others().any(|other| other.is_well())) {
            return;
        }
        let turn = endpoint.eject(ejection, kind);
        self.meter.ejections.inc();
        self.tell(endpoint, &turn);
    }

    /// Notes the outcome of a health check.
    pub(super) fn checked(&self, index: usize, outcome: Result<(), &'static str>) {
        let (Some(endpoint), Some(check)) = (self.endpoints.get(index), &self.upstream.health_check) else { return };
        let meter = if outcome.is_ok() { &self.meter.checks_passed } else { &self.meter.checks_failed };
        meter.inc();
        let _one_by_one = self.lasting.changing.lock();
        let turn = endpoint.checked(outcome, check);
        self.tell(endpoint, &turn);
    }

    fn tell(&self, endpoint: &Endpoint, turn: &Turn) {
        let out = endpoint.out();
        let (upstream, target) = (self.upstream.name.as_str(), endpoint.address);
        match (turn, &out) {
            (Turn::Out, Some(TargetOut { by, kind, .. })) => {
                tracing::warn!(upstream, %target, by = by.as_str(), kind, "a target is left out");
            }
            (Turn::Back, None) => tracing::info!(upstream, %target, "a target is back"),
            _ => {}
        }
        self.metrics.targets().changed(self.upstream.id.0, endpoint.address, out);
    }

    /// Counts a request of the second `second`, which may have to be tried again.
    pub(in crate::gateway) fn count(&self, second: u64) {
        if self.upstream.retries > 0 {
            self.lasting.budget.request(second);
        }
    }

    /// Whether one more may be tried again.
    pub(in crate::gateway) fn may_retry(&self, second: u64) -> bool {
        let percent = u64::try_from(self.upstream.retry_budget_percent).unwrap_or(0);
        let allowed = self.lasting.budget.take(second, percent);
        if allowed {
            self.meter.retried.inc();
        } else {
            self.meter.over_budget.inc();
        }
        allowed
    }
}

/// Where an upstream's targets are.
#[derive(Default)]
struct Found {
    /// Each once, with its weight.
    addresses: Vec<(SocketAddr, u32)>,
    /// The target that each was found by.
    targets: Vec<String>,
    names: Vec<String>,
    /// Targets whose name has no address.
    lost: Vec<String>,
}

impl Found {
    fn of(upstream: &Upstream, names: &Names) -> Self {
        let mut found = Self::default();
        for target in &upstream.targets {
            if let Ok(address) = target.address.parse() {
                found.add(address, target.weight, &target.address);
                continue;
            }
            let Some((name, port)) = target.address.rsplit_once(':') else { continue };
            let Ok(port) = port.parse::<u16>() else { continue };
            if !found.names.iter().any(|known| known == name) {
                found.names.push(name.to_owned());
            }
            match names.of(name) {
                Some(Known::Addresses(addresses)) => {
                    // Each has the weight of the name, as though it stood there itself.
                    for address in &*addresses {
                        found.add(SocketAddr::new(*address, port), target.weight, &target.address);
                    }
                }
                Some(Known::Nothing) | None => found.lost.push(target.address.clone()),
            }
        }
        found
    }

    fn add(&mut self, address: SocketAddr, weight: u32, target: &str) {
        if let Some((_, known)) = self.addresses.iter_mut().find(|(known, _)| *known == address) {
            *known = known.saturating_add(weight).min(100);
        } else if self.addresses.len() < MOST_ENDPOINTS {
            self.addresses.push((address, weight.max(1)));
            self.targets.push(target.to_owned());
        }
    }

    fn health(&self, endpoints: &[Arc<Endpoint>]) -> Vec<TargetHealth> {
        let found = self.targets.iter().zip(endpoints).map(|(target, endpoint)| TargetHealth {
            target: target.clone(),
            address: Some(endpoint.address),
            out: endpoint.out(),
        });
        let lost = self.lost.iter().map(|target| TargetHealth {
            target: target.clone(),
            address: None,
            out: Some(TargetOut { by: TargetFault::Name, kind: "dns", since: chrono::Utc::now(), next_trial: None }),
        });
        found.chain(lost).collect()
    }
}
