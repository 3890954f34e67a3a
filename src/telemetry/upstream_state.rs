use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::RwLock;

/// Failures in a row from which on an upstream counts as failing.
const FAILING: u32 = 3;
/// More names than any one gateway is configured with; a bound all the same.
const MAX_NAMES: usize = 4_096;

/// How the latest exchanges with each upstream went: seen by the gateway, told by health.
#[derive(Debug, Default)]
pub struct UpstreamState(RwLock<BTreeMap<String, Entry>>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    kind: &'static str,
    at: Instant,
}

/// An upstream whose latest exchanges failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Its name.
    pub name: String,
    /// Failures in a row.
    pub failures: u32,
    /// What the last one was.
    pub kind: &'static str,
    /// Seconds since then.
    pub seconds_ago: u64,
}

impl UpstreamState {
    /// Notes a failed exchange.
    pub fn failed(&self, name: &str, kind: &'static str) {
        let mut entries = self.0.write();
        if entries.len() >= MAX_NAMES && !entries.contains_key(name) {
            return;
        }
        let entry = entries.entry(name.to_owned()).or_insert(Entry { failures: 0, kind, at: Instant::now() });
        *entry = Entry { failures: entry.failures.saturating_add(1), kind, at: Instant::now() };
    }

    /// Notes an exchange that was answered.
    pub fn answered(&self, name: &str) {
        // Nearly always there is nothing to forget, and readers do not wait for each other.
        if self.0.read().contains_key(name) {
            self.0.write().remove(name);
        }
    }

    /// The upstreams that fail at present.
    pub fn failing(&self) -> Vec<Failing> {
        let entries = self.0.read();
        let failing = entries.iter().filter(|(_, entry)| entry.failures >= FAILING);
        let told = failing.map(|(name, entry)| Failing {
            name: name.clone(),
            failures: entry.failures,
            kind: entry.kind,
            seconds_ago: entry.at.elapsed().as_secs(),
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_told_until_an_answer() {
        let state = UpstreamState::default();
        state.failed("a", "dns");
        state.failed("a", "dns");
        assert_eq!(state.failing(), []);
        state.failed("a", "closed");
        let failing = state.failing();
        assert_eq!((failing[0].name.as_str(), failing[0].failures, failing[0].kind), ("a", 3, "closed"));
        state.answered("a");
        assert_eq!(state.failing(), []);
    }
}
