use schemars::JsonSchema;
use serde::Serialize;

use super::{Avatar, Email, PersonName, Role, RoleId, Secret, Timestamp, UserId, Username};

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
    /// What the user is called, and looks like.
    #[serde(flatten)]
    pub profile: Profile,
    /// Until then signing in is refused, but from where the user has signed in before; only while that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// Whether the user must set another password at the next sign-in; left out where that is not so, since older clients
    /// know nothing of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub must_change_password: bool,
    /// When it was deleted; only where deleted users are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// What a user is called, and looks like; answered only as far as it is set, since older clients know nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Profile {
    /// First name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<PersonName>,
    /// Last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<PersonName>,
    /// A picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}

/// Changes to a profile; `None` leaves a field as it is, an empty one clears it.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// First name.
    pub first_name: Option<PersonName>,
    /// Last name.
    pub last_name: Option<PersonName>,
    /// A picture.
    pub avatar: Option<Avatar>,
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
    /// What the user is called, and looks like.
    pub profile: ProfilePatch,
    /// Whether the user must set another password at the next sign-in.
    pub must_change_password: Option<bool>,
    /// Replaces all assignments.
    pub role_ids: Option<Vec<RoleId>>,
    /// Who assigns the new ones, if a user does.
    pub granted_by: Option<UserId>,
}
