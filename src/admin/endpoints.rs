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

    /// Adds these endpoints below `prefix` to `router`.
    pub(super) fn mount(self, prefix: &str, state: &S, mut router: Router) -> Router {
        for (path, methods) in self.0 {
            for spelling in spellings(prefix, path) {
                router = router.route(&spelling, methods.clone().with_state(state.clone()));
            }
        }
        router
    }

    /// Adds their paths below `prefix` to `paths`.
    pub(super) fn paths(&self, prefix: &str, paths: &mut Vec<String>) {
        paths.extend(self.0.iter().flat_map(|(path, _)| spellings(prefix, path)));
    }
}

/// Each endpoint is served with and without a final slash: the predecessor redirected between them.
fn spellings(prefix: &str, path: &str) -> [String; 2] {
    let bare = format!("{prefix}{}", path.trim_end_matches('/'));
    [format!("{bare}/"), bare]
}
