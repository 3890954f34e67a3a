//! Upstreams at work: their targets, names, health and connections.
//!
//! Requests find what they need in a map that is exchanged as a whole ([`Upstreams::fleet`]); a task on the thread that
//! watches ([`keeper`]) asks for names and health, and forgets what is gone.

mod budget;
mod checks;
mod endpoint;
mod fleet;
mod keeper;
mod names;
mod ring;
mod schedule;
mod secure;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::model::{Upstream, UpstreamId};
use crate::policy::Snapshot;
use crate::telemetry::Metrics;

pub(super) use fleet::{Chosen, Fleet, Stood};
pub(super) use keeper::keep;
use names::Names;
use secure::Certificates;
pub(super) use secure::{Secure, certificates};

/// A name that has no address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's name cannot be resolved")]
pub(super) struct Unresolved;

type Fleets = HashMap<UpstreamId, Arc<Fleet>, foldhash::fast::RandomState>;

/// All upstreams.
#[derive(Debug)]
pub(super) struct Upstreams {
    fleets: ArcSwap<Fleets>,
    /// Held while the map is exchanged.
    changing: Mutex<()>,
    names: Names,
    certificates: Certificates,
    metrics: Arc<Metrics>,
    /// Told when an upstream has changed, or a name has been asked for.
    changed: Notify,
    /// Told when the keeper has something new to look after.
    wake: Notify,
}

impl Upstreams {
    /// No upstream yet; names are asked for at `servers`, at the system's when there are none.
    pub(super) fn new(servers: Vec<SocketAddr>, certificates: Certificates, metrics: Arc<Metrics>) -> Self {
        Self {
            fleets: ArcSwap::default(),
            changing: Mutex::default(),
            names: Names::new(servers),
            certificates,
            metrics,
            changed: Notify::new(),
            wake: Notify::new(),
        }
    }

    /// `upstream` at work, by the rules of `revision` or newer ones.
    pub(super) fn fleet(&self, upstream: &Arc<Upstream>, revision: i64) -> Arc<Fleet> {
        if let Some(fleet) = self.fleets.load().get(&upstream.id)
            && is_current(fleet, upstream, revision)
        {
            return Arc::clone(fleet);
        }
        let _one_by_one = self.changing.lock();
        match self.current(upstream.id) {
            Some(fleet) if is_current(&fleet, upstream, revision) => fleet,
            before => self.renew(upstream, revision, before.as_deref()),
        }
    }

    /// The same with at least one address; waits while its names are asked for the first time.
    pub(super) async fn ready(&self, upstream: &Arc<Upstream>, revision: i64) -> Result<Arc<Fleet>, Unresolved> {
        let fleet = self.fleet(upstream, revision);
        if !fleet.is_empty() {
            return Ok(fleet);
        }
        let until = Instant::now() + upstream.timeouts.connect();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From now on nothing is missed.
            changed.as_mut().enable();
            let fleet = self.fleet(upstream, revision);
            if !fleet.is_empty() {
                return Ok(fleet);
            }
            if fleet.names.iter().all(|name| self.names.of(name).is_some()) {
                return Err(Unresolved);
            }
            timeout_at(until, changed).await.map_err(|_| Unresolved)?;
        }
    }

    fn current(&self, id: UpstreamId) -> Option<Arc<Fleet>> {
        self.fleets.load().get(&id).cloned()
    }

    /// Makes a fleet anew; the caller holds `changing`.
    fn renew(&self, upstream: &Arc<Upstream>, revision: i64, before: Option<&Fleet>) -> Arc<Fleet> {
        let fleet = Arc::new(Fleet::new(upstream, revision, before, &self.names, &self.certificates, &self.metrics));
        let mut fleets = Fleets::clone(&self.fleets.load());
        fleets.insert(upstream.id, Arc::clone(&fleet));
        self.fleets.store(Arc::new(fleets));
        self.changed.notify_waiters();
        self.wake.notify_one();
        fleet
    }

    /// Makes anew what uses a name whose addresses have changed.
    fn renamed(&self, name: &str) {
        let _one_by_one = self.changing.lock();
        for fleet in self.fleets.load_full().values() {
            if fleet.names.iter().any(|used| used == name) {
                self.renew(&fleet.upstream, fleet.revision, Some(fleet));
            }
        }
        self.changed.notify_waiters();
    }

    /// Brings what there is to what `snapshot` says.
    fn follow(&self, snapshot: &Snapshot) {
        let revision = snapshot.policy_revision();
        for upstream in snapshot.upstreams() {
            self.fleet(upstream, revision);
        }
        let _one_by_one = self.changing.lock();
        let known = self.fleets.load_full();
        let is_gone = |fleet: &Fleet| {
            let same = |upstream: &Arc<Upstream>| upstream.id == fleet.upstream.id;
            fleet.revision <= revision && !snapshot.upstream(&fleet.upstream.name).is_some_and(same)
        };
        let gone: Vec<UpstreamId> = known.iter().filter(|(_, fleet)| is_gone(fleet)).map(|(id, _)| *id).collect();
        if gone.is_empty() {
            return;
        }
        let mut fleets = Fleets::clone(&known);
        for id in gone {
            fleets.remove(&id);
            self.metrics.targets().forget(id.0);
        }
        self.fleets.store(Arc::new(fleets));
    }
}

/// Whether `fleet` is `upstream` as of `revision`, or newer: a request may have been decided just before a change.
fn is_current(fleet: &Fleet, upstream: &Arc<Upstream>, revision: i64) -> bool {
    Arc::ptr_eq(&fleet.upstream, upstream) || fleet.revision >= revision
}

#[cfg(test)]
mod tests;
