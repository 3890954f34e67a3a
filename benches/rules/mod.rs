//! Rules and users in any number, for the benchmarks of decisions.

use std::{collections::BTreeMap, sync::Arc};

use cedargate::{
    model::{
        Claims, HeaderRules, Label, ModuleId, PermissionId, PolicyId, RoleId, Route, RouteId, Timestamp, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, Revisions, RoleRule, Rules,
            UserState,
        },
    },
    policy::{Ask, Compiled, Entry, Facts, Fixed, Matched, Snapshot, Subject},
};
use serde_json::json;

/// Five grants for each role, ten users for each, and a route for every fifth, of 20 resources.
pub(crate) fn world(roles: i64, routes: i64, policies: Vec<PolicyRule>) -> Snapshot {
    let now = Timestamp::now();
    let permissions: Vec<PermissionRule> = (0..100_i64)
        .map(|id| PermissionRule {
            id: PermissionId(id + 1),
            name: format!("thing{}:verb{}", id % 20, id / 20).as_str().try_into().unwrap(),
            is_active: true,
        })
        .collect();
    let rules = Rules {
        roles: (1..=roles)
            .map(|id| RoleRule {
                is_system_role: false,
                id: RoleId(id),
                name: format!("role{id}").as_str().try_into().unwrap(),
                is_active: true,
                parents: Vec::new(),
            })
            .collect(),
        grants: (1..=roles)
            .flat_map(|role| (0..5).map(move |n| (role, (role * 7 + n * 20) % 100 + 1)))
            .map(|(role, permission)| GrantRule { role_id: RoleId(role), permission_id: PermissionId(permission) })
            .collect(),
        permissions,
        modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
        routes: (1..=routes).map(|id| route(id, now)).collect(),
        route_roles: BTreeMap::new(),
        policies,
        ..Rules::default()
    };
    let compiled = Compiled::new(rules, &Fixed::default(), None).unwrap();
    let users = (1..=roles * 10).map(|id| UserState {
        id: UserId(id),
        username: format!("user{id}").as_str().try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: (0..3).map(|n| Assignment { role_id: RoleId((id + n) % roles + 1), expires_at: None }).collect(),
    });
    Snapshot::new(Revisions { revision: 1, policy_revision: 1 }, compiled, users, [], now)
}

fn route(id: i64, now: Timestamp) -> Route {
    let operations = json!([{
        "methods": ["GET"], "access": "permission", "permission": format!("thing{}:verb0", id % 20), "owner": "path.id",
    }]);
    Route {
        id: RouteId(id),
        route: format!("/part{}/place{id}/{{id}}", id % 10).try_into().unwrap(),
        label: Label::try_from("Route").unwrap(),
        icon: None,
        is_active: true,
        is_sidebar: false,
        module_id: ModuleId(1),
        parent_id: None,
        priority: 0,
        created_at: now,
        updated_at: None,
        host: None,
        upstream: Some("u".try_into().unwrap()),
        strip_prefix: None,
        forward_authorization: true,
        rate_limit: None,
        max_body_bytes: None,
        headers: HeaderRules::default(),
        operations: serde_json::from_value(operations).unwrap(),
    }
}

/// The whole of what the data plane asks: route, caller, decision.
pub(crate) fn ask(snapshot: &Snapshot, path: &str, claims: &Arc<Claims>, now: Timestamp) -> bool {
    let matched = snapshot.routes().find("h", path).unwrap();
    let Entry::Route(route) = matched.entry else { panic!("{path} is mounted") };
    let caller = snapshot.caller(claims, now).unwrap();
    let facts = facts(path, &matched, now);
    let operation = route.operation("GET").unwrap();
    snapshot.decide(&Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts }).outcome.is_ok()
}

/// A request by GET for what user 2 owns.
pub(crate) fn facts<'a>(path: &'a str, matched: &'a Matched<'_>, now: Timestamp) -> Facts<'a> {
    Facts {
        method: "GET",
        path,
        host: "h",
        params: &matched.params,
        client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        now,
        client_certificate: None,
        owner: Some("2"),
    }
}

/// With it every decision needs a slice, which Cedar evaluates.
pub(crate) fn forbids_elsewhere() -> PolicyRule {
    let text = PolicyText {
        name: "elsewhere".try_into().unwrap(),
        source: "forbid (principal, action == Action::\"verb0\", resource) when { context.host == \"elsewhere\" };"
            .to_owned(),
    };
    PolicyRule { id: PolicyId(1), text }
}

/// The first user who may, or may not, be answered by `path`.
pub(crate) fn claims(snapshot: &Snapshot, users: i64, path: &str, allowed: bool, now: Timestamp) -> Arc<Claims> {
    let of = |id| {
        let state = snapshot.user(UserId(id)).unwrap();
        Arc::new(Claims { user_id: Some(state.id), ..Claims::none(&state.username) })
    };
    (1..=users).map(of).find(|claims| ask(snapshot, path, claims, now) == allowed).unwrap()
}
