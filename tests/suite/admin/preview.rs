//! What would change: a preview is what the write does, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use cedargate::store::Db;
use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, issues, keys, refused, revision};
use crate::support::POOL;
use crate::support::app::App;

/// Role, route and method to how it is granted.
type Matrix = BTreeMap<(String, i64, String), String>;

async fn matrix(admin: &Caller<'_>) -> Matrix {
    let answer = admin.get("/matrix?by=operation").await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cells = answer["cells"].as_array().unwrap().iter().map(|cell| {
        ((text(&cell["role"]), cell["route_id"].as_i64().unwrap(), text(&cell["method"])), text(&cell["grant"]))
    });
    cells.collect()
}

/// The cells of one list of a preview.
fn listed(preview: &Value, list: &str) -> BTreeSet<(String, i64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cells = preview[list].as_array().unwrap_or_else(|| panic!("no {list}: {preview}")).iter();
    cells.map(|cell| (text(&cell["role"]), cell["route_id"].as_i64().unwrap(), text(&cell["method"]))).collect()
}

/// The four lists that lead from one matrix to another.
fn between(was: &Matrix, is: &Matrix) -> [BTreeSet<(String, i64, String)>; 4] {
    let conditional = |grant: Option<&String>| grant.map(|grant| grant == "conditional");
    let all: BTreeSet<_> = was.keys().chain(is.keys()).cloned().collect();
    let mut lists: [BTreeSet<_>; 4] = Default::default();
    for key in all {
        match (conditional(was.get(&key)), conditional(is.get(&key))) {
            (None, Some(_)) => lists[0].insert(key),
            (Some(_), None) => lists[1].insert(key),
            (Some(false), Some(true)) => lists[2].insert(key),
            (Some(true), Some(false)) => lists[3].insert(key),
            _ => false,
        };
    }
    lists
}

fn lists(preview: &Value) -> [BTreeSet<(String, i64, String)>; 4] {
    ["gained", "lost", "narrowed", "widened"].map(|list| listed(preview, list))
}

/// Everything that a write could leave behind.
async fn traces(app: &App) -> Vec<(&'static str, i64)> {
    const COUNTS: [(&str, &str); 19] = [
        ("revision", "SELECT revision FROM revisions"),
        ("policy revision", "SELECT policy_revision FROM revisions"),
        ("users", "SELECT COUNT(*) FROM users WHERE deleted_at IS NULL"),
        ("active users", "SELECT COUNT(*) FROM users WHERE is_active"),
        ("roles", "SELECT COUNT(*) FROM roles WHERE deleted_at IS NULL"),
        ("active roles", "SELECT COUNT(*) FROM roles WHERE is_active"),
        ("parents", "SELECT COUNT(*) FROM role_parents"),
        ("permissions", "SELECT COUNT(*) FROM permissions WHERE deleted_at IS NULL"),
        ("active permissions", "SELECT COUNT(*) FROM permissions WHERE is_active"),
        ("grants", "SELECT COUNT(*) FROM role_permissions"),
        ("assignments", "SELECT COUNT(*) FROM user_roles"),
        ("modules", "SELECT COUNT(*) FROM modules WHERE deleted_at IS NULL AND is_active"),
        ("upstreams", "SELECT COUNT(*) FROM upstreams WHERE deleted_at IS NULL AND is_active"),
        ("routes", "SELECT COUNT(*) FROM routes WHERE deleted_at IS NULL AND is_active"),
        ("bindings", "SELECT COUNT(*) FROM route_roles"),
        ("sessions", "SELECT COUNT(*) FROM sessions"),
        ("revocations", "SELECT COUNT(*) FROM revocations"),
        ("records", "SELECT COUNT(*) FROM audit_records"),
        ("activity", "SELECT COUNT(*) FROM user_activity"),
    ];
    let db = Db::open(&app.database, &POOL).await.unwrap();
    let mut found = Vec::new();
    for (name, sql) in COUNTS {
        found.push((name, db.read().await.unwrap().query(sql).fetch_value().await.unwrap()));
    }
    let entries = "SELECT COUNT(*) FROM changes";
    found.push(("feed", db.read().await.unwrap().query(entries).fetch_value().await.unwrap()));
    db.close().await;
    found
}

