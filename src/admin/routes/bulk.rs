//! Several routes are deleted, switched or put in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;

use super::{Routes, bad, not_found};
use crate::admin::bulk::{Batch, MOST, Outcome, switched};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::reply::{Message, Written};
use crate::admin::{places, record};
use crate::control::{Origin, Write};
use crate::model::{Route, RouteId};
use crate::store::{changes::Change, routes};

type Found = BTreeMap<RouteId, Route>;

pub(super) fn has_children(route: &Route, children: usize) -> String {
    format!("Cannot delete route '{}' because it has {children} child routes", route.route)
}

/// A write, and those of `ids` that exist.
async fn known(state: &Routes, origin: Origin, ids: Vec<RouteId>) -> Result<(Write, Batch<RouteId>, Found), Error> {
    let mut batch = Batch::new("route", ids)?;
    let mut write = state.control.write_as(origin).await?;
    let found = routes::get_many(write.tx(), batch.ids()).await?;
    let found: Found = found.into_iter().map(|route| (route.id, route)).collect();
    batch.keep_known("Route not found", |id| found.contains_key(id))?;
    Ok((write, batch, found))
}

/// How many children would be left to each route if as many of `ids` as possible were deleted; those that are not in
/// the answer can be. `children` are pairs of parent and child.
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

pub(super) fn named(input: &mut Input) -> Valid<Vec<RouteId>> {
    input.body().field::<Vec<RouteId>>("route_ids").max_items(MOST).required()
}

pub(super) async fn delete(State(state): State<Routes>, call: Call) -> Result<Written<Outcome<RouteId>>, Error> {
    let (caller, input) = call.permit("route:delete")?;
    let ids = input.read(named)?;
    let (mut write, mut batch, found) = known(&state, caller.origin(), ids).await?;
    let now = write.now();
    let kept = remaining_children(batch.ids(), &routes::children_of(write.tx(), batch.ids()).await?);
    batch.keep_sound("delete", |id| Some(has_children(found.get(id)?, *kept.get(id)?)))?;
    routes::delete_many(write.tx(), batch.ids(), now).await?;
    if batch.ids().iter().filter_map(|id| found.get(id)).any(Route::is_in_rules) {
        write.touch_all(batch.ids().iter().copied().map(Change::Route));
    }
    record::many(&mut write, record::ROUTE, batch.ids().iter().map(|id| id.0), None)?;
    Ok(write.commit(batch.done("deleted")).await?.into())
}

pub(super) async fn set_status(State(state): State<Routes>, call: Call) -> Result<Written<Outcome<RouteId>>, Error> {
    let (caller, input) = call.permit("route:update")?;
    let (ids, is_active) = input.read(switched)?;
    let (mut write, batch, found) = known(&state, caller.origin(), ids).await?;
    let now = write.now();
    routes::set_active(write.tx(), batch.ids(), is_active, now).await?;
    if found.values().any(|route| route.is_in_rules() && route.is_active != is_active) {
        write.touch_all(batch.ids().iter().copied().map(Change::Route));
    }
    let set = Some(&("is_active", is_active.into()));
    record::many(&mut write, record::ROUTE, batch.ids().iter().map(|id| id.0), set)?;
    Ok(write.commit(batch.done("updated")).await?.into())
}

pub(super) async fn reorder(State(state): State<Routes>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, input) = call.permit("route:update")?;
    let places = input.read(places::read::<RouteId>)?;
    if places.is_empty() {
        return Err(bad("No route IDs provided"));
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let ids: Vec<RouteId> = places.iter().map(|(id, _)| *id).collect();
    let known: HashSet<RouteId> = routes::get_many(write.tx(), &ids).await?.iter().map(|route| route.id).collect();
    if let Some(unknown) = ids.iter().find(|id| !known.contains(id)) {
        return Err(not_found(*unknown));
    }
    let placed = routes::reorder(write.tx(), &places, now).await?;
    Ok(write.commit(Message::new(format!("{placed} route(s) reordered successfully"))).await?.into())
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
