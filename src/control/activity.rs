//! What users do with their accounts, kept for a while.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::{Mutex, Semaphore};
use tracing::{debug, warn};

use super::{Control, Error};
use crate::{
    model::Timestamp,
    store::{Tx, activity, activity::NewActivity},
};

/// Notes that may wait to be written; more are left out, as are those of a flood beyond what is kept.
const WAITING: usize = 256;
const DEFAULT_KEPT: Duration = Duration::from_hours(90 * 24);

/// For how long is kept what users do, and who waits to have it written.
#[derive(Debug)]
pub(super) struct Notes {
    kept: OnceLock<Duration>,
    waiting: Arc<Semaphore>,
    /// One at a time, so that a flood of failures takes one of the database's connections and no more.
    turn: Mutex<()>,
}

impl Default for Notes {
    fn default() -> Self {
        Self { kept: OnceLock::new(), waiting: Arc::new(Semaphore::new(WAITING)), turn: Mutex::default() }
    }
}

impl Notes {
    fn kept(&self) -> Duration {
        self.kept.get().copied().unwrap_or(DEFAULT_KEPT)
    }

    /// Up to when everything is forgotten.
    pub(super) fn forgotten_until(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(i64::try_from(self.kept().as_secs()).map_or(i64::MIN, |seconds| -seconds))
    }
}

impl Control {
    /// Keeps what users do for `kept`, or none of it if that is zero; said once, at the start.
    pub fn keep_activity_for(&self, kept: Duration) {
        let _said_before = self.0.notes.kept.set(kept);
    }

    /// Keeps what a user did, as part of the transaction in which it was done.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn keep_activity(&self, tx: &mut Tx, new: &NewActivity) -> Result<(), Error> {
        if self.0.notes.kept().is_zero() { Ok(()) } else { Ok(activity::insert(tx, new).await?) }
    }

    /// Keeps what was tried in a user's name, without making anybody wait: how long a refusal takes must not tell whether
    /// there is such a user.
    pub fn note_activity(&self, new: NewActivity) {
        if self.0.stage.is_some() {
            return;
        }
        let Ok(place) = Arc::clone(&self.0.notes.waiting).try_acquire_owned() else {
            debug!({ user.id = %new.user_id }, "too much happens at once; a note was left out");
            return;
        };
        let control = self.clone();
        tokio::spawn(async move {
            let _turn = control.0.notes.turn.lock().await;
            if let Err(error) = control.write_note(&new).await {
                warn!(%error, user.id = %new.user_id, "what was tried in a user's name could not be noted");
            }
            drop(place);
        });
    }

    async fn write_note(&self, new: &NewActivity) -> Result<(), Error> {
        let mut tx = self.plain_write().await?;
        self.keep_activity(&mut tx, new).await?;
        Ok(tx.commit().await?)
    }
}
