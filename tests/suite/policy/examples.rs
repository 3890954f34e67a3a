//! The example policies do what their comments say.

use std::{net::IpAddr, sync::Arc};

use cedargate::{
    model::{
        CertificateFields, Claims, ClientCertificate, ModuleId, PermissionId, PolicyId, RoleId, Timestamp, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, Revisions, RoleRule, Rules,
            UserState,
        },
    },
    policy::{Ask, Compiled, Entry, Facts, Fixed, Snapshot, Subject},
};
use serde_json::{Value, json};

use super::world::gateway_route;

pub(super) const WRITER: i64 = 1;
const BREAK_GLASS: i64 = 2;

/// A writer (user 1) and somebody with nothing but the role that breaks glass (user 2), under one example.
pub(super) struct World {
    pub(super) snapshot: Snapshot,
    certificate: Option<ClientCertificate>,
}

impl World {
    pub(super) fn new(name: &str) -> Self {
        let path = format!("{}/policies/examples/{name}.cedar", env!("CARGO_MANIFEST_DIR"));
        let text = PolicyText { name: name.try_into().unwrap(), source: std::fs::read_to_string(&path).unwrap() };
        let role = |id, name: &str| RoleRule {
            is_system_role: false,
            id: RoleId(id),
            name: name.try_into().unwrap(),
            is_active: true,
            parents: Vec::new(),
        };
        let verbs = ["read", "update", "delete"];
        let permission = |(id, verb): (i64, &&str)| PermissionRule {
            id: PermissionId(id),
            name: format!("article:{verb}").as_str().try_into().unwrap(),
            is_active: true,
        };
        let operation = |method: &str, verb: &str| json!({ "methods": [method], "access": "permission", "permission": format!("article:{verb}") });
        let operations = json!([operation("GET", "read"), operation("PUT", "update"), operation("DELETE", "delete")]);
        let rules = Rules {
            roles: vec![role(WRITER, "writer"), role(BREAK_GLASS, "break-glass")],
            permissions: (1..).zip(&verbs).map(permission).collect(),
            grants: (1..=3).map(|id| GrantRule { role_id: RoleId(WRITER), permission_id: PermissionId(id) }).collect(),
            modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
            routes: vec![
                gateway_route(1, "/articles", operations.clone()),
                gateway_route(2, "/tenants/{tenant}", operations),
            ],
            policies: vec![PolicyRule { id: PolicyId(1), text: text.clone() }],
            ..Rules::default()
        };
        let now = Timestamp::now();
        let user = |id: i64| UserState {
            id: UserId(id),
            username: format!("user{id}").as_str().try_into().unwrap(),
            is_active: true,
            token_epoch: 0,
            roles: vec![Assignment { role_id: RoleId(id), expires_at: None }],
        };
        let compiled = Compiled::new(rules, &Fixed::default(), None).unwrap();
        let revisions = Revisions { revision: 1, policy_revision: 1 };
        let snapshot = Snapshot::new(revisions, compiled, [user(WRITER), user(BREAK_GLASS)], [], now);
        // What it speaks of is there.
        assert_eq!(snapshot.review(&text).unwrap().faults, []);
        Self { snapshot, certificate: None }
    }

    fn allows(&self, user: i64, (method, path): (&str, &str), ip: &str, at: &str, claims: Value) -> bool {
        let state = self.snapshot.user(UserId(user)).unwrap();
        let now = Timestamp::try_from(at).unwrap();
        let Value::Object(all) = claims else { panic!("claims are an object") };
        let claims = Claims { all: all.into(), ..Claims::none(&state.username) };
        let caller = self.snapshot.assume(state, Arc::new(claims), now);
        let matched = self.snapshot.routes().find("h", path).unwrap();
        let Entry::Route(route) = matched.entry else { panic!("{path} is mounted") };
        let facts = Facts {
            method,
            path,
            host: "h",
            params: &matched.params,
            client_ip: ip.parse::<IpAddr>().unwrap(),
            now,
            client_certificate: self.certificate.as_ref(),
            owner: None,
        };
        let operation = route.operation(method).unwrap();
        let ask = Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts };
        let decision = self.snapshot.decide(&ask);
        assert_eq!(decision.errors, [], "{method} {path}");
        decision.outcome.is_ok()
    }
}

