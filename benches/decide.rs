//! What one request costs as rules and users grow: nothing here may follow the size of the whole.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use cedargate::{
    jwt::{Kind, Minter, NewToken, Own, Verifier},
    model::{
        Claims, Label, ModuleId, PermissionId, PolicyId, RoleId, Route, RouteId, Secret, Timestamp, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, Revisions, RoleRule, Rules,
            UserState,
        },
    },
    policy::{Ask, Compiled, Entry, Facts, Fixed, Snapshot, Subject},
};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;

/// Five grants for each role, ten users for each, and a route for every fifth, of 20 resources.
fn world(roles: i64, routes: i64, policies: Vec<PolicyRule>) -> Snapshot {
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
        headers: cedargate::model::HeaderRules::default(),
        operations: serde_json::from_value(operations).unwrap(),
    }
}

/// The whole of what the data plane asks: route, caller, decision.
fn ask(snapshot: &Snapshot, path: &str, claims: &Arc<Claims>, now: Timestamp) -> bool {
    let matched = snapshot.routes().find("h", path).unwrap();
    let Entry::Route(route) = matched.entry else { panic!("{path} is mounted") };
    let caller = snapshot.caller(claims, now).unwrap();
    let facts = Facts {
        method: "GET",
        path,
        host: "h",
        params: &matched.params,
        client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        now,
        client_certificate: None,
        owner: Some("2"),
    };
    let operation = route.operation("GET").unwrap();
    snapshot.decide(&Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts }).outcome.is_ok()
}

fn decisions(criterion: &mut Criterion) {
    let now = Timestamp::now();
    // With it every decision needs a slice, which Cedar evaluates.
    let text = PolicyText {
        name: "elsewhere".try_into().expect("a name"),
        source: "forbid (principal, action == Action::\"verb0\", resource) when { context.host == \"elsewhere\" };"
            .to_owned(),
    };
    let forbid = PolicyRule { id: PolicyId(1), text };
    for (group, policies) in [("decide", Vec::new()), ("slice", vec![forbid])] {
        decide(criterion, group, &policies, now);
    }
}

fn decide(criterion: &mut Criterion, group: &str, policies: &[PolicyRule], now: Timestamp) {
    let mut group = criterion.benchmark_group(group);
    for roles in [10, 1_000, 10_000] {
        let snapshot = world(roles, roles / 5, policies.to_vec());
        let path = "/part1/place1/2";
        // Users of whom one holds the permission and the other does not.
        let claims = |allowed: bool| {
            let of = |id| {
                let state = snapshot.user(UserId(id)).unwrap();
                Arc::new(Claims { user_id: Some(state.id), ..Claims::none(&state.username) })
            };
            let mut all = (1..=roles * 10).map(of);
            all.find(|claims| ask(&snapshot, path, claims, now) == allowed)
        };
        for (name, claims) in [("allow", claims(true)), ("deny", claims(false))] {
            let claims = claims.unwrap();
            let id = format!("{name}/{roles} roles, {} users", roles * 10);
            group.bench_function(id, |bencher| bencher.iter(|| ask(&snapshot, black_box(path), &claims, now)));
        }
    }
}

fn finds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    for routes in [10, 10_000] {
        let snapshot = world(10, routes, Vec::new());
        let path = format!("/part{}/place{routes}/77", routes % 10);
        group.bench_function(format!("{routes} routes"), |bencher| {
            bencher.iter(|| snapshot.routes().find("h", black_box(&path)).is_some());
        });
    }
}

fn verifies(criterion: &mut Criterion) {
    let secret = Secret::new("benchmark-benchmark-benchmark-benchmark".to_owned());
    let now = Timestamp::now();
    let minter = Minter::new(
        &Verifier::new(Own::secret(&secret), Duration::ZERO, 1),
        Duration::from_mins(15),
        Duration::from_hours(24),
    );
    let name = "alice".try_into().unwrap();
    let token = NewToken {
        kind: Kind::Access,
        user: (UserId(1), &name),
        epoch: 0,
        session: "s1",
        id: "t1",
        issued_at: now,
        expires_at: now.plus(Duration::from_mins(15)),
    };
    let token = minter.mint(&token).unwrap();
    let mut group = criterion.benchmark_group("verify");
    for (name, entries) in [("cached", 1_000), ("uncached", 0)] {
        let verifier = Verifier::new(Own::secret(&secret), Duration::ZERO, entries);
        verifier.verify(token.expose(), now).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| verifier.verify(black_box(token.expose()), now).is_ok()));
    }
}

criterion_group!(benches, decisions, finds, verifies);
criterion_main!(benches);
