//! Routes as a tree: the sidebar of a caller, the whole of it, and the way down to one.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde_json::json;

use super::{Routes, not_found};
use crate::admin::error::Error;
use crate::admin::forest::{Forest, Place};
use crate::admin::gate::Call;
use crate::admin::input::{Flaw, Input, Valid};
use crate::admin::views::{FlatEntry, MenuEntry, MenuModule, RouteItem};
use crate::model::{ModuleId, RoleId, RouteId};
use crate::store::routes::Filter;
use crate::store::{Page, Tx, navigation, routes};

const CHILDREN: &str = "children";

/// Whether the form of the predecessor's first release is wanted.
pub(super) fn is_flat(input: &mut Input) -> Valid<bool> {
    let expected = "'tree' or 'flat'";
    let known = |view: &String| match view.as_str() {
        "tree" | "flat" => Ok(()),
        _ => Err(Flaw::with("literal_error", format!("Input should be {expected}"), json!({ "expected": expected }))),
    };
    let view = input.query::<String>("view").one_of(&["tree", "flat"]).check(known).optional()?;
    Some(view.as_deref() == Some("flat"))
}

pub(super) async fn sidebar(State(state): State<Routes>, call: Call) -> Result<Forest, Error> {
    let (caller, input) = call.signed_in();
    let flat = input.read(is_flat)?;
    let mut tx = state.control.read().await?;
    if flat { flat_menu(&mut tx).await } else { menu(&mut tx, caller.roles().ids()).await }
}

async fn menu(tx: &mut Tx, roles: &[RoleId]) -> Result<Forest, Error> {
    let mut forest = Forest::default();
    let mut top: HashMap<ModuleId, Place> = HashMap::new();
    for module in navigation::modules(tx, roles).await? {
        let place = forest.add(&MenuModule::from(&module), "routes")?;
        forest.put(place, None);
        top.insert(module.id, place);
    }
    let modules: Vec<ModuleId> = top.keys().copied().collect();
    let entries = navigation::entries(tx, &modules, roles).await?;
    let mut places: HashMap<RouteId, Place> = HashMap::new();
    for entry in &entries {
        places.insert(entry.id, forest.add(&MenuEntry::from(entry), CHILDREN)?);
    }
    for entry in &entries {
        // Below a route that is not shown, nothing is.
        let above = match entry.parent_id {
            Some(parent) => places.get(&parent),
            None => top.get(&entry.module_id),
        };
        if let (Some(place), Some(above)) = (places.get(&entry.id), above) {
            forest.put(*place, Some(*above));
        }
    }
    Ok(forest)
}

/// One level below the routes without a parent, whoever looks.
async fn flat_menu(tx: &mut Tx) -> Result<Forest, Error> {
    let entries = navigation::all_entries(tx).await?;
    let mut forest = Forest::default();
    let mut places: HashMap<RouteId, Place> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.parent_id.is_none()) {
        let place = forest.add(&FlatEntry::from(entry), CHILDREN)?;
        forest.put(place, None);
        places.insert(entry.id, place);
    }
    for entry in &entries {
        if let Some(above) = entry.parent_id.and_then(|parent| places.get(&parent)) {
            let place = forest.add(&FlatEntry::from(entry), CHILDREN)?;
            forest.put(place, Some(*above));
        }
    }
    Ok(forest)
}

pub(super) fn module(input: &mut Input) -> Valid<Option<ModuleId>> {
    input.query::<ModuleId>("module_id").optional()
}

pub(super) async fn tree(State(state): State<Routes>, call: Call) -> Result<Forest, Error> {
    let (_, input) = call.permit("route:read")?;
    let module_id = input.read(module)?;
    let mut tx = state.control.read().await?;
    let rows = routes::list(&mut tx, &Filter { module_id, ..Filter::default() }, Page::ALL).await?;
    let mut forest = Forest::default();
    let (mut places, mut parents) = (HashMap::new(), Vec::new());
    for row in rows {
        let (id, parent) = (row.route.id, row.route.parent_id);
        let place = forest.add(&RouteItem::from(row), CHILDREN)?;
        places.insert(id, place);
        parents.push((place, parent));
    }
    for (place, parent) in parents {
        // One whose parent is not among them stands at the top.
        forest.put(place, parent.and_then(|parent| places.get(&parent)).copied());
    }
    Ok(forest)
}

pub(super) async fn breadcrumbs(State(state): State<Routes>, call: Call) -> Result<Json<Vec<RouteItem>>, Error> {
    let (_, mut input) = call.permit("route:read")?;
    let id = input.path::<RouteId>("route_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let way = navigation::ancestry(&mut tx, id).await?;
    if way.is_empty() {
        return Err(not_found(id));
    }
    let rows = routes::rows(&mut tx, &way).await?;
    let mut rows: HashMap<RouteId, _> = rows.into_iter().map(|row| (row.route.id, row)).collect();
    Ok(Json(way.iter().rev().filter_map(|id| rows.remove(id)).map(RouteItem::from).collect()))
}