pub(super) const NOON: &str = "2026-11-23T12:00:00Z";
const HOME: &str = "192.0.2.1";

#[test]
fn office_hours() {
    let world = World::new("office_hours");
    let put = |at| world.allows(WRITER, ("PUT", "/articles"), HOME, at, json!({}));
    assert!(put(NOON) && put("2026-11-23T07:00:00Z") && put("2026-11-23T16:59:59Z"));
    assert!(!put("2026-11-23T06:59:59Z") && !put("2026-11-23T17:00:00Z") && !put("2026-11-23T23:30:00Z"));
    assert!(world.allows(WRITER, ("GET", "/articles"), HOME, "2026-11-23T23:30:00Z", json!({})));
}

#[test]
fn office_network() {
    let world = World::new("office_network");
    let put = |ip| world.allows(WRITER, ("PUT", "/articles"), ip, NOON, json!({}));
    assert!(put("10.1.2.3") && put("2001:db8:1::7") && put("127.0.0.1") && put("::ffff:10.1.2.3"));
    assert!(!put(HOME) && !put("2001:db8:2::7") && !put("::ffff:192.0.2.1"));
    assert!(world.allows(WRITER, ("GET", "/articles"), HOME, NOON, json!({})));
}

#[test]
fn step_up() {
    let world = World::new("step_up");
    let delete = |claims| world.allows(WRITER, ("DELETE", "/articles"), HOME, NOON, claims);
    assert!(delete(json!({ "amr": ["pwd", "mfa"] })));
    assert!(!delete(json!({ "amr": ["pwd"] })) && !delete(json!({})) && !delete(json!({ "mfa": true })));
    assert!(world.allows(WRITER, ("PUT", "/articles"), HOME, NOON, json!({})));
}

#[test]
fn tenant_isolation() {
    let world = World::new("tenant_isolation");
    let get = |path, claims| world.allows(WRITER, ("GET", path), HOME, NOON, claims);
    assert!(get("/tenants/blue", json!({ "tenant": "blue" })));
    assert!(!get("/tenants/red", json!({ "tenant": "blue" })) && !get("/tenants/blue", json!({})));
    assert!(!get("/tenants/blue", json!({ "tenant": ["blue"] })));
    assert!(get("/articles", json!({})));
}

#[test]
fn break_glass() {
    let world = World::new("break_glass");
    let delete = |user, claims| world.allows(user, ("DELETE", "/articles"), HOME, NOON, claims);
    assert!(delete(BREAK_GLASS, json!({ "amr": ["mfa"] })));
    assert!(!delete(BREAK_GLASS, json!({ "amr": ["pwd"] })));
    assert!(delete(WRITER, json!({})));
}

#[test]
fn client_certificate() {
    let mut world = World::new("client_certificate");
    let mut deletes = |fields: Option<CertificateFields>| {
        world.certificate = fields.map(|fields| fields.try_into().unwrap());
        assert!(world.allows(WRITER, ("GET", "/articles"), HOME, NOON, json!({})));
        world.allows(WRITER, ("DELETE", "/articles"), HOME, NOON, json!({}))
    };
    let fingerprint = |text: &str| CertificateFields { fingerprint: text.to_owned(), ..CertificateFields::default() };
    let uri = |text: &str| CertificateFields { uris: vec![text.to_owned()], ..CertificateFields::default() };
    assert!(!deletes(None));
    assert!(deletes(Some(fingerprint("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"))));
    assert!(deletes(Some(uri("spiffe://example.com/press"))));
    assert!(!deletes(Some(fingerprint(&"0f".repeat(32)))));
    assert!(!deletes(Some(uri("spiffe://example.com/press/other"))));
}

/// No example is left untried.
#[test]
fn every_example_is_looked_at() {
    let folder = std::fs::read_dir(format!("{}/policies/examples", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut names: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let tried = ["break_glass", "client_certificate", "office_hours", "office_network", "step_up", "tenant_isolation"];
    assert_eq!(names, tried.map(|name| format!("{name}.cedar")));
}
