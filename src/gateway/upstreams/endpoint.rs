//! One address that requests go to, and whether it is well.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::model::{Ejection, HealthCheck};
use crate::telemetry::{TargetFault, TargetOut};

/// Left out because requests to it failed.
const EJECTED: u8 = 1;
/// Left out because a health check says so.
const UNWELL: u8 = 2;
/// One request has it to try.
const TAKEN: u64 = u64::MAX;
/// The longest time for which a target is left out, in its first times.
const LONGEST: u32 = 10;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Connections are shared only within a group; no two endpoints, nor what one was before it went out, have the same.
static GROUPS: AtomicU64 = AtomicU64::new(1);

/// Milliseconds since the first call.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(TAKEN - 1)
}

/// How it stands; shared by all threads, and kept for as long as the upstream has the address.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    /// Why it gets no requests; 0 is well, which is all that the ordinary request looks at.
    out: AtomicU8,
    /// Requests that failed one after the other.
    failures: AtomicU32,
    /// When one request may try it, in milliseconds, while it is ejected.
    next_trial: AtomicU64,
    group: AtomicU64,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    ejected: Option<Ejected>,
    unwell: Option<(DateTime<Utc>, &'static str)>,
    /// How often it was ejected and had not been well for long before.
    times: u32,
    /// For how long it was left out last, and when it came back.
    returned: Option<(Duration, Instant)>,
    /// Checks in a row that say another thing than is believed.
    against: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    lasts: Duration,
    kind: &'static str,
}

