//! The scope of a hand-written policy, taken apart once.

use cedar_policy::{Effect, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::names;
use crate::model::UserId;

/// Who is held against a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// A user of whom no policy speaks by id.
    SomeUser,
    /// One user.
    User(UserId),
    /// Nobody who is known.
    Anonymous,
}

/// What a policy says before it looks at the request.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) effect: Effect,
    /// Whether the request decides, too.
    pub(super) is_conditional: bool,
    principal: Side,
    resource: Side,
}

/// What a side demands beside being in something, which [`Index`](super::index::Index) has looked at.
#[derive(Debug)]
struct Side {
    kind: Option<EntityTypeName>,
    exactly: Option<EntityUid>,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::In(_) => Side { kind: None, exactly: None },
            PrincipalConstraint::Eq(uid) => Side { kind: None, exactly: Some(uid) },
            PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
                Side { kind: Some(kind), exactly: None }
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::In(_) => Side { kind: None, exactly: None },
            ResourceConstraint::Eq(uid) => Side { kind: None, exactly: Some(uid) },
            ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => {
                Side { kind: Some(kind), exactly: None }
            }
        };
        Self { effect: policy.effect(), is_conditional: policy.has_non_scope_constraint(), principal, resource }
    }

    /// Whether the scope holds, for a policy that the index has found for this principal, action and resource.
    pub(super) fn holds(&self, principal: Principal, resource: &EntityUid) -> bool {
        let is_of = |kind: &EntityTypeName| match principal {
            Principal::Anonymous => names::is_anonymous_type(kind),
            Principal::SomeUser | Principal::User(_) => names::is_user_type(kind),
        };
        let is = |uid: &EntityUid| match principal {
            Principal::Anonymous => *uid == names::anonymous(),
            Principal::User(id) => names::user_id(uid) == Some(id),
            Principal::SomeUser => false,
        };
        self.principal.kind.as_ref().is_none_or(is_of)
            && self.principal.exactly.as_ref().is_none_or(is)
            && self.resource.kind.as_ref().is_none_or(|kind| kind == resource.type_name())
            && self.resource.exactly.as_ref().is_none_or(|uid| uid == resource)
    }
}
