//! What the engine is asked, prepared.

use cedar_policy::{Entity, EntityUid};
use smallvec::SmallVec;

use super::{
    compile::Compiled,
    engine::Question,
    index::Symbol,
    names,
    operation::{CompiledOperation, Opening},
};
use crate::model::PermissionParts;

impl CompiledOperation {
    /// What is asked of whoever calls it.
    pub(super) fn question(&self) -> Question<'_> {
        Question {
            action: &self.action,
            resource: &self.endpoint,
            opening: Some(&self.opening),
            action_symbol: self.action_symbol,
            resource_symbols: &self.resource_symbols,
        }
    }
}

/// A permission that is asked about without a route, and without saying on whose things.
#[derive(Debug)]
pub(super) struct Bare {
    action: EntityUid,
    resource: Entity,
    opening: Option<Opening>,
    action_symbol: Option<Symbol>,
    resource_symbols: SmallVec<[Symbol; 2]>,
}

impl Bare {
    pub(super) fn new(compiled: &Compiled, parts: PermissionParts<'_>) -> Self {
        let index = &compiled.checked.index;
        let (action, resource) = (names::action(parts.verb), names::resource(parts.resource));
        let mut resource_symbols: SmallVec<[Symbol; 2]> = SmallVec::from_slice(&[Symbol::ANYTHING]);
        resource_symbols.extend(index.symbol(&resource));
        Self {
            opening: compiled.permissions.target(parts).map(Opening::Granted),
            action_symbol: index.symbol(&action),
            action,
            resource: Entity::with_uid(resource),
            resource_symbols,
        }
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question {
            action: &self.action,
            resource: &self.resource,
            opening: self.opening.as_ref(),
            action_symbol: self.action_symbol,
            resource_symbols: &self.resource_symbols,
        }
    }
}
