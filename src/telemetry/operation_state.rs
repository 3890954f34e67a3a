//! How the latest reload and the latest upgrade of this process went.

use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};

/// What the operator asked for, and what became of it.
#[derive(Debug)]
pub struct OperationState {
    reloads: IntCounterVec,
    upgrades: IntCounterVec,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    waiting: Vec<&'static str>,
    reload: Option<String>,
    upgrade: Option<String>,
}

const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";

impl OperationState {
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outcomes = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["outcome"])?;
            registry.register(Box::new(counter.clone()))?;
            for outcome in [SUCCEEDED, FAILED] {
                counter.with_label_values(&[outcome]).reset();
            }
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            reloads: outcomes("cedargate_reloads_total", "Reloads of the settings, by outcome.")?,
            upgrades: outcomes(
                "cedargate_upgrades_total",
                "Upgrades, by outcome: one that succeeded is counted by the new process, one that failed by the old.",
            )?,
            known: Mutex::default(),
        })
    }

    /// Notes a reload, and the settings that it could not put into force; or why there was none.
    pub fn reloaded(&self, outcome: Result<Vec<&'static str>, String>) {
        let mut known = self.known.lock();
        match outcome {
            Ok(waiting) => {
                self.reloads.with_label_values(&[SUCCEEDED]).inc();
                // Whoever reloads has seen to it.
                *known = Known { waiting, reload: None, upgrade: None };
            }
            Err(fault) => {
                self.reloads.with_label_values(&[FAILED]).inc();
                known.reload = Some(fault);
            }
        }
    }

    /// Notes that this process has taken over from another.
    pub fn took_over(&self) {
        self.upgrades.with_label_values(&[SUCCEEDED]).inc();
    }

    /// Notes why no other process has taken over.
    pub fn upgrade_failed(&self, fault: String) {
        self.upgrades.with_label_values(&[FAILED]).inc();
        self.known.lock().upgrade = Some(fault);
    }

    /// Settings whose change waits for an upgrade.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.known.lock().waiting.clone()
    }

    /// Why the latest reload changed nothing.
    pub fn reload_fault(&self) -> Option<String> {
        self.known.lock().reload.clone()
    }

    /// Why the latest upgrade came to nothing, until a reload.
    pub fn upgrade_fault(&self) -> Option<String> {
        self.known.lock().upgrade.clone()
    }
}
