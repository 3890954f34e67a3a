//! The complete policy set, schema and entities as text: any Cedar tool gives the same answers from it.

use std::collections::BTreeMap;

use cedar_policy::{Entities, Entity};
use serde::Serialize;

use super::{
    CompileError,
    compile::Compiled,
    index::{Entry, Link},
    names, schema,
    snapshot::Snapshot,
};
use crate::model::Timestamp;

/// Everything a Cedar tool needs.
#[derive(Debug, Serialize)]
pub struct Export {
    /// The rules' revision.
    pub policy_revision: i64,
    /// All policies, with `@id`.
    pub policies: String,
    /// The schema.
    pub schema: String,
    /// All entities, in Cedar's JSON form.
    pub entities: serde_json::Value,
}

/// Writes out everything that `snapshot` decides by, with the role assignments of this moment.
///
/// # Errors
/// Cedar refuses to print a policy, the schema or an entity.
pub fn export(snapshot: &Snapshot, now: Timestamp) -> Result<Export, CompileError> {
    let compiled = snapshot.compiled();
    let mut policies = BTreeMap::new();
    for entry in compiled.index.entries() {
        let (id, text) = match entry {
            Entry::Link(link) => {
                let policy = compiled.templates.instantiate(link)?;
                (link.id.to_string(), policy.to_cedar().unwrap_or_else(|| policy.to_string()))
            }
            Entry::Handwritten(handwritten) => {
                let policy = &handwritten.policy;
                let mut json = policy.to_json().map_err(|error| CompileError::generated(&error))?;
                json["annotations"]["id"] = policy.id().to_string().into();
                let policy = cedar_policy::Policy::from_json(Some(policy.id().clone()), json)
                    .map_err(|error| CompileError::generated(&error))?;
                (policy.id().to_string(), policy.to_cedar().unwrap_or_else(|| policy.to_string()))
            }
        };
        policies.insert(id, text);
    }
    let entities = Entities::from_entities(entities(snapshot, now), Some(&compiled.schema()?))
        .map_err(|error| CompileError::generated(&error))?;
    let mut json = Vec::new();
    entities.write_to_json(&mut json).map_err(|error| CompileError::generated(&error))?;
    Ok(Export {
        policy_revision: snapshot.policy_revision(),
        policies: policies.into_values().collect::<Vec<_>>().join("\n\n"),
        schema: schema::text(&compiled.verbs)?,
        entities: serde_json::from_slice(&json).map_err(|error| CompileError::generated(&error))?,
    })
}

fn entities(snapshot: &Snapshot, now: Timestamp) -> Vec<Entity> {
    let compiled = snapshot.compiled();
    let users = snapshot.users().filter_map(|user| snapshot.entity(&names::user(user.id), now));
    let roles = compiled.roles.all().map(|role| compiled.role_entity(role));
    let operations = compiled.table.routes().into_iter().flat_map(|route| route.operations());
    let endpoints = operations.map(|operation| operation.endpoint.clone());
    users.chain(roles).chain(endpoints).collect()
}

impl Compiled {
    /// A generated policy in words.
    pub(super) fn describe(&self, link: &Link) -> String {
        let id = link.id.to_string();
        let mut parts = id.split(':').skip(1).filter_map(|part| part.parse::<i64>().ok());
        let (Some(role), Some(permission)) = (parts.next(), parts.next()) else {
            return id;
        };
        let role = self.roles.get(crate::model::RoleId(role)).map(|role| role.name.as_ref());
        let permission = self.permissions.iter().find(|row| row.id.0 == permission).map(|row| row.name.as_str());
        match (role, permission) {
            (Some(role), Some(permission)) => format!("{role} may {permission}"),
            _ => id,
        }
    }
}
