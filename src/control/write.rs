use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use super::{Control, Error, Inner, Origin, guard::Step, load};
use crate::{
    jwt::Own,
    model::{
        Etag, Timestamp,
        rules::{PolicyText, Revisions},
    },
    policy::{Fixed, Snapshot},
    store::{Tx, audit, audit::NewAuditRecord, changes, changes::Change},
    telemetry::logs::SECURITY,
};

/// A change in the making; dropping it undoes it.
#[must_use = "a write that is not committed is undone"]
#[derive(Debug)]
pub struct Write {
    inner: Arc<Inner>,
    turn: OwnedMutexGuard<()>,
    tx: Tx,
    base: Arc<Snapshot>,
    fixed: Arc<Fixed>,
    revisions: Revisions,
    changes: Vec<Change>,
    records: Vec<Record>,
    origin: Option<Origin>,
    scene: Scene,
    now: Timestamp,
}

/// Where a request comes from, for the audit trail.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
}

impl From<&Origin> for Scene {
    fn from(origin: &Origin) -> Self {
        let Origin { client, user_agent, request_id, .. } = origin;
        Self { client: Some(*client), user_agent: user_agent.clone(), request_id: request_id.clone() }
    }
}

/// By what an entity is known to the audit trail: a number, or for a session a UUID.
#[derive(Debug, PartialEq, Eq)]
pub struct EntityId(String);

impl From<i64> for EntityId {
    fn from(id: i64) -> Self {
        Self(id.to_string())
    }
}

impl From<&str> for EntityId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// What becomes of one entity, for the audit trail.
#[derive(Debug)]
struct Record {
    resource: &'static str,
    id: EntityId,
    before: Value,
    /// `None` until it is told: then nothing has happened to it.
    after: Option<Value>,
}

impl Record {
    /// What was done and what it has become; `None` if it is what it was.
    fn outcome(&mut self) -> Option<(&'static str, Value)> {
        let after = self.after.take().filter(|after| *after != self.before)?;
        let action = match (&self.before, &after) {
            (Value::Null, _) => "create",
            (_, Value::Null) => "delete",
            _ => "update",
        };
        Some((action, after))
    }
}

/// A change that is committed and enforced.
#[derive(Debug)]
pub struct Written<T> {
    /// What it made.
    pub value: T,
    /// The rules' revision that is enforced now.
    pub policy_revision: i64,
}

impl Control {
    /// Starts a change: locks the revisions, and applies what other nodes did in the meantime.
    ///
    /// # Errors
    /// The database is away, or what others wrote cannot be applied.
    pub async fn write(&self) -> Result<Write, Error> {
        self.write_under(None).await
    }

    /// Starts a change that begins with other policy files: what others did may compile with these alone.
    pub(super) async fn write_with_files(&self, files: Arc<[PolicyText]>) -> Result<Write, Error> {
        let mut write = self.write_under(Some(files)).await?;
        write.touch(Change::Files);
        Ok(write)
    }

    async fn write_under(&self, files: Option<Arc<[PolicyText]>>) -> Result<Write, Error> {
        let inner = Arc::clone(&self.0);
        let turn = Arc::clone(&inner.turn).lock_owned().await;
        let now = Timestamp::now();
        let mut tx = match &inner.stage {
            Some(stage) => stage.enter(&inner.snapshots).await?,
            None => inner.db.write().await?,
        };
        let revisions = changes::lock(&mut tx).await?;
        let mut base = inner.snapshots.load();
        let before = inner.fixed.load_full();
        let mut fixed = Arc::clone(&before);
        if let Some(files) = files {
            fixed = Arc::new(Fixed { files, ..Fixed::clone(&before) });
        }
        let committed = Revisions { revision: revisions.revision - 1, ..revisions };
        if committed > base.revisions() {
            let started = Instant::now();
            let mut caught = load::catch_up(&mut tx, &base, &before, committed, now).await?;
            if caught.fault.is_some() && !Arc::ptr_eq(&before, &fixed) {
                caught = load::catch_up(&mut tx, &base, &fixed, committed, now).await?;
                if caught.fault.is_none() {
                    inner.fixed.store(Arc::clone(&fixed));
                }
            }
            inner.catch_up_keys(&mut tx, caught.keys, now).await;
            inner.advance(caught.next, started.elapsed());
            if let Some(fault) = caught.fault {
                return Err(Error::Behind(fault));
            }
            base = inner.snapshots.load();
        }
        let (changes, records, scene) = Default::default();
        Ok(Write { inner, turn, tx, base, fixed, revisions, changes, records, origin: None, scene, now })
    }

