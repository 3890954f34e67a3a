use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::standing::{Refusal, Standing};
use crate::http::network::network;
use crate::model::Timestamp;

/// How many of each kind are remembered; about 150 bytes each.
const REMEMBERED: usize = 100_000;

/// So many failures in so much time, and then a wait that doubles each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Failures; 0 is no limit.
    pub failures: u32,
    /// The time in which they are counted.
    pub window: Duration,
    /// The first wait.
    pub wait: Duration,
    /// No wait is longer; after so long without a failure the first one is due again.
    pub longest: Duration,
}

/// Counts failed sign-ins.
///
/// ## Why
/// Per account **and** address: an attacker who fails for an account elsewhere must not lock its owner out (threats 62);
/// one who guesses from one address is stopped after a few tries, each time for longer. Per account from everywhere: many
/// addresses are few guesses each, but many together; the account is closed then, except to places where its owner has
/// been before, which the caller knows. Per address: one that tries a few passwords for each of many accounts.
///
/// Names that nobody has are counted alike, or the difference would tell who has an account. All of it is bounded, so that
/// a flood of names cannot exhaust memory: those seen least are forgotten first.
#[derive(Clone, Debug)]
pub struct LoginFailures(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pairs: Counts<(Account, IpAddr)>,
    accounts: Counts<Account>,
    addresses: Counts<IpAddr>,
}

/// A name takes as much memory as any other, however long it is.
type Account = [u8; 16];

/// A try to sign in.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// As whom, in the one spelling of that name.
    pub account: &'a str,
    /// From where.
    pub address: IpAddr,
    /// What failed for the account before this moment is forgotten.
    pub forgiven: Option<Timestamp>,
    /// The present moment.
    pub now: Timestamp,
}

impl Attempt<'_> {
    fn account(&self) -> Account {
        let digest: [u8; 32] = Sha256::digest(self.account).into();
        std::array::from_fn(|index| digest[index])
    }

    fn pair(&self) -> (Account, IpAddr) {
        (self.account(), network(self.address))
    }
}

impl LoginFailures {
    /// Counts failures of an account at an address, of an account everywhere, and of an address for all accounts.
    pub fn new(pair: Patience, account: Patience, address: Patience) -> Self {
        let inner = Inner { pairs: Counts::new(pair), accounts: Counts::new(account), addresses: Counts::new(address) };
        Self(Arc::new(inner))
    }

    /// Says whether another try is allowed from this address.
    ///
    /// # Errors
    /// There were too many failures.
    pub fn check(&self, attempt: &Attempt<'_>) -> Result<(), Refusal> {
        let Inner { pairs, addresses, .. } = &*self.0;
        let pair = pairs.left(&attempt.pair(), attempt.forgiven, attempt.now).map(|left| (left, pairs.patience));
        let address = || addresses.left(&network(attempt.address), None, attempt.now);
        match pair.or_else(|| address().map(|left| (left, addresses.patience))) {
            None => Ok(()),
            Some((left, Patience { failures, window, .. })) => {
                let standing = Standing { policy: "login", limit: failures, window, remaining: 0, reset: left };
                Err(Refusal { standing, retry_after: left })
            }
        }
    }

    /// For how long the account is still closed to places where its owner has not been.
    pub fn closed(&self, attempt: &Attempt<'_>) -> Option<Duration> {
        self.0.accounts.left(&attempt.account(), attempt.forgiven, attempt.now)
    }

    /// Notes a failure; returns for how long the account is closed, if this one closed it.
    pub fn record(&self, attempt: &Attempt<'_>) -> Option<Duration> {
        let Attempt { address, forgiven, now, .. } = *attempt;
        self.0.pairs.fail(&attempt.pair(), forgiven, now);
        self.0.addresses.fail(&network(address), None, now);
        self.0.accounts.fail(&attempt.account(), forgiven, now)
    }

    /// Notes that the account's owner signed in there. What fails elsewhere goes on.
    pub fn forget(&self, attempt: &Attempt<'_>) {
        self.0.pairs.counts.remove(&attempt.pair());
    }
}

#[derive(Debug)]
struct Counts<K> {
    patience: Patience,
    counts: Cache<K, Arc<Mutex<Count>>>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    since: Timestamp,
    last: Timestamp,
    /// How often it has come to a wait.
    waits: u32,
    until: Timestamp,
}

impl Count {
    fn at(now: Timestamp) -> Self {
        Self { failures: 0, since: now, last: now, waits: 0, until: Timestamp::FIRST }
    }

    fn is_forgotten(&self, forgiven: Option<Timestamp>) -> bool {
        forgiven.is_some_and(|moment| self.last <= moment)
    }
}

impl<K: std::hash::Hash + Eq + Clone> Counts<K> {
    fn new(patience: Patience) -> Self {
        Self { patience, counts: Cache::new(REMEMBERED) }
    }

    fn left(&self, key: &K, forgiven: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let count = *self.counts.get(key)?.lock();
        let left = count.until.since(now);
        (!left.is_zero() && !count.is_forgotten(forgiven)).then_some(left)
    }

    /// Returns the wait that this failure led to.
    fn fail(&self, key: &K, forgiven: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let Patience { failures, window, wait, longest } = self.patience;
        if failures == 0 {
            return None;
        }
        let shared = self.of(key, now);
        let mut count = shared.lock();
        if count.is_forgotten(forgiven) || now.since(count.last) > longest.max(window) {
            *count = Count::at(now);
        }
        if now.since(count.since) >= window {
            (count.failures, count.since) = (0, now);
        }
        (count.failures, count.last) = (count.failures + 1, now);
        if count.failures < failures || count.until > now {
            return None;
        }
        let due = wait.saturating_mul(2_u32.saturating_pow(count.waits)).min(longest.max(wait));
        let waits = count.waits.saturating_add(1);
        *count = Count { failures: 0, since: now, last: now, waits, until: now.plus(due) };
        Some(due)
    }

