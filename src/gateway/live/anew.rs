//! Deciding anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, header};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::jwt;
use crate::model::{Claims, Reason, Timestamp};
use crate::policy::{Ask, Caller, Destination, Entry, Facts, Snapshot, Subject};

use super::super::credentials;
use super::super::shared::Shared;
use super::{Open, cause, seconds};

/// How often is looked at what ends by itself, and at the keys.
const LOOK: Duration = Duration::from_millis(200);
/// A round that took long is followed by a rest of so many times that, but not for longer than `MOST_REST`: writes that
/// follow each other closely do not keep a core busy.
const REST: u32 = 4;
const MOST_REST: Duration = Duration::from_millis(500);

/// Decides anew what goes on, whenever that could turn out differently, for ever.
pub(in crate::gateway) async fn watch(shared: Arc<Shared>) {
    let mut moves = shared.snapshots.moves();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            moved = moves.changed() => if moved.is_err() { return },
            _ = looks.tick() => {}
        }
        let begun = Instant::now();
        decide(&shared);
        sleep((begun.elapsed() * REST).min(MOST_REST)).await;
    }
}

/// Decides anew what could turn out differently, and ends what is no longer allowed.
pub(in crate::gateway) fn decide(shared: &Shared) {
    // Before the snapshot: what is found out with older keys is found out again.
    let keys = shared.verifier.keys().version();
    let snapshot = shared.snapshots.load();
    let (revision, now) = (snapshot.revision(), seconds());
    let is_due = |open: &Open| {
        !open.is_told()
            && (open.revision.load(Ordering::Relaxed) != revision
                || open.keys.load(Ordering::Relaxed) != keys
                || open.until.load(Ordering::Relaxed) <= now)
    };
    for due in shared.streams.picked(is_due) {
        for open in due {
            match open.again(shared, &snapshot, keys) {
                Ok(until) => {
                    open.until.store(until, Ordering::Relaxed);
                    open.keys.store(keys, Ordering::Relaxed);
                    open.revision.store(revision, Ordering::Relaxed);
                }
                Err(reason) => shared.streams.end(&open, cause(reason), reason),
            }
        }
    }
}

impl Open {
    /// Asks everything again that was asked when it began, and whether it still leads to the same place; until when that
    /// holds by itself.
    fn again(&self, shared: &Shared, snapshot: &Snapshot, keys: u64) -> Result<i64, Reason> {
        let terms = &self.terms;
        let now = Timestamp::now();
        let matched = snapshot.routes().find(&terms.host, terms.target.decoded_path()).ok_or(Reason::UnknownRoute)?;
        let Entry::Route(route) = matched.entry else { return Err(Reason::UnknownRoute) };
        let operation = route.operation(terms.method.as_str()).ok_or(Reason::MethodNotAllowed)?;
        let mut until = i64::MAX;
        let caller = match &terms.token {
            Some((token, claims)) => {
                if self.keys.load(Ordering::Relaxed) != keys {
                    verify(shared, token, now)?;
                }
                if shared.verifier.accepted_until(claims) <= now.unix_seconds() {
                    return Err(Reason::ExpiredToken);
                }
                let caller = snapshot.caller(claims, now)?;
                until = ends(shared, claims, &caller, now);
                Some(caller)
            }
            None => None,
        };
        let claims = terms.token.as_ref().map(|(_, claims)| &**claims);
        let owner = operation.owner_of(&matched.params, &|name| terms.target.query_value(name), claims);
        let owner = owner.map_err(|_| Reason::BadRequest)?;
        let facts = Facts {
            method: terms.method.as_str(),
            path: terms.target.decoded_path(),
            host: &terms.host,
            params: &matched.params,
            client_ip: terms.client,
            now,
            client_certificate: terms.certificate.as_deref(),
            owner: owner.as_deref(),
        };
        let ask = Ask { caller: caller.as_ref(), subject: Subject::Operation(operation), facts };
        let decision = snapshot.decide(&ask);
        for (policy, _) in &decision.errors {
            shared.metrics.policy_error(policy);
        }
        let permit = decision.outcome?;
        let Destination::Upstream(route) = permit.destination() else { return Err(Reason::UnknownRoute) };
        if route.upstream != terms.upstream || snapshot.upstream(&terms.upstream).is_none() {
            return Err(Reason::UpstreamUnreachable);
        }
        Ok(until)
    }
}

/// Whether a token that was accepted still is, by the keys of now.
fn verify(shared: &Shared, token: &http::HeaderValue, now: Timestamp) -> Result<(), Reason> {
    let field: HeaderMap = [(header::AUTHORIZATION, token.clone())].into_iter().collect();
    let token = credentials::bearer(&field)?.ok_or(Reason::InvalidToken)?;
    match shared.verifier.verify(token, now) {
        Ok(_) => Ok(()),
        Err(jwt::Error::Expired) => Err(Reason::ExpiredToken),
        Err(_) => Err(Reason::InvalidToken),
    }
}

/// When the token or a role of its user ends by itself.
fn ends(shared: &Shared, claims: &Claims, caller: &Caller, now: Timestamp) -> i64 {
    let roles = caller.account().into_iter().flat_map(|state| state.roles.iter());
    let ends = roles.filter_map(|assignment| assignment.expires_at).filter(|end| *end > now);
    let first = ends.min().map_or(i64::MAX, Timestamp::unix_seconds);
    first.min(shared.verifier.accepted_until(claims))
}
