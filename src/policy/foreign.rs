//! Other issuers, and which accounts their people have.

use std::sync::Arc;

use imbl::HashMap;

use super::{
    caller::{Caller, RoleIds, is_subject},
    roles::Roles,
    snapshot::Snapshot,
};
use crate::model::{Claims, DEFAULT_ROLE, Issuer, IssuerPrincipal, Issuers, Reason, RoleId, Timestamp, UserId};

/// Whom an issuer calls `subject`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The issuer's `iss`.
    pub issuer: Arc<str>,
    /// Its `sub`.
    pub subject: Arc<str>,
}

/// What the snapshot knows of other issuers.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign {
    issuers: Arc<Issuers>,
    /// By issuer, then by subject, so that a request's are looked up as they stand in its token.
    accounts: HashMap<Arc<str>, HashMap<Arc<str>, UserId>>,
    of_user: HashMap<UserId, Arc<[Identity]>>,
}

impl Foreign {
    pub(super) fn put_issuers(&mut self, issuers: Arc<Issuers>) {
        self.issuers = issuers;
    }

    pub(super) fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// Forgets which accounts belong to whom.
    pub(super) fn forget_accounts(&mut self) {
        (self.accounts, self.of_user) = Default::default();
    }

    /// Replaces what belongs to a user.
    pub(super) fn put_account(&mut self, user: UserId, identities: Vec<Identity>) {
        for Identity { issuer, subject } in self.of_user.remove(&user).iter().flat_map(|old| old.iter()) {
            if let Some(accounts) = self.accounts.get_mut(issuer) {
                accounts.remove(subject);
                if accounts.is_empty() {
                    self.accounts.remove(issuer);
                }
            }
        }
        if identities.is_empty() {
            return;
        }
        for Identity { issuer, subject } in &identities {
            self.accounts.entry(Arc::clone(issuer)).or_default().insert(Arc::clone(subject), user);
        }
        self.of_user.insert(user, identities.into());
    }

    fn account(&self, issuer: &str, subject: &str) -> Option<UserId> {
        self.accounts.get(issuer)?.get(subject).copied()
    }
}

impl Roles {
    /// Whether another issuer must not give the role, unless it was said to: a system role beside the one that everybody
    /// has who signs up, and whatever inherits from one.
    pub(super) fn is_guarded(&self, id: RoleId) -> bool {
        let own = |id: &RoleId| self.get(*id).is_some_and(|role| role.is_system && &*role.name != DEFAULT_ROLE);
        own(&id) || self.get(id).is_some_and(|role| role.closure.iter().any(own))
    }
}

impl Snapshot {
    /// The trusted issuers.
    pub fn issuers(&self) -> &Arc<Issuers> {
        self.foreign().issuers()
    }

    /// The caller with a token of `issuer`.
    pub(super) fn foreign_caller(&self, issuer: &str, claims: &Arc<Claims>, now: Timestamp) -> Result<Caller, Reason> {
        let trusted = self.issuers().get(issuer).ok_or(Reason::InvalidToken)?;
        if !is_subject(&claims.subject) {
            return Err(Reason::InvalidToken);
        }
        if self.is_revoked(claims) {
            return Err(Reason::Revoked);
        }
        let claimed = self.claimed_roles(trusted, claims)?;
        if trusted.spec().principal == IssuerPrincipal::Claims {
            let roles = self.role_set(&claimed);
            return Ok(Caller::stranger(issuer, roles, Arc::clone(claims), &claimed));
        }
        let account = self.foreign().account(issuer, &claims.subject).and_then(|id| self.user(id));
        let state = account.ok_or(Reason::InvalidToken)?;
        if !state.is_active {
            return Err(Reason::UserInactive);
        }
        Ok(self.assume_with(state, Arc::clone(claims), &claimed, now))
    }

    /// Whether the token is valid, but nobody has found out yet whose account it is for.
    pub fn is_newcomer(&self, claims: &Claims) -> bool {
        let Some(issuer) = claims.issuer.as_deref() else { return false };
        let has_accounts = |trusted: &Arc<Issuer>| trusted.spec().principal != IssuerPrincipal::Claims;
        self.issuers().get(issuer).is_some_and(has_accounts)
            && is_subject(&claims.subject)
            && self.foreign().account(issuer, &claims.subject).is_none()
    }

    /// The roles that the token gives, sorted.
    fn claimed_roles(&self, issuer: &Issuer, claims: &Claims) -> Result<RoleIds, Reason> {
        let roles = &self.compiled().roles;
        let mut found = RoleIds::new();
        let told = issuer.each_role(&claims.all, |name| {
            let id = roles.id_of(name);
            found.extend(id.filter(|id| issuer.spec().system_roles || !roles.is_guarded(*id)));
        });
        told.map_err(|_too_many| Reason::InvalidToken)?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Whether somebody with an account holds by assignment what another issuer must not give.
    pub fn is_guarded(&self, user: UserId, now: Timestamp) -> bool {
        let guarded = |role| self.compiled().roles.is_guarded(role);
        self.user(user).is_some_and(|state| state.live_roles(now).any(guarded))
    }
}
