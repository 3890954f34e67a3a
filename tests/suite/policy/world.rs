//! Random rules, users and requests, small enough that everything meets everything.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use cedargate::{
    model::{
        CertificateFields, ClientCertificate, Label, ModuleId, PermissionId, PolicyId, RoleId, Route, RouteId,
        Timestamp, UpstreamName, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, RoleRule, Rules, UserState,
        },
    },
    policy::{CompileError, Compiled, Fixed, Snapshot},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::texts;

const PERMISSIONS: [&str; 10] = [
    "article:read",
    "article:read:own",
    "article:update",
    "article:update:own",
    "order:read",
    "order:read:own",
    "order:approve",
    "order:ship:now",
    "article:delete:own",
    "plain",
];
const PATHS: [&str; 6] = ["/a/{id}", "/a/1", "/a/{id}/b", "/o/{*rest}", "/o/{id}", "/"];
const ASKED: [&str; 9] = ["/a/1", "/a/2", "/a/007", "/a/1/b", "/a/u1/b", "/o/1", "/o/2/x", "/o/3", "/"];
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS"];

pub(super) const NOW: i64 = 1_790_000_000;

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) users: Vec<UserState>,
    pub(super) asked: Vec<Asked>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) user: Option<usize>,
    pub(super) method: &'static str,
    pub(super) host: &'static str,
    pub(super) path: &'static str,
    pub(super) query: Option<&'static str>,
    pub(super) client_ip: IpAddr,
    pub(super) seconds: i64,
    pub(super) claims: Value,
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// Asks for this permission and not for the path.
    pub(super) permission: Option<&'static str>,
}

impl Asked {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from(chrono::DateTime::from_timestamp(NOW + self.seconds, 123_456_000).unwrap())
    }
}

