//! Other issuers, and which accounts their people have.

use std::sync::Arc;

use imbl::HashMap;

use super::{
    caller::{Caller, RoleIds, is_subject},
    roles::Roles,
    snapshot::Snapshot,
};
use crate::model::{
    Claims, Issuer, IssuerPrincipal, Issuers, Reason, RoleId, Stated, Timestamp, UserId, rules::UserState,
};

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
    of_user: HashMap<UserId, Linked>,
}

/// What is known of a user who has identities.
#[derive(Clone, Debug)]
struct Linked {
    identities: Arc<[Identity]>,
    /// Tokens that were made no later are void.
    valid_from: Option<Timestamp>,
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
    pub(super) fn put_account(&mut self, user: UserId, identities: Vec<Identity>, valid_from: Option<Timestamp>) {
        let before = self.of_user.remove(&user);
        for Identity { issuer, subject } in before.iter().flat_map(|old| old.identities.iter()) {
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
        self.of_user.insert(user, Linked { identities: identities.into(), valid_from });
    }

    fn account(&self, issuer: &str, subject: &str) -> Option<UserId> {
        self.accounts.get(issuer)?.get(subject).copied()
    }

    /// Whether the user was signed out everywhere after the token was made, as far as it tells.
    fn is_void(&self, user: UserId, claims: &Claims) -> bool {
        let Some(valid_from) = self.of_user.get(&user).and_then(|linked| linked.valid_from) else { return false };
        let made = claims.all.get("iat").and_then(Stated::integer);
        // Tokens tell seconds: one of the same second may be from before.
        made.is_none_or(|made| made <= valid_from.unix_seconds())
    }
}

impl Roles {
    /// Whether another issuer must not give the role, unless it was said to: a system role beside the one that everybody
    /// has who signs up, and whatever inherits from one.
    pub(super) fn is_guarded(&self, id: RoleId) -> bool {
        self.get(id).is_some_and(|role| role.is_guarded)
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
        if self.foreign().is_void(state.id, claims) {
            return Err(Reason::Revoked);
        }
        if !state.is_active {
            return Err(Reason::UserInactive);
        }
        // The account may have come to a system role after it was linked.
        if !trusted.spec().system_roles && self.holds_guarded(state, now) {
            return Err(Reason::InvalidToken);
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
        self.user(user).is_some_and(|state| self.holds_guarded(state, now))
    }

    fn holds_guarded(&self, state: &UserState, now: Timestamp) -> bool {
        state.live_roles(now).any(|role| self.compiled().roles.is_guarded(role))
    }
}