on_both!(a_preview_is_what_the_write_does, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let role = id(&admin.made("/roles/", json!({ "name": "clerk" })).await);
    let heir = id(&admin.made("/roles/", json!({ "name": "chief" })).await);
    let clerk = admin.user("clark", &[role]).await;
    let [read, update, own, order] = [
        app.permission(&admin.token, "article:read").await,
        app.permission(&admin.token, "article:update").await,
        app.permission(&admin.token, "order:read:own").await,
        app.permission(&admin.token, "order:read").await,
    ];
    let all = admin.get("/routes/?limit=1000").await.expect(200).json();
    let route = |path: &str| id(all.as_array().unwrap().iter().find(|route| route["route"] == path).unwrap());
    let (whoami, public) = (route("/demo/whoami"), route("/demo/public"));
    let module = admin.get(&format!("/routes/{whoami}")).await.expect(200).json()["module_id"].clone();
    let operations = |access: &str| json!({ "operations": [{ "methods": ["GET", "PUT"], "access": access }] });
    let changes: Vec<(&str, String, Value)> = vec![
        ("POST", format!("/roles/{role}/permissions/{read}"), json!(null)),
        ("POST", format!("/roles/{heir}/parents/{role}"), json!(null)),
        ("POST", format!("/roles/{role}/permissions/{own}"), json!(null)),
        ("POST", format!("/roles/{role}/permissions/{order}"), json!(null)),
        ("DELETE", format!("/roles/{role}/permissions/{order}"), json!(null)),
        ("PUT", format!("/roles/{role}/permissions"), json!([read, update])),
        ("PATCH", format!("/permissions/{read}/toggle-status"), json!(null)),
        ("PUT", format!("/permissions/{update}"), json!({ "name": "article:read" , "description": "d" })),
        ("PUT", format!("/permissions/{read}"), json!({ "is_active": true })),
        ("PUT", format!("/routes/{whoami}"), operations("roles")),
        ("DELETE", format!("/routes/{whoami}/roles/{role}"), json!(null)),
        ("PUT", format!("/routes/{public}"), operations("authenticated")),
        ("POST", format!("/users/{clerk}/roles/{heir}"), json!(null)),
        ("POST", "/users/bulk-status".to_owned(), json!({ "ids": [clerk, 4], "is_active": false })),
        ("PATCH", format!("/roles/{role}/toggle-status"), json!(null)),
        ("DELETE", format!("/users/{clerk}"), json!(null)),
        ("DELETE", format!("/roles/{heir}"), json!(null)),
        ("PATCH", format!("/modules/{module}/toggle-status"), json!(null)),
    ];
    let mut moved = 0;
    for (method, path, body) in changes {
        let send = |path: &str| {
            let call = admin.call(method, path);
            if body.is_null() { call } else { call.json(body.clone()) }
        };
        let (was, before) = (matrix(&admin).await, traces(&app).await);
        let dry = send(&format!("{path}?dry_run=true")).await;
        let single = json!({ "changes": [{ "method": method, "path": path, "body": body }] });
        let preview = admin.post("/policies/preview", single).await;
        assert_eq!(traces(&app).await, before, "{method} {path}");
        if dry.status != 200 {
            // What is refused is refused in earnest, in the same words.
            let real = send(&path).await;
            assert_eq!((dry.status, &dry.json()["detail"]), (real.status, &real.json()["detail"]), "{method} {path}");
            let detail = format!("changes.0: {}", real.json()["detail"].as_str().unwrap());
            assert_eq!((preview.status, preview.json()["detail"].as_str()), (real.status, Some(detail.as_str())));
            continue;
        }
        assert_eq!(dry.expect(200).json(), preview.clone().expect(200).json(), "{method} {path}");
        let seen = revision(&preview);
        let preview = preview.json();
        assert_eq!(preview["policy_revision"], seen);
        assert_eq!(keys(&preview)[..3], ["policy_revision", "gained", "lost"]);
        // What was previewed is what is applied.
        send(&path).header("x-if-policy-revision", &seen.to_string()).await.expect(200);
        let expected = between(&was, &matrix(&admin).await);
        assert_eq!(lists(&preview), expected, "{method} {path}: {preview}");
        moved += expected.iter().filter(|list| !list.is_empty()).count();
    }
    assert!(moved >= 12, "{moved}: the test lost its force");
});