impl World {
    pub(super) fn any(asked: usize) -> impl Strategy<Value = Self> {
        let rules = (
            vec((prop::bool::weighted(0.85), vec(any::<prop::sample::Index>(), 0..3)), 1..6),
            vec((select(&PERMISSIONS[..]), prop::bool::weighted(0.9)), 1..8),
            vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..14),
            vec(prop::bool::weighted(0.85), 2),
            vec(route(), 1..7),
            vec(texts::policy(), 0..9),
        );
        let users = vec((prop::bool::weighted(0.85), vec((any::<prop::sample::Index>(), -1..3_i64), 0..3)), 1..4);
        // Before, at and after the ends of assignments.
        let moment = select(&[-1500_i64, 1000, 1500][..]);
        (rules, users, any::<u64>(), moment).prop_map(move |(rules, users, seed, moment)| {
            let (roles, permissions, grants, modules, routes, policies) = rules;
            let rules = Rules {
                roles: roles.into_iter().enumerate().map(|(index, role)| self::role(index, role)).collect(),
                ..Rules::default()
            };
            let users = users.into_iter().enumerate().map(|(index, user)| self::user(index, user, &rules)).collect();
            let mut dice = Dice(seed);
            let asked = (0..asked).map(|_| request(&mut dice, moment)).collect();
            let mut world = Self { rules, users, asked };
            world.fill(permissions, &grants, &modules, routes, policies);
            world
        })
    }

    fn fill(
        &mut self,
        permissions: Vec<(&str, bool)>,
        grants: &[(prop::sample::Index, prop::sample::Index)],
        modules: &[bool],
        routes: Vec<RouteSpec>,
        policies: Vec<String>,
    ) {
        let rules = &mut self.rules;
        let permissions: BTreeMap<_, _> = permissions.into_iter().collect();
        rules.permissions = (10..)
            .zip(permissions)
            .map(|(id, (name, is_active))| PermissionRule {
                id: PermissionId(id),
                name: name.try_into().unwrap(),
                is_active,
            })
            .collect();
        let grants = grants.iter().map(|(role, permission)| GrantRule {
            role_id: rules.roles[role.index(rules.roles.len())].id,
            permission_id: rules.permissions[permission.index(rules.permissions.len())].id,
        });
        rules.grants = grants.collect();
        rules.grants.sort_by_key(|grant| (grant.role_id, grant.permission_id));
        rules.grants.dedup();
        rules.modules = (1..)
            .zip(modules)
            .map(|(id, is_active)| ModuleRule {
                id: ModuleId(id),
                name: format!("m{id}").as_str().try_into().unwrap(),
                is_active: *is_active,
            })
            .collect();
        let mut places = Vec::new();
        for (id, spec) in (1..).zip(routes) {
            // Routes that tie would be refused.
            let place = (spec.path, spec.host);
            if !places.contains(&place) {
                places.push(place);
                let roles = spec.roles.iter().map(|role| rules.roles[role.index(rules.roles.len())].id);
                let mut roles: Vec<RoleId> = roles.collect();
                roles.sort();
                roles.dedup();
                rules.route_roles.insert(RouteId(id), roles);
                rules.routes.push(spec.row(id));
            }
        }
        let named = (0..).zip(policies).map(|(number, source)| PolicyRule {
            id: PolicyId(number),
            text: PolicyText { name: format!("p{number}").as_str().try_into().unwrap(), source },
        });
        rules.policies = named.collect();
    }

    /// Compiles; hand-written policies that Cedar's strict validation refuses are left out and counted.
    pub(super) fn compile(&mut self) -> (Snapshot, usize) {
        let mut refused = 0;
        loop {
            match Compiled::new(self.rules.clone(), &Fixed::default(), None) {
                Ok(compiled) => {
                    let now = Timestamp::from(chrono::DateTime::from_timestamp(NOW, 0).unwrap());
                    let revisions = cedargate::model::rules::Revisions { revision: 7, policy_revision: 3 };
                    return (Snapshot::new(revisions, compiled, self.users.clone(), [], now), refused);
                }
                Err(CompileError::Policy(fault)) => {
                    let before = self.rules.policies.len();
                    self.rules.policies.retain(|rule| rule.text.name.as_str() != fault.policy);
                    assert_eq!(self.rules.policies.len() + 1, before, "{fault}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// A gateway route for any host, in module 1.
pub(super) fn gateway_route(id: i64, path: &'static str, operations: Value) -> Route {
    let spec = RouteSpec { path, host: None, module: 1, is_active: true, operations: Vec::new(), roles: Vec::new() };
    Route { operations: serde_json::from_value(operations).unwrap(), ..spec.row(id) }
}

fn role(index: usize, (is_active, parents): (bool, Vec<prop::sample::Index>)) -> RoleRule {
    // Parents come earlier, so there is no cycle.
    let mut parents: Vec<RoleId> = match index {
        0 => Vec::new(),
        _ => parents.into_iter().map(|parent| role_id(parent.index(index))).collect(),
    };
    parents.sort();
    parents.dedup();
    let name = format!("r{index}").as_str().try_into().unwrap();
    RoleRule { id: role_id(index), name, is_active, is_system_role: false, parents }
}

fn role_id(index: usize) -> RoleId {
    RoleId(i64::try_from(index).unwrap() + 1)
}

fn user(index: usize, (is_active, roles): (bool, Vec<(prop::sample::Index, i64)>), rules: &Rules) -> UserState {
    let id = i64::try_from(index).unwrap() + 1;
    let mut assigned: BTreeMap<RoleId, Option<Timestamp>> = BTreeMap::new();
    for (role, end) in roles {
        let end = (end != 0).then(|| chrono::DateTime::from_timestamp(NOW + end * 1000, 0).unwrap().into());
        assigned.insert(rules.roles[role.index(rules.roles.len())].id, end);
    }
    let roles = assigned.into_iter().map(|(role_id, expires_at)| Assignment { role_id, expires_at }).collect();
    UserState {
        id: UserId(id),
        username: format!("name{id}").as_str().try_into().unwrap(),
        is_active,
        token_epoch: 0,
        roles,
    }
}

#[derive(Clone, Debug)]
struct RouteSpec {
    path: &'static str,
    host: Option<&'static str>,
    module: i64,
    is_active: bool,
    operations: Vec<Value>,
    roles: Vec<prop::sample::Index>,
}

impl RouteSpec {
    fn row(self, id: i64) -> Route {
        let methods = [json!(["GET"]), json!(["POST", "DELETE"]), json!(["*"])];
        let operations: Vec<Value> = (self.operations.into_iter().zip(methods))
            .map(|(mut operation, methods)| {
                operation["methods"] = methods;
                let needs = |name: &str| self.path.contains(&format!("{{{name}}}"));
                if operation["owner"] == "path.id" && !needs("id") {
                    operation["owner"] = "query.owner".into();
                }
                operation
            })
            .collect();
        Route {
            id: RouteId(id),
            route: self.path.to_owned().try_into().unwrap(),
            label: Label::try_from("Route").unwrap(),
            icon: None,
            is_active: self.is_active,
            is_sidebar: false,
            module_id: ModuleId(self.module),
            parent_id: None,
            priority: 0,
            created_at: chrono::DateTime::from_timestamp(NOW, 0).unwrap().into(),
            updated_at: None,
            host: self.host.map(|host| host.try_into().unwrap()),
            upstream: Some(UpstreamName::try_from("u").unwrap()),
            strip_prefix: None,
            forward_authorization: true,
            rate_limit: None,
            max_body_bytes: None,
            headers: cedargate::model::HeaderRules::default(),
            operations: serde_json::from_value(operations.into()).unwrap(),
        }
    }
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let permission = (
        select(&["article:read", "article:update", "order:read", "order:ship:now"][..]),
        select(&["path.id", "query.owner", "claim.for", ""][..]),
    )
        .prop_map(|(permission, owner)| match owner {
            "" => json!({ "access": "permission", "permission": permission }),
            owner => json!({ "access": "permission", "permission": permission, "owner": owner }),
        });
    let plain = select(&["public", "authenticated", "roles"][..]).prop_map(|access| json!({ "access": access }));
    let operation = prop_oneof![3 => permission, 2 => plain];
    let host = option::weighted(0.15, Just("h.example"));
    let roles = vec(any::<prop::sample::Index>(), 0..3);
    (select(&PATHS[..]), host, 1..3_i64, prop::bool::weighted(0.95), vec(operation, 1..4), roles).prop_map(
        |(path, host, module, is_active, operations, roles)| RouteSpec {
            path,
            host,
            module,
            is_active,
            operations,
            roles,
        },
    )
}

/// Chooses; a strategy for each request would take longer than all decisions together.
struct Dice(u64);

impl Dice {
    /// `SplitMix64`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % sides
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

fn certificate(dice: &mut Dice) -> ClientCertificate {
    let fields = CertificateFields {
        subject: dice.pick(&["CN=a,O=x", "CN=b,O=x", ""]).to_owned(),
        issuer: dice.pick(&["CN=ca,O=x", "O=y"]).to_owned(),
        serial: dice.pick(&["01", "ff"]).to_owned(),
        fingerprint: dice.pick(&["01", "ff"]).repeat(32),
        dns_names: dice.pick(&[vec![], vec!["a.example".to_owned()]]),
        uris: dice.pick(&[vec![], vec!["spiffe://x/a".to_owned(), "spiffe://x/b".to_owned()]]),
    };
    fields.try_into().unwrap()
}

fn request(dice: &mut Dice, seconds: i64) -> Asked {
    let claims = [
        ("department", vec![json!("sales"), json!(["hr", "sales"]), json!(7), json!([]), json!(null), json!({})]),
        ("scope", vec![json!("read:all"), json!("read:all write:all"), json!("")]),
        ("amr", vec![json!(["pwd", "mfa"]), json!("mfa"), json!(["pwd"])]),
        ("iss", vec![json!("https://i.example"), json!("https://j.example")]),
        ("tenant", vec![json!("t1"), json!("t2")]),
        ("for", vec![json!("1"), json!(2), json!("99")]),
    ];
    let present = claims.into_iter().filter_map(|(name, values)| {
        let present = dice.roll(2) == 0;
        present.then(|| (name.to_owned(), dice.pick(&values)))
    });
    let claims = Value::Object(present.collect());
    let addresses = ["10.1.2.3", "192.168.0.9", "::1", "::ffff:10.1.2.3", "2001:db8::1"];
    Asked {
        user: (dice.roll(8) > 0).then(|| dice.roll(3)),
        method: dice.pick(&METHODS),
        host: dice.pick(&["h.example", "other.example"]),
        path: dice.pick(&ASKED),
        query: dice.pick(&[None, Some("owner=1"), Some("owner=2&x=1"), Some("owner=007"), Some("owner=a%20b")]),
        client_ip: dice.pick(&addresses).parse().unwrap(),
        seconds,
        claims,
        certificate: (dice.roll(2) == 0).then(|| Arc::new(certificate(dice))),
        permission: (dice.roll(10) == 0).then(|| dice.pick(&PERMISSIONS)),
    }
}
