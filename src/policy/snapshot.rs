//! What the data plane knows at one revision, immutable and shared.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cedar_policy::{Entity, EntityUid, RestrictedExpression};
use imbl::{HashMap, shared_ptr::DefaultSharedPtr};
use tokio::sync::watch;

use super::{
    caller::{Caller, RoleIds, Seal},
    compile::Compiled,
    engine::{self, Ask, Decision},
    foreign::{Foreign, Identity},
    names,
    revoked::Revoked,
    roles::RoleSet,
    table::RouteTable,
};
use crate::model::{
    Claims, Issuers, Reason, RoleId, Timestamp, Upstream, UpstreamName, UserId, Username,
    rules::{Revisions, Revocation, UserState},
};

/// Rules, users and revocations at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    revisions: Revisions,
    activated_at: Timestamp,
    compiled: Arc<Compiled>,
    users: ById<Arc<UserState>>,
    by_name: HashMap<Username, UserId>,
    revoked: Revoked,
    foreign: Foreign,
    seal: Sealed,
}

/// What a snapshot in force is known by. A copy is there to be changed, and has none.
#[derive(Debug, Default)]
struct Sealed(Option<Seal>);

impl Clone for Sealed {
    fn clone(&self) -> Self {
        Self(None)
    }
}

/// Ids are given by the database, so a fast hash will do.
type ById<V> = imbl::GenericHashMap<UserId, V, foldhash::fast::RandomState, DefaultSharedPtr>;

impl Snapshot {
    /// A snapshot of everything.
    pub fn new(
        revisions: Revisions,
        compiled: Compiled,
        users: impl IntoIterator<Item = UserState>,
        revocations: impl IntoIterator<Item = Revocation>,
        now: Timestamp,
    ) -> Self {
        let mut snapshot = Self {
            revisions,
            activated_at: now,
            compiled: Arc::new(compiled),
            users: ById::default(),
            by_name: HashMap::new(),
            revoked: Revoked::default(),
            foreign: Foreign::default(),
            seal: Sealed::default(),
        };
        snapshot.put_everybody(users, revocations);
        snapshot
    }

    /// Replaces all users and revocations.
    pub fn put_everybody(
        &mut self,
        users: impl IntoIterator<Item = UserState>,
        revocations: impl IntoIterator<Item = Revocation>,
    ) {
        (self.users, self.by_name, self.revoked) = Default::default();
        self.foreign.forget_accounts();
        users.into_iter().for_each(|user| self.put_user(user));
        revocations.into_iter().for_each(|revocation| self.put_revocation(&revocation));
    }

    /// The same with newer counters; what else changes is put in next.
    #[must_use]
    pub fn advanced(&self, revisions: Revisions, now: Timestamp) -> Self {
        Self { revisions, activated_at: now, ..self.clone() }
    }

    /// Replaces the rules.
    pub fn put_rules(&mut self, compiled: Compiled) {
        self.compiled = Arc::new(compiled);
    }

    /// Adds or replaces a user.
    pub fn put_user(&mut self, user: UserState) {
        self.unlist(user.id);
        self.by_name.insert(user.username.clone(), user.id);
        self.users.insert(user.id, Arc::new(user));
    }

    /// Forgets a user.
    pub fn remove_user(&mut self, id: UserId) {
        self.unlist(id);
        self.foreign.put_account(id, Vec::new(), None);
    }

    fn unlist(&mut self, id: UserId) {
        if let Some(old) = self.users.remove(&id)
            && self.by_name.get(&old.username) == Some(&id)
        {
            self.by_name.remove(&old.username);
        }
    }

    /// Replaces the trusted issuers.
    pub fn put_issuers(&mut self, issuers: Arc<Issuers>) {
        self.foreign.put_issuers(issuers);
    }

    /// Replaces what other issuers call a user, whose tokens are void if they were made no later than `valid_from`.
    pub fn put_identities(&mut self, user: UserId, identities: Vec<Identity>, valid_from: Option<Timestamp>) {
        self.foreign.put_account(user, identities, valid_from);
    }

