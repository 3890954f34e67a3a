use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::standing::Standing;
use super::{fetch, jwks};
use crate::jwt::{Verifier, Waiting};
use crate::model::{Issuer, Issuers, KeySource};
use crate::telemetry::Metrics;

/// How often is looked at what is due, and at files.
const LOOK: Duration = Duration::from_millis(500);
/// A request waits no longer than this for an attempt to begin; the errand itself is given up soon after.
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// How keys are kept.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// They are fetched again after this time.
    pub refresh: Duration,
    /// Attempts that requests cause are at least so far apart.
    pub refetch: Duration,
    /// Keys that could not be fetched for so long are used no more.
    pub outage: Duration,
}

/// Keeps the keys of all trusted issuers.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    terms: Terms,
    verifier: Verifier,
    metrics: Arc<Metrics>,
    all: Mutex<HashMap<Arc<str>, Standing>>,
    news: Notify,
    /// Whenever an attempt has ended.
    ended: Notify,
}

type Fetched = Result<Vec<u8>, fetch::Error>;

impl Keeper {
    /// Keeps keys for `verifier`.
    pub fn new(terms: Terms, verifier: Verifier, metrics: Arc<Metrics>) -> Self {
        let (all, news, ended) = Default::default();
        Self(Arc::new(Inner { terms, verifier, metrics, all, news, ended }))
    }

    /// From now on these issuers are believed, and no others. Keys that are found as before stay in use.
    pub fn follow(&self, issuers: &Issuers) {
        let inner = &self.0;
        let mut all = inner.all.lock();
        let gone: Vec<Arc<str>> = all.keys().filter(|iss| !issuers.contains_key(*iss)).cloned().collect();
        for iss in &gone {
            if let Some(standing) = all.remove(iss) {
                inner.metrics.issuers().forget(&standing.issuer.spec().name);
            }
        }
        let mut changed = Vec::new();
        for (iss, issuer) in issuers {
            let standing = all.entry(Arc::clone(iss)).or_insert_with(|| Standing::new(issuer));
            let is_new = standing.fetched.is_none() && standing.tried.is_none();
            if !is_new && standing.issuer == *issuer {
                continue;
            }
            let (before, now) = (standing.issuer.spec(), issuer.spec());
            if before.name != now.name {
                inner.metrics.issuers().forget(&before.name);
            }
            if !standing.issuer.finds_keys_as(issuer) || before.algorithms != now.algorithms {
                *standing = Standing::new(issuer);
            }
            standing.issuer = Arc::clone(issuer);
            changed.push(standing.trusted());
            inner.note(standing);
        }
        if gone.is_empty() && changed.is_empty() {
            return;
        }
        // Under the lock, so that what is fetched meanwhile is not overwritten with what was there before.
        inner.verifier.change_issuers(|trusted| {
            for iss in &gone {
                trusted.remove(iss);
            }
            for issuer in &changed {
                trusted.put(issuer.clone());
            }
        });
        drop(all);
        inner.news.notify_one();
    }

    /// Waits until each issuer was asked once, whatever came of it, or until that has taken too long.
    pub async fn first_attempts(&self, within: Duration) {
        let inner = &self.0;
        let attempts = async {
            loop {
                let ended = inner.ended.notified();
                if inner.all.lock().values().all(|standing| standing.tried.is_some() && !standing.is_fetching) {
                    return;
                }
                ended.await;
            }
        };
        if timeout(within, attempts).await.is_err() {
            tracing::warn!("not all issuers have answered yet");
        }
    }

    /// Fetches what is due, for ever, and what `errands` ask for.
    pub async fn run(self, mut errands: mpsc::Receiver<Waiting<Arc<str>>>) {
        let inner = &self.0;
        let mut fetching: JoinSet<Fetched> = JoinSet::new();
        let mut asked: HashMap<task::Id, Arc<Issuer>> = HashMap::new();
        let mut files: HashMap<PathBuf, Look> = HashMap::new();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => inner.look_at_files(&mut files).await,
                () = inner.news.notified() => {}
                Some(errand) = errands.recv() => inner.receive(errand),
                Some(fetched) = fetching.join_next_with_id() => match fetched {
                    Ok((id, outcome)) => {
                        if let Some(issuer) = asked.remove(&id) {
                            inner.take(&issuer, outcome);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "fetching keys was cut short");
                        if let Some(issuer) = asked.remove(&error.id()) {
                            inner.take(&issuer, Err(fetch::Error::Connection("the attempt was cut short".to_owned())));
                        }
                    }
                },
            }
            inner.ended.notify_waiters();
            inner.give_up_stale();
            for issuer in inner.due() {
                let of = Arc::clone(&issuer);
                let task = fetching.spawn(async move { fetch::keys(&of).await });
                asked.insert(task.id(), issuer);
            }
        }
    }
}

