//! Threads that do nothing but hash.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::Error;

/// How far behind others the threads stand: where cores are short, one of them gets a thirtieth of what a thread of the
/// data plane gets.
const NICENESS: i32 = 15;

type Work = Box<dyn FnOnce() + Send>;

/// So many threads, and a bounded queue before them.
#[derive(Debug)]
pub(super) struct Threads(Sender<Work>);

impl Threads {
    /// Starts them; they end with this value.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start(threads: usize, queue: usize) -> Result<Self, Error> {
        let (sender, receiver) = bounded::<Work>(queue);
        for number in 0..threads {
            let receiver = receiver.clone();
            let thread = thread::Builder::new().name(format!("hash-{number}"));
            thread.spawn(move || serve(&receiver)).map_err(|error| Error::Failed(error.to_string()))?;
        }
        Ok(Self(sender))
    }

    /// Has `work` done, unless whoever waits for it goes away before its turn comes.
    ///
    /// # Errors
    /// `Busy` when the queue is full, `Failed` when the work panicked.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let (answer, outcome) = oneshot::channel();
        let work = Box::new(move || {
            if !answer.is_closed() {
                let _gone_meanwhile = answer.send(work());
            }
        });
        self.0.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::Failed("no thread is left".to_owned()),
        })?;
        outcome.await.map_err(|_| Error::Failed("the work panicked".to_owned()))
    }
}

fn serve(works: &Receiver<Work>) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::warn!(%error, "hashing passwords is not put behind other work");
    }
    for work in works {
        let _told_to_who_waits = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_that_panics_takes_no_thread_along() {
        let threads = Threads::start(1, 4).unwrap();
        let failed = threads.run(|| panic!("on purpose")).await;
        assert!(matches!(failed, Err::<(), _>(Error::Failed(_))), "{failed:?}");
        assert_eq!(threads.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let threads = Arc::new(Threads::start(1, 8).unwrap());
        let begun = Arc::new(AtomicUsize::new(0));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let threads = Arc::clone(&threads);
            async move { threads.run(move || held.recv().is_ok()).await }
        });
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (threads, begun) = (Arc::clone(&threads), Arc::clone(&begun));
                tokio::spawn(async move { threads.run(move || begun.fetch_add(1, Ordering::SeqCst)).await })
            })
            .collect();
        // Each comes to stand in the queue.
        tokio::task::yield_now().await;
        for other in others {
            other.abort();
            assert!(other.await.unwrap_err().is_cancelled());
        }
        release.send(()).unwrap();
        assert!(first.await.unwrap().unwrap());
        assert_eq!(threads.run(|| 1).await.unwrap(), 1);
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }
}
