//! Database to snapshot: all of it, or what has changed since.

use std::{collections::HashSet, sync::Arc};

use super::Error;
use crate::{
    model::{Timestamp, rules::Revisions},
    policy::{CompileError, Compiled, Fixed, Snapshot},
    store::{Tx, changes, changes::Change, revocations, rules, users},
};

/// Longer than any leeway: a token is accepted for that long after its end, and so is its revocation.
const REVOCATION_MARGIN_SECONDS: i64 = 120;

/// Revocations that ended before this moment matter no longer.
pub(super) fn forgotten_before(now: Timestamp) -> Timestamp {
    now.plus_seconds(-REVOCATION_MARGIN_SECONDS)
}

/// Reads and compiles everything.
pub(super) async fn everything(tx: &mut Tx, fixed: &Fixed, now: Timestamp) -> Result<Snapshot, Error> {
    let revisions = changes::current(tx).await?;
    let compiled = compile(tx, fixed, None).await?;
    let states = users::states(tx).await?;
    let revoked = revocations::live(tx, forgotten_before(now)).await?;
    Ok(Snapshot::new(revisions, compiled, states, revoked, now))
}

/// The snapshot after `base` with `changes` applied; `tx` must see them.
pub(super) async fn after(
    tx: &mut Tx,
    base: &Arc<Snapshot>,
    fixed: &Fixed,
    revisions: Revisions,
    changes: impl IntoIterator<Item = &Change>,
    now: Timestamp,
) -> Result<Snapshot, Error> {
    let changes: HashSet<&Change> = changes.into_iter().collect();
    let mut next = base.advanced(revisions, now);
    if changes.contains(&Change::Rules) {
        next.put_rules(compile(tx, fixed, Some(Arc::clone(base))).await?);
    }
    put(tx, &mut next, changes).await?;
    Ok(next)
}

async fn put(tx: &mut Tx, next: &mut Snapshot, changes: HashSet<&Change>) -> Result<(), Error> {
    for change in changes {
        match change {
            Change::Rules => {}
            Change::User(id) => match users::state(tx, *id).await? {
                Some(state) => next.put_user(state),
                None => next.remove_user(*id),
            },
            Change::Revocation(key) => {
                if let Some(revocation) = revocations::get(tx, key).await? {
                    next.put_revocation(&revocation);
                }
            }
        }
    }
    Ok(())
}

/// The snapshot of the newest committed revision, built upon `base`.
///
/// Rules that do not compile here (another node has other policy files, or is of another release) must not keep
/// users deactivated elsewhere alive: then the old rules and `policy_revision` stay, and the fault is returned too.
pub(super) async fn catch_up(
    tx: &mut Tx,
    base: &Arc<Snapshot>,
    fixed: &Fixed,
    revisions: Revisions,
    now: Timestamp,
) -> Result<(Snapshot, Option<CompileError>), Error> {
    let mut next = base.advanced(revisions, now);
    let mut fault = None;
    if revisions.policy_revision != base.policy_revision() {
        match compile(tx, fixed, Some(Arc::clone(base))).await {
            Ok(compiled) => next.put_rules(compiled),
            Err(Error::Rejected(error)) => {
                let reached = Revisions { policy_revision: base.policy_revision(), ..revisions };
                next = base.advanced(reached, now);
                fault = Some(error);
            }
            Err(other) => return Err(other),
        }
    }
    let missed = changes::since(tx, base.revision()).await?;
    let up_to_date = revisions.revision == base.revision();
    if up_to_date || missed.first().is_some_and(|(first, _)| *first == base.revision() + 1) {
        put(tx, &mut next, missed.iter().map(|(_, change)| change).collect()).await?;
    } else {
        // The feed no longer reaches back to where we are.
        next.put_everybody(users::states(tx).await?, revocations::live(tx, forgotten_before(now)).await?);
    }
    Ok((next, fault))
}

/// Compiling may take a while with many grants, so it leaves the threads that serve requests alone.
async fn compile(tx: &mut Tx, fixed: &Fixed, before: Option<Arc<Snapshot>>) -> Result<Compiled, Error> {
    let rules = rules::load(tx).await?;
    let fixed = fixed.clone();
    let compile = move || Compiled::new(rules, &fixed, before.as_ref().map(|snapshot| snapshot.compiled()));
    let compiled = tokio::task::spawn_blocking(compile).await.map_err(|_| Error::Interrupted)?;
    Ok(compiled?)
}
