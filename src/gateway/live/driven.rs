//! Whoever drives a request, and how it learns that its answer shall end.
//!
//! ## Why
//! Pingora has no hook for a request that is idle, and the hook that sees an answer's head knows nothing of the task it
//! runs on. What both know is the task itself. So the signal is kept with it, which costs a request that is not listed
//! no more than a look.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until};

use crate::telemetry::Ended;

use super::super::peer::Peer;
use super::{Manner, Open};

/// How long an answer that shall end has for what it sends last.
const LEAVE: Duration = Duration::from_millis(500);
/// The codes of close frames (RFC 6455 7.4.1).
const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;

/// How often a request is looked at that has no answer yet, in turns that it was given: a head that comes byte by byte
/// gives it many, and one that does not come at all ends by its read timeout.
const LOOK_EVERY: u32 = 8;

tokio::task_local! {
    static SLOT: Slot;
}

/// What a task knows of its request.
#[derive(Default)]
struct Slot {
    signal: RefCell<Option<Signal>>,
    due: Cell<Option<Due>>,
}

/// When the head of an answer must have come.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Due {
    pub(in crate::gateway) at: Instant,
    /// Whether nothing else ends a wait in silence by then.
    pub(in crate::gateway) is_timed: bool,
}

/// The end of one answer that goes on.
struct Signal {
    told: oneshot::Receiver<()>,
    open: Arc<Open>,
    is_leaving: bool,
}

/// Drives a request until it is done, or its answer shall end: then it is dropped, after what it has to say last, and
/// `None` comes back. The same if its upstream takes too long for the head of an answer, unless `peer` can be made to
/// tell Pingora.
pub(in crate::gateway) async fn drive<T>(peer: Option<&Peer>, process: impl Future<Output = T>) -> Option<T> {
    let driven = async {
        let mut process = pin!(in_time(peer, process));
        let open = tokio::select! {
            biased;
            done = &mut process => return done,
            open = poll_fn(poll_told) => open,
        };
        let is_stopping = open.ended().is_some_and(|(cause, _)| cause == Ended::Stopping);
        match open.manner() {
            Manner::Cut => return None,
            Manner::Reset(peer) => {
                peer.reset();
                return None;
            }
            Manner::WebSocket(peer) => peer.part(if is_stopping { GOING_AWAY } else { POLICY_VIOLATION }),
            Manner::Grpc => {}
        }
        tokio::select! {
            biased;
            done = &mut process => done,
            () = sleep(LEAVE) => None,
        }
    };
    SLOT.scope(Slot::default(), driven).await
}

/// Drives `process` for as long as its answer is not overdue.
async fn in_time<T>(peer: Option<&Peer>, process: impl Future<Output = T>) -> Option<T> {
    let mut process = pin!(process);
    let mut turns = 0_u32;
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(done) = process.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        let Some(due) = SLOT.with(|slot| slot.due.get()) else { return Poll::Pending };
        if due.is_timed {
            ready!(timer.get_or_insert_with(|| Box::pin(sleep_until(due.at.into()))).as_mut().poll(context));
        } else {
            turns = turns.wrapping_add(1);
            if !turns.is_multiple_of(LOOK_EVERY) || Instant::now() < due.at {
                return Poll::Pending;
            }
        }
        expect_by(None);
        let Some(peer) = peer else { return Poll::Ready(None) };
        // Its connection fails at once when it is read from, by which Pingora learns.
        peer.overdue();
        process.as_mut().poll(context).map(Some)
    })
    .await
}

/// Has this task's request fail if the head of its answer is not there by then.
pub(in crate::gateway) fn expect_by(due: Option<Due>) {
    let _nobody = SLOT.try_with(|slot| slot.due.set(due));
}

/// Has this task's request end when `told` says so.
pub(super) fn opened(told: oneshot::Receiver<()>, open: Arc<Open>) {
    // Outside of any, as in a benchmark, nobody waits for it.
    let _nobody = SLOT.try_with(|slot| *slot.signal.borrow_mut() = Some(Signal { told, open, is_leaving: false }));
}

fn poll_told(context: &mut Context<'_>) -> Poll<Arc<Open>> {
    SLOT.with(|slot| {
        let mut slot = slot.signal.borrow_mut();
        let Some(signal) = &mut *slot else { return Poll::Pending };
        match Pin::new(&mut signal.told).poll(context) {
            Poll::Ready(Ok(())) => {
                signal.is_leaving = true;
                Poll::Ready(Arc::clone(&signal.open))
            }
            // Nobody can tell any more. It is not asked again: it would panic.
            Poll::Ready(Err(_)) => {
                *slot = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
}

/// Whether this task's request shall end.
pub(in crate::gateway) fn is_leaving() -> bool {
    SLOT.try_with(|slot| slot.signal.borrow().as_ref().is_some_and(|signal| signal.is_leaving)).unwrap_or(false)
}

/// Waits until this task's request shall end. Who drives it looks again then, so that nobody has to be woken.
pub(in crate::gateway) async fn leaving() {
    poll_fn(|_| if is_leaving() { Poll::Ready(()) } else { Poll::Pending }).await;
}