on_both!(users_are_counted_and_conditions_named, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let read = app.permission(&admin.token, "article:read").await;
    let own = app.permission(&admin.token, "order:read:own").await;
    // Of the demo's accounts two have the role "user", which reads both routes of articles.
    let preview = admin.delete(&format!("/roles/3/permissions/{read}?dry_run=1")).await.expect(200).json();
    assert_eq!(preview["users"], json!({ "gained": 0, "lost": 4 }));
    let lost = preview["lost"].as_array().unwrap();
    assert_eq!(lost.len(), 2, "{preview}");
    assert_eq!(keys(&lost[0]), ["role", "route_id", "route", "method", "permission"]);
    assert_eq!(lost[0]["permission"], "article:read");
    assert_eq!((&preview["gained"], &preview["conditional"]), (&json!([]), &json!([])));
    let preview = admin.delete(&format!("/roles/3/permissions/{own}?dry_run=yes")).await.expect(200).json();
    let policy = format!("grant:3:{own}");
    assert_eq!(preview["conditional"], json!([{ "policy": policy, "change": "removed" }]));
    assert_eq!((preview["lost"].as_array().unwrap().len(), &preview["users"]["lost"]), (1, &json!(2)));
    // A user's role, a user's activity.
    let preview = admin.delete("/users/4/roles/3?dry_run=true").await.expect(200).json();
    assert_eq!((&preview["lost"], &preview["users"]), (&json!([]), &json!({ "gained": 0, "lost": 3 })));
    let preview = admin.call("PATCH", "/users/4/toggle-status?dry_run=true").await.expect(200).json();
    assert_eq!(preview["users"], json!({ "gained": 0, "lost": 5 }));
    // What nobody needed a token for.
    let all = admin.get("/routes/?limit=1000").await.expect(200).json();
    let public = id(all.as_array().unwrap().iter().find(|route| route["route"] == "/demo/public").unwrap());
    let closed = json!({ "operations": [{ "methods": ["GET"], "access": "authenticated" }] });
    let preview = admin.put(&format!("/routes/{public}?dry_run=true"), closed).await.expect(200).json();
    let lost = json!([{ "route_id": public, "route": "/demo/public", "method": "GET" }]);
    assert_eq!(preview["anonymous"], json!({ "gained": [], "lost": lost }));
    assert_eq!((&preview["lost"], &preview["users"]["lost"]), (&json!([]), &json!(0)));
    // A policy that lets nobody delete without a second factor narrows what was certain.
    let source = "forbid (principal, action == Action::\"delete\", resource) unless { context.mfa };";
    let policy = json!({ "name": "step-up", "source": source });
    let preview = admin.post("/policies/?dry_run=true", policy).await.expect(200).json();
    assert_eq!(preview["conditional"], json!([{ "policy": "policy:step-up", "change": "added" }]));
    assert_eq!((listed(&preview, "narrowed").len(), &preview["lost"]), (1, &json!([])), "{preview}");
    let wrong = admin.post("/policies/?dry_run=true", json!({ "name": "wrong", "source": "forbid (" })).await;
    assert!(issues(wrong)[0].starts_with("cedar body.source"));
    assert_eq!(admin.get("/policies/count").await.expect(200).text, "0");
    // Together, and each change sees what those before it have done.
    let changes = json!({ "changes": [
        { "method": "DELETE", "path": "/api/v1/users/4/roles/3" },
        { "method": "PATCH", "path": "/users/3/toggle-status" },
        { "method": "POST", "path": "/users/3/activate" },
        { "method": "POST", "path": format!("/roles/4/permissions/{read}"), "body": null },
        { "method": "POST", "path": "/users/4/roles/4", "body": {} },
    ] });
    let preview = admin.post("/policies/preview", changes).await.expect(200).json();
    assert_eq!(preview["users"], json!({ "gained": 0, "lost": 1 }));
    assert_eq!(listed(&preview, "gained").len(), 2, "{preview}");
    // The rest of the world goes on as before.
    assert_eq!(app.gateway("GET", "/demo/articles").bearer(&app.token("testuser").await).await.status, 200);
});

