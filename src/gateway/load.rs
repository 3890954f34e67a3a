//! How much is going on: requests in flight and open connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counts of one listener.
#[derive(Debug, Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    connections: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    changed: Notify,
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

    /// Admits a connection, unless there are as many already as allowed; zero is no limit.
    pub(super) fn connection(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        max: usize,
        per_address: usize,
    ) -> Option<Slot> {
        // Counted first and given back on drop: two that arrive together cannot both take the last place.
        let mut slot = Slot { load: Arc::clone(self), address: None };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= max && max > 0 {
            return None;
        }
        if let (Some(address), true) = (address, per_address > 0) {
            let mut counts = self.by_address.lock();
            let count = counts.entry(address).or_insert(0);
            if *count >= per_address {
                return None;
            }
            *count += 1;
            slot.address = Some(address);
        }
        Some(slot)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn idle(&self) -> bool {
        self.requests() == 0 && self.connections.load(Ordering::Relaxed) == 0
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
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let there = Some(IpAddr::from([127, 0, 0, 2]));
        let first = load.connection(here, 2, 1);
        assert!(first.is_some());
        assert!(load.connection(here, 2, 1).is_none());
        let second = load.connection(there, 2, 1);
        assert!(second.is_some());
        assert!(load.connection(None, 2, 1).is_none());
        drop(first);
        assert!(load.connection(here, 2, 1).is_some());
        drop(second);
        assert!(load.drained(Duration::ZERO).await);
        assert!(load.by_address.lock().is_empty());
        let request = load.request();
        assert!(!load.drained(Duration::from_millis(1)).await);
        drop(request);
        assert!(load.drained(Duration::ZERO).await);
    }
}
