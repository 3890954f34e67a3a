//! Rows of another installation, valid by our rules, with the ids that they have there.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Category, Email, Host, Icon, Label, ModuleId, ModuleName, PathTemplate, PermissionId, PermissionName, RoleId,
    RoleName, RouteId, Secret, Timestamp, UserId, Username,
};

/// A user; serialised without what is secret or of no consequence.
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
    /// PHC string, or bcrypt's own form.
    #[serde(skip)]
    pub password_hash: Secret<String>,
    /// Creation, where it is known.
    #[serde(skip)]
    pub created_at: Option<Timestamp>,
}

/// A role without its grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Role {
    /// Identity.
    pub id: RoleId,
    /// Name.
    pub name: RoleName,
    /// For people.
    pub description: Option<String>,
    /// System roles cannot be changed or deleted.
    pub is_system_role: bool,
}

/// A permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Permission {
    /// Identity.
    pub id: PermissionId,
    /// `resource:verb`, by convention.
    pub name: PermissionName,
    /// For people.
    pub description: Option<String>,
    /// A heading to list it under.
    pub category: Option<Category>,
}

/// A module without the roles that see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Module {
    /// Identity.
    pub id: ModuleId,
    /// Name.
    pub name: ModuleName,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Where the front end shows it.
    pub route: String,
    /// Order, smallest first.
    pub priority: i64,
    /// Whether it is shown.
    pub is_active: bool,
    /// Creation, where it is known.
    #[serde(skip)]
    pub created_at: Option<Timestamp>,
    /// Last change, if any.
    #[serde(skip)]
    pub updated_at: Option<Timestamp>,
}

/// A route of the navigation without the roles that see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Route {
    /// Identity.
    pub id: RouteId,
    /// Path.
    pub route: PathTemplate,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Whether it is shown.
    pub is_active: bool,
    /// Whether it is shown in the sidebar.
    pub is_sidebar: bool,
    /// Where it belongs.
    pub module_id: ModuleId,
    /// The route that it lies below, in the same module.
    pub parent_id: Option<RouteId>,
    /// Order, smallest first.
    pub priority: i64,
    /// The host that it is bound to; on another host a path is another one.
    #[serde(skip)]
    pub host: Option<Host>,
    /// Creation, where it is known.
    #[serde(skip)]
    pub created_at: Option<Timestamp>,
    /// Last change, if any.
    #[serde(skip)]
    pub updated_at: Option<Timestamp>,
}

/// All rows of an installation; a route comes after the one that it lies below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// By id.
    pub permissions: Vec<Permission>,
    /// By id.
    pub roles: Vec<Role>,
    /// By id.
    pub users: Vec<User>,
    /// By id.
    pub modules: Vec<Module>,
    /// Roots first.
    pub routes: Vec<Route>,
    /// Who is granted what, who has which role, and which role sees what.
    pub links: Links,
}

/// Pairs of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Roles and the permissions granted to them.
    pub grants: BTreeSet<(RoleId, PermissionId)>,
    /// Users and the roles assigned to them.
    pub assignments: BTreeSet<(UserId, RoleId)>,
    /// Modules and the roles that see them.
    pub of_modules: BTreeSet<(ModuleId, RoleId)>,
    /// Routes and the roles that see them.
    pub of_routes: BTreeSet<(RouteId, RoleId)>,
}