    pub(super) fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// Adds a revocation.
    pub fn put_revocation(&mut self, revocation: &Revocation) {
        self.revoked.put(revocation);
    }

    /// How many revocations it knows.
    pub fn revocation_count(&self) -> usize {
        self.revoked.len()
    }

    /// Both counters.
    pub fn revisions(&self) -> Revisions {
        self.revisions
    }

    /// Moves with every change.
    pub fn revision(&self) -> i64 {
        self.revisions.revision
    }

    /// Moves with rules only.
    pub fn policy_revision(&self) -> i64 {
        self.revisions.policy_revision
    }

    /// When it was made.
    pub fn activated_at(&self) -> Timestamp {
        self.activated_at
    }

    /// The route table.
    pub fn routes(&self) -> &RouteTable {
        &self.compiled.routing.table
    }

    /// An active upstream.
    pub fn upstream(&self, name: &UpstreamName) -> Option<&Arc<Upstream>> {
        self.compiled.upstreams.active(name)
    }

    /// All active upstreams.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.compiled.upstreams.all_active()
    }

    /// The rules.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// How many users it knows.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// The state of a user.
    pub fn user(&self, id: UserId) -> Option<&Arc<UserState>> {
        self.users.get(&id)
    }

    /// The state of the user of this name.
    pub fn user_by_name(&self, name: &Username) -> Option<&Arc<UserState>> {
        self.users.get(self.by_name.get(name)?)
    }

    /// The state of the user that a token was made for.
    pub(super) fn user_of(&self, claims: &Claims) -> Option<&Arc<UserState>> {
        // Another issuer's subject is none of our users because it has the same name.
        if claims.issuer.is_some() {
            return None;
        }
        match claims.user_id {
            Some(id) => self.users.get(&id),
            None => self.user_by_name(&Username::try_from(claims.subject.as_str()).ok()?),
        }
    }

    /// Checks the token's user and its revocation, and finds the user's roles. In force, it does so once for each token.
    ///
    /// # Errors
    /// `InvalidToken` for an unknown user or issuer, `UserInactive`, and `Revoked` for an ended token or session, or one
    /// from before the last change of password.
    pub fn caller(&self, claims: &Arc<Claims>, now: Timestamp) -> Result<Caller, Reason> {
        let Some(seal) = self.seal.0 else { return self.find_caller(claims, now) };
        if let Some(caller) = Caller::noted(claims, seal, now) {
            return Ok(caller);
        }
        let caller = self.find_caller(claims, now)?;
        caller.note(seal, now);
        Ok(caller)
    }

    fn find_caller(&self, claims: &Arc<Claims>, now: Timestamp) -> Result<Caller, Reason> {
        if let Some(issuer) = claims.issuer.as_deref() {
            return self.foreign_caller(issuer, claims, now);
        }
        let state = self.user_of(claims).ok_or(Reason::InvalidToken)?;
        if self.is_revoked(claims) || claims.epoch != state.token_epoch {
            return Err(Reason::Revoked);
        }
        if !state.is_active {
            return Err(Reason::UserInactive);
        }
        Ok(self.assume(state, Arc::clone(claims), now))
    }

    /// Whether the token, or the session it belongs to, was ended.
    pub fn is_revoked(&self, claims: &Claims) -> bool {
        self.revoked.has(claims)
    }

    /// The caller that `state` describes, without any token having been checked; for explain and the like.
    pub fn assume(&self, state: &Arc<UserState>, claims: Arc<Claims>, now: Timestamp) -> Caller {
        self.assume_with(state, claims, &[], now)
    }

    /// The same with roles beside those that are assigned.
    pub(super) fn assume_with(
        &self,
        state: &Arc<UserState>,
        claims: Arc<Claims>,
        claimed: &[RoleId],
        now: Timestamp,
    ) -> Caller {
        let mut direct: RoleIds = state.live_roles(now).collect();
        if !claimed.is_empty() {
            direct.extend_from_slice(claimed);
            direct.sort_unstable();
            direct.dedup();
        }
        Caller::account_of(state, self.role_set(&direct), claims, claimed)
    }

    /// The same caller by what this snapshot knows of roles, with one role more.
    pub(super) fn again(&self, caller: &Caller, more: Option<RoleId>, now: Timestamp) -> Caller {
        let assigned = caller.account().into_iter().flat_map(|state| state.live_roles(now));
        let mut direct: RoleIds = assigned.chain(caller.claimed().iter().copied()).chain(more).collect();
        direct.sort_unstable();
        direct.dedup();
        caller.with_roles(self.role_set(&direct))
    }

    /// What holding `direct` amounts to.
    pub(super) fn role_set(&self, direct: &[RoleId]) -> Arc<RoleSet> {
        self.compiled.roles.effective(direct, &self.compiled.checked.index)
    }

    /// Decides.
    pub fn decide(&self, ask: &Ask<'_>) -> Decision {
        engine::decide(self, ask)
    }

    pub(super) fn caller_entity(&self, caller: &Caller) -> Option<Entity> {
        let roles = self.compiled.roles.uids(&caller.roles().ids).cloned();
        let inactive = (!caller.is_active()).then(names::inactive);
        let username = RestrictedExpression::new_string(caller.username().to_owned());
        let attributes = std::iter::once(("username".to_owned(), username)).collect();
        Entity::new(caller.uid(), attributes, roles.chain(inactive).collect()).ok()
    }

    /// Any entity of the complete store, for policies that name it.
    pub(super) fn entity(&self, uid: &EntityUid, now: Timestamp) -> Option<Entity> {
        if names::is_user(uid) {
            let state = self.users.get(&names::user_id(uid)?)?;
            let claims = Arc::new(Claims::none(&state.username));
            return self.caller_entity(&self.assume(state, claims, now));
        }
        if let Some(endpoint) = self.compiled.routing.named_endpoints.get(uid) {
            return Some(endpoint.clone());
        }
        self.compiled.roles.named(uid).map(|role| self.compiled.role_entity(role))
    }

    /// The same, ready to be put in force: nothing is put into it any more.
    fn sealed(self) -> Self {
        Self { seal: Sealed(Seal::fresh()), ..self }
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &Arc<UserState>> {
        self.users.values()
    }
}

