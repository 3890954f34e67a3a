//! A decision without conditions allocates nothing, nor does finding out whose request it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use cedargate::{
    http::{Connection, TrustedProxies},
    model::{
        Claims, ForwardedHeader, Label, ModuleId, PermissionId, Reason, RoleId, Route, RouteId, Timestamp, UserId,
        rules::{Assignment, GrantRule, ModuleRule, PermissionRule, Revisions, RoleRule, Rules, UserState},
    },
    policy::{Ask, Compiled, Entry, Facts, Fixed, Snapshot, SnapshotHandle, Subject},
};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

/// More roles than most users have.
const ROLES: i64 = 12;

fn snapshot(now: Timestamp) -> Snapshot {
    let role = |id: i64| RoleRule {
        is_system_role: false,
        id: RoleId(id),
        name: format!("role{id}").as_str().try_into().unwrap(),
        is_active: true,
        parents: Vec::new(),
    };
    let permission = |(id, name): (i64, &str)| PermissionRule {
        id: PermissionId(id),
        name: name.try_into().unwrap(),
        is_active: true,
    };
    let rules = Rules {
        roles: (1..=ROLES).map(role).collect(),
        permissions: (1..).zip(["article:read", "article:update"]).map(permission).collect(),
        // One role permits; the others have nothing to do with it.
        grants: vec![GrantRule { role_id: RoleId(3), permission_id: PermissionId(1) }],
        modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
        routes: vec![route(now)],
        route_roles: [(RouteId(1), vec![RoleId(5)])].into(),
        ..Rules::default()
    };
    let compiled = Compiled::new(rules, &Fixed::default(), None).unwrap();
    let user = UserState {
        id: UserId(7),
        username: "alice".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: (1..=ROLES).map(|id| Assignment { role_id: RoleId(id), expires_at: None }).collect(),
    };
    Snapshot::new(Revisions { revision: 1, policy_revision: 1 }, compiled, [user], [], now)
}

fn route(now: Timestamp) -> Route {
    let operations = json!([
        { "methods": ["GET"], "access": "permission", "permission": "article:read" },
        { "methods": ["PUT"], "access": "permission", "permission": "article:update" },
        { "methods": ["POST"], "access": "roles" },
        { "methods": ["PATCH"], "access": "authenticated" },
        { "methods": ["DELETE"], "access": "public" },
    ]);
    Route {
        id: RouteId(1),
        route: "/articles/{id}/{*rest}".to_owned().try_into().unwrap(),
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
        headers: cedargate::model::HeaderRules::default(),
        operations: serde_json::from_value(operations).unwrap(),
    }
}

/// Route, caller and decision, as the data plane asks for them.
fn ask(snapshot: &Snapshot, method: &str, claims: &Arc<Claims>, now: Timestamp) -> Result<(), Reason> {
    let path = "/articles/17/of/many";
    let matched = snapshot.routes().find("h", path).unwrap();
    let Entry::Route(route) = matched.entry else { panic!("{path} is mounted") };
    let operation = route.operation(method).unwrap();
    let caller = snapshot.caller(claims, now).unwrap();
    let facts = Facts {
        method,
        path,
        host: "h",
        params: &matched.params,
        client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        now,
        client_certificate: None,
        owner: None,
    };
    let ask = Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts };
    snapshot.decide(&ask).outcome.map(drop)
}

#[test]
fn a_decision_without_conditions_allocates_nothing() {
    let now = Timestamp::now();
    // In force, as the data plane has it.
    let snapshot = SnapshotHandle::new(snapshot(now)).load();
    let claims = Arc::new(Claims { user_id: Some(UserId(7)), ..Claims::none(&"alice".try_into().unwrap()) });
    for (method, expected) in [
        ("GET", Ok(())),
        ("HEAD", Ok(())),
        ("PUT", Err(Reason::NoGrant)),
        ("POST", Ok(())),
        ("PATCH", Ok(())),
        ("DELETE", Ok(())),
    ] {
        // The first request with a token finds out whose it is, and what their roles amount to.
        assert_eq!(ask(&snapshot, method, &claims, now), expected, "{method}");
        let mut outcome = Err(Reason::Internal);
        let counted = allocation_counter::measure(|| outcome = ask(&snapshot, method, &claims, now));
        assert_eq!(outcome, expected);
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "{method}: {counted:?}");
    }
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(counted.count_total, 1, "nothing is counted at all");
}

#[test]
fn finding_the_client_allocates_nothing() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9, 192.0.2.1, 10.0.0.7"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "edge-1"),
        ("forwarded", "for=192.0.2.1;proto=https, for=\"10.0.0.7:80\""),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let trusting = |header| TrustedProxies::new(["10.0.0.0/8".parse().unwrap()], header);
    for (proxies, expected) in [
        (TrustedProxies::default(), "10.0.0.1"),
        (trusting(ForwardedHeader::XForwardedFor), "192.0.2.1"),
        (trusting(ForwardedHeader::Forwarded), "192.0.2.1"),
    ] {
        let connection = Connection { peer: Some("10.0.0.1".parse().unwrap()), tls: false };
        let mut remote = None;
        let counted = allocation_counter::measure(|| remote = Some(proxies.remote(connection, &headers)));
        assert_eq!(remote.unwrap().address, Some(expected.parse().unwrap()));
        assert_eq!(counted.count_total, 0, "{proxies:?}: {counted:?}");
    }
}
