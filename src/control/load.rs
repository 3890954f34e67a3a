//! Database to snapshot: all of it, or what has changed since.

use std::{collections::HashSet, sync::Arc};

use super::Error;
use crate::{
    model::{Timestamp, rules::Revisions},
    policy::{Compiled, Fixed, Snapshot},
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
    for change in changes {
        match change {
            Change::Rules => {}
            Change::User(id) => match users::state(tx, *id).await? {
                Some(state) => next.put_user(state),
                None => next.remove_user(*id),
            },
            Change::Revocation(key) => {
                if let Some(revocation) = revocations::get(tx, key).await? {
                    next.put_revocation(revocation);
                }
            }
        }
    }
    Ok(next)
}

/// The snapshot of the newest committed revision, built upon `base`.
pub(super) async fn catch_up(
    tx: &mut Tx,
    base: &Arc<Snapshot>,
    fixed: &Fixed,
    revisions: Revisions,
    now: Timestamp,
) -> Result<Snapshot, Error> {
    let missed = changes::since(tx, base.revision()).await?;
    let whole = missed.first().is_some_and(|(first, _)| *first == base.revision() + 1);
    if !whole {
        // The feed no longer reaches back to where we are.
        let loaded = everything(tx, fixed, now).await?;
        return Ok(loaded.advanced(revisions, now));
    }
    after(tx, base, fixed, revisions, missed.iter().map(|(_, change)| change), now).await
}

/// Compiling may take a while with many grants, so it leaves the threads that serve requests alone.
async fn compile(tx: &mut Tx, fixed: &Fixed, before: Option<Arc<Snapshot>>) -> Result<Compiled, Error> {
    let rules = rules::load(tx).await?;
    let fixed = fixed.clone();
    let compile = move || Compiled::new(rules, &fixed, before.as_ref().map(|snapshot| snapshot.compiled()));
    let compiled = tokio::task::spawn_blocking(compile).await.map_err(|_| Error::Interrupted)?;
    Ok(compiled?)
}