/// The one place where the current snapshot is found.
#[derive(Clone, Debug)]
pub struct SnapshotHandle(Arc<Place>);

#[derive(Debug)]
struct Place {
    current: ArcSwap<Snapshot>,
    /// The revision in force.
    moved: watch::Sender<i64>,
}

impl SnapshotHandle {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        let moved = watch::Sender::new(snapshot.revision());
        Self(Arc::new(Place { current: ArcSwap::from_pointee(snapshot.sealed()), moved }))
    }

    /// The current snapshot, to be kept for the whole of a request.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// Tells when the current snapshot is another one; for what was decided before and goes on.
    pub fn moves(&self) -> watch::Receiver<i64> {
        self.0.moved.subscribe()
    }

    /// Makes `next` the current snapshot if it is newer; returns whether it is.
    pub fn advance(&self, next: Snapshot) -> bool {
        let next = Arc::new(next.sealed());
        let before = self
            .0
            .current
            .rcu(|current| if next.revisions > current.revisions { Arc::clone(&next) } else { Arc::clone(current) });
        let is_newer = next.revisions > before.revisions;
        if is_newer {
            self.0.moved.send_replace(next.revision());
        }
        is_newer
    }

    /// Forgets revocations that ended before `now`; the revision stays, since nothing is decided differently.
    pub fn forget_expired(&self, now: Timestamp) {
        self.0.current.rcu(|current| match current.revoked.without_expired(now) {
            Some(revoked) => Arc::new(Snapshot { revoked, ..Snapshot::clone(current) }.sealed()),
            None => Arc::clone(current),
        });
    }
}
