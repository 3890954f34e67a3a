//! Plain data and its validation: ids, names, users, roles, permissions, modules, routes, upstreams and rules.
//!
//! Nothing here knows a database, HTTP or Cedar. A value of one of these types is valid; what is not valid
//! cannot be constructed.

mod address;
mod claim_set;
mod claims;
mod client_certificate;
mod email;
mod etag;
mod header_rules;
mod ids;
mod issuer;
mod module;
mod name;
mod nearest;
mod network;
mod path;
mod permission;
mod policy;
mod reason;
mod role;
mod route;
pub mod rules;
mod secret;
mod signing_key;
mod strict_json;
pub mod takeover;
mod time;
mod upstream;
mod user;

pub use address::is_public_address;
pub use claim_set::{ClaimSet, Stated};
pub use claims::{Claims, Noted};
pub use client_certificate::{CertificateFault, CertificateFields, ClientCertificate};
pub use email::Email;
pub use etag::{Etag, Etags};
pub use header_rules::{HeaderChanges, HeaderRules};
pub use ids::{IssuerId, ModuleId, PermissionId, PolicyId, RoleId, RouteId, SigningKeyId, UpstreamId, UserId};
pub use issuer::{
    Issuer, IssuerAlgorithm, IssuerFault, IssuerPrincipal, IssuerSpec, Issuers, KeySource, MOST_ISSUERS, MOST_ROLES,
    TooMany,
};
pub use module::{Module, ModulePatch, NewModule};
pub use name::{
    Avatar, Category, Host, Icon, Label, ModuleName, NameError, PermissionName, PermissionParts, PersonName,
    PolicyName, RoleName, UpstreamName, Username, folded,
};
pub use nearest::{nearest, nearest_by};
pub use network::{ForwardedHeader, Network, NetworkError};
pub use path::{PathTemplate, Segment};
pub use permission::{EffectivePermission, NewPermission, Permission, PermissionPatch};
pub use policy::{NewPolicy, Policy, PolicyPatch};
pub use reason::Reason;
pub use role::{MAX_INHERITANCE, NewRole, Role, RoleHead, RoleInfo, RolePatch};
pub use route::{Access, AmbiguousOwner, Methods, NewRoute, Operation, Owner, Route, RoutePatch, RouteRate};
pub use secret::Secret;
pub use signing_key::{KeyState, NewSigningKey, SigningAlgorithm, SigningKey, UnknownAlgorithm};
pub use strict_json::StrictJson;
pub use time::Timestamp;
pub use upstream::{
    Balance, Ejection, HashOn, HealthCheck, NewUpstream, Protocol, Target, Timeouts, Tls, Upstream, UpstreamPatch,
};
pub use user::{AssignedRole, Expiry, NewUser, Profile, ProfilePatch, User, UserPatch};

/// The role that holds every permission and cannot lose one.
pub const SUPER_ROLE: &str = "superadmin";
/// What versions of the predecessor called it; looked up by these names too, which no other role may have.
pub const SUPER_ROLE_ALIASES: [&str; 2] = ["super_admin", "SuperAdmin"];

/// The stored name of the role that clients call `name`.
pub fn stored_role_name(name: &str) -> &str {
    if SUPER_ROLE_ALIASES.contains(&name) { SUPER_ROLE } else { name }
}

/// The role a new user gets when none is named.
pub const DEFAULT_ROLE: &str = "user";
