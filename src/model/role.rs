use schemars::JsonSchema;
use serde::Serialize;

use super::{Permission, PermissionId, RoleId, RoleName, Timestamp};

/// The longest chain of inheritance, in steps from a role to the farthest one it inherits from.
pub const MAX_INHERITANCE: i64 = 32;

/// A role with the permissions granted to it directly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Role {
    /// Unique among undeleted roles.
    pub name: RoleName,
    /// For people.
    pub description: Option<String>,
    /// Identity.
    pub id: RoleId,
    /// System roles cannot be changed or deleted.
    pub is_system_role: bool,
    /// Direct grants, by id.
    pub permissions: Vec<Permission>,
    /// An inactive role grants nothing.
    pub is_active: bool,
    /// When it was deleted; shown only where deleted ones were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// A role without its grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct RoleHead {
    /// Identity.
    pub id: RoleId,
    /// Unique among undeleted roles.
    pub name: RoleName,
    /// For people.
    pub description: Option<String>,
    /// System roles cannot be changed or deleted.
    pub is_system_role: bool,
    /// An inactive role grants nothing.
    pub is_active: bool,
}

/// A role without its grants, where the contract shows it in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct RoleInfo {
    /// Identity.
    pub id: RoleId,
    /// Name.
    pub name: RoleName,
    /// For people.
    pub description: Option<String>,
}

/// A role to be stored.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Unique among undeleted roles.
    pub name: RoleName,
    /// For people.
    pub description: Option<String>,
    /// Direct grants; unknown ids are ignored, as the contract says.
    pub permission_ids: Vec<PermissionId>,
}

/// Changes to a role; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct RolePatch {
    /// New name.
    pub name: Option<RoleName>,
    /// New description.
    pub description: Option<String>,
    /// Whether it grants anything.
    pub is_active: Option<bool>,
    /// Replaces all direct grants.
    pub permission_ids: Option<Vec<PermissionId>>,
}
