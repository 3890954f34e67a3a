use serde::Serialize;

use super::{Email, Role, RoleId, Secret, Timestamp, UserId, Username};

/// A user as answered: never with the password's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
}
