//! Which address of an upstream is next: weighted round robin, and names resolved without blocking.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::model::{Upstream, UpstreamId};

/// How long resolved addresses are used before they are asked for again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a failure is remembered, so that a missing name costs one query a second and not one a request.
const FAILED: Duration = Duration::from_secs(1);
/// More names and upstreams than this are not remembered; far beyond what one gateway is configured with.
const MAX_ENTRIES: usize = 4_096;

/// A name that has no address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's name cannot be resolved")]
pub(super) struct Unresolved;

/// An address to connect to, and which target it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) address: SocketAddr,
    pub(super) target: usize,
}

#[derive(Debug, Default)]
pub(super) struct Upstreams {
    turns: RwLock<HashMap<UpstreamId, Arc<AtomicUsize>>>,
    names: RwLock<HashMap<String, Arc<Name>>>,
}

#[derive(Debug, Default)]
struct Name {
    known: Mutex<Known>,
    /// Held while the name is looked up: one query for all who wait.
    lookup: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    turn: usize,
    asked: Option<Instant>,
}

impl Upstreams {
    /// The next address of `upstream`; after a failed connection to target `after`, one of another target.
    pub(super) async fn choose(&self, upstream: &Upstream, after: Option<usize>) -> Result<Chosen, Unresolved> {
        let targets = &upstream.targets;
        let target = match after {
            Some(last) => (last + 1) % targets.len().max(1),
            None if targets.len() == 1 => 0,
            None => weighted(targets.iter().map(|target| target.weight), self.turn(upstream.id)),
        };
        let address = targets.get(target).ok_or(Unresolved)?.address.as_str();
        let address = match address.parse() {
            Ok(address) => address,
            Err(_) => self.resolve(address, Duration::from_millis(upstream.timeouts.connect_ms)).await?,
        };
        Ok(Chosen { address, target })
    }

    fn turn(&self, id: UpstreamId) -> usize {
        if let Some(turn) = self.turns.read().get(&id) {
            return turn.fetch_add(1, Ordering::Relaxed);
        }
        let mut turns = self.turns.write();
        if turns.len() >= MAX_ENTRIES {
            turns.clear();
        }
        turns.entry(id).or_default().fetch_add(1, Ordering::Relaxed)
    }

    async fn resolve(&self, name: &str, limit: Duration) -> Result<SocketAddr, Unresolved> {
        let entry = self.entry(name);
        if let Some(address) = entry.next(FRESH) {
            return Ok(address);
        }
        // Known but old: used once more while somebody asks again.
        if let Some(address) = entry.next(Duration::MAX) {
            let (entry, name) = (Arc::clone(&entry), name.to_owned());
            tokio::spawn(async move { entry.look_up(&name, limit).await });
            return Ok(address);
        }
        entry.look_up(name, limit).await;
        entry.next(Duration::MAX).ok_or(Unresolved)
    }

    fn entry(&self, name: &str) -> Arc<Name> {
        if let Some(entry) = self.names.read().get(name) {
            return Arc::clone(entry);
        }
        let mut names = self.names.write();
        if names.len() >= MAX_ENTRIES {
            names.clear();
        }
        Arc::clone(names.entry(name.to_owned()).or_default())
    }
}

impl Name {
    fn next(&self, age: Duration) -> Option<SocketAddr> {
        let mut known = self.known.lock();
        let addresses = Arc::clone(&known.addresses);
        if addresses.is_empty() || known.asked?.elapsed() > age {
            return None;
        }
        known.turn = known.turn.wrapping_add(1);
        addresses.get(known.turn % addresses.len()).copied()
    }

    async fn look_up(&self, name: &str, limit: Duration) {
        let _one = self.lookup.lock().await;
        let recent = {
            let known = self.known.lock();
            let pause = if known.addresses.is_empty() { FAILED } else { FRESH };
            known.asked.is_some_and(|asked| asked.elapsed() < pause)
        };
        if recent {
            return;
        }
        let found = tokio::time::timeout(limit, tokio::net::lookup_host(name)).await;
        let mut known = self.known.lock();
        known.asked = Some(Instant::now());
        match found {
            Ok(Ok(addresses)) => known.addresses = addresses.collect(),
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "an upstream's name was not resolved; the last addresses stay");
            }
            Err(_) => tracing::warn!(name, "an upstream's name was not resolved in time; the last addresses stay"),
        }
    }
}

fn weighted(weights: impl Iterator<Item = u32> + Clone, turn: usize) -> usize {
    let total: usize = weights.clone().map(|weight| weight as usize).sum();
    let mut place = turn % total.max(1);
    for (index, weight) in weights.enumerate() {
        match place.checked_sub(weight as usize) {
            Some(rest) => place = rest,
            None => return index,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Balance, HashOn, Protocol, Target, Timeouts};

    fn upstream(targets: &[(&str, u32)]) -> Upstream {
        let target = |(address, weight): &(&str, u32)| Target { address: (*address).to_owned(), weight: *weight };
        Upstream {
            id: UpstreamId(1),
            name: "a".try_into().unwrap(),
            is_active: true,
            protocol: Protocol::Http1,
            targets: targets.iter().map(target).collect(),
            balance: Balance::RoundRobin,
            hash_on: HashOn::default(),
            tls: None,
            host_header: None,
            timeouts: Timeouts::default(),
            retries: 0,
            retry_budget_percent: Upstream::RETRY_BUDGET_PERCENT,
            health_check: None,
            ejection: None,
            max_body_bytes: None,
        }
    }

    #[tokio::test]
    async fn weights_share_the_turns() {
        let upstreams = Upstreams::default();
        let upstream = upstream(&[("127.0.0.1:1", 1), ("127.0.0.1:2", 3)]);
        let mut counts = [0; 2];
        for _ in 0..8 {
            counts[upstreams.choose(&upstream, None).await.unwrap().target] += 1;
        }
        assert_eq!(counts, [2, 6]);
        assert_eq!(upstreams.choose(&upstream, Some(0)).await.unwrap().target, 1);
        assert_eq!(upstreams.choose(&upstream, Some(1)).await.unwrap().target, 0);
    }

    #[tokio::test]
    async fn names_are_resolved_or_not() {
        let upstreams = Upstreams::default();
        let local = upstream(&[("localhost:7", 1)]);
        for _ in 0..2 {
            assert_eq!(upstreams.choose(&local, None).await.unwrap().address.port(), 7);
        }
        assert_eq!(upstreams.choose(&upstream(&[("no-such-name.invalid:7", 1)]), None).await, Err(Unresolved));
        assert_eq!(upstreams.choose(&upstream(&[]), None).await, Err(Unresolved));
    }
}
