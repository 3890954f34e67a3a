use schemars::JsonSchema;
use serde::Serialize;

use super::{Category, PermissionId, PermissionName, RoleName, Timestamp};

/// A permission: row and answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Permission {
    /// `resource:verb` or `resource:verb:own`.
    pub name: PermissionName,
    /// For people.
    pub description: Option<String>,
    /// A heading to list it under.
    pub category: Option<Category>,
    /// Identity.
    pub id: PermissionId,
    /// An inactive permission grants nothing.
    pub is_active: bool,
    /// When it was deleted; shown only where deleted ones were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[sqlx(default)]
    pub deleted_at: Option<Timestamp>,
}

/// A permission that a role has, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct EffectivePermission {
    /// What it has.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub permission: Permission,
    /// The role it is granted to: itself, or the nearest one it inherits from.
    pub source_role: RoleName,
}

/// A permission to be stored.
#[derive(Clone, Debug)]
pub struct NewPermission {
    /// `resource:verb` or `resource:verb:own`.
    pub name: PermissionName,
    /// For people.
    pub description: Option<String>,
    /// A heading to list it under.
    pub category: Option<Category>,
}

/// Changes to a permission; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct PermissionPatch {
    /// New name.
    pub name: Option<PermissionName>,
    /// New description.
    pub description: Option<String>,
    /// New category.
    pub category: Option<Category>,
    /// Whether it grants anything.
    pub is_active: Option<bool>,
}
