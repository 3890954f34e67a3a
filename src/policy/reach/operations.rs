//! Operations, and which of them are answered alike to everybody.

use std::sync::Arc;

use super::part::{Asked, Owned};
use crate::{
    model::RoleId,
    policy::{
        compile::Compiled,
        index::Symbol,
        operation::{CompiledOperation, GatewayRoute, Opening},
        permissions::Target,
    },
};

/// Operations of one kind cannot be told apart by any policy's scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind<'c> {
    opening: OpeningKind,
    action: Option<Symbol>,
    resources: &'c [Symbol],
    owned: Owned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OpeningKind {
    Granted(Target),
    Everybody,
    SignedIn,
    Roles(Box<[RoleId]>),
}

impl CompiledOperation {
    /// What is asked of whoever calls it.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { question: self.question(), owned: self.owned() }
    }

    fn owned(&self) -> Owned {
        if self.owner.is_some() { Owned::Perhaps } else { Owned::Never }
    }

    pub(super) fn kind(&self) -> Kind<'_> {
        let opening = match &self.opening {
            Opening::Granted(target) => OpeningKind::Granted(*target),
            Opening::Everybody(_) => OpeningKind::Everybody,
            Opening::SignedIn(_) => OpeningKind::SignedIn,
            Opening::Roles(bound) => OpeningKind::Roles(bound.iter().map(|(role, _)| *role).collect()),
        };
        Kind { opening, action: self.action_symbol, resources: &self.resource_symbols, owned: self.owned() }
    }
}

/// An operation of a route that can match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'c> {
    pub(super) route: &'c Arc<GatewayRoute>,
    pub(super) operation: &'c Arc<CompiledOperation>,
}

/// Every operation, by route and method.
pub(super) fn places(compiled: &Compiled) -> Vec<Place<'_>> {
    let routes = compiled.routing.routes();
    let operations = routes.flat_map(|route| route.operations().map(move |operation| Place { route, operation }));
    let mut all: Vec<Place<'_>> = operations.collect();
    all.sort_by(|a, b| (a.route.id, &a.operation.method).cmp(&(b.route.id, &b.operation.method)));
    all
}
