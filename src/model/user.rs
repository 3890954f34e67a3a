use schemars::JsonSchema;
use serde::Serialize;

use super::{Email, Role, RoleId, Secret, Timestamp, UserId, Username};

/// A user as answered: never with the password's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct User {
    /// Identity.
    pub id: UserId,
    /// Sign-in name, in lower case.
    pub username: Username,
    /// Mail address.
    pub email: Email,
    /// An inactive user is refused everywhere.
    pub is_active: bool,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change, if any.
    pub updated_at: Option<Timestamp>,
    /// Assigned roles, by id.
    pub roles: Vec<Role>,
    /// When it was deleted; only where deleted users are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// A role as it was assigned to a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AssignedRole {
    /// The role.
    #[serde(flatten)]
    pub role: Role,
    /// When the assignment ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was made, or last given another end.
    pub granted_at: Timestamp,
    /// By whom; nobody for what the system did, or a user at registration.
    pub granted_by: Option<UserId>,
}

/// When an assignment shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As before, if it is there already; never, if it is not.
    Kept,
    /// Never by itself.
    Never,
    /// At this moment.
    At(Timestamp),
}

/// A user to be stored.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Sign-in name.
    pub username: Username,
    /// Mail address.
    pub email: Email,
    /// PHC string of the password.
    pub password_hash: Secret<String>,
    /// Whether the user may sign in at once.
    pub is_active: bool,
    /// Roles to assign; unknown ids are ignored, as the contract says.
    pub role_ids: Vec<RoleId>,
    /// Who assigns them, if a user does.
    pub granted_by: Option<UserId>,
}

/// Changes to a user; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// New sign-in name.
    pub username: Option<Username>,
    /// New mail address.
    pub email: Option<Email>,
    /// PHC string of a new password.
    pub password_hash: Option<Secret<String>>,
    /// Whether the user may act.
    pub is_active: Option<bool>,
    /// Replaces all assignments.
    pub role_ids: Option<Vec<RoleId>>,
    /// Who assigns the new ones, if a user does.
    pub granted_by: Option<UserId>,
}