/// What tells that a file has changed.
type Look = Option<(u64, Option<SystemTime>)>;

impl Inner {
    /// Notes who waits for newer keys; nobody, if the next attempt is too far away.
    fn receive(&self, errand: Waiting<Arc<str>>) {
        let mut all = self.all.lock();
        let Some(standing) = all.get_mut(&errand.what) else { return };
        standing.waiting.retain(|waiting| !waiting.is_given_up());
        if standing.is_fetching || standing.pause(&self.terms) <= MOST_PAUSE {
            standing.waiting.push(errand);
        }
    }

    /// The issuers to be asked now, which are noted as being asked.
    fn due(&self) -> Vec<Arc<Issuer>> {
        let now = Instant::now();
        let mut all = self.all.lock();
        let due = all.values_mut().filter(|standing| standing.is_due(&self.terms, now));
        due.map(|standing| {
            standing.tried = Some(now);
            standing.is_fetching = true;
            Arc::clone(&standing.issuer)
        })
        .collect()
    }

    /// Puts in use what was fetched of `issuer`, if that is still how its keys are found.
    fn take(&self, issuer: &Arc<Issuer>, outcome: Result<Vec<u8>, fetch::Error>) {
        let spec = issuer.spec();
        let mut all = self.all.lock();
        let Some(standing) = all.get_mut(spec.issuer.as_str()) else { return };
        if !standing.issuer.finds_keys_as(issuer) || standing.issuer.spec().algorithms != spec.algorithms {
            return;
        }
        standing.is_fetching = false;
        let read = outcome.and_then(|text| {
            let digest = Sha256::digest(&text).into();
            match standing.text == Some(digest) {
                true => Ok(None),
                false => jwks::read(&text, &spec.algorithms).map(|keys| Some((digest, keys))),
            }
        });
        let name = &standing.issuer.spec().name;
        self.metrics.issuers().fetched(name, read.as_ref().map_or_else(fetch::Error::outcome, |_| "ok"));
        match read {
            Ok(news) => {
                if standing.fault.take().is_some() {
                    tracing::info!(issuer = name, "the issuer's keys can be got again");
                }
                standing.fetched = Some(Instant::now());
                if let Some((digest, jwks::Keys { usable, ignored })) = news {
                    for (key, reason) in ignored {
                        tracing::warn!(issuer = name, key, reason, "a key of the issuer is not used");
                    }
                    tracing::info!(issuer = name, keys = usable.len(), "keys of the issuer are in use");
                    (standing.text, standing.keys) = (Some(digest), usable);
                    self.tell(standing);
                }
                standing.waiting.drain(..).for_each(Waiting::done);
            }
            Err(error) => {
                let fault = error.to_string();
                if standing.fault.as_ref() != Some(&fault) {
                    tracing::error!(issuer = name, %fault, "the issuer's keys cannot be got; known ones stay in use for a while");
                }
                standing.fault = Some(fault);
                standing.waiting.clear();
            }
        }
        self.note(standing);
    }

    /// Takes away keys that could not be confirmed for too long.
    fn give_up_stale(&self) {
        for standing in self.all.lock().values_mut().filter(|standing| standing.is_stale(&self.terms)) {
            let name = &standing.issuer.spec().name;
            tracing::error!(issuer = name, "the issuer's keys are too old: its tokens are refused");
            (standing.keys, standing.text) = Default::default();
            self.tell(standing);
            self.note(standing);
        }
    }

    async fn look_at_files(&self, seen: &mut HashMap<PathBuf, Look>) {
        let path = |standing: &Standing| match standing.issuer.keys() {
            KeySource::File(path) => Some(path.to_owned()),
            KeySource::Discovery | KeySource::Url(_) => None,
        };
        let paths: Vec<PathBuf> = self.all.lock().values().filter_map(path).collect();
        seen.retain(|path, _| paths.contains(path));
        for file in paths {
            let told = tokio::fs::metadata(&file).await.ok();
            let look: Look = told.map(|told| (told.len(), told.modified().ok()));
            let before = seen.insert(file.clone(), look);
            if before.is_some_and(|before| before != look) {
                let mut all = self.all.lock();
                let of_file = all.values_mut().filter(|standing| path(standing).as_ref() == Some(&file));
                of_file.for_each(|standing| standing.tried = None);
            }
        }
    }

    fn tell(&self, standing: &Standing) {
        let trusted = standing.trusted();
        self.verifier.change_issuers(|all| all.put(trusted.clone()));
    }

    fn note(&self, standing: &Standing) {
        let Standing { issuer, keys, fetched, fault, .. } = standing;
        self.metrics.issuers().note(&issuer.spec().name, keys.len(), *fetched, fault.clone());
    }
}
