//! The complete plain-data input of one compile: what the policy engine knows comes from here and nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ModuleId, ModuleName, PermissionId, PermissionName, PolicyId, PolicyName, RoleId, RoleName, Route, RouteId,
    Timestamp, Upstream, UpstreamId, UserId, Username,
};

/// The two counters of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct Revisions {
    /// Moves with every change of the feed.
    pub revision: i64,
    /// Moves with rules only.
    pub policy_revision: i64,
}

/// A role and the roles it inherits from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRule {
    /// Identity.
    pub id: RoleId,
    /// Name.
    pub name: RoleName,
    /// An inactive role grants nothing and passes nothing on.
    pub is_active: bool,
    /// Whether every installation has it; no other issuer gives one unless told to.
    #[serde(default)]
    pub is_system_role: bool,
    /// Roles whose grants it has too, by id; those that are deleted pass nothing on.
    pub parents: Vec<RoleId>,
}

/// A permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PermissionRule {
    /// Identity.
    pub id: PermissionId,
    /// Name.
    pub name: PermissionName,
    /// An inactive permission grants nothing.
    pub is_active: bool,
}

/// A permission granted to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct GrantRule {
    /// To whom.
    pub role_id: RoleId,
    /// What.
    pub permission_id: PermissionId,
}

/// A module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct ModuleRule {
    /// Identity.
    pub id: ModuleId,
    /// Name.
    pub name: ModuleName,
    /// Routes of an inactive module match nothing.
    pub is_active: bool,
}

/// Hand-written Cedar: what a file holds, or a row of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PolicyText {
    /// Name; the Cedar id is `policy:<name>`.
    pub name: PolicyName,
    /// One Cedar policy, or several.
    pub source: String,
}

/// A hand-written policy from the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct PolicyRule {
    /// Identity.
    pub id: PolicyId,
    /// What it says.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub text: PolicyText,
}

/// Everything about access that is not about one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Undeleted roles.
    pub roles: Vec<RoleRule>,
    /// Undeleted permissions.
    pub permissions: Vec<PermissionRule>,
    /// Grants between undeleted roles and permissions.
    pub grants: Vec<GrantRule>,
    /// Undeleted modules.
    pub modules: Vec<ModuleRule>,
    /// Undeleted routes that have an upstream.
    pub routes: Vec<Route>,
    /// The roles bound to those routes, by id; those that are deleted count for nothing.
    pub route_roles: BTreeMap<RouteId, Vec<RoleId>>,
    /// Undeleted upstreams.
    pub upstreams: Vec<Upstream>,
    /// Undeleted, active hand-written policies.
    pub policies: Vec<PolicyRule>,
}

/// A gateway route and the roles bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// The row.
    pub route: Route,
    /// The roles, by id.
    pub roles: Vec<RoleId>,
}

/// What one part of the rules has become; `None` when it is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A role and the permissions granted to it.
    Role(RoleId, Option<(RoleRule, Vec<PermissionId>)>),
    /// A permission and the roles it is granted to.
    Permission(PermissionId, Option<(PermissionRule, Vec<RoleId>)>),
    /// A module and all of its gateway routes.
    Module(ModuleId, Option<(ModuleRule, Vec<RouteRule>)>),
    /// A route; one without an upstream is no part of the rules.
    Route(RouteId, Option<RouteRule>),
    /// An upstream.
    Upstream(UpstreamId, Option<Upstream>),
    /// A hand-written policy; one that is inactive is no part of the rules.
    Policy(PolicyId, Option<PolicyText>),
}

/// A role assigned to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The role.
    pub role_id: RoleId,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What the data plane needs to know about one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserState {
    /// Identity.
    pub id: UserId,
    /// Sign-in name.
    pub username: Username,
    /// An inactive user is refused everywhere.
    pub is_active: bool,
    /// Tokens made for an earlier epoch are void.
    pub token_epoch: i64,
    /// Assigned roles, by id.
    pub roles: Vec<Assignment>,
}

impl UserState {
    /// The roles that are assigned at `now`.
    pub fn live_roles(&self, now: Timestamp) -> impl Iterator<Item = RoleId> {
        let live = self.roles.iter().filter(move |assignment| assignment.expires_at.is_none_or(|end| end > now));
        live.map(|assignment| assignment.role_id)
    }
}

/// A token or session that is void until its natural end.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Revocation {
    /// `jti:<token id>` or `sid:<session id>`.
    pub key: String,
    /// When the entry may be forgotten.
    pub expires_at: Timestamp,
}
