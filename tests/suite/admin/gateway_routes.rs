//! Routes that the gateway forwards: what the write refuses, and when a change takes effect.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, issues, refused, revision};
use crate::support::app::App;
use crate::support::raw::Recorder;

/// A gateway route in the demo's module, to the demo's back end, for everybody.
fn public(path: &str, module: i64) -> Value {
    json!({
        "route": path, "label": path, "module_id": module, "upstream": "demo", "strip_prefix": "/demo",
        "operations": [{ "methods": ["GET"], "access": "public" }],
    })
}

fn but(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

async fn module(admin: &Caller<'_>) -> i64 {
    id(&admin.made("/modules/", json!({ "name": "tests", "label": "Tests" })).await)
}

on_both!(what_the_table_cannot_hold_is_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let module = module(&admin).await;
    let first = id(&admin.made("/routes/", public("/t/{a}", module)).await);
    let (before, revision) = (admin.get("/routes/").await.text, app.running.control().snapshots().load().revision());
    let tie = format!("route '/t/{{b}}' matches the same requests as route {first}");
    refused(admin.post("/routes/", public("/t/{b}", module)).await, 400, &tie);
    for shadowing in ["/api/v1/users/", "/api/v1/users", "/api/v1/roles/{id}", "/health"] {
        let answer = admin.post("/routes/", public(shadowing, module)).await.expect(400).json();
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("lies on the admin path"), "{shadowing}: {detail}");
    }
    let unknown = but(public("/u", module), "upstream", json!("nowhere"));
    refused(admin.post("/routes/", unknown).await, 400, "Upstream 'nowhere' not found");
    for path in ["/a/{}", "/a/{x}/{x}", "/a/{*x}/b", "/a/../b", "/a/{1}", "/a/b{x}", "/a%2fb", "/a;b", "/a?b"] {
        assert_eq!(admin.post("/routes/", public(path, module)).await.status, 400, "{path}");
        // As an entry of the navigation tree alone, any text will do.
        let entry = id(&admin.made("/routes/", json!({ "route": path, "label": "x", "module_id": module })).await);
        let forwarding = json!({ "upstream": "demo", "operations": public("/", module)["operations"] });
        assert_eq!(admin.put(&format!("/routes/{entry}"), forwarding).await.status, 400, "{path}");
        admin.delete(&format!("/routes/{entry}")).await.expect(200);
    }
    let after = app.running.control().snapshots().load().revision();
    assert_eq!((admin.get("/routes/").await.text, after), (before, revision), "entries of the tree are in no rule");
});

on_both!(operations_that_contradict_themselves_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let module = module(&admin).await;
    let with = |operations: Value| but(public("/o/{user_id}", module), "operations", operations);
    let needs = |permission: &str| json!([{ "methods": ["GET"], "access": "permission", "permission": permission }]);
    let owned = |owner: &str| json!([{ "methods": ["GET"], "access": "permission", "permission": "order:read", "owner": owner }]);
    let on = |methods: Value| json!([{ "methods": methods, "access": "public" }]);
    for (operations, detail) in [
        (json!([]), "a route with an upstream needs at least one operation"),
        (needs("reports"), "permission 'reports' has no verb"),
        (needs("order:read:own"), "permission 'order:read:own': name it without ':own' and say who owns it"),
        (owned("path.nobody"), "owner path.nobody: the route has no parameter {nobody}"),
        (
            json!([{ "methods": ["GET"], "access": "public" }, { "methods": ["GET"], "access": "authenticated" }]),
            "method GET stands in two operations",
        ),
    ] {
        refused(admin.post("/routes/", with(operations)).await, 400, detail);
    }
    for (operations, reason) in [
        (on(json!(["CONNECT"])), "CONNECT is never forwarded"),
        (on(json!(["TRACE"])), "TRACE is never forwarded"),
        (on(json!(["get"])), "'get' is not an HTTP method in upper case, or *"),
        (on(json!(["GET", "GET"])), "method GET is named twice"),
        (on(json!([])), "methods must name at least one method"),
        (on(json!("GET")), "invalid type"),
        (json!([{ "methods": ["GET"] }]), "missing field `access`"),
        (json!([{ "methods": ["GET"], "access": "nobody" }]), "unknown variant `nobody`"),
        (json!([{ "methods": ["GET"], "access": "permission" }]), "missing field `permission`"),
        (owned("user_id"), "owner must be path.NAME, query.NAME or claim.NAME"),
        (owned("header.x"), "owner must be path.NAME, query.NAME or claim.NAME"),
        (json!([{ "methods": ["GET"], "access": "public", "permission": "a:b" }]), "permission"),
        (json!([{ "methods": ["GET"], "access": "public", "acess": "roles" }]), "acess"),
        (json!({}), "invalid type"),
        (Value::Array(vec![on(json!(["GET"]))[0].clone(); 65]), "at most 64 operations"),
    ] {
        let found = issues(admin.post("/routes/", with(operations.clone())).await);
        assert!(found.len() == 1 && found[0].contains(reason), "{operations}: {found:?}");
    }
    for (key, value) in [
        ("host", json!("a:80")),
        ("host", json!("")),
        ("upstream", json!("Demo")),
        ("strip_prefix", json!("demo")),
        ("strip_prefix", json!("/demo/")),
        ("strip_prefix", json!("/{a}")),
        ("strip_prefix", json!("/..")),
        ("forward_authorization", json!("perhaps")),
    ] {
        assert_eq!(issues(admin.post("/routes/", but(public("/k", module), key, value)).await).len(), 1, "{key}");
    }
    app.gateway("GET", "/o/1").await.expect(404);
});

