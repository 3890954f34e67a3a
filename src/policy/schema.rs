//! The Cedar schema: the shipped vocabulary and one action for each verb.

use std::collections::BTreeSet;

use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value, json};

use super::CompileError;

const BASE: &str = include_str!("../../policies/base.cedarschema");
/// The action of public, authenticated and role-bound operations.
pub(super) const ACCESS: &str = "access";
const ALWAYS: [&str; 4] = ["create", "read", "update", "delete"];

/// The verbs of permissions, and those that exist without any.
pub(super) fn verbs<'v>(stored: impl Iterator<Item = &'v str>) -> BTreeSet<String> {
    ALWAYS.into_iter().chain([ACCESS]).chain(stored).map(str::to_owned).collect()
}

/// Builds the schema with one action for each of `verbs`.
pub(super) fn build(verbs: &BTreeSet<String>) -> Result<Schema, CompileError> {
    let (base, actions) = fragments(verbs)?;
    Schema::from_schema_fragments([base, actions]).map_err(CompileError::schema)
}

/// The schema as Cedar text, for editors and other Cedar tools.
pub(super) fn text(verbs: &BTreeSet<String>) -> Result<String, CompileError> {
    let (_, actions) = fragments(verbs)?;
    let actions = actions.to_cedarschema().map_err(CompileError::schema)?;
    Ok(format!("{BASE}\n{actions}"))
}

fn fragments(verbs: &BTreeSet<String>) -> Result<(SchemaFragment, SchemaFragment), CompileError> {
    let (base, _warnings) = SchemaFragment::from_cedarschema_str(BASE).map_err(CompileError::schema)?;
    let actions: Map<String, Value> = verbs.iter().map(|verb| (verb.clone(), action(verb))).collect();
    let actions = SchemaFragment::from_json_value(json!({ "": { "entityTypes": {}, "actions": actions } }))
        .map_err(CompileError::schema)?;
    Ok((base, actions))
}

fn action(verb: &str) -> Value {
    let principals: &[&str] = if verb == ACCESS { &["User", "Anonymous"] } else { &["User"] };
    json!({ "appliesTo": {
        "principalTypes": principals,
        "resourceTypes": ["Endpoint", "Resource"],
        "context": { "type": "Context" },
    } })
}
