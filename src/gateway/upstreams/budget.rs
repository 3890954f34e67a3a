//! How many requests may be tried again: a share of those of late, so that retries do not finish off what is weak.

use std::sync::atomic::{AtomicU64, Ordering};

/// What counts as of late, in seconds.
const WINDOW: u64 = 10;
/// Retries within that time that are always allowed.
const FLOOR: u64 = 10;
/// More than the window, so that the second that begins meets none that still counts.
const SLOTS: usize = 16;

/// The last seconds of one upstream.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Seconds,
    retries: Seconds,
}

/// Counts by second: the second in the upper half, its count in the lower.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; SLOTS]);

impl Seconds {
    fn count(&self, second: u64) {
        let Some(slot) = self.slot(second) else { return };
        let stamp = (second & u64::from(u32::MAX)) << 32;
        let mut seen = slot.load(Ordering::Relaxed);
        if seen & !u64::from(u32::MAX) == stamp {
            slot.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Another thread may begin the second at the same time.
        loop {
            let next = if seen & !u64::from(u32::MAX) == stamp { seen + 1 } else { stamp + 1 };
            match slot.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn slot(&self, second: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(second).ok()? % SLOTS)
    }

    fn of_late(&self, second: u64) -> u64 {
        let seconds = (0..WINDOW).filter_map(|ago| second.checked_sub(ago));
        let counts = seconds.filter_map(|second| {
            let seen = self.slot(second)?.load(Ordering::Relaxed);
            (seen >> 32 == second & u64::from(u32::MAX)).then_some(seen & u64::from(u32::MAX))
        });
        counts.sum()
    }
}

impl Budget {
    /// Counts a request.
    pub(super) fn request(&self, second: u64) {
        self.requests.count(second);
    }

    /// Takes one retry, if there is one left.
    pub(super) fn take(&self, second: u64, percent: u64) -> bool {
        let most = (self.requests.of_late(second).saturating_mul(percent) / 100).max(FLOOR);
        // Two at once may both take the last one, which harms nobody.
        if self.retries.of_late(second) >= most {
            return false;
        }
        self.retries.count(second);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, second: u64, percent: u64) -> usize {
        (0..1_000).take_while(|_| budget.take(second, percent)).count()
    }

    #[test]
    fn retries_are_a_share_of_the_requests_of_late_and_a_few() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, 100, 20), 10);
        (0..200).for_each(|request| budget.request(100 + request / 100));
        assert_eq!(taken(&budget, 101, 20), 30);
        assert_eq!(taken(&budget, 105, 20), 0);
        // The first ten and the requests of the first second count no more.
        assert_eq!(taken(&budget, 110, 20), 0);
        assert_eq!(taken(&budget, 112, 20), 10);
        // Slots are used again.
        assert_eq!(taken(&budget, 100 + 1_000 * SLOTS as u64, 20), 10);
        assert_eq!(taken(&budget, 1_000_000, 0), 10);
    }
}