on_both!(what_is_switched_off_matches_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let module = module(&admin).await;
    let route = id(&admin.made("/routes/", but(public("/demo/t", module), "is_active", json!(false))).await);
    let expect = async |status| app.gateway("GET", "/demo/t").await.expect(status);
    expect(404).await;
    let (route, module) = (format!("/routes/{route}"), format!("/modules/{module}"));
    for path in [&route, &module] {
        admin.put(&route, json!({ "is_active": true })).await.expect(200);
        admin.put(path, json!({ "is_active": false })).await.expect(200);
        expect(404).await;
        let written = admin.put(path, json!({ "is_active": true })).await.expect(200);
        let answer = app.gateway("GET", "/demo/t").await;
        assert_ne!(answer.status, 403);
        assert_eq!(answer.header("x-policy-revision"), written.header("x-policy-revision"));
    }
    admin.put(&route, json!({ "route": "/demo/public" , "host": "t.example.com" })).await.expect(200);
    expect(404).await;
    admin.put(&route, json!({ "upstream": null, "host": null, "route": "/demo/t" })).await.expect(200);
    expect(404).await;
});

on_both!(a_route_serves_the_roles_bound_to_it, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let role = id(&admin.made("/roles/", json!({ "name": "club" })).await);
    let ann = admin.user("ann", &[role]).await;
    let ann = (ann, Caller { app: &app, token: app.token_with("ann", PASSWORD).await });
    let operations = json!([{ "methods": ["*"], "access": "roles" }, { "methods": ["DELETE"], "access": "public" }]);
    let route = app.route_to(&admin.token, "club", back.address, "/club", operations).await;
    let bind = async |role_ids: Value| {
        admin.put(&format!("/routes/{route}"), json!({ "role_ids": role_ids })).await.expect(200);
    };
    assert_eq!(ann.1.gateway("GET", "/club").await, 403);
    bind(json!([role])).await;
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 200), ("PROPFIND", 200), ("DELETE", 200)] {
        assert_eq!(ann.1.gateway(method, "/club").await, status, "{method}");
    }
    app.gateway("GET", "/club").await.expect(401);
    app.gateway("DELETE", "/club").await.expect(200);
    assert_eq!(admin.gateway("GET", "/club").await, 403, "the super role is bound like any other");
    bind(json!([1])).await;
    assert_eq!((ann.1.gateway("GET", "/club").await, admin.gateway("GET", "/club").await), (403, 200));
    bind(json!([1, role])).await;
    admin.put(&format!("/roles/{role}"), json!({ "is_active": false, "name": "closed" })).await.expect(200);
    assert_eq!(ann.1.gateway("GET", "/club").await, 403);
    admin.put(&format!("/roles/{role}"), json!({ "is_active": true })).await.expect(200);
    assert_eq!(ann.1.gateway("GET", "/club").await, 200, "under its new name");
    admin.delete(&format!("/users/{}/roles/{role}", ann.0)).await.expect(200);
    assert_eq!(ann.1.gateway("GET", "/club").await, 403);
    admin.delete(&format!("/roles/{role}")).await.expect(200);
    // A new role of the old name is another role.
    let again = id(&admin.made("/roles/", json!({ "name": "closed" })).await);
    admin.call("POST", &format!("/users/{}/roles/{again}", ann.0)).await.expect(200);
    assert_eq!(ann.1.gateway("GET", "/club").await, 403);
    let shown = admin.get(&format!("/routes/{route}")).await.expect(200).json();
    assert_eq!(shown["roles"].as_array().unwrap().iter().map(id).collect::<Vec<_>>(), [1]);
});