    /// Starts a change that somebody asks for: who may not, or who saw other rules, is told so now; and what it leads to
    /// is held to what they hold.
    ///
    /// # Errors
    /// `Forbidden` and `Stale`, beside those of [`Control::write`].
    pub async fn write_as(&self, origin: Origin) -> Result<Write, Error> {
        let mut write = self.write().await?;
        if origin.if_policy_revision.is_some_and(|seen| seen != write.base.policy_revision()) {
            return Err(Error::Stale);
        }
        if let Some(permission) = origin.permission
            && !origin.may(&write.base, permission, write.now)
        {
            return Err(Error::Forbidden(permission));
        }
        write.origin = Some(origin);
        Ok(write)
    }
}

impl Inner {
    pub(super) fn advance(&self, next: Snapshot, rebuild: Duration) {
        if self.stage.is_some() {
            self.snapshots.advance(next);
            return;
        }
        let revision = next.revision();
        let before = self.snapshots.load();
        let policy_revision = next.policy_revision();
        let issuers = Arc::clone(next.issuers());
        if self.snapshots.advance(next) {
            if policy_revision > before.policy_revision() {
                tracing::info!(target: SECURITY, revision, policy_revision, "rules changed");
            }
            self.metrics.snapshot_activated(revision, rebuild);
            if !Arc::ptr_eq(before.issuers(), &issuers) {
                self.tell_issuers(&self.snapshots.load());
            }
        }
    }

    pub(super) fn tell_issuers(&self, snapshot: &Snapshot) {
        if let Some(follow) = self.on_issuers.0.get() {
            follow(snapshot.issuers());
        }
    }
}

impl Write {
    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// The moment of the change.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The snapshot before the change.
    pub fn base(&self) -> &Arc<Snapshot> {
        &self.base
    }

    /// Who asks, if the change is not the program's own.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Notes that the entity, which is `before` now, is about to be changed or deleted.
    ///
    /// `before` is what reading the entity answers with, so that its tag is the one a client has seen.
    ///
    /// # Errors
    /// `Stale` when the client asked for another state of it (`If-Match`).
    pub fn replaces(
        &mut self,
        resource: &'static str,
        id: impl Into<EntityId>,
        before: &impl Serialize,
    ) -> Result<(), Error> {
        self.expects(before)?;
        self.leaves(resource, id, before);
        Ok(())
    }

