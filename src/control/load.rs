//! Database to snapshot: all of it, or what has changed since.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::Error;
use crate::{
    model::{Issuer, IssuerFault, IssuerSpec, Issuers, Timestamp, UserId, rules::Revisions},
    policy::{CompileError, Compiled, Fixed, Identity, Snapshot},
    store::{Tx, changes, changes::Change, issuers, issuers::IdentityRow, revocations, rules, users},
};

/// Longer than any leeway: a token is accepted for that long after its end, and so is its revocation.
const REVOCATION_MARGIN_SECONDS: i64 = 120;

/// With more parts changed than that, reading all rules is less work.
const MOST_PARTS: usize = 200;

/// With more users changed than that, and more than a tenth of all, reading all of them is less work.
const MOST_USERS: usize = 1_000;

/// Revocations that ended before this moment matter no longer.
pub(super) fn forgotten_before(now: Timestamp) -> Timestamp {
    now.plus_seconds(-REVOCATION_MARGIN_SECONDS)
}

/// Reads and compiles everything.
pub(super) async fn everything(tx: &mut Tx, fixed: &Fixed, now: Timestamp) -> Result<Snapshot, Error> {
    let revisions = changes::current(tx).await?;
    let compiled = all_rules(tx, fixed, None).await?;
    let states = users::states(tx).await?;
    let revoked = revocations::live(tx, forgotten_before(now)).await?;
    let mut snapshot = Snapshot::new(revisions, compiled, states, revoked, now);
    put_identities(&mut snapshot, issuers::all_identities(tx).await?);
    snapshot.put_issuers(trusted(tx, fixed).await?);
    Ok(snapshot)
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
    if changes.iter().any(|change| change.is_of_rules()) {
        next.put_rules(changed_rules(tx, fixed, base, &changes).await?);
    }
    put(tx, fixed, &mut next, changes, now).await?;
    Ok(next)
}

