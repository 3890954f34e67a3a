//! The complete policy set, schema and entities as text: any Cedar tool gives the same answers from it.

use std::collections::BTreeMap;

use cedar_policy::{Entities, Entity};
use serde::Serialize;

use super::{CompileError, names, schema, snapshot::Snapshot};
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
    for link in compiled.links() {
        let policy = compiled.checked.templates.instantiate(&link)?;
        policies.insert(link.id.to_string(), policy.to_cedar().unwrap_or_else(|| policy.to_string()));
    }
    for handwritten in &compiled.checked.policies {
        let policy = &handwritten.policy;
        let mut json = policy.to_json().map_err(|error| CompileError::generated(&error))?;
        json["annotations"]["id"] = policy.id().to_string().into();
        let policy = cedar_policy::Policy::from_json(Some(policy.id().clone()), json)
            .map_err(|error| CompileError::generated(&error))?;
        policies.insert(policy.id().to_string(), policy.to_cedar().unwrap_or_else(|| policy.to_string()));
    }
    let entities = Entities::from_entities(entities(snapshot, now), Some(&compiled.schema()?))
        .map_err(|error| CompileError::generated(&error))?;
    let mut json = Vec::new();
    entities.write_to_json(&mut json).map_err(|error| CompileError::generated(&error))?;
    Ok(Export {
        policy_revision: snapshot.policy_revision(),
        policies: policies.into_values().collect::<Vec<_>>().join("\n\n"),
        schema: schema::text(&compiled.checked.verbs)?,
        entities: serde_json::from_slice(&json).map_err(|error| CompileError::generated(&error))?,
    })
}

fn entities(snapshot: &Snapshot, now: Timestamp) -> Vec<Entity> {
    let compiled = snapshot.compiled();
    let users = snapshot.users().filter_map(|user| snapshot.entity(&names::user(user.id), now));
    let roles = compiled.roles.all().map(|(_, role)| compiled.role_entity(role));
    let operations = compiled.routing.routes().flat_map(|route| route.operations());
    let endpoints = operations.map(|operation| operation.endpoint.clone());
    users.chain(roles).chain(endpoints).collect()
}
