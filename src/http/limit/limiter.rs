use std::convert::Infallible;
use std::hash::Hash;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

use super::standing::{Refusal, Standing};

/// How many clients of one kind are remembered; about 100 bytes each.
pub(super) const REMEMBERED: usize = 100_000;

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// Requests.
    pub requests: NonZeroU32,
    /// The time; not zero.
    pub window: Duration,
}

/// One limit for each of many clients.
#[derive(Clone)]
pub(super) struct Limiter<K: Hash + Eq + Clone> {
    policy: &'static str,
    allowance: Allowance,
    rates: Arc<RateLimiter<K, States<K>, DefaultClock, StateInformationMiddleware>>,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    pub(super) fn new(policy: &'static str, allowance: Allowance) -> Self {
        Self::with(policy, allowance, States::default())
    }

    /// One that shares its memory with others.
    pub(super) fn with(policy: &'static str, allowance: Allowance, states: States<K>) -> Self {
        // None for a window of no time at all.
        let quota = Quota::with_period(allowance.window / allowance.requests.get());
        let quota =
            quota.map_or_else(|| Quota::per_second(allowance.requests), |quota| quota.allow_burst(allowance.requests));
        let limiter = RateLimiter::new(quota, states, DefaultClock::default());
        Self { policy, allowance, rates: Arc::new(limiter) }
    }

    pub(super) fn count(&self, key: &K) -> Result<Standing, Refusal> {
        match self.rates.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = self.allowance.requests.get().saturating_sub(remaining);
                Ok(self.standing(remaining, self.each() * used))
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.rates.clock().now());
                let all_but_one = self.each() * (self.allowance.requests.get() - 1);
                Err(Refusal { standing: self.standing(0, retry_after + all_but_one), retry_after })
            }
        }
    }

    /// The time after which one more request is allowed.
    fn each(&self) -> Duration {
        self.allowance.window / self.allowance.requests.get()
    }

    fn standing(&self, remaining: u32, reset: Duration) -> Standing {
        Standing {
            policy: self.policy,
            limit: self.allowance.requests.get(),
            window: self.allowance.window,
            remaining,
            reset,
        }
    }
}

/// The state of the clients seen most.
pub(super) struct States<K>(pub(super) Arc<Cache<K, Arc<AtomicU64>>>);

impl<K: Hash + Eq> Default for States<K> {
    fn default() -> Self {
        Self(Arc::new(Cache::new(REMEMBERED)))
    }
}

impl<K> std::fmt::Debug for States<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

impl<K> Clone for States<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Hash + Eq + Clone> StateStore for States<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let made = self.0.get_or_insert_with(key, || Ok::<_, Infallible>(Arc::default()));
        let Ok(state) = made;
        let mut before = state.load(Ordering::Acquire);
        loop {
            // Zero is nobody's state: a request moves it past the moment the limiter was made.
            let (outcome, after) = decide(NonZeroU64::new(before).map(|nanos| Nanos::new(nanos.get())))?;
            match state.compare_exchange_weak(before, after.as_u64(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(outcome),
                Err(now) => before = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let states = States::default();
        let allowance = Allowance { requests: NonZeroU32::MIN, window: Duration::from_hours(1) };
        let limiter = Limiter::with("test", allowance, states.clone());
        for client in 0..2 * REMEMBERED {
            let _first = limiter.count(&client);
        }
        assert!(states.0.len() <= REMEMBERED);
    }
}
