//! Work that takes long, a few pieces of it at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;

/// Lets a few at a time do what takes long, on threads that nobody waits for; others wait.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// `count` at a time.
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for a turn, which ends when it is dropped.
    pub(super) async fn take(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.0).acquire_owned().await.map_err(Error::internal)
    }

    /// Does `work` when it is its turn.
    pub(super) async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = self.take().await?;
        Self::work_within(turn, work).await
    }

    /// Does `work` within a turn that was taken before.
    pub(super) async fn work_within<T: Send + 'static>(
        turn: OwnedSemaphorePermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        // Who asked may go away; the work goes on, and so does its turn.
        let done = tokio::task::spawn_blocking(move || {
            let _until_it_is_done = turn;
            work()
        });
        done.await.map_err(Error::internal)
    }
}
