//! What becomes of access from one snapshot to another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Reach, Says,
    conditional::{self, ConditionalChange},
    operations::{Kind, Place, places},
    sheet::Sheet,
    users::{self, Pairs},
};
use crate::{
    model::{RoleId, RouteId, Timestamp},
    policy::{compile::Compiled, depth, handwritten::Handwritten, roles::CompiledRole, snapshot::Snapshot},
};

/// Entries of one list.
const MOST_LISTED: usize = 10_000;
/// Kinds of operations looked at together, so that their rows fit into memory.
const TOGETHER: usize = 1_024;
/// How many answers are looked at for roles and for users, all groups of them taken together: a few seconds' work.
const MOST_ANSWERS: usize = 500_000_000;

/// What becomes of access.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Difference {
    /// Roles that were denied something, and are no longer.
    pub gained: Vec<Changed>,
    /// Roles that are denied something now, and were not.
    pub lost: Vec<Changed>,
    /// Roles that may something on conditions now, and could whatever the request said.
    pub narrowed: Vec<Changed>,
    /// Roles that may something whatever the request says, and could on conditions.
    pub widened: Vec<Changed>,
    /// What becomes of requests without credentials.
    pub anonymous: Anonymous,
    /// How many pairs of a user and an operation that concerns.
    pub users: Pairs,
    /// Conditional policies that came, went or changed.
    pub conditional: Vec<ConditionalChange>,
    /// Whether there is more than can be listed or counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub truncated: bool,
}

impl Difference {
    /// Whether nobody's access is another.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.gained, &self.lost, &self.narrowed, &self.widened];
        let nobody_else = self.anonymous == Anonymous::default() && self.users == Pairs::default();
        lists.iter().all(|list| list.is_empty()) && self.conditional.is_empty() && nobody_else
    }

    fn list(&mut self, was: Reach, is: Reach) -> Option<&mut Vec<Changed>> {
        match (was, is) {
            (Reach::Denied, Reach::Conditional | Reach::Allowed) => Some(&mut self.gained),
            (Reach::Conditional | Reach::Allowed, Reach::Denied) => Some(&mut self.lost),
            (Reach::Allowed, Reach::Conditional) => Some(&mut self.narrowed),
            (Reach::Conditional, Reach::Allowed) => Some(&mut self.widened),
            (Reach::Denied, Reach::Denied)
            | (Reach::Conditional, Reach::Conditional)
            | (Reach::Allowed, Reach::Allowed) => None,
        }
    }
}

/// What becomes of requests without credentials.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Anonymous {
    /// Operations that need a token no longer.
    pub gained: Vec<Opened>,
    /// Operations that need one now, or are no more.
    pub lost: Vec<Opened>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "OpenedOperation")]
pub struct Opened {
    /// The route.
    pub route_id: RouteId,
    /// Its path template.
    pub route: String,
    /// The method.
    pub method: String,
}

/// A role and an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "ChangedCell")]
pub struct Changed {
    /// The role's name.
    pub role: Arc<str>,
    /// The route.
    pub route_id: RouteId,
    /// Its path template.
    pub route: String,
    /// The method.
    pub method: String,
    /// The permission that the operation asks for, if it asks for one.
    pub permission: Option<String>,
}

/// An operation as it was and as it is.
type Sides<'s> = (Option<Place<'s>>, Option<Place<'s>>);

/// Operations that were answered alike and are answered alike.
struct Column<'s> {
    before: Option<Place<'s>>,
    after: Option<Place<'s>>,
    /// All of them, each as it is or as it was.
    places: Vec<Place<'s>>,
    /// Whether it may be answered otherwise to roles that are what they were.
    is_touched: bool,
}

/// What has become of every role's and user's access from `before` to `after`, as things are at `now`.
pub fn difference(before: &Snapshot, after: &Snapshot, now: Timestamp) -> Difference {
    // Policies are compared by what Cedar prints of them.
    depth::with_room(|| compare(before, after, now))
}

fn compare(before: &Snapshot, after: &Snapshot, now: Timestamp) -> Difference {
    let (was, is) = (before.compiled(), after.compiled());
    let policies_differ = !same_policies(was, is);
    let columns = columns(was, is, policies_differ);
    let all_roles: BTreeSet<RoleId> = was.roles.ids().chain(is.roles.ids()).collect();
    let changed: BTreeSet<RoleId> = all_roles.iter().copied().filter(|id| !same_role(was, is, *id)).collect();
    let mut difference = Difference { conditional: conditional::compare(was, is, &changed), ..Difference::default() };
    difference.truncated = difference.conditional.len() > MOST_LISTED;
    difference.conditional.truncate(MOST_LISTED);
    let any_touched = columns.iter().any(|column| column.is_touched);
    let roles = if any_touched { &all_roles } else { &changed };
    let groups = users::groups((before, after), &changed, any_touched, now);
    let mut left = MOST_ANSWERS;
    for columns in columns.chunks(TOGETHER) {
        let mut sheets = (
            Sheet::new(was, columns.iter().map(|column| column.before.map(|place| place.operation.asked())).collect()),
            Sheet::new(is, columns.iter().map(|column| column.after.map(|place| place.operation.asked())).collect()),
        );
        let anonymous = (sheets.0.anonymous(), sheets.1.anonymous());
        // What moves between conditions and none stays open.
        let moved = moves(columns, &anonymous, false).filter(|(_, (was, is))| [was, is].contains(&&Reach::Denied));
        for (column, (_, is)) in moved {
            open(&mut difference, column, is);
        }
        for id in roles {
            let Some(rest) = left.checked_sub(columns.len()) else {
                difference.truncated = true;
                break;
            };
            left = rest;
            let rows = (sheets.0.role(*id), sheets.1.role(*id));
            let name = is.roles.get(*id).or_else(|| was.roles.get(*id)).map(|role| &role.name);
            for (column, (was, is)) in moves(columns, &rows, changed.contains(id)) {
                list(&mut difference, name, column, (was, is));
            }
        }
        for group in &groups {
            let size = group.before.iter().chain(&group.after).map(|held| held.assigned.len() + 1).sum::<usize>();
            let Some(rest) = left.checked_sub(size * columns.len()) else {
                difference.truncated = true;
                break;
            };
            left = rest;
            let rows = (sheets.0.user(group.before.as_ref()), sheets.1.user(group.after.as_ref()));
            for (column, (was, is)) in moves(columns, &rows, group.is_changed) {
                let pairs = group.count * column.places.len() as u64;
                difference.users.gained += if was == Reach::Denied { pairs } else { 0 };
                difference.users.lost += if is == Reach::Denied { pairs } else { 0 };
            }
        }
    }
    difference.anonymous.gained.sort();
    difference.anonymous.lost.sort();
    for list in [&mut difference.gained, &mut difference.lost, &mut difference.narrowed, &mut difference.widened] {
        list.sort();
    }
    difference
}

