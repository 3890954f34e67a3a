//! What is administered: the resources whose changes can change a decision, and be previewed.

use std::sync::Arc;

use axum::Router;

use super::endpoints::{Endpoints, Operation};
use super::gate::Gate;
use super::turns::Turns;
use super::{modules, permissions, policies, roles, routes, upstreams, users};
use crate::control::Control;
use crate::password::{Hasher, Policy};
use crate::telemetry::Metrics;

/// What their endpoints use.
#[derive(Clone, Debug)]
pub(super) struct Resources {
    pub(super) gate: Gate,
    pub(super) control: Control,
    pub(super) hasher: Hasher,
    pub(super) policy: Policy,
    pub(super) mail: users::Mail,
    /// Names of the certificates that upstreams may be shown.
    pub(super) certificates: Arc<[String]>,
    /// Where the gateway tells how targets are.
    pub(super) metrics: Arc<Metrics>,
    /// For policies as text.
    pub(super) texts: Turns,
}

/// Which of their endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) enum Include {
    Everything,
    /// Those that write.
    Writes,
}

impl Include {
    fn of<S: Clone + Send + Sync + 'static>(self, endpoints: Endpoints<S>) -> Endpoints<S> {
        match self {
            Self::Everything => endpoints,
            Self::Writes => endpoints.guarded_writes(),
        }
    }
}

impl Resources {
    /// Adds their endpoints below `prefix` to `router`.
    pub(super) fn mount(&self, prefix: &str, include: Include, router: Router) -> Router {
        let (gate, control) = (self.gate.clone(), self.control.clone());
        let (hasher, policy, mail) = (self.hasher.clone(), self.policy, self.mail.clone());
        let users = users::Users { gate, control, hasher, policy, mail };
        let (gate, control) = (&users.gate, &users.control);
        let roles = roles::Roles { gate: gate.clone(), control: control.clone() };
        let permissions = permissions::Permissions { gate: gate.clone(), control: control.clone() };
        let modules = modules::Modules { gate: gate.clone(), control: control.clone() };
        let routes = routes::Routes { gate: gate.clone(), control: control.clone() };
        let (certificates, metrics) = (Arc::clone(&self.certificates), Arc::clone(&self.metrics));
        let upstreams = upstreams::Upstreams { gate: gate.clone(), control: control.clone(), certificates, metrics };
        let policies = policies::Policies { gate: gate.clone(), control: control.clone(), texts: self.texts.clone() };
        let router = include.of(users::endpoints()).mount(prefix, &users, router);
        let router = include.of(roles::endpoints()).mount(prefix, &roles, router);
        let router = include.of(permissions::endpoints()).mount(prefix, &permissions, router);
        let router = include.of(modules::endpoints()).mount(prefix, &modules, router);
        let router = include.of(routes::endpoints()).mount(prefix, &routes, router);
        let router = include.of(upstreams::endpoints()).mount(prefix, &upstreams, router);
        include.of(policies::endpoints()).mount(prefix, &policies, router)
    }
}

/// What they do.
pub(super) fn operations() -> impl Iterator<Item = Operation> {
    users::endpoints()
        .operations()
        .chain(roles::endpoints().operations())
        .chain(permissions::endpoints().operations())
        .chain(modules::endpoints().operations())
        .chain(routes::endpoints().operations())
        .chain(upstreams::endpoints().operations())
        .chain(policies::endpoints().operations())
        .map(|operation| Operation { can_be_rehearsed: operation.is_guarded_write(), ..operation })
}