on_both!(a_preview_is_refused_as_the_write_would_be, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let policy = app.permission(&admin.token, "policy:read").await;
    let update = app.permission(&admin.token, "role:update").await;
    let delete = app.permission(&admin.token, "user:delete").await;
    let role = id(&admin.made("/roles/", json!({ "name": "looker", "permission_ids": [policy, update] })).await);
    admin.user("looker", &[role]).await;
    let looker = Caller { app: &app, token: app.token_with("looker", PASSWORD).await };
    let before = traces(&app).await;
    let preview = |changes: Value| admin.post("/policies/preview", json!({ "changes": changes }));
    let one = |method: &str, path: &str| preview(json!([{ "method": method, "path": path }]));

    // Permission, what nobody hands on, and rules about the entity: each in the words of the write.
    let changes = json!({ "changes": [
        { "method": "PATCH", "path": "/roles/4/toggle-status" },
        { "method": "POST", "path": "/users/4/activate" },
    ] });
    let answer = looker.post("/policies/preview", changes).await;
    refused(answer, 403, "changes.1: Permission 'user:update' required for this action");
    let escalating = format!("/roles/{role}/permissions/{delete}?dry_run=true");
    let answer = looker.call("POST", &escalating).await;
    refused(answer, 403, "Permission 'role:escalate' required for this action");
    refused(one("DELETE", "/roles/1").await, 400, "changes.0: Cannot delete system roles");
    refused(
        one("PUT", "/roles/999")
            .json(json!({ "changes": [{ "method": "PUT", "path": "/roles/999", "body": {} }] }))
            .await,
        404,
        "changes.0: Role not found",
    );
    let answer = preview(json!([{ "method": "PUT", "path": "/roles/x", "body": { "name": 1 } }])).await;
    assert_eq!(
        issues(answer),
        [
            "int_parsing body.changes.0.path.role_id: Input should be a valid integer, unable to parse string as an integer",
            "string_type body.changes.0.body.name: Input should be a valid string",
        ]
    );
    refused(app.admin("DELETE", "/roles/4?dry_run=true").await, 401, "Not authenticated");
    refused(app.admin("POST", "/policies/preview").json(json!({ "changes": [] })).await, 401, "Not authenticated");

    // What is no write of the rules.
    let nowhere = "value_error body.changes.0.path: Value error, no endpoint whose changes can be previewed has this method and path";
    for (method, path) in [
        ("POST", "/auth/login"),
        ("POST", "/auth/change-password"),
        ("POST", "/policies/preview"),
        ("DELETE", "/nothing"),
        ("DELETE", "/roles"),
        ("PUT", "/system/log-level"),
        ("POST", "/api/v1/api/v1/roles"),
        ("POST", "/health"),
    ] {
        assert_eq!(issues(one(method, path).await), [nowhere], "{method} {path}");
    }
    assert_eq!(issues(one("GET", "/roles/").await).len(), 1);
    assert_eq!(
        issues(one("DELETE", "roles/4").await),
        ["value_error body.changes.0.path: Value error, a path begins with /"]
    );
    assert_eq!(issues(one("DELETE", "/roles/ 4").await), [nowhere]);
    let many = vec![json!({ "method": "DELETE", "path": "/roles/4" }); 101];
    assert_eq!(
        issues(preview(many.into()).await),
        ["too_long body.changes: List should have at most 100 items after validation, not 101"]
    );
    assert_eq!(issues(preview(json!([{ "method": "DELETE", "path": "/roles/4", "when": 1 }])).await).len(), 1);

    // Preconditions.
    let current = revision(&one("PATCH", "/roles/4/toggle-status").await.expect(200));
    let stale =
        |current: i64| one("PATCH", "/roles/4/toggle-status").header("x-if-policy-revision", &current.to_string());
    refused(stale(current - 1).await, 412, "Precondition failed");
    stale(current).await.expect(200);
    let dry = || admin.call("PATCH", "/roles/4/toggle-status?dry_run=true");
    refused(dry().header("x-if-policy-revision", "1").await, 412, "Precondition failed");
    refused(dry().header("if-match", "\"other\"").await, 412, "Precondition failed");
    // Nothing at all is a preview, too.
    let nothing = preview(json!([])).await.expect(200).json();
    assert_eq!((&nothing["gained"], &nothing["policy_revision"]), (&json!([]), &json!(current)));
    assert_eq!(traces(&app).await, before);
    // Nobody waits for what is over.
    admin.call("PATCH", "/roles/4/toggle-status").await.expect(200);
});

