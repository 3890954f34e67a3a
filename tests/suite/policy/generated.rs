//! The Cedar that rules become, to be read by people.

use std::{fmt::Write as _, sync::Arc};

use cedargate::{
    control::{Control, seed, seed_demo},
    model::{
        Claims, ModuleId, PermissionId, PolicyId, RoleId, Timestamp, UserId,
        rules::{
            Assignment, GrantRule, ModuleRule, PermissionRule, PolicyRule, PolicyText, Revisions, RoleRule, Rules,
            UserState,
        },
    },
    policy::{self, Ask, Compiled, Export, Facts, Fixed, Snapshot, Subject},
    telemetry::Metrics,
};
use serde_json::json;

use super::world::gateway_route;
use crate::support::{Backend, migrated};

fn export() -> Export {
    let role = |id, name: &str, parents: &[i64]| RoleRule {
        is_system_role: false,
        id: RoleId(id),
        name: name.try_into().unwrap(),
        is_active: true,
        parents: parents.iter().copied().map(RoleId).collect(),
    };
    let permission =
        |id, name: &str| PermissionRule { id: PermissionId(id), name: name.try_into().unwrap(), is_active: true };
    let grant = |role, permission| GrantRule { role_id: RoleId(role), permission_id: PermissionId(permission) };
    let operations = json!([
        { "methods": ["GET"], "access": "public" },
        { "methods": ["POST"], "access": "authenticated" },
        { "methods": ["PUT"], "access": "roles" },
        { "methods": ["DELETE"], "access": "permission", "permission": "article:publish", "owner": "path.id" },
    ]);
    let source = "permit (principal is User, action == Action::\"publish\", resource) when { context.mfa };";
    let rules = Rules {
        roles: vec![role(1, "viewer", &[]), role(2, "chief \"editor\"", &[1])],
        permissions: vec![permission(7, "article:read"), permission(8, "article:publish:own"), permission(9, "plain")],
        grants: vec![grant(1, 7), grant(2, 8), grant(2, 9)],
        modules: vec![ModuleRule { id: ModuleId(1), name: "news".try_into().unwrap(), is_active: true }],
        routes: vec![gateway_route(17, "/a/{id}", operations)],
        route_roles: [(cedargate::model::RouteId(17), vec![RoleId(2)])].into(),
        policies: vec![PolicyRule {
            id: PolicyId(1),
            text: PolicyText { name: "second-factor".try_into().unwrap(), source: source.to_owned() },
        }],
        ..Rules::default()
    };
    let now = Timestamp::now();
    let compiled = Compiled::new(rules, &Fixed::default(), None).unwrap();
    let alice = UserState {
        id: UserId(42),
        username: "alice".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: vec![Assignment { role_id: RoleId(2), expires_at: None }],
    };
    policy::export(&Snapshot::new(Revisions::default(), compiled, [alice], [], now), now).unwrap()
}

