//! The answer, in the shape of the explain endpoint.

use std::{net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{ClientCertificate, RouteId, Timestamp, UserId};

/// Why a request is, or was, answered as it is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The status the gateway answers with, or 200 where it forwards.
    pub status: u16,
    /// The reason's code.
    pub reason: &'static str,
    /// The rules it was decided by.
    pub policy_revision: i64,
    /// The matched route.
    pub route: Option<RouteBrief>,
    /// The matched operation.
    pub operation: Option<OperationBrief>,
    /// Routes that match too but lost to a more specific one, the next best first; 20 at most.
    pub candidates: Vec<RouteBrief>,
    /// The permission asked for.
    pub permission: Option<String>,
    /// Who was asked about; none without credentials.
    pub principal: Option<Principal>,
    /// The determining policies.
    pub policies: Vec<PolicyBrief>,
    /// Policies that could not be evaluated.
    pub errors: Vec<ErrorBrief>,
    /// Single grants that would allow it, each tried out; 10 at most.
    pub suggestions: Vec<Suggestion>,
    /// The request, when one that was made is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestBrief>,
    /// What a repetition of that request would be answered with, when that is something else by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Now>,
}

impl Explanation {
    /// Whether the decision is to let the request pass.
    pub fn is_allowed(&self) -> bool {
        self.decision == ALLOW
    }
}

/// The word for a request that may pass.
pub(super) const ALLOW: &str = "allow";
/// The word for one that may not.
pub(super) const DENY: &str = "deny";

/// A route in brief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedRoute")]
pub struct RouteBrief {
    /// Identity; absent for a path of the admin service.
    pub id: Option<RouteId>,
    /// The path template.
    pub route: String,
}

/// An operation in brief.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedOperation")]
pub struct OperationBrief {
    /// The method, or `*`.
    pub method: String,
    /// `public`, `authenticated`, `roles` or `permission`.
    pub access: &'static str,
    /// The permission, for `permission`.
    pub permission: Option<String>,
}

/// A user in brief.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedPrincipal")]
pub struct Principal {
    /// Identity; none of somebody who is known by the claims of another issuer's token.
    pub id: Option<UserId>,
    /// Sign-in name; of somebody without an account `<issuer>|<sub>`.
    pub username: String,
    /// Effective roles.
    pub roles: Vec<HeldRole>,
}

/// A role and how it is held.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HeldRole {
    /// Its name.
    pub name: Arc<str>,
    /// The path of inheritance from an assigned role; empty for an assigned role itself.
    pub via: Vec<Arc<str>>,
}

/// A policy in brief.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedPolicy")]
pub struct PolicyBrief {
    /// Its Cedar id.
    pub id: String,
    /// The name a person would know it by.
    pub name: String,
    /// `permit` or `forbid`; none when it is no longer there.
    pub effect: Option<&'static str>,
    /// Its Cedar text; none when it is no longer there.
    pub source: Option<String>,
}

/// A policy that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedError")]
pub struct ErrorBrief {
    /// Its Cedar id.
    pub policy: String,
    /// Cedar's own words.
    pub message: String,
}

/// A change that would allow the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Suggestion {
    /// The role.
    pub role: Arc<str>,
    /// What to grant to the role, which the user holds; none where the role is to be assigned to the user.
    pub permission: Option<String>,
}

/// A request that was made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedRequest")]
pub struct RequestBrief {
    /// When it was answered.
    pub time: Timestamp,
    /// The method.
    pub method: Option<String>,
    /// The canonical host.
    pub host: Option<String>,
    /// The path as it came, without query.
    pub path: String,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What the client's certificate said, if it presented one.
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// The status of the answer, if one was sent: the upstream's, where the request was forwarded.
    pub status: Option<u16>,
}

/// A decision by the rules of the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Now {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The reason's code.
    pub reason: &'static str,
    /// The rules it is decided by.
    pub policy_revision: i64,
}
