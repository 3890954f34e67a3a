//! Which users can do one thing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Reach, Says,
    part::{Asked, Owned, Part},
};
use crate::{
    model::{PermissionParts, RoleId, Timestamp, UserId, Username, rules::UserState},
    policy::{compile::Compiled, operation::CompiledOperation, question::Bare, snapshot::Snapshot},
};

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// What needs this permission, wherever.
    Permission(PermissionParts<'a>),
    /// An operation of a route.
    Operation(&'a CompiledOperation),
}

/// A user who can.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EntitledUser")]
pub struct Entitled {
    user_id: UserId,
    username: Username,
    /// From an assigned role down to the one that lets the user; empty where no role is needed.
    via: Vec<Arc<str>>,
    /// Whether it depends on the request.
    conditional: bool,
}

/// The active users who can do what is `wanted`, by id: `limit` of them after `skip`; and how many there are.
pub fn who_can(
    snapshot: &Snapshot,
    wanted: Wanted<'_>,
    now: Timestamp,
    (skip, limit): (usize, usize),
) -> (Vec<Entitled>, usize) {
    let compiled = snapshot.compiled();
    let bare;
    let asked = match wanted {
        Wanted::Operation(operation) => operation.asked(),
        Wanted::Permission(parts) => {
            bare = Bare::new(compiled, parts);
            Asked { question: bare.question(), owned: Owned::Perhaps }
        }
    };
    let mut search =
        Search { compiled, asked, everybody: Part::SomeUser.says(compiled, asked), roles: HashMap::default() };
    let mut found: Vec<(&Arc<UserState>, Says)> = Vec::new();
    for state in snapshot.users().filter(|state| state.is_active) {
        let says = search.user(state, now);
        if says.reach() != Reach::Denied {
            found.push((state, says));
        }
    }
    found.sort_unstable_by_key(|(state, _)| state.id);
    let page = found.iter().skip(skip).take(limit);
    let rows = page.map(|(state, says)| Entitled {
        user_id: state.id,
        username: state.username.clone(),
        via: search.via(state, *says, now),
        conditional: says.reach() == Reach::Conditional,
    });
    (rows.collect(), found.len())
}

/// One question to many users: what is said to a role is found out once.
struct Search<'c> {
    compiled: &'c Compiled,
    asked: Asked<'c>,
    everybody: Says,
    roles: HashMap<RoleId, Says, foldhash::fast::RandomState>,
}

impl Search<'_> {
    fn user(&mut self, state: &UserState, now: Timestamp) -> Says {
        let mut says = self.everybody | self.own(state);
        for role in state.live_roles(now) {
            says |= self.role(role);
        }
        says
    }

    /// What is said to the user alone.
    fn own(&self, state: &UserState) -> Says {
        let symbol = self.compiled.checked.index.user(state.id);
        symbol.map(|symbol| Part::User(state.id, symbol).says(self.compiled, self.asked)).unwrap_or_default()
    }

    /// What is said to a role and all that it inherits from.
    fn role(&mut self, id: RoleId) -> Says {
        if let Some(says) = self.roles.get(&id) {
            return *says;
        }
        let says = self.compiled.effective(id).iter().map(|id| self.alone(*id)).collect();
        self.roles.insert(id, says);
        says
    }

    fn alone(&self, id: RoleId) -> Says {
        Part::role(self.compiled, id).map(|part| part.says(self.compiled, self.asked)).unwrap_or_default()
    }

    /// The shortest way to a role that lets the user, among equals that of the first name.
    fn via(&self, state: &UserState, says: Says, now: Timestamp) -> Vec<Arc<str>> {
        let letting = if says.has(Says::PERMIT) { Says::PERMIT } else { Says::PERHAPS_PERMIT };
        if (self.everybody | self.own(state)).has(letting) {
            return Vec::new();
        }
        let sorted = |ids: &mut Vec<RoleId>| ids.sort_by_key(|id| self.compiled.roles.get(*id).map(|role| &role.name));
        let mut assigned: Vec<RoleId> = state.live_roles(now).collect();
        sorted(&mut assigned);
        let mut open: VecDeque<Vec<RoleId>> = assigned.into_iter().map(|id| vec![id]).collect();
        let mut seen: HashSet<RoleId> = HashSet::new();
        while let Some(path) = open.pop_front() {
            let Some(id) = path.last().copied() else { continue };
            let Some(role) = self.compiled.roles.active(id).filter(|_| seen.insert(id)) else { continue };
            if self.alone(id).has(letting) {
                let name = |id: &RoleId| self.compiled.roles.get(*id).map(|role| Arc::clone(&role.name));
                return path.iter().filter_map(name).collect();
            }
            let mut parents = role.parents.to_vec();
            sorted(&mut parents);
            open.extend(parents.into_iter().map(|parent| path.iter().copied().chain([parent]).collect()));
        }
        Vec::new()
    }
}
