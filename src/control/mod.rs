//! The write path: one transaction, a new revision, a compile from the same transaction, commit, swap, answer.
//!
//! ## Why
//! A change is enforced on this node before it is acknowledged, and a set of rules that does not compile is
//! never committed. Writers are put in one order by the row that holds the revisions; a writer first applies
//! what it has not yet seen of the feed, so that a snapshot never skips a revision.

mod activity;
mod demo;
mod feed;
mod guard;
pub mod import;
pub mod keys;
mod load;
mod newcomers;
mod origin;
mod rehearsal;
mod seed;
mod write;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Mutex;

pub use demo::{DEMO_ACCOUNTS, seed_demo};
pub use feed::{Housekeeping, Retention};
pub use guard::ESCALATE;
pub use origin::Origin;
pub use rehearsal::{Rehearsal, Rehearsed};
pub use seed::{NewAccount, ROLE_TEMPLATES, RoleTemplate, Seeded, is_system_permission, seed};
pub use write::{EntityId, Scene, Write, Written};

use rehearsal::Stage;

use crate::{
    jwt::{Keyring, KeyringError},
    model::{Issuer, Issuers, Timestamp, rules::PolicyText},
    policy::{CompileError, Fixed, SnapshotHandle},
    store::{self, Db, Tx},
    telemetry::Metrics,
};

/// Why a change did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused, or is away.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The rules would not compile; nothing was written.
    #[error(transparent)]
    Rejected(#[from] CompileError),
    /// What others wrote does not compile here, so that nothing can be written upon it; it may compile on other nodes.
    #[error("this node cannot follow the others: {0}")]
    Behind(#[source] CompileError),
    /// Who asks may not do this, or may not any more.
    #[error("not permitted: {0}")]
    Forbidden(&'static str),
    /// Somebody would gain, or is about to be changed who has, more than the actor holds; nothing was written.
    #[error("more than the actor holds")]
    Escalation,
    /// Nobody would be left who can administer everything; nothing was written.
    #[error("the last active superuser")]
    LastSuperuser,
    /// The super role would be gone, inactive, or without a permission; nothing was written.
    #[error("the super role")]
    SuperRole,
    /// The entity or the rules are not those that the client saw; nothing was written.
    #[error("the precondition failed")]
    Stale,
    /// The write was interrupted; whether it took place shows in the feed.
    #[error("the write was interrupted")]
    Interrupted,
    /// A key for tokens cannot be made or opened; nothing was written.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// It cannot be rehearsed, and nothing was written.
    #[error("the write cannot be rehearsed")]
    Unrehearsed,
}

/// Changes the database and the snapshot together.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    /// What no database says; exchanged by whoever has the turn.
    fixed: ArcSwap<Fixed>,
    files_fault: ArcSwapOption<String>,
    snapshots: SnapshotHandle,
    /// Held by whoever makes the next snapshot.
    turn: Arc<Mutex<()>>,
    notes: activity::Notes,
    on_issuers: OnIssuers,
    metrics: Arc<Metrics>,
    /// Our own keys, where there is a server.
    keyring: OnceLock<Keyring>,
    /// Whether others did something to keys that is not in force here.
    keys_due: AtomicBool,
    /// There when its writes are not to happen.
    stage: Option<Stage>,
}

/// Whom to tell which issuers are trusted, before a change of them is acknowledged.
#[derive(Default)]
struct OnIssuers(OnceLock<Follower>);

type Follower = Box<dyn Fn(&Issuers) + Send + Sync>;

impl std::fmt::Debug for OnIssuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnIssuers")
    }
}

impl Control {
    /// Loads everything and compiles the first snapshot.
    ///
    /// # Errors
    /// The database cannot be read, or its rules do not compile.
    pub async fn start(db: Db, fixed: Fixed, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let started = Instant::now();
        let mut tx = db.read().await?;
        let snapshot = load::everything(&mut tx, &fixed, Timestamp::now()).await?;
        drop(tx);
        metrics.snapshot_activated(snapshot.revision(), started.elapsed());
        let snapshots = SnapshotHandle::new(snapshot);
        Ok(Self(Arc::new(Inner {
            db,
            fixed: ArcSwap::from_pointee(fixed),
            files_fault: ArcSwapOption::empty(),
            snapshots,
            turn: Arc::default(),
            notes: activity::Notes::default(),
            on_issuers: OnIssuers::default(),
            metrics,
            keyring: OnceLock::new(),
            keys_due: AtomicBool::new(false),
            stage: None,
        })))
    }

    /// Tells `follow` which issuers are trusted, now and whenever that changes. There is one who follows.
    pub async fn on_issuers(&self, follow: impl Fn(&Issuers) + Send + Sync + 'static) {
        // No write comes between what is looked at and what is told.
        let _turn = self.0.turn.lock().await;
        if self.0.on_issuers.0.set(Box::new(follow)).is_ok() {
            self.0.tell_issuers(&self.0.snapshots.load());
        }
    }

    /// Issuers that stand in the settings.
    pub fn configured_issuers(&self) -> Vec<Arc<Issuer>> {
        self.0.fixed.load().issuers.clone()
    }

    /// Where the current snapshot is found.
    pub fn snapshots(&self) -> &SnapshotHandle {
        &self.0.snapshots
    }

    /// The database, for looking at its health.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// Exchanges the operator's policy files, as any other change of rules.
    ///
    /// # Errors
    /// The database is away, the files do not compile or speak of what is not there: those from before stay.
    pub async fn put_files(&self, files: Arc<[PolicyText]>) -> Result<(), Error> {
        let before = self.files();
        let changed: Vec<PolicyText> = files.iter().filter(|file| !before.contains(file)).cloned().collect();
        let write = self.write_with_files(files).await?;
        let base = Arc::clone(write.base());
        let reviewed = tokio::task::spawn_blocking(move || base.review_all(&changed));
        if let Some(fault) = reviewed.await.map_err(|_| Error::Interrupted)??.into_iter().next() {
            return Err(CompileError::Policy(fault).into());
        }
        write.commit(()).await?;
        Ok(())
    }

    /// Notes why the operator's policy files as they are now are not those in force.
    pub fn note_files(&self, fault: Option<String>) {
        self.0.files_fault.store(fault.map(Arc::new));
    }

    /// Why the operator's policy files are not in force as they are, if so.
    pub fn files_fault(&self) -> Option<Arc<String>> {
        self.0.files_fault.load_full()
    }

    /// The operator's policy files that are in force.
    pub fn files(&self) -> Arc<[PolicyText]> {
        Arc::clone(&self.0.fixed.load().files)
    }

    /// A transaction that reads.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(&self) -> Result<Tx, Error> {
        Ok(self.0.db.read().await?)
    }

    /// A transaction for rows that no snapshot knows, such as sessions: it moves no revision.
    ///
    /// # Errors
    /// The database is away; `Unrehearsed` in a rehearsal, where nothing is written.
    pub async fn plain_write(&self) -> Result<Tx, Error> {
        if self.0.stage.is_some() {
            return Err(Error::Unrehearsed);
        }
        Ok(self.0.db.write().await?)
    }
}
