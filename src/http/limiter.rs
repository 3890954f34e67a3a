//! How much one client may ask for.

use std::convert::Infallible;
use std::hash::Hash;
use std::net::IpAddr;
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

use super::network::network;
use crate::model::UserId;

/// How many clients of one kind are remembered; about 100 bytes each.
const REMEMBERED: usize = 100_000;

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests.
    pub requests: NonZeroU32,
    /// The time; not zero.
    pub window: Duration,
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests allowed within the window.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// Requests that would be served now.
    pub remaining: u32,
    /// When all of the limit will be there again.
    pub reset: Duration,
}

/// Too many requests, or too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the client stands: with nothing left.
    pub standing: Standing,
    /// When another try is allowed.
    pub retry_after: Duration,
}

/// The limits of one service.
///
/// ## Why
/// A client that has used up its allowance is let in again one by one, as time passes (GCRA), and not all at once when a
/// window ends. Who is counted is bounded, so that a flood of addresses cannot exhaust memory: those seen least are
/// forgotten first, which gives them back their allowance.
#[derive(Clone, Debug)]
pub struct RateLimits {
    anonymous: Limiter<IpAddr>,
    authenticated: Limiter<UserId>,
    register: Limiter<IpAddr>,
}

impl RateLimits {
    /// Limits for requests without and with a valid token, and for accounts asked for.
    pub fn new(anonymous: Allowance, authenticated: Allowance, register: Allowance) -> Self {
        Self {
            anonymous: Limiter::new(anonymous),
            authenticated: Limiter::new(authenticated),
            register: Limiter::new(register),
        }
    }

    /// Counts a request from `address`, whose client is `user` if its token is valid.
    ///
    /// # Errors
    /// It is one too many.
    pub fn request(&self, user: Option<UserId>, address: IpAddr) -> Result<Standing, Refusal> {
        match user {
            Some(user) => self.authenticated.count(&user),
            None => self.anonymous.count(&network(address)),
        }
    }

    /// Counts an account that is asked for.
    ///
    /// # Errors
    /// It is one too many.
    pub fn registration(&self, address: IpAddr) -> Result<Standing, Refusal> {
        self.register.count(&network(address))
    }
}

/// One limit for each of many clients.
#[derive(Clone)]
struct Limiter<K: Hash + Eq + Clone> {
    allowance: Allowance,
    limiter: Arc<RateLimiter<K, Bounded<K>, DefaultClock, StateInformationMiddleware>>,
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(allowance: Allowance) -> Self {
        // None for a window of no time at all.
        let quota = Quota::with_period(allowance.window / allowance.requests.get());
        let quota =
            quota.map_or_else(|| Quota::per_second(allowance.requests), |quota| quota.allow_burst(allowance.requests));
        let limiter = RateLimiter::new(quota, Bounded(Cache::new(REMEMBERED)), DefaultClock::default());
        Self { allowance, limiter: Arc::new(limiter) }
    }

    fn count(&self, key: &K) -> Result<Standing, Refusal> {
        match self.limiter.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = self.allowance.requests.get().saturating_sub(remaining);
                Ok(self.standing(remaining, self.each() * used))
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.limiter.clock().now());
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
        Standing { limit: self.allowance.requests.get(), window: self.allowance.window, remaining, reset }
    }
}

/// The state of the clients seen most.
struct Bounded<K>(Cache<K, Arc<AtomicU64>>);

impl<K: Hash + Eq + Clone> StateStore for Bounded<K> {
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

    fn allowance(requests: u32, seconds: u64) -> Allowance {
        Allowance { requests: NonZeroU32::new(requests).unwrap(), window: Duration::from_secs(seconds) }
    }

    fn limits(anonymous: Allowance) -> RateLimits {
        RateLimits::new(anonymous, allowance(1_000, 60), allowance(3, 3_600))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_is_told_what_is_left_and_when_there_is_more() {
        let limits = limits(allowance(3, 60));
        let here = address("192.0.2.1");
        for remaining in [2, 1, 0] {
            let standing = limits.request(None, here).unwrap();
            assert_eq!((standing.limit, standing.window.as_secs(), standing.remaining), (3, 60, remaining));
            let used = u64::from(3 - remaining);
            assert!((used * 20 - 1..=used * 20).contains(&standing.reset.as_secs()), "{standing:?}");
        }
        let refusal = limits.request(None, here).unwrap_err();
        assert!((19..=20).contains(&refusal.retry_after.as_secs()), "{refusal:?}");
        assert_eq!(refusal.standing.remaining, 0);
        assert!((59..=60).contains(&refusal.standing.reset.as_secs()), "{refusal:?}");
        assert!(limits.request(None, address("192.0.2.2")).is_ok());
        assert!(limits.request(Some(UserId(1)), here).is_ok());
        assert!(limits.registration(here).is_ok());
    }

    #[test]
    fn a_network_is_one_client() {
        let limits = limits(allowance(1, 60));
        assert!(limits.request(None, address("2001:db8::1")).is_ok());
        assert!(limits.request(None, address("2001:db8::ffff:2")).is_err());
        assert!(limits.request(None, address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn time_gives_back() {
        let limits = limits(Allowance { window: Duration::from_millis(50), ..allowance(1, 1) });
        let here = address("192.0.2.1");
        assert!(limits.request(None, here).is_ok());
        let refusal = limits.request(None, here).unwrap_err();
        std::thread::sleep(refusal.retry_after);
        assert!(limits.request(None, here).is_ok());
    }

    #[test]
    fn clients_are_counted_at_the_same_time() {
        let limits = limits(allowance(100, 3_600));
        let allowed: usize = std::thread::scope(|scope| {
            let count = || (0..100).filter(|_| limits.request(None, address("192.0.2.1")).is_ok()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 100);
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(allowance(1, 3_600));
        for client in 0..2 * REMEMBERED {
            let _first = limiter.count(&client);
        }
        let state = Arc::into_inner(limiter.limiter).unwrap().into_state_store();
        assert!(state.0.len() <= REMEMBERED);
    }
}