on_both!(a_route_may_be_bound_to_a_host, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let public = json!([{ "methods": ["GET"], "access": "public" }]);
    let route = app.route_to(&admin.token, "host", back.address, "/h", public.clone()).await;
    let path = format!("/routes/{route}");
    let bound = admin.put(&path, json!({ "host": "API.example.com" })).await.expect(200).json();
    assert_eq!(bound["host"], "api.example.com");
    let on = async |host: &str| app.gateway("GET", "/h").header("host", host).await.status;
    assert_eq!(
        (on("api.example.com").await, on("API.EXAMPLE.COM:8080").await, on("other.example.com").await),
        (200, 200, 404)
    );
    // The same path for any host is another route; the bound one wins.
    let closed = json!([{ "methods": ["GET"], "access": "authenticated" }]);
    app.route_to(&admin.token, "host", back.address, "/h", closed).await;
    assert_eq!((on("api.example.com").await, on("other.example.com").await), (200, 401));
    refused(admin.put(&path, json!({ "host": null })).await, 400, "Route path already exists in this module");
});

on_both!(a_route_has_its_own_bound_on_bodies, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_GATEWAY__MAX_BODY_BYTES", "1000")]).await;
    let admin = Caller::superadmin(&app).await;
    let sink = Recorder::start().await;
    let anybody = json!([{ "methods": ["*"], "access": "public" }]);
    let route = app.route_to(&admin.token, "sink", sink.address, "/sink", anybody.clone()).await;
    app.route_to(&admin.token, "sink", sink.address, "/other", anybody).await;
    let takes = async |path: &str, most: usize| {
        app.gateway("POST", path).body(vec![b'x'; most]).await.expect(200);
        sink.clear();
        let refused = app.gateway("POST", path).body(vec![b'x'; most + 1]).await.expect(413);
        // What it took before may still be on its way to the recorder.
        assert_eq!((refused.json()["reason"].as_str(), sink.requests()), (Some("too_large"), 0), "{path}");
    };
    let path = format!("/routes/{route}");
    let bound = async |bytes: Value| admin.put(&path, json!({ "max_body_bytes": bytes })).await;
    assert_eq!(admin.get(&path).await.expect(200).json()["max_body_bytes"], Value::Null);
    takes("/sink", 1_000).await;
    assert_eq!(bound(json!(2_000)).await.expect(200).json()["max_body_bytes"], 2_000);
    takes("/sink", 2_000).await;
    let upstreams = admin.get("/upstreams/?search=sink").await.expect(200).json();
    let upstream = format!("/upstreams/{}", id(&upstreams[0]));
    admin.put(&upstream, json!({ "max_body_bytes": 500 })).await.expect(200);
    takes("/sink", 2_000).await;
    takes("/other", 500).await;
    bound(json!(10)).await.expect(200);
    takes("/sink", 10).await;
    let listed = admin.get("/routes/?limit=1000").await.expect(200).json();
    let listed = listed.as_array().unwrap().iter().find(|item| item["id"] == route).unwrap();
    assert_eq!(listed["max_body_bytes"], 10);
    let records = admin.get(&format!("/audit-logs/?resource=route&resource_id={route}")).await.expect(200).json();
    let bounds = |part: &str| records[0][part]["max_body_bytes"].clone();
    assert_eq!((bounds("before"), bounds("after")), (json!(2_000), json!(10)), "{records}");
    for (value, told) in [
        (json!(0), "greater_than_equal"),
        (json!(-1), "greater_than_equal"),
        (json!((1_i64 << 40) + 1), "less_than_equal"),
        (json!(1.5), "int_from_float"),
        (json!("many"), "int_parsing"),
    ] {
        let found = issues(bound(value.clone()).await);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{told} body.max_body_bytes")), "{value}: {found:?}");
    }
    takes("/sink", 10).await;
    bound(Value::Null).await.expect(200);
    takes("/sink", 500).await;
    admin.put(&upstream, json!({ "max_body_bytes": null })).await.expect(200);
    takes("/sink", 1_000).await;
});

