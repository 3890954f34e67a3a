//! Upstreams by name.

use std::sync::Arc;

use super::permissions::Shared;
use crate::model::{Upstream, UpstreamId, UpstreamName};

/// All upstreams.
#[derive(Clone, Debug, Default)]
pub(super) struct Upstreams {
    by_id: Shared<UpstreamId, Arc<Upstream>>,
    active: Shared<UpstreamName, Arc<Upstream>>,
}

impl Upstreams {
    /// The active one of this name.
    pub(super) fn active(&self, name: &UpstreamName) -> Option<&Arc<Upstream>> {
        self.active.get(name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.by_id.values()
    }

    pub(super) fn all_active(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.active.values()
    }

    /// All of them, by id.
    pub(super) fn rules(&self) -> Vec<Upstream> {
        let mut rules: Vec<Upstream> = self.by_id.values().map(|upstream| Upstream::clone(upstream)).collect();
        rules.sort_unstable_by_key(|upstream| upstream.id);
        rules
    }

    /// Adds, replaces or forgets upstreams.
    pub(super) fn put(&mut self, changes: Vec<(UpstreamId, Option<Upstream>)>) {
        // Names may have been exchanged, so that all old ones go first.
        for (id, _) in &changes {
            if let Some(old) = self.by_id.remove(id) {
                self.active.remove(&old.name);
            }
        }
        for upstream in changes.into_iter().filter_map(|(_, upstream)| upstream).map(Arc::new) {
            if upstream.is_active {
                self.active.insert(upstream.name.clone(), Arc::clone(&upstream));
            }
            self.by_id.insert(upstream.id, upstream);
        }
    }
}
