//! What a decision costs among a million users, and whether that is what it costs among a few: a table in Markdown.
//!
//! Each decision is timed by itself, of users and routes drawn at random; the time that reading the clock takes is taken
//! off. First the same request comes again and again; then a thousand different ones do, as those of the users who are there
//! at the time; then no two are the same, so that most of the time goes by waiting for memory.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    hint::black_box,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use cedargate::{
    model::{
        Claims, Label, ModuleId, PermissionId, PolicyId, RoleId, Route, RouteId, Timestamp, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, Revisions, RoleRule, Rules,
            UserState,
        },
    },
    policy::{Ask, Caller, Compiled, Entry, Facts, Fixed, Snapshot, Subject},
};
use serde_json::json;

/// Decisions of each kind that are timed.
const SAMPLES: usize = 200_000;
/// Different requests among them, where they come again.
const RECURRING: usize = 1_000;

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Size {
    users: i64,
    roles: i64,
    grants_per_role: i64,
    permissions: i64,
    routes: i64,
}

const LARGE: Size = Size { users: 1_000_000, roles: 10_000, grants_per_role: 10, permissions: 5_000, routes: 10_000 };
const SMALL: Size = Size { users: 10, roles: 10, grants_per_role: 5, permissions: 10, routes: 10 };

/// The role that everybody has, and what it is granted.
const EVERYBODY: RoleId = RoleId(1);

const OWNER: &str = "permit (principal, action == Action::\"verb1\", resource is Endpoint) \
                     when { context has owner && context.owner == principal };";
const ADDRESS_AND_TIME: &str = "forbid (principal, action == Action::\"verb2\", resource is Endpoint) \
    unless { context.client_ip.isInRange(ip(\"10.0.0.0/8\")) && context.now > datetime(\"2020-01-01\") };";

impl Size {
    fn snapshot(self) -> Snapshot {
        let now = Timestamp::now();
        let permission = |id: i64| PermissionRule {
            id: PermissionId(id),
            name: format!("thing{}:verb{}", (id - 1) / 5, (id - 1) % 5).as_str().try_into().unwrap(),
            is_active: true,
        };
        let role = |id: i64| RoleRule {
            is_system_role: false,
            id: RoleId(id),
            name: format!("role{id}").as_str().try_into().unwrap(),
            is_active: true,
            parents: if id % 10 == 0 { vec![RoleId(id - 1)] } else { Vec::new() },
        };
        let grants = (1..=self.roles).flat_map(|role| {
            (0..self.grants_per_role).map(move |n| GrantRule {
                role_id: RoleId(role),
                permission_id: PermissionId((role * 7 + n * 101) % self.permissions + 1),
            })
        });
        let policy = |id: i64, source: &str| PolicyRule {
            id: PolicyId(id),
            text: PolicyText { name: format!("p{id}").as_str().try_into().unwrap(), source: source.to_owned() },
        };
        // What everybody is granted has the verbs 0 and 2, on the first thing.
        let everybody = [1, 3].map(|id| GrantRule { role_id: EVERYBODY, permission_id: PermissionId(id) });
        let mut grants: Vec<GrantRule> = grants.chain(everybody).collect();
        grants.sort_by_key(|grant| (grant.role_id, grant.permission_id));
        grants.dedup();
        let rules = Rules {
            roles: (1..=self.roles).map(role).collect(),
            permissions: (1..=self.permissions).map(permission).collect(),
            grants,
            modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
            routes: (1..=self.routes).map(|id| route(id, now)).collect(),
            policies: vec![policy(1, OWNER), policy(2, ADDRESS_AND_TIME)],
            ..Rules::default()
        };
        let compiled = Compiled::new(rules, &Fixed::default(), None).unwrap();
        let assigned = |role_id| Assignment { role_id, expires_at: None };
        let users = (1..=self.users).map(|id| UserState {
            id: UserId(id),
            username: format!("user{id}").as_str().try_into().unwrap(),
            is_active: true,
            token_epoch: 0,
            roles: vec![assigned(EVERYBODY), assigned(RoleId(id % (self.roles - 1) + 2))],
        });
        Snapshot::new(Revisions { revision: 1, policy_revision: 1 }, compiled, users, [], now)
    }
}

/// Three operations: decided without conditions, by the owner policy, and by the policy on address and time.
fn route(id: i64, now: Timestamp) -> Route {
    let operation = |method: &str, verb: &str| json!({ "methods": [method], "access": "permission", "permission": format!("thing0:{verb}"), "owner": "path.id" });
    let operations = json!([operation("GET", "verb0"), operation("PUT", "verb1"), operation("DELETE", "verb2")]);
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

/// A request that has passed everything before the engine.
struct Asked {
    claims: Arc<Claims>,
    path: String,
    owner: String,
}

struct Bench<'s> {
    snapshot: &'s Snapshot,
    asked: Vec<Asked>,
    now: Timestamp,
    client: IpAddr,
    /// What reading the clock twice takes.
    clock: Duration,
}