on_both!(header_rules_are_kept_shown_and_recorded, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let anybody = json!([{ "methods": ["GET"], "access": "public" }]);
    let route = app.route_to(&admin.token, "back", back.address, "/back", anybody).await;
    let path = format!("/routes/{route}");
    let none = json!({ "request": {}, "response": {} });
    assert_eq!(admin.get(&path).await.expect(200).json()["headers"], none);
    let rules = json!({
        "request": { "set": { "X-Tenant": "a" }, "remove": ["Cookie"] },
        "response": { "set": { "Cache-Control": "no-store" }, "remove": ["Server"] },
    });
    let before = admin.get(&path).await.expect(200);
    admin.put(&format!("{path}?dry_run=true"), json!({ "headers": rules })).await.expect(200);
    assert_eq!(admin.get(&path).await.expect(200).text, before.text);
    let first = admin.put(&path, json!({ "label": "Back" })).await.expect(200);
    let changed = admin.put(&path, json!({ "headers": rules })).await.expect(200);
    assert!(revision(&changed) > revision(&first), "the gateway's rules contain them");
    assert_eq!(changed.json()["headers"], rules);
    let records = admin.get(&format!("/audit-logs/?resource=route&resource_id={route}")).await.expect(200).json();
    assert_eq!((&records[0]["before"]["headers"], &records[0]["after"]["headers"]), (&none, &rules), "{records}");
    let listed = admin.get("/routes/?limit=1000").await.expect(200).json();
    let listed = listed.as_array().unwrap().iter().find(|item| item["id"] == route).unwrap();
    assert_eq!(listed["headers"], rules);
    // They are left as they are where nothing is said.
    assert_eq!(admin.put(&path, json!({ "label": "Again" })).await.expect(200).json()["headers"], rules);
    for (headers, place, reason) in [
        (json!({ "request": { "set": { "Host": "a" } } }), "request", "'Host' is not a route's to change"),
        (json!({ "request": { "set": { "X-Auth-User-Id": "1" } } }), "request", "is not a route's to change"),
        (json!({ "request": { "remove": ["x_auth_roles"] } }), "request", "is not a route's to change"),
        (json!({ "response": { "remove": ["Content-Length"] } }), "response", "is not a route's to change"),
        (json!({ "response": { "set": { "a b": "1" } } }), "response", "'a b' is no name of a header field"),
        (json!({ "response": { "set": { "A": "1\r\nB: 2" } } }), "response", "the value of 'A' is no value"),
        (json!({ "request": { "set": { "A": "1" }, "remove": ["a"] } }), "request", "'a' is both set and removed"),
        (json!({ "request": { "set": { "A": "1", "a": "2" } } }), "request", "'a' is set twice"),
        (json!({ "request": { "add": {} } }), "request.add", "unknown field `add`"),
        (json!({ "both": {} }), "both", "unknown field `both`"),
        (json!({ "request": { "set": { "A": 1 } } }), "request.set.A", "expected a string"),
        (json!("X-A: 1"), "", "expected struct HeaderRules"),
    ] {
        let place = if place.is_empty() { "body.headers: ".to_owned() } else { format!("body.headers.{place}: ") };
        let found = issues(admin.put(&path, json!({ "headers": headers })).await);
        assert!(found.len() == 1 && found[0].contains(&place) && found[0].contains(reason), "{headers}: {found:?}");
    }
    let cleared = admin.put(&path, json!({ "headers": {} })).await.expect(200).json();
    assert_eq!(cleared["headers"], none);
});