on_both!(no_endpoint_writes_when_it_is_told_not_to, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = traces(&app).await;
    let mut rehearsed = 0;
    for (method, path, _) in cedargate::admin::operation_list() {
        if method == "GET" {
            continue;
        }
        let path: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "4" } else { part }).collect();
        let path = path.join("/");
        let bodies = [
            json!({ "username": "newcomer", "email": "n@example.com", "password": PASSWORD, "name": "new", "ids": [4] }),
            json!({ "is_active": false, "user_ids": [4], "role_ids": [4], "action": "add", "ids": [4], "label": "New" }),
            json!({ "username": "superadmin", "password": "superadmin123", "level": "debug", "target": "admin" }),
        ];
        for body in bodies {
            let answer = admin.call(method.as_str(), &format!("{path}?dry_run=true")).json(body).await;
            assert!(answer.status < 500, "{method} {path}: {}", answer.text);
            if answer.status == 200 {
                assert!(answer.json()["gained"].is_array(), "{method} {path}: {}", answer.text);
                rehearsed += 1;
            }
        }
        for bad in ["dry_run=", "dry_run=maybe", "dry_run=true&dry_run=false", "dry%5Frun=2"] {
            let answer = admin.call(method.as_str(), &format!("{path}?{bad}")).json(json!({})).await;
            assert!(issues(answer)[0].contains("query.dry_run"), "{method} {path} {bad}");
        }
    }
    assert!(rehearsed > 20, "{rehearsed}: the test lost its force");
    assert_eq!(traces(&app).await, before);
    let unsupported = ["value_error query.dry_run: Value error, what this endpoint does cannot be previewed"];
    for path in ["/auth/login", "/auth/logout", "/auth/me", "/users/me", "/policies/preview"] {
        let method = if path.ends_with("me") { "PUT" } else { "POST" };
        assert_eq!(
            issues(admin.call(method, &format!("{path}?dry_run=true")).json(json!({})).await),
            unsupported,
            "{path}"
        );
    }
    // A method that no endpoint has is none with it either.
    let answer = admin.post("/roles/4?dry_run=true", json!({})).await.expect(405);
    let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "PUT"]);
    // Whoever does not ask for it, writes; reading takes no notice.
    admin.call("PATCH", "/roles/4/toggle-status?dry_run=false").await.expect(200);
    assert_ne!(traces(&app).await, before);
    admin.get("/roles/4?dry_run=true").await.expect(200);
});

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

