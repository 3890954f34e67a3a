//! Writes that do not happen: what they would lead to, found out by doing all of it but the commit.
//!
//! ## Why
//! A preview that reasoned about a write would be a second write path, and sooner or later wrong. So the same code runs,
//! on a [`Control`] of its own: its writes share one transaction that is rolled back, and what they lead to becomes the
//! snapshot of the rehearsal alone. Writers wait meanwhile, as they do for any other write; who never comes to write
//! makes nobody wait.

use std::sync::{Arc, OnceLock, atomic::AtomicBool};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{Control, Error, Inner, OnIssuers, activity};
use crate::{
    policy::{Snapshot, SnapshotHandle},
    store::Tx,
};

/// Where writes are rehearsed.
#[derive(Debug)]
pub(super) struct Stage {
    real: Control,
    scene: Mutex<Scene>,
}

/// How far a rehearsal has come.
#[derive(Debug, Default)]
enum Scene {
    #[default]
    Empty,
    /// With the real writers' turn.
    Begun(OwnedMutexGuard<()>, Arc<Snapshot>, Option<Tx>),
    Over,
}

impl Stage {
    /// The transaction, begun with the first write; `snapshots` then start from what is real.
    pub(super) async fn enter(&self, snapshots: &SnapshotHandle) -> Result<Tx, Error> {
        let mut scene = self.scene.lock().await;
        match &mut *scene {
            Scene::Empty => {
                let (turn, tx, base) = Box::pin(self.real.write()).await?.hand_over().await?;
                snapshots.advance(Snapshot::clone(&base));
                *scene = Scene::Begun(turn, base, None);
                Ok(tx)
            }
            // Without one, a write before this was not completed, and its statements are not undone by themselves.
            Scene::Begun(_, _, tx) => tx.take().ok_or(Error::Interrupted),
            Scene::Over => Err(Error::Interrupted),
        }
    }

    /// Gives the transaction back for the next write.
    pub(super) async fn leave(&self, tx: Tx) {
        if let Scene::Begun(_, _, place) = &mut *self.scene.lock().await {
            *place = Some(tx);
        }
    }
}

/// A rehearsal; dropping it undoes it.
#[derive(Debug)]
pub struct Rehearsal(Control);

/// What a rehearsal started from and what it led to.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// What is enforced.
    pub before: Arc<Snapshot>,
    /// What would be.
    pub after: Arc<Snapshot>,
}

impl Control {
    /// Starts a rehearsal. It takes nothing before its first write.
    pub fn rehearse(&self) -> Rehearsal {
        let inner = &self.0;
        Rehearsal(Self(Arc::new(Inner {
            db: inner.db.clone(),
            fixed: ArcSwap::new(inner.fixed.load_full()),
            files_fault: ArcSwapOption::empty(),
            snapshots: SnapshotHandle::new(Snapshot::clone(&inner.snapshots.load())),
            turn: Arc::default(),
            notes: activity::Notes::default(),
            on_issuers: OnIssuers::default(),
            metrics: Arc::clone(&inner.metrics),
            // What is rehearsed puts no key into force.
            keyring: OnceLock::new(),
            keys_due: AtomicBool::new(false),
            stage: Some(Stage { real: self.clone(), scene: Mutex::default() }),
        })))
    }
}

impl Rehearsal {
    /// Writes with this do not happen; each sees what those before it have done.
    pub fn control(&self) -> &Control {
        &self.0
    }

    /// Undoes everything, lets other writers go on, and tells what it would have led to.
    pub async fn end(self) -> Rehearsed {
        let after = self.0.snapshots().load();
        let scene = match &self.0.0.stage {
            Some(stage) => std::mem::replace(&mut *stage.scene.lock().await, Scene::Over),
            None => Scene::Over,
        };
        let Scene::Begun(turn, before, tx) = scene else { return Rehearsed { before: Arc::clone(&after), after } };
        if let Some(tx) = tx
            && let Err(error) = tx.rollback().await
        {
            tracing::debug!(%error, "a rehearsal was undone with its connection");
        }
        drop(turn);
        Rehearsed { before, after }
    }
}
