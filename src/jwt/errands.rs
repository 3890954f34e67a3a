//! What has to be found out before a token can be judged: its issuer's newest keys, or whose account it is for.
//!
//! Whoever judges tokens does not know who finds it out, and waits for a bounded time only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::model::Claims;

/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait at once for either; others are refused as if nothing could be found out.
const MOST_WAITING: usize = 256;

/// Something to be found out.
#[derive(Clone, Debug)]
pub enum Errand {
    /// The newest keys of the issuer with this `iss`.
    Keys(Arc<str>),
    /// Whose account this is, or is to be: what a verified token of another issuer says.
    Account(Arc<Claims>),
}

/// An errand, and who waits for it: dropping it says that nothing was found out.
#[derive(Debug)]
pub struct Waiting<T> {
    /// What about.
    pub what: T,
    done: oneshot::Sender<()>,
}

impl<T> Waiting<T> {
    /// Says that asking again may give another answer.
    pub fn done(self) {
        let _gone = self.done.send(());
    }

    /// Whether nobody waits any more.
    pub fn is_given_up(&self) -> bool {
        self.done.is_closed()
    }
}

/// Sends errands.
#[derive(Clone, Debug)]
pub struct Errands {
    keys: mpsc::Sender<Waiting<Arc<str>>>,
    accounts: mpsc::Sender<Waiting<Arc<Claims>>>,
    /// Apart: errands about keys cost nothing to cause, those about accounts a valid token.
    waiting: [Arc<Semaphore>; 2],
}

/// Where errands arrive.
#[derive(Debug)]
pub struct Arrivals {
    /// Those about keys.
    pub keys: mpsc::Receiver<Waiting<Arc<str>>>,
    /// Those about accounts.
    pub accounts: mpsc::Receiver<Waiting<Arc<Claims>>>,
}

impl Errands {
    /// Both ends. Where one of the arrivals is dropped, its errands fail at once.
    pub fn new() -> (Self, Arrivals) {
        let (to_keys, keys) = mpsc::channel(MOST_WAITING);
        let (to_accounts, accounts) = mpsc::channel(MOST_WAITING);
        let places = || Arc::new(Semaphore::new(MOST_WAITING));
        (Self { keys: to_keys, accounts: to_accounts, waiting: [places(), places()] }, Arrivals { keys, accounts })
    }

    /// Has something found out; returns whether it is worth asking again.
    pub async fn run(&self, errand: Errand) -> bool {
        let [for_keys, for_accounts] = &self.waiting;
        let places = if matches!(errand, Errand::Keys(_)) { for_keys } else { for_accounts };
        let Ok(_place) = places.try_acquire() else { return false };
        let (done, told) = oneshot::channel();
        let sent = match errand {
            Errand::Keys(what) => self.keys.try_send(Waiting { what, done }).is_ok(),
            Errand::Account(what) => self.accounts.try_send(Waiting { what, done }).is_ok(),
        };
        sent && matches!(tokio::time::timeout(PATIENCE, told).await, Ok(Ok(())))
    }
}
