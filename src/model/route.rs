use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    HeaderRules, Host, Icon, Label, ModuleId, PathTemplate, PermissionName, RoleId, RouteId, Timestamp, UpstreamName,
};

/// Which methods an operation answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, example = ["GET", "HEAD"])]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Methods(Vec<String>);

impl Methods {
    /// The methods, in upper case; `*` stands for any that is not named elsewhere.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Methods {
    type Error = String;
    fn try_from(methods: Vec<String>) -> Result<Self, String> {
        if methods.is_empty() {
            return Err("methods must name at least one method".to_owned());
        }
        if methods.len() > 32 {
            return Err("methods must name at most 32 methods".to_owned());
        }
        for method in &methods {
            let token = |b: u8| b.is_ascii_uppercase() || b == b'-' || b == b'_';
            if method != "*" && (method.is_empty() || method.len() > 32 || !method.bytes().all(token)) {
                return Err(format!("'{method}' is not an HTTP method in upper case, or *"));
            }
            if method == "CONNECT" || method == "TRACE" {
                return Err(format!("{method} is never forwarded"));
            }
            if methods.iter().filter(|other| *other == method).count() > 1 {
                return Err(format!("method {method} is named twice"));
            }
        }
        Ok(Self(methods))
    }
}

impl From<Methods> for Vec<String> {
    fn from(methods: Methods) -> Self {
        methods.0
    }
}

/// Who may use an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "access", rename_all = "snake_case")]
pub enum Access {
    /// Everybody, without a token.
    Public,
    /// Everybody with a valid token.
    Authenticated,
    /// Users that hold one of the route's roles.
    Roles,
    /// Users to whom Cedar permits the permission's verb on this endpoint.
    Permission {
        /// `resource:verb`.
        permission: PermissionName,
        /// Where the request says who owns what it asks for.
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
    },
}

/// The query names the owner more than once, or only some parsers would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousOwner;

/// Where the owner's user id is found in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, example = "path.user_id")]
#[serde(try_from = "String", into = "String")]
pub enum Owner {
    /// `path.NAME`: a parameter of the path template.
    Path(String),
    /// `query.NAME`: a query parameter that must occur exactly once.
    Query(String),
    /// `claim.NAME`: a claim of the caller's token.
    Claim(String),
}

impl TryFrom<String> for Owner {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (source, name) = text.split_once('.').unwrap_or(("", ""));
        if name.is_empty() || name.len() > 100 {
            return Err("owner must be path.NAME, query.NAME or claim.NAME".to_owned());
        }
        match source {
            "path" => Ok(Self::Path(name.to_owned())),
            "query" => Ok(Self::Query(name.to_owned())),
            "claim" => Ok(Self::Claim(name.to_owned())),
            _ => Err("owner must be path.NAME, query.NAME or claim.NAME".to_owned()),
        }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> String {
        match owner {
            Owner::Path(name) => format!("path.{name}"),
            Owner::Query(name) => format!("query.{name}"),
            Owner::Claim(name) => format!("claim.{name}"),
        }
    }
}

/// What a gateway route does for some methods.
///
/// Reading one refuses keys that its access does not have: a permission that is not asked for would look like one
/// that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
pub struct Operation {
    /// The methods it answers. GET also serves HEAD.
    pub methods: Methods,
    /// Who may use it.
    #[serde(flatten)]
    pub access: Access,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fields {
    methods: Methods,
    access: Kind,
    permission: Option<PermissionName>,
    owner: Option<Owner>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Public,
    Authenticated,
    Roles,
    Permission,
}

impl TryFrom<Fields> for Operation {
    type Error = &'static str;
    fn try_from(Fields { methods, access, permission, owner }: Fields) -> Result<Self, &'static str> {
        if access != Kind::Permission && (permission.is_some() || owner.is_some()) {
            return Err("only access `permission` has permission and owner");
        }
        let access = match access {
            Kind::Public => Access::Public,
            Kind::Authenticated => Access::Authenticated,
            Kind::Roles => Access::Roles,
            Kind::Permission => {
                Access::Permission { permission: permission.ok_or("missing field `permission`")?, owner }
            }
        };
        Ok(Self { methods, access })
    }
}

/// How much one client may ask of a route; a user counts as one client, and so does an address without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline, example = serde_json::json!({ "requests": 100, "window_seconds": 60 }))]
#[serde(try_from = "RateFields")]
pub struct RouteRate {
    /// Requests.
    pub requests: NonZeroU32,
    /// The time for so many, in seconds.
    pub window_seconds: NonZeroU32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateFields {
    #[schemars(range(min = 1, max = 1_000_000))]
    requests: u32,
    #[schemars(range(min = 1, max = 86_400))]
    window_seconds: u32,
}

impl TryFrom<RateFields> for RouteRate {
    type Error = &'static str;
    fn try_from(RateFields { requests, window_seconds }: RateFields) -> Result<Self, &'static str> {
        let within = |number: u32, most: u32| NonZeroU32::new(number).filter(|number| number.get() <= most);
        let requests = within(requests, 1_000_000).ok_or("requests must be from 1 to 1000000")?;
        let window_seconds = within(window_seconds, 86_400).ok_or("window_seconds must be from 1 to 86400")?;
        Ok(Self { requests, window_seconds })
    }
}

