//! Log lines about connections that are turned away: not one for each, since they cost nothing.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::Turned;

/// A cause is told of once in this time.
const QUIET: Duration = Duration::from_secs(1);

/// When a cause was last told of, and how many were left out since.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Instant>,
    left_out: u64,
}

/// What was told of each cause.
#[derive(Debug, Default)]
pub(super) struct TurnedLog(Mutex<[Told; Turned::ALL.len()]>);

impl TurnedLog {
    /// Whether one is to be told of, and then how many were left out before it.
    pub(super) fn tells(&self, turned: Turned, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let told = all.get_mut(turned as usize)?;
        if told.at.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            told.left_out += 1;
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_of_once_a_second() {
        let log = TurnedLog::default();
        let now = Instant::now();
        assert_eq!(log.tells(Turned::Flood, now), Some(0));
        assert_eq!(log.tells(Turned::Flood, now), None);
        assert_eq!(log.tells(Turned::Memory, now), Some(0));
        assert_eq!(log.tells(Turned::Flood, now + QUIET / 2), None);
        assert_eq!(log.tells(Turned::Flood, now + QUIET), Some(2));
        for (index, turned) in Turned::ALL.iter().enumerate() {
            assert_eq!(*turned as usize, index);
        }
    }
}