async fn put(
    tx: &mut Tx,
    fixed: &Fixed,
    next: &mut Snapshot,
    changes: HashSet<&Change>,
    now: Timestamp,
) -> Result<(), Error> {
    if changes.iter().any(|change| matches!(change, Change::Issuer(_))) {
        next.put_issuers(trusted(tx, fixed).await?);
    }
    let users = changes.iter().filter(|change| matches!(change, Change::User(_))).count();
    if users > MOST_USERS.max(next.user_count() / 10) {
        return put_everybody(tx, next, now).await;
    }
    for change in changes {
        match change {
            Change::User(id) => match users::state(tx, *id).await? {
                Some(state) => {
                    next.put_user(state);
                    let known = issuers::identities(tx, &[*id]).await?;
                    put_identities(next, known);
                }
                None => next.remove_user(*id),
            },
            Change::Revocation(key) => {
                if let Some(revocation) = revocations::get(tx, key).await? {
                    next.put_revocation(&revocation);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

async fn put_everybody(tx: &mut Tx, next: &mut Snapshot, now: Timestamp) -> Result<(), Error> {
    next.put_everybody(users::states(tx).await?, revocations::live(tx, forgotten_before(now)).await?);
    put_identities(next, issuers::all_identities(tx).await?);
    Ok(())
}

fn put_identities(next: &mut Snapshot, known: Vec<IdentityRow>) {
    let mut of_user: BTreeMap<UserId, (Vec<Identity>, Option<Timestamp>)> = BTreeMap::new();
    for IdentityRow { user_id, issuer, subject, tokens_valid_from } in known {
        let (identities, valid_from) = of_user.entry(user_id).or_default();
        identities.push(Identity { issuer: issuer.into(), subject: subject.into() });
        *valid_from = tokens_valid_from;
    }
    for (user, (identities, valid_from)) in of_user {
        next.put_identities(user, identities, valid_from);
    }
}

/// The issuers of the settings, and those of the database that do not contradict them. What this release cannot read is
/// not believed, and said.
async fn trusted(tx: &mut Tx, fixed: &Fixed) -> Result<Arc<Issuers>, Error> {
    let mut all: Issuers = Issuers::new();
    for issuer in &fixed.issuers {
        all.insert(issuer.spec().issuer.as_str().into(), Arc::clone(issuer));
    }
    for row in issuers::all(tx).await?.into_iter().filter(|row| row.is_active) {
        let id = row.id;
        let issuer = match read_issuer(row) {
            Ok(issuer) => issuer,
            Err(fault) => {
                tracing::error!(issuer.id = %id, %fault, "a stored issuer is not believed");
                continue;
            }
        };
        let spec = issuer.spec();
        let same = |other: &Arc<Issuer>| other.spec().name == spec.name || other.spec().issuer == spec.issuer;
        if fixed.issuers.iter().any(same) {
            tracing::warn!(issuer.id = %id, name = spec.name, "a stored issuer is passed over: the settings have one");
            continue;
        }
        all.insert(spec.issuer.as_str().into(), Arc::new(issuer));
    }
    Ok(Arc::new(all))
}

/// The issuer of a row.
///
/// # Errors
/// It says what this release does not know, or cannot work.
pub(super) fn read_issuer(row: issuers::IssuerRow) -> Result<Issuer, IssuerFault> {
    let Value::Object(object) = row.spec else {
        return Err(IssuerFault { field: "spec".to_owned(), reason: "is no object".to_owned() });
    };
    IssuerSpec::read(object).and_then(|spec| Issuer::stored(row.id, spec))
}

/// What a node has caught up with.
pub(super) struct Caught {
    pub(super) next: Snapshot,
    /// Why the rules are those from before.
    pub(super) fault: Option<CompileError>,
    /// Whether somebody did, or may have done, something to keys.
    pub(super) keys: bool,
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
) -> Result<Caught, Error> {
    let mut next = base.advanced(revisions, now);
    let mut fault = None;
    let missed = changes::since(tx, base.revision()).await?;
    if revisions.policy_revision != base.policy_revision() {
        let told = rules_told(&missed, base, revisions);
        let compiled = match &told {
            Some(changes) => changed_rules(tx, fixed, base, changes).await,
            None => all_rules(tx, fixed, Some(Arc::clone(base))).await,
        };
        match compiled {
            Ok(compiled) => next.put_rules(compiled),
            Err(Error::Rejected(error)) => {
                let reached = Revisions { policy_revision: base.policy_revision(), ..revisions };
                next = base.advanced(reached, now);
                fault = Some(error);
            }
            Err(other) => return Err(other),
        }
    }
    let up_to_date = revisions.revision == base.revision();
    let is_whole = up_to_date || missed.first().is_some_and(|(first, _)| *first == base.revision() + 1);
    let keys = !is_whole || missed.iter().any(|(_, change)| matches!(change, Change::Key(_)));
    if is_whole {
        put(tx, fixed, &mut next, missed.iter().map(|(_, change)| change).collect(), now).await?;
    } else {
        // The feed no longer reaches back to where we are.
        put_everybody(tx, &mut next, now).await?;
        next.put_issuers(trusted(tx, fixed).await?);
    }
    Ok(Caught { next, fault, keys })
}

/// What the feed says of rules, if it tells of every revision of them since `base`: it may have been cut, and what did
/// not compile here was passed over.
fn rules_told<'c>(missed: &'c [(i64, Change)], base: &Snapshot, revisions: Revisions) -> Option<HashSet<&'c Change>> {
    let of_rules = missed.iter().filter(|(_, change)| change.is_of_rules());
    let told: HashSet<i64> = of_rules.clone().map(|(revision, _)| *revision).collect();
    let passed = revisions.policy_revision - base.policy_revision();
    (i64::try_from(told.len()) == Ok(passed)).then(|| of_rules.map(|(_, change)| change).collect())
}

/// The rules with what `changes` say has changed; `tx` must see it.
async fn changed_rules(
    tx: &mut Tx,
    fixed: &Fixed,
    base: &Arc<Snapshot>,
    changes: &HashSet<&Change>,
) -> Result<Compiled, Error> {
    let of_rules: Vec<&Change> = changes.iter().copied().filter(|change| change.is_of_rules()).collect();
    if of_rules.contains(&&Change::Rules) || of_rules.len() > MOST_PARTS || base.compiled().is_worn() {
        return all_rules(tx, fixed, Some(Arc::clone(base))).await;
    }
    let mut parts = Vec::with_capacity(of_rules.len());
    for change in of_rules {
        parts.extend(rules::part(tx, change).await?);
    }
    let (base, files) = (Arc::clone(base), Arc::clone(&fixed.files));
    compile(move || base.compiled().with(parts, &files)).await
}

async fn all_rules(tx: &mut Tx, fixed: &Fixed, before: Option<Arc<Snapshot>>) -> Result<Compiled, Error> {
    let rules = rules::load(tx).await?;
    let fixed = fixed.clone();
    compile(move || Compiled::new(rules, &fixed, before.as_ref().map(|snapshot| snapshot.compiled()))).await
}

/// Compiling may take a while with many grants, so it leaves the threads that serve requests alone.
async fn compile(how: impl FnOnce() -> Result<Compiled, CompileError> + Send + 'static) -> Result<Compiled, Error> {
    Ok(tokio::task::spawn_blocking(how).await.map_err(|_| Error::Interrupted)??)
}
