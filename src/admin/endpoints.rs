//! The list of endpoints, from which both the router and the gateway's mounted paths are made.

use axum::Router;
use axum::routing::MethodRouter;

/// Endpoints of one state, by path below the API prefix.
pub(super) struct Endpoints<S>(Vec<(&'static str, MethodRouter<S>)>);

impl<S: Clone + Send + Sync + 'static> Endpoints<S> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an endpoint; a collection's path ends in `/`.
    pub(super) fn at(mut self, path: &'static str, methods: MethodRouter<S>) -> Self {
        self.0.push((path, methods));
        self
    }

    /// Adds these endpoints below `prefix` to `router`, and their paths to `paths`; each is served with and
    /// without a final slash.
    pub(super) fn mount(self, prefix: &str, state: &S, mut router: Router, paths: &mut Vec<String>) -> Router {
        for (path, methods) in self.0 {
            let bare = format!("{prefix}{}", path.trim_end_matches('/'));
            for spelling in [format!("{bare}/"), bare] {
                router = router.route(&spelling, methods.clone().with_state(state.clone()));
                paths.push(spelling);
            }
        }
        router
    }
}
