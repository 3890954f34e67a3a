//! Roles made from a pattern: from a template, or like the role of new users.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Roles, changed, existing, exists, refuse_alias};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::input::{Input, Valid};
use crate::admin::reply::Written;
use crate::control::{ROLE_TEMPLATES, RoleTemplate};
use crate::model::{DEFAULT_ROLE, NewRole, Permission, PermissionId, Role, RoleName, SUPER_ROLE, SUPER_ROLE_ALIASES};
use crate::store::{Page, Tx, permissions, permissions::Filter, roles};

/// A pattern, and what a role made from it would hold now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RoleTemplate")]
pub(super) struct Template {
    name: &'static str,
    description: &'static str,
    permissions: Vec<Permission>,
}

pub(super) async fn list(State(state): State<Roles>, call: Call) -> Result<Json<Vec<Template>>, Error> {
    let (_, input) = call.permit("role:read")?;
    input.finish(|| Some(()))?;
    let mut tx = state.control.read().await?;
    let all = permissions::list(&mut tx, &Filter::default(), Page::ALL).await?;
    let template = |template: RoleTemplate| {
        let held = all.iter().filter(|permission| template.holds(&permission.name)).cloned();
        Template { name: template.title, description: template.description, permissions: held.collect() }
    };
    Ok(Json(ROLE_TEMPLATES.into_iter().map(template).collect()))
}

/// The template, and the role's name and description.
pub(super) fn templated(input: &mut Input) -> Valid<(String, RoleName, Option<String>)> {
    let template = input.path::<String>("template");
    let mut body = input.body();
    let name = body.required::<RoleName>("name");
    let description = body.optional::<String>("description");
    Some((template?, name?, description?))
}

pub(super) async fn create(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, input) = call.permit("role:create")?;
    let (template, name, description) = input.read(templated)?;
    let unknown = || Error::NotFound("Role template not found".into());
    let template = RoleTemplate::find(&template).ok_or_else(unknown)?;
    refuse_alias(&name)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    let permission_ids = held(write.tx(), &template).await?;
    let description = Some(description.unwrap_or_else(|| template.description.to_owned()));
    let new = NewRole { name, description, permission_ids };
    let id = roles::insert(write.tx(), &new, now).await.map_err(|error| Error::taken(error, exists(&new.name)))?;
    changed(write, id).await
}

async fn held(tx: &mut Tx, template: &RoleTemplate) -> Result<Vec<PermissionId>, Error> {
    let all = permissions::list(tx, &Filter::default(), Page::ALL).await?;
    let held = all.iter().filter(|permission| template.holds(&permission.name));
    Ok(held.map(|permission| permission.id).collect())
}

/// Name and description; the predecessor's first release took them from the query.
pub(super) fn named(input: &mut Input) -> Valid<(RoleName, Option<String>)> {
    let asked = input.query::<RoleName>("role_name").optional();
    let described = input.query::<String>("description").optional();
    let in_query = !matches!(asked, Some(None));
    let mut body = input.optional_body();
    let name = if in_query { body.optional::<RoleName>("name") } else { body.required("name").map(Some) };
    let description = body.optional::<String>("description");
    Some((asked?.or(name?)?, described?.or(description?)))
}

/// Makes a role that holds what new users hold, or answers with the one that has the name already.
pub(super) async fn create_minimal(State(state): State<Roles>, call: Call) -> Result<Written<Role>, Error> {
    let (caller, input) = call.permit("role:create")?;
    let (name, description) = input.read(named)?;
    if name.as_str() == SUPER_ROLE || SUPER_ROLE_ALIASES.contains(&name.as_str()) {
        return Err(Error::BadRequest("Cannot create super admin role through this endpoint".into()));
    }
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if let Some(id) = roles::find(write.tx(), name.as_str()).await? {
        let role = existing(write.tx(), id).await?;
        return Ok(write.commit(role).await?.into());
    }
    let pattern = match roles::find(write.tx(), DEFAULT_ROLE).await? {
        Some(id) => existing(write.tx(), id).await?.permissions,
        None => Vec::new(),
    };
    let description = Some(description.unwrap_or_else(|| format!("{} role", title_case(name.as_str()))));
    let permission_ids = pattern.into_iter().map(|permission| permission.id).collect();
    let id = roles::insert(write.tx(), &NewRole { name, description, permission_ids }, now).await?;
    changed(write, id).await
}

/// Each word with a capital first letter; a word ends where no letter follows, as in Python.
fn title_case(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            titled.extend(c.to_lowercase());
        } else {
            titled.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    titled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_titled_as_the_predecessor_did() {
        for (text, titled) in [
            ("editor", "Editor"),
            ("content_editor", "Content_Editor"),
            ("HR staff", "Hr Staff"),
            ("élève 2nd", "Élève 2Nd"),
            ("", ""),
        ] {
            assert_eq!(title_case(text), titled);
        }
    }
}
