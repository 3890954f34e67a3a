//! How much is going on: requests in flight and open connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::http::network;
use crate::telemetry::Turned;

/// Counts of one listener.
#[derive(Debug, Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    connections: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    changed: Notify,
    shedding: AtomicBool,
}

/// One request in flight, until dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Load>);

/// One open connection, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    load: Arc<Load>,
    address: Option<IpAddr>,
}

impl Load {
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Admits a connection, unless there are as many already as allowed, or memory runs short; zero is no limit.
    pub(super) fn connection(self: &Arc<Self>, max: usize) -> Result<Slot, Turned> {
        // Counted first and given back on drop: two that arrive together cannot both take the last place.
        let slot = Slot { load: Arc::clone(self), address: None };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= max && max > 0 {
            return Err(Turned::Connections);
        }
        if self.is_shedding() { Err(Turned::Memory) } else { Ok(slot) }
    }

    /// Has new work refused, or accepted again.
    pub(super) fn shed(&self, is_shedding: bool) {
        self.shedding.store(is_shedding, Ordering::Relaxed);
    }

    /// Whether new work is refused.
    pub(super) fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn idle(&self) -> bool {
        self.requests() == 0 && self.connections() == 0
    }

    /// Waits until no request is in flight and no connection open; false when that took longer than `limit`.
    pub(super) async fn drained(&self, limit: Duration) -> bool {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.idle() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, wait).await.is_ok()
    }
}

impl Slot {
    /// Counts the connection as one of `address`, unless it has as many already as allowed; zero is no limit.
    pub(super) fn of(mut self, address: IpAddr, max: usize) -> Result<Self, Turned> {
        if max > 0 {
            let address = network(address);
            let mut counts = self.load.by_address.lock();
            let count = counts.entry(address).or_insert(0);
            if *count >= max {
                return Err(Turned::Address);
            }
            *count += 1;
            self.address = Some(address);
        }
        Ok(self)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut counts = self.load.by_address.lock();
            if let Some(count) = counts.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&address);
                }
            }
        }
        if self.load.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.load.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_bounded_and_given_back() {
        let load = Arc::new(Load::default());
        let here = IpAddr::from([127, 0, 0, 1]);
        let there = IpAddr::from([127, 0, 0, 2]);
        let from = |address, max| load.connection(max).and_then(|slot| slot.of(address, 1));
        let first = from(here, 2);
        assert!(first.is_ok());
        assert_eq!(from(here, 2).err(), Some(Turned::Address));
        let second = from(there, 2);
        assert!(second.is_ok());
        assert_eq!(from(there, 2).err(), Some(Turned::Connections));
        drop(first);
        load.shed(true);
        assert_eq!(from(here, 2).err(), Some(Turned::Memory));
        load.shed(false);
        assert!(from(here, 2).is_ok());
        drop(second);
        assert!(load.drained(Duration::ZERO).await);
        assert!(load.by_address.lock().is_empty());
        let request = load.request();
        assert!(!load.drained(Duration::from_millis(1)).await);
        drop(request);
        assert!(load.drained(Duration::ZERO).await);
    }
}
