//! What somebody is, part by part, and what policies say to each.

use cedar_policy::EntityUid;

use super::{Reach, Says};
use crate::{
    model::{PermissionName, RoleId, Timestamp, UserId, rules::UserState},
    policy::{
        compile::Compiled,
        engine::{Question, Subject},
        index::Symbol,
        operation::Opening,
        permissions::Grant,
        question::Bare,
        roles::CompiledRole,
        scope::Principal,
        snapshot::Snapshot,
    },
};

/// Whether what is asked for can be the caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owned {
    /// No request says whose it is.
    Never,
    /// The request says.
    Perhaps,
    /// It is asked about what is one's own.
    Always,
}

/// A question, and whether `:own` can answer it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'q> {
    pub(super) question: Question<'q>,
    pub(super) owned: Owned,
}

/// One part of what somebody is: a policy applies to a caller by one of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'c> {
    /// A user, whoever it is.
    SomeUser,
    /// Nobody who is known.
    Anonymous,
    /// A user who is not active.
    Inactive,
    /// A user of whom a scope speaks.
    User(UserId, Symbol),
    /// An active role by itself.
    Role(RoleId, &'c CompiledRole, Option<Symbol>),
}

impl<'c> Part<'c> {
    pub(super) fn role(compiled: &'c Compiled, id: RoleId) -> Option<Self> {
        let role = compiled.roles.active(id)?;
        Some(Self::Role(id, role, compiled.checked.index.symbol(&role.uid)))
    }

    /// What policies say to whoever is this, beside all that they say to everybody.
    pub(super) fn says(&self, compiled: &Compiled, asked: Asked<'_>) -> Says {
        let opening = asked.question.opening;
        match self {
            // What needs a permission needs a user.
            Self::Anonymous if matches!(opening, None | Some(Opening::Granted(_))) => Says::default(),
            Self::Anonymous => {
                let opened = if let Some(Opening::Everybody(_)) = opening { Says::PERMIT } else { Says::default() };
                let named = handwritten(compiled, asked.question, Symbol::ANONYMOUS, Principal::Anonymous);
                opened | named | handwritten(compiled, asked.question, Symbol::ANYTHING, Principal::Anonymous)
            }
            Self::SomeUser => {
                let is_open = matches!(opening, Some(Opening::Everybody(_) | Opening::SignedIn(_)));
                let opened = if is_open { Says::PERMIT } else { Says::default() };
                opened | handwritten(compiled, asked.question, Symbol::ANYTHING, Principal::SomeUser)
            }
            Self::Inactive => handwritten(compiled, asked.question, Symbol::INACTIVE, Principal::SomeUser),
            Self::User(id, symbol) => handwritten(compiled, asked.question, *symbol, Principal::User(*id)),
            Self::Role(id, role, symbol) => {
                let named = symbol.map(|symbol| handwritten(compiled, asked.question, symbol, Principal::SomeUser));
                generated(*id, role, asked) | named.unwrap_or_default()
            }
        }
    }
}

/// What a role is let do by itself.
fn generated(id: RoleId, role: &CompiledRole, asked: Asked<'_>) -> Says {
    match asked.question.opening {
        Some(Opening::Roles(bound)) if bound.binary_search_by_key(&id, |(bound, _)| *bound).is_ok() => Says::PERMIT,
        Some(Opening::Granted(target)) => {
            let says = |grant: &Grant| match (grant.own, asked.owned) {
                (false, _) | (true, Owned::Always) => Says::PERMIT,
                (true, Owned::Perhaps) => Says::PERHAPS_PERMIT,
                (true, Owned::Never) => Says::default(),
            };
            role.grants.live().on(*target).iter().map(says).collect()
        }
        _ => Says::default(),
    }
}

fn handwritten(compiled: &Compiled, question: Question<'_>, symbol: Symbol, principal: Principal) -> Says {
    let mut says = Says::default();
    let resource: EntityUid = question.resource.uid();
    compiled.checked.index.each([symbol], question.action_symbol, question.resource_symbols, |policy| {
        if policy.scope.holds(principal, &resource) {
            says |= Says::of(policy.scope.effect, policy.scope.is_conditional);
        }
    });
    says
}

/// Somebody of whom it is asked.
#[derive(Clone, Debug)]
pub struct Holder<'c> {
    compiled: &'c Compiled,
    parts: Vec<Part<'c>>,
}

impl<'c> Holder<'c> {
    /// A user who is assigned these roles and no others, and of whom no policy speaks.
    pub fn of_roles(compiled: &'c Compiled, assigned: &[RoleId]) -> Self {
        let mut closure: Vec<RoleId> = assigned.iter().flat_map(|id| compiled.effective(*id)).copied().collect();
        closure.sort_unstable();
        closure.dedup();
        let roles = closure.into_iter().filter_map(|id| Part::role(compiled, id));
        Self { compiled, parts: std::iter::once(Part::SomeUser).chain(roles).collect() }
    }

    /// Somebody without credentials.
    pub fn anonymous(compiled: &'c Compiled) -> Self {
        Self { compiled, parts: vec![Part::Anonymous] }
    }

    /// A user, as things are at `now`.
    pub fn of_user(snapshot: &'c Snapshot, state: &UserState, now: Timestamp) -> Self {
        let compiled = snapshot.compiled();
        let mut holder = Self::of_roles(compiled, &state.live_roles(now).collect::<Vec<_>>());
        holder.parts.extend((!state.is_active).then_some(Part::Inactive));
        holder.parts.extend(compiled.checked.index.user(state.id).map(|symbol| Part::User(state.id, symbol)));
        holder
    }

    pub(super) fn says(&self, asked: Asked<'_>) -> Says {
        self.parts.iter().map(|part| part.says(self.compiled, asked)).collect()
    }

    pub(super) fn reach(&self, asked: Asked<'_>) -> Reach {
        self.says(asked).reach()
    }
}

/// What can be said of `holder` and `subject`. Paths of the admin service lead to it, whoever asks.
pub fn reach(holder: &Holder<'_>, subject: Subject<'_>) -> Reach {
    match subject {
        Subject::Mounted => Reach::Allowed,
        Subject::Operation(operation) => holder.reach(operation.asked()),
        Subject::Permission(name) => {
            let name = PermissionName::try_from(name).ok();
            let bare = name.as_ref().and_then(PermissionName::parts).map(|parts| Bare::new(holder.compiled, parts));
            bare.map_or(Reach::Denied, |bare| holder.reach(Asked { question: bare.question(), owned: Owned::Perhaps }))
        }
    }
}