fn any_change(dice: &mut Dice, (roles, users, permissions, routes): (&[i64], &[i64], &[i64], &[i64])) -> Value {
    let (role, other, user) = (dice.pick(roles), dice.pick(roles), dice.pick(users));
    let (permission, route) = (dice.pick(permissions), dice.pick(routes));
    let access = dice.pick(&["public", "authenticated", "roles"]);
    let owned = json!({ "methods": ["GET"], "access": "permission", "permission": "order:read", "owner": "query.of" });
    let plain = json!({ "methods": ["GET", "POST"], "access": access });
    let (method, path, body) = match dice.roll(11) {
        0 | 1 => ("POST", format!("/roles/{role}/permissions/{permission}"), Value::Null),
        2 => ("DELETE", format!("/roles/{role}/permissions/{permission}"), Value::Null),
        3 => ("POST", format!("/roles/{role}/parents/{other}"), Value::Null),
        4 => ("DELETE", format!("/roles/{role}/parents/{other}"), Value::Null),
        5 => ("PATCH", format!("/roles/{role}/toggle-status"), Value::Null),
        6 => ("PATCH", format!("/permissions/{permission}/toggle-status"), Value::Null),
        7 => ("PUT", format!("/routes/{route}"), json!({ "operations": [dice.pick(&[owned, plain])] })),
        8 => ("PATCH", format!("/routes/{route}/toggle-status"), Value::Null),
        9 => ("POST", format!("/routes/{route}/roles/{role}"), Value::Null),
        _ => ("POST", format!("/users/{user}/roles/{role}"), Value::Null),
    };
    json!({ "method": method, "path": path, "body": body })
}

on_both!(several_changes_lead_where_their_preview_says, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mut roles = vec![2, 3, 4];
    for name in ["one", "two", "three"] {
        roles.push(id(&admin.made("/roles/", json!({ "name": name })).await));
    }
    let users = [3, 4, admin.user("carol", &[roles[3]]).await];
    let mut permissions = Vec::new();
    for name in ["article:read", "article:create", "article:delete", "order:read", "order:read:own"] {
        permissions.push(app.permission(&admin.token, name).await);
    }
    let all = admin.get("/routes/?limit=1000").await.expect(200).json();
    let is_demo = |route: &&Value| route["route"].as_str().unwrap().starts_with("/demo/");
    let routes: Vec<i64> = all.as_array().unwrap().iter().filter(is_demo).map(id).collect();
    let (mut dice, mut applied) = (Dice(5), 0);
    for round in 0..24 {
        let count = 1 + dice.roll(5);
        let changes: Vec<Value> =
            (0..count).map(|_| any_change(&mut dice, (&roles, &users, &permissions, &routes))).collect();
        let (was, before) = (matrix(&admin).await, traces(&app).await);
        let preview = admin.post("/policies/preview", json!({ "changes": changes })).await;
        assert_eq!(traces(&app).await, before, "{round}: {changes:?}");
        if preview.status != 200 {
            assert!([400, 404].contains(&preview.status), "{round}: {}", preview.text);
            continue;
        }
        for change in &changes {
            let path = change["path"].as_str().unwrap();
            let call = admin.call(change["method"].as_str().unwrap(), path);
            if change["body"].is_null() { call } else { call.json(change["body"].clone()) }.await.expect(200);
        }
        assert_eq!(lists(&preview.json()), between(&was, &matrix(&admin).await), "{round}: {changes:?}");
        applied += 1;
    }
    assert!(applied > 8, "{applied}: the test lost its force");
});

on_both!(previews_and_writes_take_turns, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = revision(&admin.call("PATCH", "/roles/4/toggle-status").await.expect(200));
    let one = async |number: usize| {
        let path =
            if number.is_multiple_of(2) { "/roles/4/toggle-status" } else { "/roles/3/toggle-status?dry_run=true" };
        admin.call("PATCH", path).await.expect(200)
    };
    let pair = async |number: usize| tokio::join!(one(number), one(number + 1));
    let (first, second, third) = tokio::join!(pair(0), pair(2), pair(4));
    let (written, previewed): (Vec<_>, Vec<_>) = [first, second, third].into_iter().unzip();
    assert_eq!(written.iter().map(revision).collect::<BTreeSet<i64>>(), (before + 1..=before + 3).collect());
    assert!(previewed.iter().all(|preview| preview.json()["lost"].as_array().unwrap().len() >= 3));
    assert_eq!(admin.get("/roles/3").await.expect(200).json()["is_active"], true);
});
