//! The complete policy set, schema and entities as text: any Cedar tool gives the same answers from it.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::{Entities, Entity};
use serde::{Deserialize, Serialize};

use super::{
    CompileError,
    compile::{Compiled, Fixed},
    depth,
    mounted::MountedPath,
    names, schema,
    snapshot::Snapshot,
};
use crate::model::{
    Timestamp,
    rules::{PolicyText, Revisions, Rules, UserState},
};

/// Everything that is decided by: for Cedar's tools as text, and for ours as the rules it was made from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Export {
    /// The rules' revision.
    pub policy_revision: i64,
    /// All policies, with `@id`.
    pub policies: String,
    /// The schema.
    pub schema: String,
    /// All entities, in Cedar's JSON form.
    pub entities: serde_json::Value,
    /// What the policies were generated from.
    pub rules: Rules,
    /// Users, with the roles that were assigned to them.
    pub users: Vec<UserState>,
    /// The operator's policy files.
    pub files: Vec<PolicyText>,
}

impl Export {
    /// The snapshot that was written out, to be asked again; it knows no revocations, and no paths but `mounts` of the
    /// admin service.
    ///
    /// # Errors
    /// The rules do not compile: somebody changed them.
    pub fn into_snapshot(self, mounts: Vec<Arc<MountedPath>>, now: Timestamp) -> Result<Snapshot, CompileError> {
        let compiled =
            Compiled::new(self.rules, &Fixed { mounts, files: self.files.into(), ..Fixed::default() }, None)?;
        let revisions = Revisions { revision: self.policy_revision, policy_revision: self.policy_revision };
        Ok(Snapshot::new(revisions, compiled, self.users, [], now))
    }
}

/// Writes out everything that `snapshot` decides by, with the role assignments of this moment.
///
/// # Errors
/// Cedar refuses to print a policy, the schema or an entity.
pub fn export(snapshot: &Snapshot, now: Timestamp) -> Result<Export, CompileError> {
    depth::with_room(|| write_out(snapshot, now))
}

fn write_out(snapshot: &Snapshot, now: Timestamp) -> Result<Export, CompileError> {
    let compiled = snapshot.compiled();
    let mut policies = BTreeMap::new();
    for link in compiled.links() {
        let policy = compiled.checked.templates.instantiate(&link)?;
        policies.insert(link.id.to_string(), policy.to_cedar().unwrap_or_else(|| policy.to_string()));
    }
    for handwritten in compiled.checked.policies() {
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
        entities: sorted(serde_json::from_slice(&json).map_err(|error| CompileError::generated(&error))?),
        rules: compiled.rules(),
        users: users(snapshot),
        files: compiled.checked.given().to_vec(),
    })
}

/// In an order of their own, so that equal rules are written out equally.
fn sorted(mut entities: serde_json::Value) -> serde_json::Value {
    let key = |uid: &serde_json::Value| (uid["type"].to_string(), uid["id"].to_string());
    let list = entities.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    for entity in &mut *list {
        if let Some(parents) = entity["parents"].as_array_mut() {
            parents.sort_by_cached_key(key);
        }
    }
    list.sort_by_cached_key(|entity| key(&entity["uid"]));
    entities
}

/// By id.
fn users(snapshot: &Snapshot) -> Vec<UserState> {
    let mut users: Vec<UserState> = snapshot.users().map(|user| UserState::clone(user)).collect();
    users.sort_unstable_by_key(|user| user.id);
    users
}

fn entities(snapshot: &Snapshot, now: Timestamp) -> Vec<Entity> {
    let compiled = snapshot.compiled();
    let users = snapshot.users().filter_map(|user| snapshot.entity(&names::user(user.id), now));
    let roles = compiled.roles.all().map(|(_, role)| compiled.role_entity(role));
    let operations = compiled.routing.routes().flat_map(|route| route.operations());
    let endpoints = operations.map(|operation| operation.endpoint.clone());
    users.chain(roles).chain(endpoints).collect()
}
