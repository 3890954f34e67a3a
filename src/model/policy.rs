use schemars::JsonSchema;
use serde::Serialize;

use super::{PolicyId, PolicyName, Timestamp};

/// A hand-written policy: row and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Policy {
    /// Identity.
    pub id: PolicyId,
    /// Unique among undeleted policies and policy files; `policy:<name>` in Cedar.
    pub name: PolicyName,
    /// What it is for.
    pub description: Option<String>,
    /// One Cedar policy, or several.
    pub source: String,
    /// An inactive policy decides nothing.
    pub is_active: bool,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change, if any.
    pub updated_at: Option<Timestamp>,
}

/// A policy to be stored.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// Unique among undeleted policies.
    pub name: PolicyName,
    /// What it is for.
    pub description: Option<String>,
    /// One Cedar policy, or several.
    pub source: String,
    /// Whether it decides.
    pub is_active: bool,
}

/// Changes to a policy; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct PolicyPatch {
    /// New name.
    pub name: Option<PolicyName>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New Cedar text.
    pub source: Option<String>,
    /// Whether it decides.
    pub is_active: Option<bool>,
}
