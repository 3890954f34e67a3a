//! Writes a plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::{
    kinds::{Kind, fields},
    plan::{Missing, Plan, missing},
};
use crate::{
    control::{Error, Write},
    model::{
        Expiry, ModuleId, RoleId, RouteId, UserId,
        takeover::{Links, Permission},
    },
    store::{changes::Change, roles, takeover, users},
};

/// Writes all of it, touches what is to be enforced, and puts every row on record.
pub(super) async fn apply(write: &mut Write, plan: &Plan, known: &Links) -> Result<(), Error> {
    let now = write.now();
    for permission in &plan.new.permissions {
        takeover::permission(write.tx(), permission, now).await?;
    }
    for role in &plan.new.roles {
        takeover::role(write.tx(), role, now).await?;
    }
    for user in &plan.new.users {
        takeover::user(write.tx(), user, now).await?;
    }
    for module in &plan.new.modules {
        takeover::module(write.tx(), module, now).await?;
    }
    for route in &plan.new.routes {
        takeover::route(write.tx(), route, now).await?;
    }
    for (role, permissions) in &plan.grants {
        roles::grant_all(write.tx(), *role, permissions, now).await?;
    }
    // Many users have the same roles.
    let mut alike: BTreeMap<&[RoleId], Vec<UserId>> = BTreeMap::new();
    for (user, roles) in &plan.assignments {
        alike.entry(roles.as_slice()).or_default().push(*user);
    }
    for (roles, users) in alike {
        users::assign_each(write.tx(), &users, roles, None, Expiry::Kept, now).await?;
    }
    for (module, roles) in &plan.of_modules {
        takeover::bind_to_module(write.tx(), *module, roles).await?;
    }
    for (route, roles) in &plan.of_routes {
        takeover::bind_to_route(write.tx(), *route, roles).await?;
    }
    takeover::count_onwards(write.tx()).await?;
    touch(write, plan);
    record(write, plan, known)
}

/// Every row that is new, and every one that gains something, goes on record.
fn record(write: &mut Write, plan: &Plan, known: &Links) -> Result<(), Error> {
    for permission in &plan.new.permissions {
        write.appears(Permission::NAME, permission.id.0, fields(permission).into());
    }
    let Plan { new, grants, assignments, of_modules, of_routes } = plan;
    Bound { field: "permission_ids", missing: grants, known: &known.grants }.record(write, &new.roles, RoleId)?;
    Bound { field: "role_ids", missing: assignments, known: &known.assignments }.record(write, &new.users, UserId)?;
    Bound { field: "role_ids", missing: of_modules, known: &known.of_modules }.record(write, &new.modules, ModuleId)?;
    Bound { field: "role_ids", missing: of_routes, known: &known.of_routes }.record(write, &new.routes, RouteId)
}

/// What is bound to the rows of one kind.
struct Bound<'p, A, B> {
    field: &'static str,
    missing: &'p Missing<A, B>,
    known: &'p BTreeSet<(A, B)>,
}

impl<A: Copy + Ord + Serialize, B: Copy + Ord + Serialize> Bound<'_, A, B> {
    fn record<T: Kind>(&self, write: &mut Write, new: &[T], key: fn(i64) -> A) -> Result<(), Error> {
        let mut others: BTreeMap<A, &Vec<B>> = self.missing.iter().map(|(owner, gained)| (*owner, gained)).collect();
        for row in new {
            let mut entity = fields(row);
            let bound = others.remove(&key(row.id()));
            entity.insert(self.field.to_owned(), json!(bound.map(Vec::as_slice).unwrap_or_default()));
            write.appears(T::NAME, row.id(), entity.into());
        }
        let held = missing(self.known, &BTreeSet::new());
        for (owner, gained) in others {
            let before: Vec<B> = held.get(&owner).cloned().unwrap_or_default();
            let after: BTreeSet<B> = before.iter().chain(gained).copied().collect();
            let id = json!(owner).as_i64().unwrap_or_default();
            write.replaces(T::NAME, id, &json!({ "id": id, self.field: before }))?;
            write.becomes(T::NAME, id, &json!({ "id": id, self.field: after }));
        }
        Ok(())
    }
}

/// Notes what is to be enforced; what only people see is not.
fn touch(write: &mut Write, plan: &Plan) {
    let new = &plan.new;
    let rules = new.permissions.len() + new.roles.len() + new.modules.len() + plan.grants.len();
    if rules > 0 {
        write.touch(Change::Rules);
    }
    let users: BTreeSet<UserId> =
        new.users.iter().map(|user| user.id).chain(plan.assignments.keys().copied()).collect();
    for user in users {
        write.touch(Change::User(user));
    }
}
