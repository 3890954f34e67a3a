use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use super::{
    limiter::{Refusal, Standing},
    network::network,
};

/// How many pairs of account and address are remembered; about 100 bytes each.
const REMEMBERED: usize = 100_000;
/// Of an account's name this much is looked at: no user's name is longer.
const LONGEST_NAME: usize = 320;

/// Counts failed sign-ins per account **and** address.
///
/// ## Why
/// An attacker who fails for an account elsewhere must not lock its owner out (threats 62); one who guesses from one
/// address is stopped after a few tries. Bounded, so that a flood of names cannot exhaust memory.
#[derive(Clone, Debug)]
pub struct LoginFailures(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: u32,
    window: Duration,
    counts: Cache<(Box<str>, IpAddr), (Arc<AtomicU32>, Instant)>,
}

impl LoginFailures {
    /// Allows `max` failures within `window`.
    pub fn new(max: u32, window: Duration) -> Self {
        Self(Arc::new(Inner { max, window, counts: Cache::new(REMEMBERED) }))
    }

    /// Says whether another try is allowed.
    ///
    /// # Errors
    /// The number of failures of this window has been reached.
    pub fn check(&self, account: &str, address: IpAddr) -> Result<(), Refusal> {
        let Some((count, since)) = self.0.counts.get(&key(account, address)) else {
            return Ok(());
        };
        let left = self.0.window.saturating_sub(since.elapsed());
        if count.load(Ordering::Relaxed) < self.0.max || left.is_zero() {
            return Ok(());
        }
        let standing = Standing { limit: self.0.max, window: self.0.window, remaining: 0, reset: left };
        Err(Refusal { standing, retry_after: left })
    }

    /// Notes a failure.
    pub fn record(&self, account: &str, address: IpAddr) {
        let key = key(account, address);
        match self.0.counts.get(&key) {
            // Shared, so that failures at the same time are all counted; far from overflow within a window.
            Some((count, since)) if since.elapsed() < self.0.window => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.0.counts.insert(key, (Arc::new(AtomicU32::new(1)), Instant::now())),
        }
    }
}

fn key(account: &str, address: IpAddr) -> (Box<str>, IpAddr) {
    (account.chars().take(LONGEST_NAME).collect::<String>().into(), network(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_refused_at_one_address_only() {
        let failures = LoginFailures::new(2, Duration::from_mins(1));
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        failures.record("bob", a);
        assert_eq!(failures.check("bob", a), Ok(()));
        failures.record("bob", a);
        assert!(failures.check("bob", a).unwrap_err().retry_after <= Duration::from_mins(1));
        assert_eq!(failures.check("bob", b), Ok(()));
        assert_eq!(failures.check("alice", a), Ok(()));
    }

    #[test]
    fn a_network_is_one_client() {
        let failures = LoginFailures::new(1, Duration::from_mins(1));
        failures.record("bob", "2001:db8::1".parse().unwrap());
        assert!(failures.check("bob", "2001:db8::ffff:2".parse().unwrap()).is_err());
        assert_eq!(failures.check("bob", "2001:db8:0:1::1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn the_window_ends() {
        let failures = LoginFailures::new(1, Duration::ZERO);
        let here = IpAddr::from([127, 0, 0, 1]);
        failures.record("bob", here);
        assert_eq!(failures.check("bob", here), Ok(()));
    }
}
