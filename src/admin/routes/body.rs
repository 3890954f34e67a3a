//! What the bodies of routes say.

use crate::admin::input::{self, Flaw, Input, Object, Valid};
use crate::admin::modules::role_ids;
use crate::model::{
    HeaderRules, Host, Icon, Label, ModuleId, NewRoute, Operation, PathTemplate, PermissionId, Route, RouteId,
    RoutePatch, RouteRate, UpstreamName,
};

const MOST_OPERATIONS: usize = 64;
const MOST_PERMISSIONS: usize = 1_000;
const BAD_PARENT: &str = "parent_id must be a positive integer or null";

/// What a gateway route has, as both bodies say it.
struct Forwarding {
    host: input::Change<Option<Host>>,
    upstream: input::Change<Option<UpstreamName>>,
    strip_prefix: input::Change<Option<String>>,
    forward_authorization: Option<bool>,
    operations: Option<Vec<Operation>>,
    rate_limit: input::Change<Option<RouteRate>>,
    max_body_bytes: input::Change<Option<i64>>,
    headers: Option<HeaderRules>,
}

fn forwarding(body: &mut Object<'_>) -> Valid<Forwarding> {
    let host = body.nullable::<Host>("host");
    let upstream = body.nullable::<UpstreamName>("upstream");
    let strip_prefix =
        body.field::<String>("strip_prefix").max_length(255).check(|prefix| check_prefix(prefix)).nullable();
    let forward_authorization = body.optional::<bool>("forward_authorization");
    let few = |operations: &Vec<Operation>| {
        let few = operations.len() <= MOST_OPERATIONS;
        few.then_some(()).ok_or_else(|| Flaw::value(format!("at most {MOST_OPERATIONS} operations")))
    };
    let operations = body.json::<Vec<Operation>>("operations").check(few).optional();
    let rate_limit = body.json::<RouteRate>("rate_limit").nullable();
    let max_body_bytes = body.field::<i64>("max_body_bytes").at_least(1).at_most(Route::LARGEST_BODY).nullable();
    let headers = body.json::<HeaderRules>("headers").optional();
    Some(Forwarding {
        host: host?,
        upstream: upstream?,
        strip_prefix: strip_prefix?,
        forward_authorization: forward_authorization?,
        operations: operations?,
        rate_limit: rate_limit?,
        max_body_bytes: max_body_bytes?,
        headers: headers?,
    })
}

fn check_prefix(prefix: &str) -> Result<(), Flaw> {
    let segments_fit = |rest: &str| {
        let plain = |c: char| c.is_ascii_graphic() && !"\\;?#%{}\"<>^`|".contains(c);
        rest.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.chars().all(plain))
    };
    match prefix.strip_prefix('/') {
        Some(rest) if segments_fit(rest) => Ok(()),
        _ => Err(Flaw::value("strip_prefix must be a path of literal segments without a final slash, as /demo")),
    }
}

/// Ids of the permissions that show a route, which must be positive.
fn permission_ids(body: &mut Object<'_>) -> Valid<Option<Vec<PermissionId>>> {
    let positive = |ids: &Vec<PermissionId>| ids.iter().all(|id| id.0 > 0);
    let ids = body.field::<Vec<PermissionId>>("permission_ids").max_items(MOST_PERMISSIONS);
    ids.must(positive, "All permission IDs must be positive integers").optional()
}

pub(super) fn create(input: &mut Input) -> Valid<(NewRoute, Vec<PermissionId>)> {
    let mut body = input.body();
    let route = body.required::<PathTemplate>("route");
    let label = body.required::<Label>("label");
    let icon = body.optional::<Icon>("icon");
    let is_active = body.field::<bool>("is_active").or(true);
    let is_sidebar = body.field::<bool>("is_sidebar").or(true);
    let module_id = body.field::<ModuleId>("module_id").greater_than(0).required();
    let parent_id = body.field::<RouteId>("parent_id").must(|id| id.0 > 0, BAD_PARENT).optional();
    let priority = body.field::<i64>("priority").or(0);
    let role_ids = role_ids(&mut body);
    let permission_ids = permission_ids(&mut body);
    let forwarding = forwarding(&mut body)?;
    let new = NewRoute {
        route: route?,
        label: label?,
        icon: blank_to_none(icon?),
        is_active: is_active?,
        is_sidebar: is_sidebar?,
        module_id: module_id?,
        parent_id: parent_id?,
        priority: priority?,
        role_ids: role_ids?.unwrap_or_default(),
        host: forwarding.host.flatten(),
        upstream: forwarding.upstream.flatten(),
        strip_prefix: forwarding.strip_prefix.flatten(),
        forward_authorization: forwarding.forward_authorization.unwrap_or(true),
        operations: forwarding.operations.unwrap_or_default(),
        rate_limit: forwarding.rate_limit.flatten(),
        max_body_bytes: forwarding.max_body_bytes.flatten(),
        headers: forwarding.headers.unwrap_or_default(),
    };
    Some((new, permission_ids?.unwrap_or_default()))
}

/// A route, and what is to be changed about it.
pub(super) struct Changes {
    pub(super) id: RouteId,
    pub(super) patch: RoutePatch,
    /// Replaces the permissions that show it.
    pub(super) permission_ids: Option<Vec<PermissionId>>,
}

fn blank_to_none(icon: Option<Icon>) -> Option<Icon> {
    icon.filter(|icon| !icon.as_str().is_empty())
}

pub(super) fn update(input: &mut Input) -> Valid<Changes> {
    let id = input.path("route_id");
    let mut body = input.body();
    let route = body.optional::<PathTemplate>("route");
    let label = body.optional::<Label>("label");
    let icon = body.nullable::<Icon>("icon");
    let is_active = body.optional::<bool>("is_active");
    let is_sidebar = body.optional::<bool>("is_sidebar");
    let module_id = body.field::<ModuleId>("module_id").greater_than(0).optional();
    let parent_id = body.field::<RouteId>("parent_id").must(|id| id.0 > 0, BAD_PARENT).nullable();
    let priority = body.field::<i64>("priority").at_least(0).optional();
    let role_ids = role_ids(&mut body);
    let permission_ids = permission_ids(&mut body);
    let forwarding = forwarding(&mut body)?;
    let patch = RoutePatch {
        route: route?,
        label: label?,
        icon: icon?.map(blank_to_none),
        is_active: is_active?,
        is_sidebar: is_sidebar?,
        module_id: module_id?,
        parent_id: parent_id?,
        priority: priority?,
        role_ids: role_ids?,
        host: forwarding.host,
        upstream: forwarding.upstream,
        strip_prefix: forwarding.strip_prefix,
        forward_authorization: forwarding.forward_authorization,
        operations: forwarding.operations,
        rate_limit: forwarding.rate_limit,
        max_body_bytes: forwarding.max_body_bytes,
        headers: forwarding.headers,
    };
    Some(Changes { id: id?, patch, permission_ids: permission_ids? })
}
