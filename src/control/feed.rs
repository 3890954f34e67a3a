//! Following what other nodes, and the command line, write; ending what has a term, and forgetting what has expired.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{error, info, warn};

use super::{Control, Error, load};
use crate::{
    model::{Timestamp, UserId},
    store::{Bell, activity, audit, changes, changes::Change, revocations, sessions, users},
    telemetry::logs::SECURITY,
};

/// How often the feed is looked at without a bell.
const POLL: Duration = Duration::from_secs(1);
/// How often expired rows are removed.
const CLEANING: Duration = Duration::from_mins(1);
/// Rows removed in one statement, so that no lock is held for long.
const BATCH: u32 = 1_000;
/// Batches of one cleaning; what is left waits for the next.
const BATCHES: u32 = 100;
/// Changes kept for nodes that were away.
const KEPT_REVISIONS: i64 = 100_000;

/// Assignments ended in one change: each of its users is read again within it.
const ENDED_AT_ONCE: u32 = 500;

/// When the next assignment ends.
#[derive(Debug, Default)]
struct Alarm {
    at: Option<Timestamp>,
    /// As of this revision: whatever gives an assignment another end moves it.
    revision: Option<i64>,
    failing: bool,
}

impl Alarm {
    /// How long to sleep, at most [`POLL`].
    fn delay(&self, now: Timestamp) -> Duration {
        let left = self.at.map_or(i64::MAX, |at| at.unix_millis().saturating_sub(now.unix_millis()).saturating_add(1));
        u64::try_from(left).map_or(Duration::ZERO, Duration::from_millis).min(POLL)
    }
}

/// How long is kept what nobody needs for deciding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// Records of the audit trail; for ever, if it is not said.
    pub audit: Option<Duration>,
}

/// What one round of cleaning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Expired revocations.
    pub revocations: u64,
    /// Expired or ended sessions.
    pub sessions: u64,
    /// Old entries of the feed.
    pub changes: u64,
    /// What users did too long ago.
    pub activity: u64,
    /// Old records of the audit trail.
    pub audit_records: u64,
}

impl Control {
    /// Follows the feed for ever: PostgreSQL rings a bell, and a poll every second is the belt. Ends assignments when
    /// their time has come, without waiting for a request.
    ///
    /// A failure keeps the last good snapshot, is logged and counted, and is tried again.
    pub async fn follow(&self, retention: Retention) {
        let mut bell: Option<Bell> = None;
        let mut failing = false;
        let mut alarm = Alarm::default();
        let mut cleaning = interval(CLEANING);
        cleaning.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if bell.is_none() {
                bell = self.0.db.bell().await.unwrap_or_default();
            }
            let next_poll = Instant::now() + alarm.delay(Timestamp::now());
            let rung = async {
                match &mut bell {
                    Some(bell) => bell.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(next_poll) => {}
                outcome = rung => if outcome.is_err() {
                    bell = None;
                    sleep_until(next_poll).await;
                },
                _ = cleaning.tick() => {
                    self.clean_and_log(retention).await;
                    if let Err(error) = self.retire_keys().await {
                        warn!(error = %describe(&error), "keys whose tokens have all expired could not be retired");
                    }
                }
            }
            match self.apply_feed().await {
                Ok(_) if failing => {
                    failing = false;
                    info!("following the database again");
                }
                Ok(_) => {}
                Err(error) => {
                    self.0.metrics.snapshot_failed();
                    if !failing {
                        error!(error = %describe(&error), "cannot follow the database; deciding by the last good snapshot");
                    }
                    failing = true;
                }
            }
            self.end_on_time(&mut alarm).await;
        }
    }

    /// Applies what has not been seen of the feed; returns whether there was anything.
    ///
    /// # Errors
    /// The database is away, or what others wrote does not compile here: users and revocations are applied then,
    /// and the last good rules stay.
    pub async fn apply_feed(&self) -> Result<bool, Error> {
        let inner = &self.0;
        let mut tx = inner.db.read().await?;
        let keys_due = inner.keys_due.load(Ordering::Acquire);
        if !keys_due && changes::current(&mut tx).await? <= inner.snapshots.load().revisions() {
            return Ok(false);
        }
        drop(tx);
        let _turn = Arc::clone(&inner.turn).lock_owned().await;
        let mut tx = inner.db.read().await?;
        let revisions = changes::current(&mut tx).await?;
        let base = inner.snapshots.load();
        let now = Timestamp::now();
        if revisions <= base.revisions() {
            inner.follow_keys(&mut tx, now).await?;
            return Ok(false);
        }
        let started = std::time::Instant::now();
        let caught = load::catch_up(&mut tx, &base, &inner.fixed.load(), revisions, now).await?;
        inner.keys_due.fetch_or(caught.keys, Ordering::AcqRel);
        let keys = inner.follow_keys(&mut tx, now).await;
        inner.advance(caught.next, started.elapsed());
        keys?;
        match caught.fault {
            Some(fault) => Err(fault.into()),
            None => Ok(true),
        }
    }