/// The columns in which two rows differ; only touched ones, unless `all` may.
fn moves<'c, 's>(
    columns: &'c [Column<'s>],
    rows: &(Vec<Says>, Vec<Says>),
    all: bool,
) -> impl Iterator<Item = (&'c Column<'s>, (Reach, Reach))> {
    let reaches = rows.0.iter().zip(&rows.1).map(|(was, is)| (was.reach(), is.reach()));
    let relevant = columns.iter().zip(reaches).filter(move |(column, _)| all || column.is_touched);
    relevant.filter(|(_, (was, is))| was != is)
}

fn list(difference: &mut Difference, name: Option<&Arc<str>>, column: &Column<'_>, (was, is): (Reach, Reach)) {
    let Some((list, name)) = difference.list(was, is).zip(name) else { return };
    let room = MOST_LISTED.saturating_sub(list.len());
    let cell = |place: &Place<'_>| Changed {
        role: Arc::clone(name),
        route_id: place.route.id,
        route: place.route.template.clone(),
        method: place.operation.method.clone(),
        permission: place.operation.permission().map(ToString::to_string),
    };
    list.extend(column.places.iter().take(room).map(cell));
    difference.truncated |= column.places.len() > room;
}

/// Lists what moves to or from denial.
fn open(difference: &mut Difference, column: &Column<'_>, is: Reach) {
    let lists = &mut difference.anonymous;
    let list = if is == Reach::Denied { &mut lists.lost } else { &mut lists.gained };
    let room = MOST_LISTED.saturating_sub(list.len());
    list.extend(column.places.iter().take(room).map(|place| Opened {
        route_id: place.route.id,
        route: place.route.template.clone(),
        method: place.operation.method.clone(),
    }));
    difference.truncated |= column.places.len() > room;
}

fn columns<'s>(was: &'s Compiled, is: &'s Compiled, policies_differ: bool) -> Vec<Column<'s>> {
    let mut pairs: BTreeMap<(RouteId, &str), Sides<'s>> = BTreeMap::new();
    for place in places(was) {
        pairs.entry((place.route.id, &place.operation.method)).or_default().0 = Some(place);
    }
    for place in places(is) {
        pairs.entry((place.route.id, &place.operation.method)).or_default().1 = Some(place);
    }
    let mut numbers: HashMap<(Option<Kind<'s>>, Option<Kind<'s>>, bool), usize> = HashMap::new();
    let mut columns: Vec<Column<'s>> = Vec::new();
    for (before, after) in pairs.into_values() {
        let same = before.zip(after).is_some_and(|(was, is)| Arc::ptr_eq(was.operation, is.operation));
        let is_touched = policies_differ || !same;
        let kind = |place: Option<Place<'s>>| place.map(|place| place.operation.kind());
        let number = *numbers.entry((kind(before), kind(after), is_touched)).or_insert_with(|| {
            columns.push(Column { before, after, places: Vec::new(), is_touched });
            columns.len() - 1
        });
        columns[number].places.extend(after.or(before));
    }
    columns
}

/// Whether policies and their order are the same; those that were not read again are known at once.
fn same_policies(was: &Compiled, is: &Compiled) -> bool {
    let same = |was: &Arc<Handwritten>, is: &Arc<Handwritten>| {
        Arc::ptr_eq(was, is) || was.policy.to_string() == is.policy.to_string()
    };
    let (mut was, mut is) = (was.checked.policies(), is.checked.policies());
    loop {
        match (was.next(), is.next()) {
            (None, None) => return true,
            (Some(was), Some(is)) if same(was, is) => {}
            _ => return false,
        }
    }
}

/// Whether a role, and all that it inherits, is known to be what it was.
fn same_role(was: &Compiled, is: &Compiled, id: RoleId) -> bool {
    let Some((before, after)) = was.roles.get(id).zip(is.roles.get(id)) else { return false };
    let same = |id: &RoleId| {
        let both = was.roles.get(*id).zip(is.roles.get(*id));
        both.is_some_and(|(was, is): (&CompiledRole, &CompiledRole)| {
            was.name == is.name && Arc::ptr_eq(&was.grants, &is.grants)
        })
    };
    before.name == after.name && before.closure == after.closure && before.closure.iter().all(same)
}