impl<'s> Bench<'s> {
    fn new(snapshot: &'s Snapshot, size: Size, different: usize) -> Self {
        // The same at every run, and far from each other: a linear congruential generator (Knuth, MMIX).
        let mut state = 42_u64;
        let mut draw = |below: i64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((state >> 33) % below.unsigned_abs()).unwrap() + 1
        };
        let asked = (0..different).map(|_| {
            let (user, route) = (draw(size.users), draw(size.routes));
            let name = format!("user{user}").as_str().try_into().unwrap();
            Asked {
                claims: Arc::new(Claims { user_id: Some(UserId(user)), ..Claims::none(&name) }),
                path: format!("/part{}/place{route}/{user}", route % 10),
                owner: user.to_string(),
            }
        });
        let mut empty: Vec<Duration> = (0..SAMPLES).map(|_| Instant::now().elapsed()).collect();
        empty.sort_unstable();
        let (asked, clock) = (asked.collect(), empty[SAMPLES / 2]);
        Self { snapshot, asked, now: Timestamp::now(), client: "10.1.2.3".parse().unwrap(), clock }
    }

    /// Route, caller and decision.
    fn whole(&self, asked: &Asked, method: &str) -> bool {
        let caller = self.snapshot.caller(&asked.claims, self.now).unwrap();
        self.routed(asked, method, &caller)
    }

    fn routed(&self, asked: &Asked, method: &str, caller: &Caller) -> bool {
        let matched = self.snapshot.routes().find("h", &asked.path).unwrap();
        let Entry::Route(route) = matched.entry else { panic!("{} is mounted", asked.path) };
        let facts = Facts {
            method,
            path: &asked.path,
            host: "h",
            params: &matched.params,
            client_ip: self.client,
            now: self.now,
            client_certificate: None,
            owner: Some(&asked.owner),
        };
        let operation = route.operation(method).unwrap();
        self.snapshot
            .decide(&Ask { caller: Some(caller), subject: Subject::Operation(operation), facts })
            .outcome
            .is_ok()
    }

    fn times(&self, samples: usize, mut once: impl FnMut(&Asked) -> Duration) -> (Duration, Duration) {
        // The first round finds out what sets of roles amount to, which callers share.
        let _warm: Duration = self.asked.iter().map(&mut once).sum();
        let asked = self.asked.iter().cycle().take(samples);
        let mut times: Vec<Duration> = asked.map(|asked| once(asked).saturating_sub(self.clock)).collect();
        times.sort_unstable();
        (times[samples / 2], times[samples * 99 / 100])
    }

    fn time_whole(&self, samples: usize, method: &str) -> (Duration, Duration) {
        self.times(samples, |asked| {
            let started = Instant::now();
            let allowed = self.whole(black_box(asked), method);
            let took = started.elapsed();
            assert!(allowed, "{} {}", method, asked.path);
            took
        })
    }

    /// With route and caller at hand.
    fn time_alone(&self) -> (Duration, Duration) {
        self.times(SAMPLES, |asked| {
            let caller = self.snapshot.caller(&asked.claims, self.now).unwrap();
            let matched = self.snapshot.routes().find("h", &asked.path).unwrap();
            let Entry::Route(route) = matched.entry else { panic!("{} is mounted", asked.path) };
            let facts = Facts {
                method: "GET",
                path: &asked.path,
                host: "h",
                params: &matched.params,
                client_ip: self.client,
                now: self.now,
                client_certificate: None,
                owner: Some(&asked.owner),
            };
            let ask =
                Ask { caller: Some(&caller), subject: Subject::Operation(route.operation("GET").unwrap()), facts };
            let started = Instant::now();
            let decision = self.snapshot.decide(black_box(&ask));
            let took = started.elapsed();
            assert!(decision.outcome.is_ok());
            took
        })
    }
}

fn microseconds(time: Duration) -> String {
    format!("{:.2} µs", time.as_secs_f64() * 1e6)
}

fn main() {
    // `cargo test` runs benchmarks too, to see that they work.
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let sizes: &[(&str, Size)] = if is_test { &[("small", SMALL)] } else { &[("large", LARGE), ("small", SMALL)] };
    println!("| | size | median | p99 |\n|---|---|---|---|");
    for (name, size) in sizes {
        let started = Instant::now();
        let snapshot = size.snapshot();
        let compiled = started.elapsed();
        println!("| snapshot made from rules and users at hand | {name} | {:.2} s | |", compiled.as_secs_f64());
        for (kind, different) in [("the same", 1), ("recurring", RECURRING), ("all different", SAMPLES)] {
            let bench = Bench::new(&snapshot, *size, different);
            let few = SAMPLES / 10;
            let rows = [
                ("unconditional, routing included", bench.time_whole(SAMPLES, "GET")),
                ("unconditional, decision alone", bench.time_alone()),
                ("one conditional policy (owner)", bench.time_whole(few, "PUT")),
                ("one conditional policy (address and time)", bench.time_whole(few, "DELETE")),
            ];
            for (row, (median, p99)) in rows {
                println!("| {row} | {name}, {kind} | {} | {} |", microseconds(median), microseconds(p99));
            }
        }
    }
}