#[test]
fn policies() {
    insta::assert_snapshot!(export().policies, @r#"
    @id("grant:1:7")
    permit(
      principal in Role::"viewer",
      action == Action::"read",
      resource in Resource::"article"
    );

    @id("grant:2:8")
    permit(
      principal in Role::"chief \"editor\"",
      action == Action::"publish",
      resource in Resource::"article"
    ) when {
      (context has owner) && (context.owner == principal)
    };

    @id("policy:inactive_users")
    forbid(
      principal in Status::"inactive",
      action,
      resource
    );

    @id("policy:second-factor")
    permit(
      principal is User,
      action == Action::"publish",
      resource
    ) when {
      context.mfa
    };

    @id("route:17:GET")
    permit(
      principal,
      action == Action::"access",
      resource == Endpoint::"17:GET"
    );

    @id("route:17:POST")
    permit(
      principal is User,
      action == Action::"access",
      resource == Endpoint::"17:POST"
    );

    @id("route:17:PUT.2")
    permit(
      principal in Role::"chief \"editor\"",
      action == Action::"access",
      resource == Endpoint::"17:PUT"
    );
    "#);
}

#[test]
fn actions() {
    let schema = export().schema;
    let base = include_str!("../../../policies/base.cedarschema");
    insta::assert_snapshot!(schema.strip_prefix(base).unwrap().trim(), @r#"
    action "access" appliesTo {
      principal: [User, Anonymous],
      resource: [Endpoint, Resource],
      context: Context
    };

    action "create" appliesTo {
      principal: [User],
      resource: [Endpoint, Resource],
      context: Context
    };

    action "delete" appliesTo {
      principal: [User],
      resource: [Endpoint, Resource],
      context: Context
    };

    action "publish" appliesTo {
      principal: [User],
      resource: [Endpoint, Resource],
      context: Context
    };

    action "read" appliesTo {
      principal: [User],
      resource: [Endpoint, Resource],
      context: Context
    };

    action "update" appliesTo {
      principal: [User],
      resource: [Endpoint, Resource],
      context: Context
    };
    "#);
}

#[test]
fn entities() {
    let entities = export().entities;
    let lines = entities.as_array().unwrap().iter().map(|entity| {
        let name = |uid: &serde_json::Value| format!("{}::{}", uid["type"].as_str().unwrap(), uid["id"]);
        let mut parents: Vec<String> = entity["parents"].as_array().unwrap().iter().map(name).collect();
        parents.sort();
        format!("{} in [{}] {}", name(&entity["uid"]), parents.join(", "), entity["attrs"])
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    Action::"access" in [] {}
    Action::"create" in [] {}
    Action::"delete" in [] {}
    Action::"publish" in [] {}
    Action::"read" in [] {}
    Action::"update" in [] {}
    Endpoint::"17:DELETE" in [Module::"news", Resource::"article", Route::"17"] {}
    Endpoint::"17:GET" in [Module::"news", Route::"17"] {}
    Endpoint::"17:POST" in [Module::"news", Route::"17"] {}
    Endpoint::"17:PUT" in [Module::"news", Route::"17"] {}
    Role::"chief \"editor\"" in [Role::"viewer"] {}
    Role::"viewer" in [] {}
    User::"42" in [Role::"chief \"editor\"", Role::"viewer"] {"username":"alice"}
    "#);
}

/// Who may do what in the demo: `+` allowed, `own` on what is one's own, `.` refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo() {
    let (db, _guard) = migrated(Backend::Sqlite).await;
    let control = Control::start(db, Fixed::default(), Arc::new(Metrics::new("test").unwrap())).await.unwrap();
    seed(&control, Vec::new()).await.unwrap();
    seed_demo(&control, "127.0.0.1:9".parse().unwrap()).await.unwrap();
    let snapshot = control.snapshots().load();
    let roles = cedargate::store::roles::list(
        &mut control.read().await.unwrap(),
        &cedargate::store::roles::Filter::default(),
        cedargate::store::Page::ALL,
    )
    .await
    .unwrap();
    let mut text = String::new();
    let asked = [
        ("GET", "/demo/articles"),
        ("POST", "/demo/articles"),
        ("PUT", "/demo/articles/1"),
        ("DELETE", "/demo/articles/1"),
        ("GET", "/demo/users/{}/orders"),
        ("GET", "/demo/whoami"),
        ("GET", "/demo/public"),
    ];
    for (method, path) in asked {
        write!(text, "{method:6} {path:23}").unwrap();
        let nobody = decides(&snapshot, None, method, &path.replace("{}", "7"));
        write!(text, " nobody {:4}", if nobody { "+" } else { "." }).unwrap();
        for role in &roles {
            let others = decides(&snapshot, Some(role.id), method, &path.replace("{}", "8"));
            let own = decides(&snapshot, Some(role.id), method, &path.replace("{}", "7"));
            let cell = if others {
                "+"
            } else if own {
                "own"
            } else {
                "."
            };
            write!(text, "{} {cell:4}", role.name).unwrap();
        }
        text = format!("{}\n", text.trim_end());
    }
    insta::assert_snapshot!(text, @r"
    GET    /demo/articles          nobody .   superadmin +   admin .   user +   guest .
    POST   /demo/articles          nobody .   superadmin +   admin .   user .   guest .
    PUT    /demo/articles/1        nobody .   superadmin +   admin .   user .   guest .
    DELETE /demo/articles/1        nobody .   superadmin +   admin .   user .   guest .
    GET    /demo/users/{}/orders   nobody .   superadmin +   admin .   user own guest .
    GET    /demo/whoami            nobody .   superadmin +   admin +   user +   guest +
    GET    /demo/public            nobody +   superadmin +   admin +   user +   guest +
    ");
}

/// What user 7 with this role is answered.
fn decides(snapshot: &Snapshot, role: Option<RoleId>, method: &str, path: &str) -> bool {
    let now = Timestamp::now();
    let user = role.map(|role_id| UserState {
        id: UserId(7),
        username: "alice".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: vec![Assignment { role_id, expires_at: None }],
    });
    let caller = user.map(|user| snapshot.assume(&Arc::new(user.clone()), Arc::new(Claims::none(&user.username)), now));
    let matched = snapshot.routes().find("localhost", path).unwrap();
    let policy::Entry::Route(route) = matched.entry else { panic!("{path} is mounted") };
    let operation = route.operation(method).unwrap();
    let owner = operation.owner_of(&matched.params, &|_| Ok(None), None).unwrap();
    let facts = Facts {
        method,
        path,
        host: "localhost",
        params: &matched.params,
        client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
        now,
        client_certificate: None,
        owner: owner.as_deref(),
    };
    snapshot.decide(&Ask { caller: caller.as_ref(), subject: Subject::Operation(operation), facts }).outcome.is_ok()
}
