//! Who asks.

use std::{fmt, sync::Arc};

use cedar_policy::EntityUid;
use smallvec::SmallVec;

use super::{names, roles::RoleSet};
use crate::model::{Claims, RoleId, UserId, rules::UserState};

/// Whoever presented a valid token, with the roles of this moment.
#[derive(Clone, Debug)]
pub struct Caller {
    who: Who,
    /// What the caller holds.
    pub roles: Arc<RoleSet>,
    /// What the token says.
    pub claims: Arc<Claims>,
    /// Roles that the token gives, beside those that are assigned.
    claimed: Box<[RoleId]>,
}

#[derive(Clone, Debug)]
enum Who {
    Account(Arc<UserState>),
    Stranger(Arc<Stranger>),
}

/// Somebody of whom nothing is known but what another issuer's token says.
#[derive(Debug)]
struct Stranger {
    /// `<issuer>|<sub>`; no issuer has a `|` in it, so that no two strangers have one name.
    id: String,
    name: String,
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
        Self { who: Who::Account(Arc::clone(state)), roles, claims, claimed: claimed.into() }
    }

    /// Somebody known by the claims of a token of `issuer`.
    pub(super) fn stranger(issuer: &str, roles: Arc<RoleSet>, claims: Arc<Claims>, claimed: &[RoleId]) -> Self {
        let stated = claims.all.get("preferred_username").and_then(serde_json::Value::as_str);
        let name = stated.filter(|name| is_name(name)).unwrap_or(&claims.subject).to_owned();
        let id = format!("{issuer}|{}", claims.subject);
        let who = Who::Stranger(Arc::new(Stranger { id, name }));
        Self { who, roles, claims, claimed: claimed.into() }
    }

    /// The same who, with other roles.
    pub(super) fn with_roles(&self, roles: Arc<RoleSet>) -> Self {
        Self { roles, ..self.clone() }
    }

    /// The account, if there is one; who has none is known by claims only.
    pub fn account(&self) -> Option<&Arc<UserState>> {
        match &self.who {
            Who::Account(state) => Some(state),
            Who::Stranger(_) => None,
        }
    }

    /// The account's id, if there is one.
    pub fn user_id(&self) -> Option<UserId> {
        self.account().map(|state| state.id)
    }

    /// Sign-in name; the Cedar id of who has no account, which is nobody's sign-in name.
    pub fn username(&self) -> &str {
        match &self.who {
            Who::Account(state) => state.username.as_str(),
            Who::Stranger(stranger) => &stranger.id,
        }
    }

    /// What people call the caller; somebody without an account may be called like somebody who has one.
    pub fn display_name(&self) -> &str {
        match &self.who {
            Who::Account(state) => state.username.as_str(),
            Who::Stranger(stranger) => &stranger.name,
        }
    }

    /// What back ends know the caller by: the account's id, or `<issuer>|<sub>`.
    pub fn id(&self) -> impl fmt::Display + '_ {
        Id(&self.who)
    }

    /// An inactive user is refused everywhere.
    pub fn is_active(&self) -> bool {
        self.account().is_none_or(|state| state.is_active)
    }

    /// Whether `text` is what the caller is known by: the owner of a thing is compared with this.
    pub(super) fn is(&self, text: &str) -> bool {
        match &self.who {
            Who::Account(state) => names::is_user_id(state.id, text),
            Who::Stranger(stranger) => stranger.id == text,
        }
    }

    /// The caller in Cedar.
    pub(super) fn uid(&self) -> EntityUid {
        match &self.who {
            Who::Account(state) => names::user(state.id),
            Who::Stranger(stranger) => names::owner(&stranger.id),
        }
    }

    /// The roles that are not inherited: assigned ones, and those that the token gives.
    pub(super) fn direct_roles(&self) -> impl Iterator<Item = RoleId> {
        let assigned = self.account().into_iter().flat_map(|state| state.roles.iter().map(|held| held.role_id));
        assigned.chain(self.claimed.iter().copied())
    }

    /// The roles that the token gives.
    pub(super) fn claimed(&self) -> &[RoleId] {
        &self.claimed
    }
}

struct Id<'w>(&'w Who);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Who::Account(state) => state.id.fmt(f),
            Who::Stranger(stranger) => f.write_str(&stranger.id),
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
