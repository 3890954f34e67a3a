//! How slowly the body of a request may come.

use std::time::Duration;

/// A body must come within a time that grows with what has come; a client that sends a byte now and then is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For each part.
    pub read: Duration,
    /// For all of it, as long as little has come.
    pub total: Duration,
    /// So many bytes allow it a second more; zero stands for no bound but `read`.
    pub bytes_per_second: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { read: Duration::from_secs(30), total: Duration::from_mins(1), bytes_per_second: 1024 }
    }
}

impl Pace {
    /// How long the first part may take.
    pub fn first(&self) -> Duration {
        self.left(0, Duration::ZERO)
    }

    /// How long the next part may take, after so many bytes in so much time; zero when it is too late.
    pub fn left(&self, bytes: u64, elapsed: Duration) -> Duration {
        let rate = u64::from(self.bytes_per_second);
        match bytes.saturating_mul(1_000).checked_div(rate) {
            None => self.read,
            Some(more) => (self.total + Duration::from_millis(more)).saturating_sub(elapsed).min(self.read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_steadily_may_take_its_time() {
        let seconds = Duration::from_secs;
        let pace = Pace { read: seconds(5), total: seconds(20), bytes_per_second: 100 };
        assert_eq!(pace.first(), seconds(5));
        for (bytes, elapsed, left) in
            [(0, 18, 2), (0, 20, 0), (0, 30, 0), (500, 20, 5), (500, 24, 1), (1_000_000, 9_000, 5), (u64::MAX, 1, 5)]
        {
            assert_eq!(pace.left(bytes, seconds(elapsed)), seconds(left), "{bytes} {elapsed}");
        }
        assert_eq!(Pace { bytes_per_second: 0, ..pace }.left(0, seconds(1_000)), seconds(5));
    }
}