/// A route, as stored: an entry of the navigation tree and, with an upstream, of the gateway's route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Route {
    /// Identity.
    pub id: RouteId,
    /// Path template; unique with module and host among undeleted routes.
    pub route: PathTemplate,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// An inactive route matches nothing.
    pub is_active: bool,
    /// Whether the front end lists it.
    pub is_sidebar: bool,
    /// Its module.
    pub module_id: ModuleId,
    /// Its parent in the navigation tree.
    pub parent_id: Option<RouteId>,
    /// Order, smallest first.
    pub priority: i64,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change, if any.
    pub updated_at: Option<Timestamp>,
    /// The host it is bound to; any host when absent.
    pub host: Option<Host>,
    /// Where requests go; navigation only when absent.
    pub upstream: Option<UpstreamName>,
    /// Taken off the path's front before it is forwarded.
    pub strip_prefix: Option<String>,
    /// Whether the client's `Authorization` reaches the upstream.
    pub forward_authorization: bool,
    /// What it does for which methods.
    #[sqlx(json)]
    pub operations: Vec<Operation>,
    /// How much one client may ask of it.
    #[sqlx(json(nullable))]
    #[serde(default)]
    pub rate_limit: Option<RouteRate>,
    /// Largest request body, in bytes; that of its upstream when absent.
    #[serde(default)]
    pub max_body_bytes: Option<i64>,
    /// What it changes in heads.
    #[sqlx(json)]
    #[serde(default)]
    pub headers: HeaderRules,
}

impl Route {
    /// No route takes more, in bytes.
    pub const LARGEST_BODY: i64 = 1 << 40;

    /// Whether the gateway's rules contain it.
    pub fn is_in_rules(&self) -> bool {
        self.upstream.is_some()
    }

    /// Whether it is another to the gateway's rules than `other`: what only people see does not count.
    pub fn differs_in_rules(&self, other: &Self) -> bool {
        // Whoever adds a field has to say here on which side it is.
        let rule = |route: &Self| {
            let Self {
                id,
                route,
                label: _,
                icon: _,
                is_active,
                is_sidebar: _,
                module_id,
                parent_id: _,
                priority: _,
                created_at: _,
                updated_at: _,
                host,
                upstream,
                strip_prefix,
                forward_authorization,
                operations,
                rate_limit,
                max_body_bytes,
                headers,
            } = route.clone();
            let forwarding = (host, upstream, strip_prefix, forward_authorization, operations);
            (id, route, is_active, module_id, forwarding, rate_limit, max_body_bytes, headers)
        };
        (self.is_in_rules() || other.is_in_rules()) && rule(self) != rule(other)
    }
}

/// A route to be stored.
#[derive(Clone, Debug)]
pub struct NewRoute {
    /// Path template.
    pub route: PathTemplate,
    /// For people.
    pub label: Label,
    /// Icon of the front end.
    pub icon: Option<Icon>,
    /// Whether it matches.
    pub is_active: bool,
    /// Whether the front end lists it.
    pub is_sidebar: bool,
    /// Its module.
    pub module_id: ModuleId,
    /// Its parent in the navigation tree.
    pub parent_id: Option<RouteId>,
    /// Order, smallest first.
    pub priority: i64,
    /// Roles that see it, and that `access: roles` admits.
    pub role_ids: Vec<RoleId>,
    /// The host it is bound to.
    pub host: Option<Host>,
    /// Where requests go.
    pub upstream: Option<UpstreamName>,
    /// Taken off the path's front before it is forwarded.
    pub strip_prefix: Option<String>,
    /// Whether the client's `Authorization` reaches the upstream.
    pub forward_authorization: bool,
    /// What it does for which methods.
    pub operations: Vec<Operation>,
    /// How much one client may ask of it.
    pub rate_limit: Option<RouteRate>,
    /// Largest request body, in bytes.
    pub max_body_bytes: Option<i64>,
    /// What it changes in heads.
    pub headers: HeaderRules,
}

/// Changes to a route; `None` leaves a field as it is, `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct RoutePatch {
    /// New path template.
    pub route: Option<PathTemplate>,
    /// New label.
    pub label: Option<Label>,
    /// New icon.
    pub icon: Option<Option<Icon>>,
    /// Whether it matches.
    pub is_active: Option<bool>,
    /// Whether the front end lists it.
    pub is_sidebar: Option<bool>,
    /// New module.
    pub module_id: Option<ModuleId>,
    /// New parent.
    pub parent_id: Option<Option<RouteId>>,
    /// New order.
    pub priority: Option<i64>,
    /// Replaces the roles.
    pub role_ids: Option<Vec<RoleId>>,
    /// New host.
    pub host: Option<Option<Host>>,
    /// New upstream.
    pub upstream: Option<Option<UpstreamName>>,
    /// New prefix to strip.
    pub strip_prefix: Option<Option<String>>,
    /// Whether the client's `Authorization` reaches the upstream.
    pub forward_authorization: Option<bool>,
    /// Replaces the operations.
    pub operations: Option<Vec<Operation>>,
    /// New limit.
    pub rate_limit: Option<Option<RouteRate>>,
    /// New bound on request bodies.
    pub max_body_bytes: Option<Option<i64>>,
    /// Replaces what it changes in heads.
    pub headers: Option<HeaderRules>,
}
