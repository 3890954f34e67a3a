//! What has to be written so that an installation's rows are here; every row that is another one here is a conflict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    kinds::{Kind, fields, title},
    report::{Report, shown},
};
use crate::{
    model::{ModuleId, PermissionId, RoleId, RouteId, SUPER_ROLE, UserId, takeover::Installation},
    store::takeover::{Known, Present},
};

/// Pairs that are not there yet, by their first half.
pub(super) type Missing<A, B> = BTreeMap<A, Vec<B>>;

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Rows that are not there yet.
    pub(super) new: Installation,
    pub(super) grants: Missing<RoleId, PermissionId>,
    pub(super) assignments: Missing<UserId, RoleId>,
    pub(super) of_modules: Missing<ModuleId, RoleId>,
    pub(super) of_routes: Missing<RouteId, RoleId>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.new == Installation::default()
            && self.grants.is_empty()
            && self.assignments.is_empty()
            && self.of_modules.is_empty()
            && self.of_routes.is_empty()
    }
}

/// Compares what is wanted with what is there.
pub(super) fn plan(wanted: &Installation, present: &Present, report: &mut Report) -> Plan {
    let new = Installation {
        permissions: compare(&wanted.permissions, &present.permissions, report),
        roles: compare(&wanted.roles, &present.roles, report),
        users: compare(&wanted.users, &present.users, report),
        modules: compare(&wanted.modules, &present.modules, report),
        routes: compare(&wanted.routes, &present.routes, report),
        ..Installation::default()
    };
    let (links, known) = (&wanted.links, &present.links);
    let mut grants = links.grants.clone();
    // The super role holds every permission, those too that were made while it did not.
    if let Some(role) = wanted.roles.iter().find(|role| role.name.as_str() == SUPER_ROLE) {
        grants.extend(new.permissions.iter().map(|permission| (role.id, permission.id)));
    }
    let plan = Plan {
        grants: missing(&grants, &known.grants),
        assignments: missing(&links.assignments, &known.assignments),
        of_modules: missing(&links.of_modules, &known.of_modules),
        of_routes: missing(&links.of_routes, &known.of_routes),
        new,
    };
    gains(&wanted.roles, &plan.new.roles, &plan.grants, "permissions", RoleId, report);
    gains(&wanted.users, &plan.new.users, &plan.assignments, "roles", UserId, report);
    gains(&wanted.modules, &plan.new.modules, &plan.of_modules, "roles", ModuleId, report);
    gains(&wanted.routes, &plan.new.routes, &plan.of_routes, "roles", RouteId, report);
    plan
}

/// Returns those that are not there; tells of those that are, and are others.
fn compare<T: Kind + Clone>(wanted: &[T], known: &[Known<T>], report: &mut Report) -> Vec<T> {
    let by_id: HashMap<i64, &Known<T>> = known.iter().map(|known| (known.row.id(), known)).collect();
    let live = known.iter().filter(|known| !known.is_deleted);
    let by_key: HashMap<(&str, String), i64> =
        live.flat_map(|known| known.row.keys().into_iter().map(|key| (key, known.row.id()))).collect();
    let mut new = Vec::new();
    for row in wanted {
        let conflict = match by_id.get(&row.id()) {
            Some(known) if known.is_deleted => Some("a row of this id was deleted here".to_owned()),
            Some(known) => difference(row, &known.row),
            None => row.keys().into_iter().find_map(|(field, value)| {
                let id = by_key.get(&(field, value.clone()))?;
                Some(format!("the {field} {} is that of {} {id} here", shown(&value), T::NAME))
            }),
        };
        match conflict {
            Some(conflict) => report.conflicts.add(|| format!("{}: {conflict}", title(row))),
            None if by_id.contains_key(&row.id()) => report.unchanged += 1,
            None => {
                report.created.add(|| title(row));
                new.push(row.clone());
            }
        }
    }
    new
}

/// In what a row differs from the one of its id here.
fn difference<T: Kind>(row: &T, known: &T) -> Option<String> {
    let (there, here) = (fields(row), fields(known));
    let differs = |(field, value): (&String, &Value)| {
        let kept = here.get(field).filter(|kept| *kept != value)?;
        Some(format!("{field} is {} there and {} here", printed(value), printed(kept)))
    };
    let secretly = row.differs_secretly(known).map(|field| format!("another {field} is set here"));
    let all: Vec<String> = there.iter().filter_map(differs).chain(secretly).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn printed(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), shown)
}

/// The pairs that are wanted and not known.
pub(super) fn missing<A: Copy + Ord, B: Copy + Ord>(
    wanted: &BTreeSet<(A, B)>,
    known: &BTreeSet<(A, B)>,
) -> Missing<A, B> {
    let mut missing = Missing::new();
    for (owner, other) in wanted.difference(known) {
        missing.entry(*owner).or_insert_with(Vec::new).push(*other);
    }
    missing
}

/// Tells which rows that are there already gain something.
fn gains<T: Kind, A: Ord, B: ToString>(
    wanted: &[T],
    new: &[T],
    missing: &Missing<A, B>,
    what: &str,
    key: fn(i64) -> A,
    report: &mut Report,
) {
    let new: BTreeSet<i64> = new.iter().map(Kind::id).collect();
    for row in wanted.iter().filter(|row| !new.contains(&row.id())) {
        let Some(gained) = missing.get(&key(row.id())) else { continue };
        report.unchanged = report.unchanged.saturating_sub(1);
        report.changed.add(|| {
            let ids: Vec<String> = gained.iter().map(ToString::to_string).collect();
            format!("{} gains {what} {}", title(row), shown(&ids.join(", ")))
        });
    }
}