    /// Whether the client asked for one state of the entity (`If-Match`).
    pub fn is_conditional(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| origin.if_match.is_some())
    }

    /// Compares the entity with the state that the client asked for.
    ///
    /// # Errors
    /// `Stale` when it is in another.
    pub fn expects(&self, before: &impl Serialize) -> Result<(), Error> {
        let Some(wanted) = self.origin.as_ref().and_then(|origin| origin.if_match.as_ref()) else { return Ok(()) };
        let bytes = serde_json::to_vec(before).map_err(|_| Error::Interrupted)?;
        if wanted.match_strongly(&Etag::of(&bytes)) { Ok(()) } else { Err(Error::Stale) }
    }

    /// Notes that the entity is `before` now, for the audit trail alone.
    pub fn leaves(&mut self, resource: &'static str, id: impl Into<EntityId>, before: &impl Serialize) {
        self.records.push(Record { resource, id: id.into(), before: value(before), after: None });
    }

    /// Notes what the entity has become, or that it is new.
    pub fn becomes(&mut self, resource: &'static str, id: impl Into<EntityId>, after: &impl Serialize) {
        self.ends_as(resource, id.into(), value(after));
    }

    /// Notes that the entity is new, where nothing was noted of it before: for many of them.
    pub(super) fn appears(&mut self, resource: &'static str, id: i64, after: Value) {
        self.records.push(Record { resource, id: id.into(), before: Value::Null, after: Some(after) });
    }

    /// Notes that the entity is no more.
    pub fn gone(&mut self, resource: &'static str, id: impl Into<EntityId>) {
        self.ends_as(resource, id.into(), Value::Null);
    }

    fn ends_as(&mut self, resource: &'static str, id: EntityId, after: Value) {
        let after = Some(after);
        let known = self.records.iter_mut().rev().find(|record| record.resource == resource && record.id == id);
        match known {
            Some(record) => record.after = after,
            None => self.records.push(Record { resource, id, before: Value::Null, after }),
        }
    }

    /// Notes where a request comes from that leads to this change without its sender being known.
    pub fn witness(&mut self, scene: Scene) {
        self.scene = scene;
    }

    async fn keep_records(&mut self, revision: i64) -> Result<(), Error> {
        let scene = self.origin.as_ref().map_or_else(|| self.scene.clone(), Scene::from);
        for mut record in std::mem::take(&mut self.records) {
            let Some((action, after)) = record.outcome() else { continue };
            let actor = self.origin.as_ref().and_then(|origin| self.base.user(origin.actor));
            let new = NewAuditRecord {
                actor_id: actor.map(|actor| actor.id),
                actor: actor.map(|actor| actor.username.to_string()),
                action,
                resource: record.resource,
                resource_id: record.id.0,
                before: record.before,
                after,
                ip: scene.client.map(|client| client.to_string()),
                user_agent: scene.user_agent.clone(),
                request_id: scene.request_id.clone(),
                revision,
            };
            audit::insert(&mut self.tx, new, self.now).await?;
        }
        Ok(())
    }

    /// Notes what the transaction has changed; what is not noted is not enforced.
    pub fn touch(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The same of many.
    pub fn touch_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.changes.extend(changes);
    }

    /// Compiles, commits and enforces the change; without a noted change, only commits.
    ///
    /// # Errors
    /// Nothing is written then: `Rejected` when the rules do not compile, `Escalation`, `LastSuperuser` and `SuperRole`
    /// for what it leads to, `Store` when the database refuses.
    pub async fn commit<T>(mut self, value: T) -> Result<Written<T>, Error> {
        let started = Instant::now();
        let next = self.prepare().await?;
        let own = self.prepare_keys().await?;
        let policy_revision = self.revisions.policy_revision;
        // A client that goes away drops this future; between commit and swap that must not happen.
        let finish = tokio::spawn(self.finish(next, own, started.elapsed()));
        finish.await.map_err(|_| Error::Interrupted)??;
        Ok(Written { value, policy_revision })
    }

    /// Brings the transaction to where it can be committed, and returns what is enforced then, if that is anything new.
    async fn prepare(&mut self) -> Result<Option<Snapshot>, Error> {
        if self.changes.is_empty() {
            // The counter must not move without an entry in the feed, or followers would look for one.
            changes::unlock(&mut self.tx).await?;
            self.keep_records(self.base.revision()).await?;
            self.revisions = self.base.revisions();
            return Ok(None);
        }
        if self.changes.iter().any(Change::is_of_rules) {
            self.revisions.policy_revision = changes::bump_policy(&mut self.tx).await?;
        }
        changes::append_all(&mut self.tx, self.revisions.revision, &self.changes, self.now).await?;
        let built = load::after(&mut self.tx, &self.base, &self.fixed, self.revisions, &self.changes, self.now).await;
        if matches!(built, Err(Error::Rejected(_))) && self.inner.stage.is_none() {
            self.inner.metrics.snapshot_failed();
        }
        let next = built?;
        let step = Step { base: &self.base, next: &next, changes: &self.changes, now: self.now };
        step.check(self.origin.as_ref())?;
        self.keep_records(self.revisions.revision).await?;
        self.tx.ring(self.revisions.revision).await?;
        Ok(Some(next))
    }

    /// Our keys as the transaction has made them, if it has touched any.
    async fn prepare_keys(&mut self) -> Result<Option<Own>, Error> {
        match self.changes.iter().any(|change| matches!(change, Change::Key(_))) {
            true => self.inner.own_keys(&mut self.tx, self.now).await,
            false => Ok(None),
        }
    }

    async fn finish(self, next: Option<Snapshot>, own: Option<Own>, rebuild: Duration) -> Result<(), Error> {
        let Self { inner, turn, tx, fixed, .. } = self;
        match &inner.stage {
            Some(stage) => stage.leave(tx).await,
            None => tx.commit().await?,
        }
        inner.fixed.store(fixed);
        inner.put_keys(own);
        if let Some(next) = next {
            inner.advance(next, rebuild);
        }
        drop(turn);
        Ok(())
    }

    /// Gives the lock away without having written anything, for somebody who goes on in the same transaction.
    pub(super) async fn hand_over(mut self) -> Result<(OwnedMutexGuard<()>, Tx, Arc<Snapshot>), Error> {
        changes::unlock(&mut self.tx).await?;
        Ok((self.turn, self.tx, self.base))
    }
}

/// What is told of an entity; what cannot be told is null.
fn value(entity: &impl Serialize) -> Value {
    serde_json::to_value(entity).unwrap_or_default()
}
