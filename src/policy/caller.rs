//! Who asks.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use cedar_policy::EntityUid;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{names, roles::RoleSet};
use crate::model::{Claims, RoleId, Timestamp, UserId, rules::UserState};

/// Whoever presented a valid token, with the roles of this moment.
#[derive(Clone, Debug)]
pub struct Caller {
    known: Arc<Known>,
    roles: Arc<RoleSet>,
    /// What the token says.
    pub claims: Arc<Claims>,
}

/// What is known of a caller: beside the claims, among which it may be noted.
///
/// ## Why
/// What every request asks of an account stands here once more: among a million users each look elsewhere is a wait for
/// memory.
#[derive(Debug)]
struct Known {
    who: Who,
    user_id: Option<UserId>,
    is_active: bool,
    name: SmolStr,
    /// Roles that the token gives, beside those that are assigned.
    claimed: Box<[RoleId]>,
}

/// A caller who was found, for the next request with the same token.
#[derive(Debug)]
struct Found {
    known: Arc<Known>,
    /// How many sets of roles are kept is bounded where they are made.
    roles: Weak<RoleSet>,
    by: Seal,
    since: Timestamp,
    /// Until a role ends; for ever if none does.
    until: Option<Timestamp>,
}

/// Names the content of one snapshot that was in force, and of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal(NonZeroU64);

impl Seal {
    /// One that nothing else has.
    pub(super) fn fresh() -> Option<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        NonZeroU64::new(LAST.fetch_add(1, Ordering::Relaxed) + 1).map(Self)
    }
}

#[derive(Clone, Debug)]
enum Who {
    Account(Arc<UserState>),
    /// Somebody of whom nothing is known but what another issuer's token says: `<issuer>|<sub>`. No issuer has a `|` in it,
    /// so that no two have one name.
    Stranger(Arc<str>),
}

/// Role ids, few as a rule.
pub(super) type RoleIds = SmallVec<[RoleId; 16]>;

impl Caller {
    /// A user with an account here.
    pub(super) fn account_of(
        state: &Arc<UserState>,
        roles: Arc<RoleSet>,
        claims: Arc<Claims>,
        claimed: &[RoleId],
    ) -> Self {
        let who = Who::Account(Arc::clone(state));
        Self::new(who, SmolStr::new(state.username.as_str()), roles, claimed.into(), claims)
    }

    fn new(who: Who, name: SmolStr, roles: Arc<RoleSet>, claimed: Box<[RoleId]>, claims: Arc<Claims>) -> Self {
        let (user_id, is_active) = match &who {
            Who::Account(state) => (Some(state.id), state.is_active),
            Who::Stranger(_) => (None, true),
        };
        Self { known: Arc::new(Known { who, user_id, is_active, name, claimed }), roles, claims }
    }

    /// Somebody known by the claims of a token of `issuer`.
    pub(super) fn stranger(issuer: &str, roles: Arc<RoleSet>, claims: Arc<Claims>, claimed: &[RoleId]) -> Self {
        let stated = claims.all.text("preferred_username").filter(|name| is_name(name));
        let name = SmolStr::new(stated.as_deref().unwrap_or(&claims.subject));
        let who = Who::Stranger(format!("{issuer}|{}", claims.subject).into());
        Self::new(who, name, roles, claimed.into(), claims)
    }

    /// Whom the snapshot of this seal has found before to present these claims, as far as that holds at `now`.
    pub(super) fn noted(claims: &Arc<Claims>, by: Seal, now: Timestamp) -> Option<Self> {
        let found: Arc<Found> = claims.noted.get()?;
        let holds = found.by == by && found.since <= now && found.until.is_none_or(|until| now < until);
        let roles = found.roles.upgrade().filter(|_| holds)?;
        Some(Self { known: Arc::clone(&found.known), roles, claims: Arc::clone(claims) })
    }

    /// Keeps who was found at `now` with the claims.
    pub(super) fn note(&self, by: Seal, now: Timestamp) {
        let assigned = self.account().into_iter().flat_map(|state| state.roles.iter());
        let until = assigned.filter_map(|role| role.expires_at).filter(|end| *end > now).min();
        let (known, roles) = (Arc::clone(&self.known), Arc::downgrade(&self.roles));
        self.claims.noted.put(Arc::new(Found { known, roles, by, since: now, until }));
    }

    /// The same who, with other roles.
    pub(super) fn with_roles(&self, roles: Arc<RoleSet>) -> Self {
        Self { roles, ..self.clone() }
    }

    /// What the caller holds.
    pub fn roles(&self) -> &Arc<RoleSet> {
        &self.roles
    }

    /// The account, if there is one; who has none is known by claims only.
    pub fn account(&self) -> Option<&Arc<UserState>> {
        match &self.known.who {
            Who::Account(state) => Some(state),
            Who::Stranger(_) => None,
        }
    }

    /// The account's id, if there is one.
    pub fn user_id(&self) -> Option<UserId> {
        self.known.user_id
    }

    /// Sign-in name; the Cedar id of who has no account, which is nobody's sign-in name.
    pub fn username(&self) -> &str {
        match &self.known.who {
            Who::Account(state) => state.username.as_str(),
            Who::Stranger(id) => id,
        }
    }

    /// What people call the caller; somebody without an account may be called like somebody who has one.
    pub fn display_name(&self) -> &str {
        &self.known.name
    }

    /// What back ends know the caller by: the account's id, or `<issuer>|<sub>`.
    pub fn id(&self) -> impl fmt::Display + '_ {
        Id(&self.known.who)
    }

    /// An inactive user is refused everywhere.
    pub fn is_active(&self) -> bool {
        self.known.is_active
    }

    /// Whether `text` is what the caller is known by: the owner of a thing is compared with this.
    pub(super) fn is(&self, text: &str) -> bool {
        match &self.known.who {
            Who::Account(state) => names::is_user_id(state.id, text),
            Who::Stranger(id) => **id == *text,
        }
    }

    /// The caller in Cedar.
    pub(super) fn uid(&self) -> EntityUid {
        match &self.known.who {
            Who::Account(state) => names::user(state.id),
            Who::Stranger(id) => names::owner(id),
        }
    }

    /// The roles that are not inherited: assigned ones, and those that the token gives.
    pub(super) fn direct_roles(&self) -> impl Iterator<Item = RoleId> {
        let assigned = self.account().into_iter().flat_map(|state| state.roles.iter().map(|held| held.role_id));
        assigned.chain(self.known.claimed.iter().copied())
    }

    /// The roles that the token gives.
    pub(super) fn claimed(&self) -> &[RoleId] {
        &self.known.claimed
    }
}

struct Id<'w>(&'w Who);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Who::Account(state) => state.id.fmt(f),
            Who::Stranger(id) => f.write_str(id),
        }
    }
}

impl fmt::Debug for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

/// As much of a name as goes into a header field.
const LONGEST_NAME: usize = 255;

/// Whether a token's `sub` is one that can be known by: `OpenID Connect` allows no more either.
pub(super) fn is_subject(subject: &str) -> bool {
    is_name(subject)
}