/// What a note has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// It goes out.
    Out,
    /// It stays out.
    Longer,
    /// It comes back.
    Back,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            out: AtomicU8::new(0),
            failures: AtomicU32::new(0),
            next_trial: AtomicU64::new(0),
            group: AtomicU64::new(GROUPS.fetch_add(1, Ordering::Relaxed)),
            history: Mutex::default(),
        }
    }

    /// Who may share connections.
    pub(super) fn group(&self) -> u64 {
        self.group.load(Ordering::Relaxed)
    }

    /// Lets nobody use the connections there are.
    pub(super) fn part(&self) {
        self.group.store(GROUPS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn is_well(&self) -> bool {
        self.out.load(Ordering::Acquire) == 0
    }

    /// Whether a health check has found that it is not well.
    pub(super) fn is_unwell(&self) -> bool {
        self.is(UNWELL)
    }

    fn is(&self, why: u8) -> bool {
        self.out.load(Ordering::Acquire) & why != 0
    }

    /// Takes the trial, if it is due and nobody else has it.
    pub(super) fn take_trial(&self) -> bool {
        if self.out.load(Ordering::Acquire) != EJECTED {
            return false;
        }
        let due = self.next_trial.load(Ordering::Acquire);
        due <= now() && self.next_trial.compare_exchange(due, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives a trial back that has told nothing.
    pub(super) fn give_back(&self) {
        let _taken = self.next_trial.compare_exchange(TAKEN, now(), Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Notes an answer.
    pub(super) fn answered(&self) {
        // A store would take the line from other threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure; true when there are so many that it should be left out.
    pub(super) fn failed(&self, ejection: Ejection) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= ejection.failures && !self.is(EJECTED)
    }

    /// Leaves it out, for longer than before if it has hardly been well since.
    pub(super) fn eject(&self, ejection: Ejection, kind: &'static str) -> Turn {
        let mut history = self.history.lock();
        let was_well = self.is_well();
        let recently = history.returned.is_some_and(|(out, at)| at.elapsed() <= out);
        history.times = if history.ejected.is_some() || recently { history.times.saturating_add(1) } else { 0 };
        let factor = 1_u32.checked_shl(history.times).unwrap_or(LONGEST).clamp(1, LONGEST);
        let lasts = Duration::from_millis(ejection.ms).saturating_mul(factor);
        let (since, ms) = (Utc::now(), u64::try_from(lasts.as_millis()).unwrap_or(TAKEN / 2));
        let until = since + TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX / 1_000));
        let since = history.ejected.map_or(since, |before| before.since);
        history.ejected = Some(Ejected { since, until, lasts, kind });
        self.failures.store(0, Ordering::Relaxed);
        self.next_trial.store(now().saturating_add(ms), Ordering::Release);
        let before = self.out.fetch_or(EJECTED, Ordering::AcqRel);
        self.part();
        match (was_well, before & EJECTED != 0) {
            (true, _) => Turn::Out,
            (false, true) => Turn::Longer,
            (false, false) => Turn::None,
        }
    }

    /// Lets it in again after a trial.
    pub(super) fn readmit(&self) -> Turn {
        let mut history = self.history.lock();
        let Some(ejected) = history.ejected.take() else { return Turn::None };
        history.returned = Some((ejected.lasts, Instant::now()));
        self.failures.store(0, Ordering::Relaxed);
        self.let_in(EJECTED)
    }

    /// Forgets what nobody is asked to look for any more.
    pub(super) fn only(&self, is_ejecting: bool, is_checked: bool) {
        let mut history = self.history.lock();
        if !is_ejecting {
            (history.ejected, history.returned) = (None, None);
            self.out.fetch_and(!EJECTED, Ordering::AcqRel);
        }
        if !is_checked {
            (history.unwell, history.against) = (None, 0);
            self.out.fetch_and(!UNWELL, Ordering::AcqRel);
        }
    }

    /// Notes the outcome of a health check.
    pub(super) fn checked(&self, outcome: Result<(), &'static str>, check: &HealthCheck) -> Turn {
        let mut history = self.history.lock();
        let is_unwell = history.unwell.is_some();
        if outcome.is_err() == is_unwell {
            history.against = 0;
            return Turn::None;
        }
        history.against += 1;
        match outcome {
            Err(kind) if history.against >= check.unhealthy_after => {
                (history.unwell, history.against) = (Some((Utc::now(), kind)), 0);
                let before = self.out.fetch_or(UNWELL, Ordering::AcqRel);
                self.part();
                if before == 0 { Turn::Out } else { Turn::None }
            }
            Ok(()) if history.against >= check.healthy_after => {
                (history.unwell, history.against) = (None, 0);
                self.let_in(UNWELL)
            }
            _ => Turn::None,
        }
    }

    fn let_in(&self, why: u8) -> Turn {
        let before = self.out.fetch_and(!why, Ordering::AcqRel);
        if before == why { Turn::Back } else { Turn::None }
    }

    /// Why it is left out.
    pub(super) fn out(&self) -> Option<TargetOut> {
        let history = self.history.lock();
        let by_check =
            history.unwell.map(|(since, kind)| TargetOut { by: TargetFault::Check, kind, since, next_trial: None });
        by_check.or_else(|| {
            let Ejected { since, until, kind, .. } = history.ejected?;
            Some(TargetOut { by: TargetFault::Requests, kind, since, next_trial: Some(until) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(([127, 0, 0, 1], 1).into())
    }

    fn lasts(endpoint: &Endpoint) -> u128 {
        endpoint.history.lock().ejected.unwrap().lasts.as_millis()
    }

    #[test]
    fn failures_in_a_row_leave_it_out_until_a_trial_succeeds() {
        let (endpoint, ejection) = (endpoint(), Ejection { failures: 3, ms: 0 });
        assert!(!endpoint.failed(ejection) && !endpoint.failed(ejection));
        endpoint.answered();
        assert!(!endpoint.failed(ejection) && !endpoint.failed(ejection) && endpoint.failed(ejection));
        let group = endpoint.group();
        assert_eq!(endpoint.eject(ejection, "closed"), Turn::Out);
        assert!(!endpoint.is_well() && endpoint.group() != group);
        assert_eq!(endpoint.out().map(|out| (out.by, out.kind)), Some((TargetFault::Requests, "closed")));
        // One at a time.
        assert!(endpoint.take_trial() && !endpoint.take_trial());
        endpoint.give_back();
        assert!(endpoint.take_trial());
        assert_eq!(endpoint.eject(ejection, "closed"), Turn::Longer);
        assert!(endpoint.take_trial());
        assert_eq!(endpoint.readmit(), Turn::Back);
        assert!(endpoint.is_well() && !endpoint.take_trial());
        assert_eq!(endpoint.out(), None);
    }

    #[test]
    fn each_time_is_twice_as_long_up_to_ten_times() {
        let (endpoint, ejection) = (endpoint(), Ejection { failures: 1, ms: 60_000 });
        for expected in [1, 2, 4, 8, 10, 10] {
            endpoint.eject(ejection, "closed");
            assert_eq!(lasts(&endpoint), expected * 60_000);
            assert!(!endpoint.take_trial());
        }
        // It has just come back.
        endpoint.readmit();
        endpoint.eject(ejection, "closed");
        assert_eq!(lasts(&endpoint), 600_000);
        endpoint.readmit();
        endpoint.history.lock().returned =
            Some((Duration::ZERO, Instant::now().checked_sub(Duration::from_millis(1)).unwrap()));
        endpoint.eject(ejection, "closed");
        assert_eq!(lasts(&endpoint), 60_000);
        for _ in 0..40 {
            endpoint.eject(ejection, "closed");
        }
        assert_eq!(lasts(&endpoint), 600_000);
    }

    #[test]
    fn checks_count_in_a_row() {
        let endpoint = endpoint();
        let check = HealthCheck { healthy_after: 2, unhealthy_after: 2, ..HealthCheck::default() };
        let checked = |outcome: Result<(), &'static str>| endpoint.checked(outcome, &check);
        assert_eq!(checked(Err("status")), Turn::None);
        assert_eq!(checked(Ok(())), Turn::None);
        assert_eq!(checked(Err("status")), Turn::None);
        assert!(endpoint.is_well());
        assert_eq!(checked(Err("read_timeout")), Turn::Out);
        assert_eq!(endpoint.out().map(|out| (out.by, out.kind)), Some((TargetFault::Check, "read_timeout")));
        // No request tries what checks have found.
        assert!(!endpoint.take_trial());
        // Ejected besides, it needs both to come back.
        assert_eq!(endpoint.eject(Ejection { failures: 1, ms: 0 }, "closed"), Turn::None);
        assert!(!endpoint.take_trial());
        assert_eq!((checked(Ok(())), checked(Ok(()))), (Turn::None, Turn::None));
        assert!(endpoint.take_trial());
        assert_eq!(endpoint.readmit(), Turn::Back);
        endpoint.eject(Ejection { failures: 1, ms: 60_000 }, "closed");
        endpoint.only(false, false);
        assert!(endpoint.is_well());
    }
}
