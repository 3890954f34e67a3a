//! Permissions by what they are about, and by who has them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;

use super::{DEFAULT_CATEGORY, Permissions};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::model::{Category, Permission, PermissionName, Timestamp};
use crate::store::{Page, hierarchy, permissions, permissions::Filter};

pub(super) async fn categories(State(state): State<Permissions>, call: Call) -> Result<Json<Vec<Category>>, Error> {
    let (_, input) = call.permit("permission:read")?;
    input.finish(|| Some(()))?;
    let mut tx = state.control.read().await?;
    Ok(Json(permissions::categories(&mut tx).await?))
}

pub(super) async fn of_category(State(state): State<Permissions>, call: Call) -> Result<Json<Vec<Permission>>, Error> {
    let (_, mut input) = call.permit("permission:read")?;
    let category = input.path::<String>("category");
    let category = input.finish(|| category)?;
    let mut tx = state.control.read().await?;
    let filter = Filter { category: Some(category), ..Filter::default() };
    Ok(Json(permissions::list(&mut tx, &filter, Page::ALL).await?))
}

pub(super) async fn of_resource(State(state): State<Permissions>, call: Call) -> Result<Json<Vec<Permission>>, Error> {
    let (_, mut input) = call.permit("permission:read")?;
    let resource = input.path::<String>("resource");
    let resource = input.finish(|| resource)?;
    let mut tx = state.control.read().await?;
    Ok(Json(permissions::of_resource(&mut tx, &resource).await?))
}

/// All permissions by category; one without stands where new ones go that name none.
pub(super) async fn grouped(
    State(state): State<Permissions>,
    call: Call,
) -> Result<Json<BTreeMap<String, Vec<Permission>>>, Error> {
    let (_, input) = call.permit("permission:read")?;
    input.finish(|| Some(()))?;
    let mut tx = state.control.read().await?;
    let mut groups: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
    for permission in permissions::list(&mut tx, &Filter::default(), Page::ALL).await? {
        let category = permission.category.as_ref().map_or(DEFAULT_CATEGORY, Category::as_str).to_owned();
        groups.entry(category).or_default().push(permission);
    }
    Ok(Json(groups))
}

/// What the caller is granted at this moment, inherited permissions included.
pub(super) async fn mine(State(state): State<Permissions>, call: Call) -> Result<Json<Vec<PermissionName>>, Error> {
    let (caller, input) = call.signed_in();
    input.finish(|| Some(()))?;
    let mut tx = state.control.read().await?;
    Ok(Json(hierarchy::permissions_of(&mut tx, caller.id(), Timestamp::now()).await?))
}