    async fn end_on_time(&self, alarm: &mut Alarm) {
        let outcome = self.end_due(alarm).await;
        if let Err(error) = &outcome {
            // Looked up again at the next poll, not at once.
            (alarm.at, alarm.revision) = (None, None);
            if !alarm.failing {
                warn!(error = %describe(error), "assignments that have ended could not be removed; they do not count");
            }
        }
        alarm.failing = outcome.is_err();
    }

    /// Ends what is due, and finds out when to look again.
    async fn end_due(&self, alarm: &mut Alarm) -> Result<(), Error> {
        loop {
            let revision = self.0.snapshots.load().revision();
            if alarm.revision != Some(revision) {
                alarm.at = users::next_end(&mut self.0.db.read().await?).await?;
                alarm.revision = Some(revision);
            }
            if alarm.at.is_none_or(|at| at > Timestamp::now()) {
                return Ok(());
            }
            if self.end_assignments().await? == 0 {
                // Another node was first.
                (alarm.at, alarm.revision) = (None, None);
                return Ok(());
            }
        }
    }

    /// Ends one batch of the assignments whose time is over; returns how many. Decisions leave them out in any case:
    /// this tells everything else, and other nodes.
    ///
    /// # Errors
    /// The database is away.
    pub async fn end_assignments(&self) -> Result<usize, Error> {
        let mut write = self.write().await?;
        let now = write.now();
        let ended = users::remove_ended(write.tx(), now, ENDED_AT_ONCE).await?;
        let users: BTreeSet<UserId> = ended.iter().map(|(user, _)| *user).collect();
        for user in users {
            write.touch(Change::User(user));
        }
        write.commit(()).await?;
        for (user, role) in &ended {
            info!(target: SECURITY, { user.id = %user, role.id = %role }, "assignment ended");
        }
        Ok(ended.len())
    }

    /// Removes one batch of what has expired.
    ///
    /// # Errors
    /// The database is away.
    pub async fn clean(&self, retention: Retention) -> Result<Housekeeping, Error> {
        let now = Timestamp::now();
        let forgotten = load::forgotten_before(now);
        self.0.snapshots.forget_expired(forgotten);
        let mut tx = self.0.db.write().await?;
        let removed = Housekeeping {
            revocations: revocations::purge(&mut tx, forgotten, BATCH).await?,
            sessions: sessions::purge(&mut tx, now, BATCH).await?,
            changes: changes::purge(&mut tx, self.0.snapshots.load().revision() - KEPT_REVISIONS).await?,
            activity: activity::purge(&mut tx, self.0.notes.forgotten_until(now), BATCH).await?,
            audit_records: match retention.audit {
                Some(kept) => audit::purge(&mut tx, now.minus(kept), BATCH).await?,
                None => 0,
            },
        };
        tx.commit().await?;
        Ok(removed)
    }

    async fn clean_and_log(&self, retention: Retention) {
        for _ in 0..BATCHES {
            match self.clean(retention).await {
                Ok(removed) if removed == Housekeeping::default() => return,
                Ok(removed) => {
                    info!(?removed, "expired rows removed");
                    let most =
                        removed.revocations.max(removed.sessions).max(removed.activity).max(removed.audit_records);
                    if most < u64::from(BATCH) {
                        return;
                    }
                }
                Err(error) => {
                    warn!(error = %describe(&error), "expired rows could not be removed");
                    return;
                }
            }
        }
    }
}

/// The error with its sources.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_rings_on_time_and_no_later_than_a_poll() {
        let now = Timestamp::now();
        let delay = |at| Alarm { at, ..Alarm::default() }.delay(now);
        assert_eq!(delay(None), POLL);
        assert_eq!(delay(Some(now.plus_seconds(60))), POLL);
        assert_eq!(delay(Some(now)), Duration::from_millis(1));
        assert_eq!(delay(Some(now.plus_seconds(-5))), Duration::ZERO);
    }
}