    /// The count of `key`, of which only one is ever in use: failures at the same time are all counted.
    fn of(&self, key: &K, now: Timestamp) -> Arc<Mutex<Count>> {
        let made = self
            .counts
            .get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(Arc::new(Mutex::new(Count::at(now)))));
        let Ok(count) = made;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn patience(failures: u32) -> Patience {
        Patience { failures, window: MINUTE, wait: MINUTE, longest: 10 * MINUTE }
    }

    fn failures(pair: u32, account: u32, address: u32) -> LoginFailures {
        LoginFailures::new(patience(pair), patience(account), patience(address))
    }

    fn attempt(account: &'static str, address: &str, second: i64) -> Attempt<'static> {
        let now = Timestamp::FIRST.plus_seconds(1_000_000 + second);
        Attempt { account, address: address.parse().unwrap(), forgiven: None, now }
    }

    fn wait(failures: &LoginFailures, attempt: &Attempt<'_>) -> u64 {
        failures.check(attempt).map_or_else(|refusal| refusal.retry_after.as_secs(), |()| 0)
    }

    #[test]
    fn an_account_is_refused_at_one_address_only() {
        let failures = failures(2, 0, 0);
        let here = attempt("bob", "127.0.0.1", 0);
        failures.record(&here);
        assert_eq!(failures.check(&here), Ok(()));
        failures.record(&here);
        assert_eq!(wait(&failures, &here), 60);
        assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", 59)), 1);
        assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", 60)), 0);
        assert_eq!(failures.check(&attempt("bob", "127.0.0.2", 0)), Ok(()));
        assert_eq!(failures.check(&attempt("alice", "127.0.0.1", 0)), Ok(()));
    }

    #[test]
    fn each_wait_is_longer_until_nothing_failed_for_long() {
        let failures = failures(1, 0, 0);
        let mut second = 0;
        for expected in [60, 120, 240, 480, 600, 600] {
            failures.record(&attempt("bob", "127.0.0.1", second));
            assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", second)), expected);
            second += i64::try_from(expected).unwrap();
        }
        second += 601;
        failures.record(&attempt("bob", "127.0.0.1", second));
        assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", second)), 60);
    }

    #[test]
    fn failures_are_counted_within_the_window() {
        let failures = failures(2, 0, 0);
        failures.record(&attempt("bob", "127.0.0.1", 0));
        failures.record(&attempt("bob", "127.0.0.1", 60));
        assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", 60)), 0);
        failures.record(&attempt("bob", "127.0.0.1", 100));
        assert_eq!(wait(&failures, &attempt("bob", "127.0.0.1", 100)), 60);
    }

    #[test]
    fn an_account_is_closed_by_failures_from_everywhere() {
        let failures = failures(5, 3, 0);
        let from = |address: &'static str| attempt("bob", address, 0);
        assert_eq!(failures.record(&from("192.0.2.1")), None);
        assert_eq!(failures.record(&from("192.0.2.2")), None);
        assert_eq!(failures.record(&from("192.0.2.3")), Some(MINUTE), "this one closes it");
        assert_eq!(failures.record(&from("192.0.2.4")), None, "it is closed already");
        assert_eq!(failures.closed(&from("192.0.2.9")), Some(MINUTE));
        assert_eq!(failures.closed(&attempt("alice", "192.0.2.9", 0)), None);
        assert_eq!(failures.check(&from("192.0.2.9")), Ok(()), "whose place it is, is for others to know");
        let forgiven = Attempt { forgiven: Some(from("192.0.2.9").now), ..from("192.0.2.9") };
        assert_eq!(failures.closed(&forgiven), None);
        failures.forget(&from("192.0.2.1"));
        assert_eq!(failures.closed(&from("192.0.2.9")), Some(MINUTE));
    }

    #[test]
    fn an_address_is_refused_for_all_accounts() {
        let failures = failures(5, 0, 2);
        failures.record(&attempt("bob", "192.0.2.1", 0));
        failures.record(&attempt("alice", "192.0.2.1", 0));
        assert_eq!(wait(&failures, &attempt("carol", "192.0.2.1", 0)), 60);
        assert_eq!(wait(&failures, &attempt("carol", "192.0.2.2", 0)), 0);
        let forgiven = Attempt { forgiven: Some(Timestamp::LAST), ..attempt("bob", "192.0.2.1", 0) };
        assert_eq!(wait(&failures, &forgiven), 60, "an address is not forgiven with an account");
    }

    #[test]
    fn a_network_is_one_client() {
        let failures = failures(1, 0, 0);
        failures.record(&attempt("bob", "2001:db8::1", 0));
        assert!(failures.check(&attempt("bob", "2001:db8::ffff:2", 0)).is_err());
        assert_eq!(failures.check(&attempt("bob", "2001:db8:0:1::1", 0)), Ok(()));
    }

    #[test]
    fn failures_at_the_same_time_are_all_counted() {
        let failures = failures(100, 0, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..25).for_each(|_| assert!(failures.record(&attempt("bob", "192.0.2.1", 0)).is_none()));
                });
            }
        });
        assert_eq!(wait(&failures, &attempt("bob", "192.0.2.1", 0)), 60);
    }

    #[test]
    fn memory_is_bounded() {
        let counts = Counts::new(patience(1));
        let now = Timestamp::now();
        for key in 0..2 * REMEMBERED {
            counts.fail(&key, None, now);
        }
        assert!(counts.counts.len() <= REMEMBERED);
    }
}
