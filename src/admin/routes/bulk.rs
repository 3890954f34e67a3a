//! Several routes are deleted, switched or put in order.

use std::collections::{HashMap, HashSet};

use axum::extract::State;

use super::{Routes, bad, not_found, not_found_text};
use crate::admin::bulk::{self, Failed, Outcome};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::model::{Route, RouteId};
use crate::store::{Tx, changes::Change, routes};

const KIND: &str = "route";

pub(super) fn has_children(route: &Route, children: usize) -> String {
    format!("Cannot delete route '{}' because it has {children} child routes", route.route)
}

/// Those of `ids` that exist; the others are put into `failed`.
async fn found(tx: &mut Tx, ids: &[RouteId], failed: &mut Vec<Failed>) -> Result<Vec<Route>, Error> {
    bulk::refuse_none(ids, KIND)?;
    let found = routes::get_many(tx, ids).await?;
    if found.is_empty() {
        return Err(bulk::none_found(KIND));
    }
    let known: HashSet<RouteId> = found.iter().map(|route| route.id).collect();
    failed.extend(ids.iter().filter(|id| !known.contains(id)).map(|id| Failed::new(id.0, not_found_text(*id))));
    Ok(found)
}

/// How many children each route would lose its place to, if it were deleted with the others of `ids`: those without
/// any can be. `children` are parents and children.
fn remaining_children(ids: &[RouteId], children: &[(RouteId, RouteId)]) -> HashMap<RouteId, usize> {
    let listed: HashSet<RouteId> = ids.iter().copied().collect();
    let parent: HashMap<RouteId, RouteId> = children.iter().map(|(parent, child)| (*child, *parent)).collect();
    let mut kept: HashMap<RouteId, usize> = HashMap::new();
    // A child that is kept keeps its parent, which keeps its own.
    let mut staying: Vec<RouteId> = parent.keys().filter(|child| !listed.contains(child)).copied().collect();
    while let Some(child) = staying.pop() {
        if let Some(parent) = parent.get(&child) {
            let count = kept.entry(*parent).or_default();
            *count += 1;
            if *count == 1 {
                staying.push(*parent);
            }
        }
    }
    kept
}

pub(super) async fn delete(State(state): State<Routes>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, mut input) = call.permit("route:delete")?;
    let ids = bulk::ids(&mut input.body(), "route_ids");
    let ids = input.finish(|| ids)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let mut failed = Vec::new();
    let found = found(write.tx(), &ids, &mut failed).await?;
    let kept = remaining_children(&ids, &routes::children_of(write.tx(), &ids).await?);
    let (kept_routes, deleted): (Vec<Route>, Vec<Route>) =
        found.into_iter().partition(|route| kept.contains_key(&route.id));
    let why = |route: &Route| Failed::new(route.id.0, has_children(route, kept.get(&route.id).copied().unwrap_or(0)));
    failed.extend(kept_routes.iter().map(why));
    if deleted.is_empty() {
        return Err(bad("No valid routes to delete"));
    }
    let gone: Vec<RouteId> = deleted.iter().map(|route| route.id).collect();
    routes::delete_many(write.tx(), &gone, now).await?;
    if deleted.iter().any(Route::is_in_rules) {
        write.touch(Change::Rules);
    }
    record::many(&mut write, record::ROUTE, gone.iter().map(|id| id.0), None)?;
    Ok(write.commit(Outcome::new(gone.len(), KIND, "deleted", failed)).await?.into())
}

pub(super) async fn set_status(State(state): State<Routes>, call: Call) -> Result<Written<Outcome>, Error> {
    let (caller, mut input) = call.permit("route:update")?;
    let read = bulk::status::<RouteId>(&mut input);
    let (ids, is_active) = input.finish(|| read)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let mut failed = Vec::new();
    let found = found(write.tx(), &ids, &mut failed).await?;
    let known: Vec<RouteId> = found.iter().map(|route| route.id).collect();
    routes::set_active(write.tx(), &known, is_active, now).await?;
    if found.iter().any(|route| route.is_in_rules() && route.is_active != is_active) {
        write.touch(Change::Rules);
    }
    record::many(&mut write, record::ROUTE, known.iter().map(|id| id.0), Some(("is_active", is_active.into())))?;
    Ok(write.commit(Outcome::new(known.len(), KIND, bulk::switched(is_active), failed)).await?.into())
}

pub(super) async fn reorder(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("route:update")?;
    let places = bulk::places::<RouteId>(&mut input);
    let places = input.finish(|| places)?;
    bulk::refuse_none(&places, KIND)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let ids: Vec<RouteId> = places.iter().map(|(id, _)| *id).collect();
    let known: HashSet<RouteId> = routes::get_many(write.tx(), &ids).await?.iter().map(|route| route.id).collect();
    if let Some(unknown) = ids.iter().find(|id| !known.contains(id)) {
        return Err(not_found(*unknown));
    }
    let placed = routes::reorder(write.tx(), &places, now).await?;
    Ok(write.commit(Message::new(format!("{placed} {KIND}(s) reordered successfully"))).await?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_goes_only_with_all_that_lies_below_it() {
        let route = RouteId;
        // 1 has 2 and 3, 3 has 4, 4 has 5; 6 has 7.
        let children: Vec<(RouteId, RouteId)> =
            [(1, 2), (1, 3), (3, 4), (4, 5), (6, 7)].map(|(parent, child)| (route(parent), route(child))).into();
        let kept = |ids: &[i64]| {
            let ids: Vec<RouteId> = ids.iter().copied().map(route).collect();
            let children: Vec<_> = children.iter().filter(|(parent, _)| ids.contains(parent)).copied().collect();
            let mut kept: Vec<(i64, usize)> =
                remaining_children(&ids, &children).into_iter().map(|(id, count)| (id.0, count)).collect();
            kept.sort_unstable();
            kept
        };
        assert_eq!(kept(&[1, 2, 3, 4, 5]), []);
        assert_eq!(kept(&[1, 2, 3, 4, 6, 7]), [(1, 1), (3, 1), (4, 1)]);
        assert_eq!(kept(&[1]), [(1, 2)]);
        assert_eq!(kept(&[2, 5]), []);
    }
}
