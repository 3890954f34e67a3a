use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::OwnedMutexGuard;

use super::{Control, Error, Inner, load};
use crate::{
    model::{Timestamp, rules::Revisions},
    policy::Snapshot,
    store::{Tx, changes, changes::Change},
    telemetry::logs::SECURITY,
};

/// A change in the making; dropping it undoes it.
#[must_use = "a write that is not committed is undone"]
#[derive(Debug)]
pub struct Write {
    inner: Arc<Inner>,
    turn: OwnedMutexGuard<()>,
    tx: Tx,
    base: Arc<Snapshot>,
    revisions: Revisions,
    changes: Vec<Change>,
    now: Timestamp,
}

/// A change that is committed and enforced.
#[derive(Debug)]
pub struct Written<T> {
    /// What it made.
    pub value: T,
    /// The rules' revision that is enforced now.
    pub policy_revision: i64,
}

impl Control {
    /// Starts a change: locks the revisions, and applies what other nodes did in the meantime.
    ///
    /// # Errors
    /// The database is away, or what others wrote cannot be applied.
    pub async fn write(&self) -> Result<Write, Error> {
        let inner = Arc::clone(&self.0);
        let turn = Arc::clone(&inner.turn).lock_owned().await;
        let now = Timestamp::now();
        let mut tx = inner.db.write().await?;
        let revisions = changes::lock(&mut tx).await?;
        let mut base = inner.snapshots.load();
        let committed = Revisions { revision: revisions.revision - 1, ..revisions };
        if committed > base.revisions() {
            let started = Instant::now();
            let (next, fault) = load::catch_up(&mut tx, &base, &inner.fixed, committed, now).await?;
            inner.advance(next, started.elapsed());
            if let Some(fault) = fault {
                return Err(fault.into());
            }
            base = inner.snapshots.load();
        }
        Ok(Write { inner, turn, tx, base, revisions, changes: Vec::new(), now })
    }
}

impl Inner {
    pub(super) fn advance(&self, next: Snapshot, rebuild: Duration) {
        let revision = next.revision();
        let before = self.snapshots.load().policy_revision();
        let policy_revision = next.policy_revision();
        if self.snapshots.advance(next) {
            if policy_revision > before {
                tracing::info!(target: SECURITY, revision, policy_revision, "rules changed");
            }
            self.metrics.snapshot_activated(revision, rebuild);
        }
    }
}

impl Write {
    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// The moment of the change.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The snapshot before the change.
    pub fn base(&self) -> &Arc<Snapshot> {
        &self.base
    }

    /// Notes what the transaction has changed; what is not noted is not enforced.
    pub fn touch(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Compiles, commits and enforces the change; without a noted change, only commits.
    ///
    /// # Errors
    /// `Rejected` when the rules do not compile: nothing is written then. `Store` when the database refuses.
    pub async fn commit<T>(mut self, value: T) -> Result<Written<T>, Error> {
        let started = Instant::now();
        if self.changes.is_empty() {
            // The counter must not move without an entry in the feed, or followers would look for one.
            changes::unlock(&mut self.tx).await?;
            self.tx.commit().await?;
            return Ok(Written { value, policy_revision: self.base.policy_revision() });
        }
        if self.changes.contains(&Change::Rules) {
            self.revisions.policy_revision = changes::bump_policy(&mut self.tx).await?;
        }
        for change in &self.changes {
            changes::append(&mut self.tx, self.revisions.revision, change, self.now).await?;
        }
        let built =
            load::after(&mut self.tx, &self.base, &self.inner.fixed, self.revisions, &self.changes, self.now).await;
        if matches!(built, Err(Error::Rejected(_))) {
            self.inner.metrics.snapshot_failed();
        }
        let next = built?;
        self.tx.ring(self.revisions.revision).await?;
        let rebuild = started.elapsed();
        let policy_revision = self.revisions.policy_revision;
        // A client that goes away drops this future; between commit and swap that must not happen.
        let finish = tokio::spawn(async move {
            let Self { inner, turn, tx, .. } = self;
            tx.commit().await?;
            inner.advance(next, rebuild);
            drop(turn);
            Ok::<(), Error>(())
        });
        finish.await.map_err(|_| Error::Interrupted)??;
        Ok(Written { value, policy_revision })
    }
}
