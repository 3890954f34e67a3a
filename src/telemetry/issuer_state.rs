//! How it stands with the keys of other issuers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The issuers by name, of which there are few.
#[derive(Debug)]
pub struct IssuerState {
    fetches: IntCounterVec,
    keys: IntGaugeVec,
    age: GaugeVec,
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    keys: usize,
    fetched: Option<Instant>,
    fault: Option<String>,
}

/// One issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    /// What the issuer is called here.
    pub name: String,
    /// How many keys are in use.
    pub keys: usize,
    /// How long ago they were found to be these; `None` if they never were.
    pub age: Option<Duration>,
    /// Why the latest attempt failed, if it did.
    pub fault: Option<String>,
}

impl IssuerState {
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let issuer = &["issuer"];
        let state = Self {
            fetches: IntCounterVec::new(
                Opts::new("cedargate_issuer_fetches_total", "Attempts to get the keys of another issuer, by outcome."),
                &["issuer", "outcome"],
            )?,
            keys: IntGaugeVec::new(
                Opts::new("cedargate_issuer_keys", "Keys of another issuer that are in use."),
                issuer,
            )?,
            age: GaugeVec::new(
                Opts::new("cedargate_issuer_keys_age_seconds", "Time since the keys of another issuer were last got."),
                issuer,
            )?,
            known: Mutex::default(),
        };
        registry.register(Box::new(state.fetches.clone()))?;
        registry.register(Box::new(state.keys.clone()))?;
        registry.register(Box::new(state.age.clone()))?;
        Ok(state)
    }

    /// Counts an attempt; `outcome` is one of a fixed set.
    pub fn fetched(&self, issuer: &str, outcome: &'static str) {
        self.fetches.with_label_values(&[issuer, outcome]).inc();
    }

    /// Notes how it stands with an issuer.
    pub fn note(&self, issuer: &str, keys: usize, fetched: Option<Instant>, fault: Option<String>) {
        self.keys.with_label_values(&[issuer]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.known.lock().insert(issuer.to_owned(), Known { keys, fetched, fault });
    }

    /// Forgets an issuer that is trusted no more.
    pub fn forget(&self, issuer: &str) {
        self.known.lock().remove(issuer);
        let _unknown = (self.keys.remove_label_values(&[issuer]), self.age.remove_label_values(&[issuer]));
    }

    /// How it stands with each, by name.
    pub fn all(&self) -> Vec<IssuerKeys> {
        let known = self.known.lock();
        let told = known.iter().map(|(name, known)| IssuerKeys {
            name: name.clone(),
            keys: known.keys,
            age: known.fetched.map(|at| at.elapsed()),
            fault: known.fault.clone(),
        });
        told.collect()
    }

    pub(super) fn measure(&self) {
        for (name, known) in &*self.known.lock() {
            let gauge: Gauge = self.age.with_label_values(&[name]);
            if let Some(fetched) = known.fetched {
                gauge.set(fetched.elapsed().as_secs_f64());
            }
        }
    }
}
