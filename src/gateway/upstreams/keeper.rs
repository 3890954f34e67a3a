//! What goes on beside requests: names are asked for, targets are checked, and what is gone is forgotten.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::shared::Shared;
use super::checks::{self, Checker};
use crate::model::{HealthCheck, UpstreamId};

/// How soon a change of the rules is noticed that no request has brought along.
const LOOK: Duration = Duration::from_millis(250);

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Default)]
struct Keeper {
    names: HashMap<String, Task>,
    checks: HashMap<UpstreamId, (HealthCheck, Task)>,
    checker: Option<Arc<Checker>>,
}

/// Looks after the upstreams for as long as it is polled.
pub(in crate::gateway) async fn keep(shared: Arc<Shared>) {
    let mut keeper = Keeper::default();
    let mut seen = None;
    loop {
        let snapshot = shared.snapshots.load();
        let revision = snapshot.policy_revision();
        if seen != Some(revision) {
            shared.upstreams.follow(&snapshot);
            seen = Some(revision);
        }
        drop(snapshot);
        keeper.look_after(&shared);
        if timeout(LOOK, shared.upstreams.wake.notified()).await.is_ok() {
            // What a request has brought may be gone already: it was decided before.
            seen = None;
        }
    }
}

impl Keeper {
    fn look_after(&mut self, shared: &Arc<Shared>) {
        let fleets = shared.upstreams.fleets.load_full();
        let is_used = |name: &str| fleets.values().any(|fleet| fleet.names.iter().any(|used| used == name));
        self.names.retain(|name, _| {
            let used = is_used(name);
            if !used {
                shared.upstreams.names.forget(name);
            }
            used
        });
        for name in fleets.values().flat_map(|fleet| &fleet.names) {
            if !self.names.contains_key(name) {
                let task = tokio::spawn(follow_name(Arc::clone(shared), name.clone()));
                self.names.insert(name.clone(), Task(task));
            }
        }
        self.checks.retain(|id, (check, _)| {
            fleets.get(id).is_some_and(|fleet| fleet.upstream.health_check.as_ref() == Some(check))
        });
        for (id, fleet) in &*fleets {
            if let (Some(check), false) = (&fleet.upstream.health_check, self.checks.contains_key(id)) {
                // Made for the first check only, since it reads the system's certificates.
                let checker = Arc::clone(self.checker.get_or_insert_with(|| Arc::new(Checker::new())));
                let task = tokio::spawn(checks::run(Arc::clone(shared), checker, *id, check.clone()));
                self.checks.insert(*id, (check.clone(), Task(task)));
            }
        }
    }
}

async fn follow_name(shared: Arc<Shared>, name: String) {
    loop {
        let (has_changed, lasts) = shared.upstreams.names.refresh(&name).await;
        if has_changed {
            shared.upstreams.renamed(&name);
        }
        sleep(lasts).await;
    }
}
