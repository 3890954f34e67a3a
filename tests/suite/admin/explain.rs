//! Why requests are answered as they are: what is told is what the gateway does.

use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Caller, id, issues, refused};
use crate::support::app::{App, SECRET};
use crate::support::raw::{Recorder, status, until_closed};
use crate::support::{Backend, fresh_database};

/// A `forbid` that depends on the token, another, and one that cannot be evaluated.
const POLICIES: [(&str, &str); 3] = [
    (
        "no_deletes",
        "forbid (principal, action == Action::\"delete\", resource)
         unless { context.mfa || resource in Resource::\"permission\" };",
    ),
    (
        "tenants",
        "forbid (principal, action == Action::\"create\", resource in Resource::\"article\")
         unless { context has tenant && context.tenant == \"acme\" };",
    ),
    (
        "broken",
        "forbid (principal, action == Action::\"update\", resource in Resource::\"article\")
         when { 9223372036854775807 + 1 > 0 };",
    ),
];

struct World {
    app: App,
    admin: String,
    _upstream: Recorder,
    _policies: tempfile::TempDir,
}

impl World {
    /// The demo with these policies, and a route for each way of deciding.
    async fn start(backend: Backend) -> Self {
        let policies = tempfile::tempdir().unwrap();
        for (name, text) in POLICIES {
            std::fs::write(policies.path().join(format!("{name}.cedar")), text).unwrap();
        }
        let (database, guard) = fresh_database(backend).await;
        let directory = [("CEDARGATE_POLICY__DIR", policies.path().to_str().unwrap())];
        let app = App::start_on(database, guard, &directory).await;
        let admin = app.token("superadmin").await;
        let upstream = Recorder::start().await;
        let needs = |method: &str, permission: &str, owner: Option<&str>| {
            let mut needs = json!({ "methods": [method], "access": "permission", "permission": permission });
            if let Some(owner) = owner {
                needs["owner"] = owner.into();
            }
            needs
        };
        for (path, operations) in [
            (
                "/things/{id}",
                json!([
                    needs("DELETE", "article:delete", None),
                    needs("PUT", "article:update", None),
                    needs("POST", "article:create", None),
                    needs("PATCH", "article:share", None),
                ]),
            ),
            ("/things/{*rest}", json!([{ "methods": ["GET"], "access": "public" }])),
            ("/orders", json!([needs("GET", "order:read", Some("query.user_id"))])),
            ("/mine", json!([needs("GET", "order:read", Some("claim.customer"))])),
            ("/staff", json!([{ "methods": ["GET"], "access": "roles" }])),
            ("/signed-in", json!([{ "methods": ["*"], "access": "authenticated" }])),
        ] {
            app.route_to(&admin, "recorder", upstream.address, path, operations).await;
        }
        let world = Self { app, admin, _upstream: upstream, _policies: policies };
        for permission in ["article:delete", "article:update", "article:create"] {
            world.grant("user", permission).await;
        }
        world
    }

    fn caller(&self) -> Caller<'_> {
        Caller { app: &self.app, token: self.admin.clone() }
    }

    async fn grant(&self, role: &str, permission: &str) {
        let (role, id) = (self.app.role(&self.admin, role).await, self.app.permission(&self.admin, permission).await);
        self.caller().call("POST", &format!("/roles/{role}/permissions/{id}")).await.expect(200);
    }

    /// The id of the permission to read one's own orders.
    async fn own_orders(&self) -> i64 {
        self.app.permission(&self.admin, "order:read:own").await
    }

    /// The id of the route of this path.
    async fn route(&self, path: &str) -> i64 {
        let all = self.caller().get("/routes/?limit=1000").await.expect(200).json();
        id(all.as_array().unwrap().iter().find(|route| route["route"] == path).unwrap())
    }

    async fn explain(&self, body: Value) -> Value {
        self.caller().post("/explain", body).await.expect(200).json()
    }

    /// What is told of a request that was made; it is remembered once it has ended, which may be after its answer.
    async fn recall(&self, request_id: &str) -> Value {
        let asked = Instant::now();
        loop {
            let answer = self.caller().post("/explain", json!({ "request_id": request_id })).await;
            if answer.status != 404 || asked.elapsed() > Duration::from_secs(5) {
                return answer.expect(200).json();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A real request to the gateway: its id, status and reason.
    async fn made(&self, user: Option<&str>, claims: &Value, method: &str, target: &str) -> (String, u16, String) {
        let bearer = user.map(|name| format!("Authorization: Bearer {}\r\n", token(name, claims)));
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: gate.example\r\n{}Connection: close\r\n\r\n",
            bearer.unwrap_or_default()
        );
        let answer = until_closed(self.app.gateway, head.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {target}: {answer}"));
        let id = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-request-id").then(|| value.to_owned())
        });
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let reason = problem["reason"].as_str().unwrap_or("allowed").to_owned();
        (id.unwrap(), status(&answer), reason)
    }
}

/// A token as the service signs it, which says `claims` too.
fn token(user: &str, claims: &Value) -> String {
    let mut all = json!({ "sub": user, "exp": cedargate::model::Timestamp::now().unix_seconds() + 60 });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    jsonwebtoken::encode(&Header::default(), &all, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

on_both!(the_gateway_does_what_is_told, |backend| async move {
    let world = World::start(backend).await;
    world.caller().put("/users/3", json!({ "is_active": false })).await.expect(200);
    let none = json!({});
    let mfa = json!({ "amr": ["pwd", "mfa"] });
    let customer = |customer: Value| json!({ "customer": customer });
    let (user, admin, inactive) = (Some("testuser"), Some("superadmin"), Some("user"));
    let cases = [
        (None, &none, "GET", "/demo/public", "allowed"),
        (None, &none, "GET", "/things/a/b", "allowed"),
        (user, &none, "GET", "/demo/articles?x=1", "allowed"),
        (user, &none, "HEAD", "/demo/articles", "allowed"),
        (user, &none, "GET", "/demo/articles/caf%C3%A9", "allowed"),
        (user, &none, "BREW", "/signed-in", "allowed"),
        (user, &none, "GET", "/orders?user_id=4", "allowed"),
        (user, &customer(json!(4)), "GET", "/mine", "allowed"),
        (user, &mfa, "DELETE", "/things/1", "allowed"),
        (user, &json!({ "tenant": "acme" }), "POST", "/things/1", "allowed"),
        (None, &none, "GET", "/demo/articles", "no_credentials"),
        (None, &none, "GET", "/orders?user_id=1&user_id=2", "no_credentials"),
        (None, &none, "GET", "/staff", "no_credentials"),
        (None, &none, "BREW", "/signed-in", "no_credentials"),
        (user, &none, "PATCH", "/things/1", "no_grant"),
        (user, &none, "GET", "/orders?user_id=3", "no_grant"),
        (user, &none, "GET", "/orders", "no_grant"),
        (user, &customer(json!("04")), "GET", "/mine", "no_grant"),
        (user, &none, "GET", "/staff", "no_grant"),
        (admin, &none, "PATCH", "/things/1", "no_grant"),
        (user, &none, "DELETE", "/things/1", "forbidden_by_policy"),
        (admin, &none, "DELETE", "/things/1", "forbidden_by_policy"),
        (user, &json!({ "tenant": "other" }), "POST", "/things/1", "forbidden_by_policy"),
        (user, &none, "PUT", "/things/1", "policy_error"),
        (user, &none, "GET", "/nowhere", "unknown_route"),
        (None, &none, "GET", "/things/", "unknown_route"),
        (user, &none, "POST", "/orders", "method_not_allowed"),
        (None, &none, "PUT", "/demo/public", "method_not_allowed"),
        (None, &none, "TRACE", "/demo/public", "method_not_allowed"),
        (user, &none, "GET", "/demo/%2e%2e/articles", "bad_target"),
        (None, &none, "GET", "/demo//public", "bad_target"),
        (user, &none, "GET", "/orders?user_id=4&USER_ID=1", "bad_request"),
        (inactive, &none, "GET", "/demo/articles", "user_inactive"),
        (inactive, &none, "GET", "/demo/public", "user_inactive"),
        (inactive, &none, "GET", "/orders?user_id=1&user_id=2", "user_inactive"),
    ];
    for (user, claims, method, target, reason) in cases {
        let case = format!("{user:?} {claims} {method} {target}");
        let (request_id, status, given) = world.made(user, claims, method, target).await;
        assert_eq!(given, reason, "{case}");
        let context = if user.is_some() { json!({ "claims": claims }) } else { none.clone() };
        let url = format!("http://gate.example{target}");
        let body = json!({ "user": user.unwrap_or("-"), "method": method, "url": url, "context": context });
        let told = world.explain(body).await;
        assert_eq!((&told["reason"], &told["status"]), (&json!(reason), &json!(status)), "{case}");
        assert_eq!(told["decision"], if reason == "allowed" { "allow" } else { "deny" }, "{case}");

        let recalled = world.recall(&request_id).await;
        for key in ["reason", "status", "decision", "policy_revision", "route", "operation", "policies", "errors"] {
            assert_eq!(recalled[key], told[key], "{case}: {key}");
        }
        assert_eq!(recalled["request"]["status"], status, "{case}");
        assert_eq!(recalled["request"]["path"], target.split('?').next().unwrap(), "{case}");
        assert_eq!(recalled.get("now"), None, "{case}");
        assert_eq!(recalled["suggestions"], told["suggestions"], "{case}");
        let names = |told: &Value| told["principal"]["username"].clone();
        if !matches!(reason, "bad_target" | "unknown_route" | "method_not_allowed") {
            assert_eq!((names(&recalled), names(&told)), (json!(user), json!(user)), "{case}");
        }
    }
});

on_both!(what_would_help_is_tried_out, |backend| async move {
    let world = World::start(backend).await;
    let ask = async |method: &str, url: &str| {
        let told = world.explain(json!({ "user": "testuser", "method": method, "url": url })).await;
        (told["reason"].as_str().unwrap().to_owned(), told["suggestions"].clone())
    };
    let grant = |permission: &str| json!([{ "role": "user", "permission": permission }]);
    let missing = |suggestions| ("no_grant".to_owned(), suggestions);
    let admin = world.caller();
    let user = world.app.role(&world.admin, "user").await;

    // What is owned needs less, also where that smaller permission does not exist yet.
    assert_eq!(ask("PATCH", "/things/1").await, missing(grant("article:share")));
    world.caller().delete(&format!("/roles/{user}/permissions/{}", world.own_orders().await)).await.expect(200);
    assert_eq!(ask("GET", "/orders?user_id=4").await, missing(grant("order:read:own")));
    assert_eq!(ask("GET", "/orders?user_id=3").await, missing(grant("order:read")));
    // A grant of what is switched off would be in vain.
    let own = world.own_orders().await;
    admin.call("PATCH", &format!("/permissions/{own}/toggle-status")).await.expect(200);
    assert_eq!(ask("GET", "/orders?user_id=4").await, missing(grant("order:read")));

    // So would one where a policy forbids: that this is the next obstacle shows once the grant is taken away.
    let delete = world.app.permission(&world.admin, "article:delete").await;
    admin.delete(&format!("/roles/{user}/permissions/{delete}")).await.expect(200);
    assert_eq!(ask("DELETE", "/things/1").await, ("forbidden_by_policy".to_owned(), json!([])));
    let body = json!({ "user": "testuser", "method": "DELETE", "url": "/things/1", "context": { "mfa": true } });
    assert_eq!(world.explain(body).await["suggestions"], grant("article:delete"));

    // Roles are told by the way in which they are held, and those that are inherited come last.
    let parent = id(&admin.made("/roles/", json!({ "name": "base" })).await);
    admin.call("POST", &format!("/roles/{user}/parents/{parent}")).await.expect(200);
    let told = world.explain(json!({ "user": "testuser", "method": "PATCH", "url": "/things/1" })).await;
    let roles = json!([{ "name": "base", "via": ["user"] }, { "name": "user", "via": [] }]);
    assert_eq!(told["principal"]["roles"], roles);
    let both = json!([
        { "role": "user", "permission": "article:share" }, { "role": "base", "permission": "article:share" },
    ]);
    assert_eq!(told["suggestions"], both);

    // Where roles are asked for, a role is what helps; one that is inactive would not.
    assert_eq!(ask("GET", "/staff").await, missing(json!([])));
    let staff = world.route("/staff").await;
    for name in ["clerk", "asleep"] {
        let role = id(&admin.made("/roles/", json!({ "name": name })).await);
        admin.call("POST", &format!("/routes/{staff}/roles/{role}")).await.expect(200);
        if name == "asleep" {
            admin.call("PATCH", &format!("/roles/{role}/toggle-status")).await.expect(200);
        }
    }
    assert_eq!(ask("GET", "/staff").await, missing(json!([{ "role": "clerk", "permission": null }])));
    // Nobody is nobody's role.
    let anonymous = world.explain(json!({ "user": "-", "method": "GET", "url": "/staff" })).await;
    assert_eq!((&anonymous["suggestions"], &anonymous["principal"]), (&json!([]), &Value::Null));
});

on_both!(what_decided_is_told_with_its_text, |backend| async move {
    let world = World::start(backend).await;
    let ask = async |method: &str, url: &str| {
        world.explain(json!({ "user": "testuser@gmail.com", "method": method, "url": url })).await
    };
    let allowed = ask("GET", "/demo/articles").await;
    assert_eq!(allowed["policies"][0]["name"], "user may article:read");
    assert!(allowed["policies"][0]["source"].as_str().unwrap().contains("principal in Role::\"user\""), "{allowed}");
    assert_eq!(
        allowed["principal"],
        json!({
            "id": 4, "username": "testuser", "roles": [{ "name": "user", "via": [] }],
        })
    );
    let public = ask("GET", "/things/x").await;
    assert_eq!((&public["reason"], &public["operation"]), (&json!("method_not_allowed"), &Value::Null));
    assert_eq!(public["candidates"].as_array().unwrap().len(), 1, "{public}");
    assert_eq!(public["candidates"][0]["route"], "/things/{*rest}");
    let deeper = ask("GET", "/things/x/y").await;
    let route = deeper["route"]["id"].as_i64().unwrap();
    assert_eq!(deeper["policies"][0]["id"], format!("route:{route}:GET"));

    let forbidden = ask("DELETE", "/things/1").await;
    let policy = &forbidden["policies"][0];
    assert_eq!((&policy["id"], &policy["effect"]), (&json!("policy:no_deletes"), &json!("forbid")));
    assert!(policy["source"].as_str().unwrap().contains("context.mfa"), "{policy}");
    let failed = ask("PUT", "/things/1").await;
    assert_eq!(failed["errors"][0]["policy"], "policy:broken");
    assert!(failed["errors"][0]["message"].as_str().unwrap().contains("overflow"), "{failed}");
});

on_both!(the_paths_of_the_admin_service_are_decided_too, |backend| async move {
    let world = World::start(backend).await;
    let superadmin = Some("superadmin");
    for (user, method, path, reason, permission) in [
        (Some("testuser"), "GET", "/api/v1/users/", "allowed", json!("user:read")),
        (Some("testuser"), "GET", "/api/v1/users", "allowed", json!("user:read")),
        (Some("testuser"), "HEAD", "/api/v1/users", "allowed", json!("user:read")),
        (Some("testuser"), "PUT", "/api/v1/users/1", "no_grant", json!("user:update")),
        (Some("testuser"), "GET", "/api/v1/auth/me", "allowed", Value::Null),
        (Some("testuser"), "PATCH", "/api/v1/users/count", "method_not_allowed", Value::Null),
        (superadmin, "DELETE", "/api/v1/users/999", "forbidden_by_policy", json!("user:delete")),
        (None, "GET", "/api/v1/users", "no_credentials", json!("user:read")),
        (None, "GET", "/api/v1/auth/me", "no_credentials", Value::Null),
        (None, "GET", "/health", "allowed", Value::Null),
        (None, "GET", "/openapi.json", "allowed", Value::Null),
    ] {
        let body = json!({ "user": user.unwrap_or("-"), "method": method, "url": path });
        let told = world.explain(body).await;
        assert_eq!((&told["reason"], &told["permission"]), (&json!(reason), &permission), "{method} {path}");
        assert_eq!(told["route"]["id"], Value::Null, "{method} {path}");
        let (request_id, status, _) = world.made(user, &json!({}), method, path).await;
        assert_eq!(told["status"], status, "{method} {path}");
        if status == 403 {
            let recalled = world.recall(&request_id).await;
            for key in ["reason", "status", "decision", "route", "operation", "permission", "policies", "suggestions"] {
                assert_eq!(recalled[key], told[key], "{method} {path}: {key}");
            }
            assert_eq!(recalled["principal"]["username"], json!(user), "{method} {path}");
        }
    }
    let told = world.explain(json!({ "user": "testuser", "method": "DELETE", "url": "/api/v1/roles/1" })).await;
    // The policy about deletes would be in the way of any grant.
    assert_eq!((&told["reason"], &told["suggestions"]), (&json!("forbidden_by_policy"), &json!([])));
    let told = world.explain(json!({ "user": "testuser", "method": "PUT", "url": "/api/v1/roles/1" })).await;
    assert_eq!(told["suggestions"], json!([{ "role": "user", "permission": "role:update" }]));
});

on_both!(everybody_may_ask_about_themselves, |backend| async move {
    let world = World::start(backend).await;
    let user = Caller::demo(&world.app, "testuser").await;
    let article = json!({ "method": "get", "url": "/demo/articles" });
    let own = user.post("/explain", article.clone()).await.expect(200).json();
    assert_eq!((&own["decision"], &own["principal"]["username"]), (&json!("allow"), &json!("testuser")));
    for name in ["testuser", "TestUser@gmail.com", "4"] {
        let asked = user.get(&format!("/explain?user={name}&method=GET&url=/demo/articles")).await.expect(200);
        assert_eq!(asked.json()["principal"]["id"], 4, "{name}");
    }
    let context = "context=%7B%22mfa%22%3Atrue%7D";
    let deleted = user.get(&format!("/explain?method=DELETE&url=/things/1&{context}")).await.expect(200);
    assert_eq!(deleted.json()["reason"], "allowed");
    // Whether others exist is not told.
    for name in ["superadmin", "1", "nobody", "-"] {
        let asked = user.get(&format!("/explain?user={name}&method=GET&url=/demo/articles")).await;
        refused(asked, 403, "Permission 'policy:read' required for this action");
    }
    let admin = world.caller();
    refused(admin.get("/explain?user=nobody&method=GET&url=/").await, 404, "User not found");
    assert_eq!(admin.get("/explain?method=GET&url=/").await.expect(200).json()["principal"]["username"], "superadmin");

    // Requests of others are as unknown as those that never were.
    let (own, ..) = world.made(Some("testuser"), &json!({}), "GET", "/demo/articles").await;
    let (other, ..) = world.made(Some("superadmin"), &json!({}), "GET", "/demo/articles").await;
    let (nobody, ..) = world.made(None, &json!({}), "GET", "/demo/articles").await;
    for id in [&own, &other, &nobody] {
        world.recall(id).await;
    }
    user.get(&format!("/explain?request_id={own}")).await.expect(200);
    for id in [other.as_str(), &nobody, "00000000-0000-0000-0000-000000000000", "%C3%A9"] {
        let asked = user.get(&format!("/explain?request_id={id}")).await;
        refused(asked, 404, "Unknown request: this node keeps the last 10000 of its own");
    }
});

on_both!(what_has_changed_since_is_told, |backend| async move {
    let world = World::start(backend).await;
    let admin = world.caller();
    let user = world.app.role(&world.admin, "user").await;
    let own = world.own_orders().await;
    let (id, status, _) = world.made(Some("testuser"), &json!({}), "GET", "/orders?user_id=4").await;
    assert_eq!(status, 200);
    let then = world.recall(&id).await;
    assert_eq!(then.get("now"), None);
    let revoked = admin.delete(&format!("/roles/{user}/permissions/{own}")).await.expect(200);
    let revision: i64 = revoked.header("x-policy-revision").unwrap().parse().unwrap();
    let told = world.recall(&id).await;
    assert_eq!(told["now"], json!({ "decision": "deny", "reason": "no_grant", "policy_revision": revision }));
    for key in ["decision", "reason", "status", "policy_revision", "route", "request"] {
        assert_eq!(told[key], then[key], "{key}");
    }
    assert_eq!(told["policies"], then["policies"]);
    // Without the permission there is no text any more, only the name of what decided then.
    admin.delete(&format!("/permissions/{own}")).await.expect(200);
    let grant = format!("grant:{user}:{own}");
    let policies = json!([{ "id": grant, "name": grant, "effect": null, "source": null }]);
    assert_eq!(world.recall(&id).await["policies"], policies);

    // A route that asks for another parameter cannot be answered for: the query is not kept.
    let route = world.route("/orders").await;
    let operations = json!([{
        "methods": ["GET"], "access": "permission", "permission": "order:read", "owner": "query.customer",
    }]);
    admin.put(&format!("/routes/{route}"), json!({ "operations": operations })).await.expect(200);
    assert_eq!(world.recall(&id).await.get("now"), None);

    let (denied, ..) = world.made(Some("testuser"), &json!({}), "PATCH", "/things/1").await;
    admin.made("/permissions/", json!({ "name": "article:share" })).await;
    world.grant("user", "article:share").await;
    assert_eq!(world.recall(&denied).await["now"]["decision"], "allow");
    admin.put("/users/4", json!({ "is_active": false })).await.expect(200);
    assert_eq!(world.recall(&denied).await["now"]["reason"], "user_inactive");
});

on_both!(as_many_requests_are_kept_as_are_wanted, |backend| async move {
    let forget = "CEDARGATE_EXPLAIN__RECENT_REQUESTS";
    let app = App::start_with(backend, &[(forget, "0")]).await;
    let asked = Caller::superadmin(&app).await.get("/explain?request_id=a").await;
    refused(asked, 404, "This node keeps no recent requests: explain.recent_requests is 0");

    let app = App::start_with(backend, &[(forget, "2")]).await;
    let admin = Caller::superadmin(&app).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = app.gateway("GET", "/demo/public?token=secret").await.expect(200);
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    let asked = Instant::now();
    let told = loop {
        let answer = admin.get(&format!("/explain?request_id={}", ids[2])).await;
        if answer.status == 200 || asked.elapsed() > Duration::from_secs(5) {
            break answer.expect(200);
        }
    };
    // Of a query nothing is kept.
    assert!(!told.text.contains("secret"), "{}", told.text);
    refused(
        admin.get(&format!("/explain?request_id={}", ids[0])).await,
        404,
        "Unknown request: this node keeps the last 2 of its own",
    );
});

on_both!(bad_questions_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ask = async |body: Value| issues(admin.post("/explain", body).await);
    assert_eq!(ask(json!({})).await, ["missing body.method: Field required"]);
    assert_eq!(ask(json!({ "method": "GET" })).await, ["missing body.url: Field required"]);
    let with = |context: Value| json!({ "method": "GET", "url": "/", "context": context });
    for (body, told) in [
        (
            json!({ "method": "GE T", "url": "/" }),
            "value_error body.method: Value error, a method has 1 to 32 letters, - or _",
        ),
        (
            json!({ "method": "GET", "url": "articles" }),
            "value_error body.url: Value error, neither a path that begins with / nor an address that begins with http:// \
             or https://",
        ),
        (json!({ "method": "GET", "url": "/", "who": 1 }), "extra_forbidden body.who: Extra inputs are not permitted"),
        (
            json!({ "method": "GET", "url": "http://a/", "context": { "host": "b" } }),
            "value_error body.context: Value error, host: the address names one already",
        ),
        (with(json!({ "scopes": ["a b"] })), "value_error body.context: Value error, scopes: 'a b' is not one word"),
        (
            json!({ "user": "-", "method": "GET", "url": "/", "context": { "mfa": true } }),
            "value_error body.context: Value error, without a user there is no token that could have claims",
        ),
    ] {
        assert_eq!(ask(body).await, [told]);
    }
    for context in [json!({ "colour": "red" }), json!({ "client_ip": "here" }), json!({ "mfa": 1 }), json!([])] {
        let issues = ask(with(context)).await;
        assert!(issues.len() == 1 && issues[0].starts_with("value_error body.context"), "{issues:?}");
    }
    for context in ["red", "%7B%22colour%22%3A1%7D", "%5B%5D"] {
        let issues = issues(admin.get(&format!("/explain?method=GET&url=/&context={context}")).await);
        assert!(issues.len() == 1 && issues[0].starts_with("value_error query.context"), "{issues:?}");
    }
});

on_both!(certificates_are_asked_about, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let source = "forbid (principal, action, resource is Endpoint in Resource::\"article\")
        unless { context has client_certificate && context.client_certificate.subject == \"CN=a,O=b\" };";
    admin.made("/policies/", json!({ "name": "known_machines", "source": source })).await;
    let refused = app.gateway("GET", "/demo/articles").bearer(&app.token("testuser").await).await;
    assert_eq!(refused.expect(403).json()["reason"], "forbidden_by_policy");
    let question = json!({ "user": "testuser", "method": "GET", "url": "/demo/articles" });
    let ask = async |context: Value| {
        let mut question = question.clone();
        question["context"] = context;
        admin.post("/explain", question).await.expect(200).json()["reason"].clone()
    };
    assert_eq!(ask(json!({})).await, "forbidden_by_policy");
    assert_eq!(ask(json!({ "client_certificate": { "subject": "CN=a" } })).await, "forbidden_by_policy");
    assert_eq!(ask(json!({ "client_certificate": { "subject": "CN=a,O=b" } })).await, "allowed");
    let mut misspelt = question.clone();
    misspelt["context"] = json!({ "client_certificate": { "fingerprint": "AB" } });
    let told =
        "value_error body.context: Value error, client_certificate: fingerprint: 64 lower-case hexadecimal digits";
    assert_eq!(issues(admin.post("/explain", misspelt).await), [told]);
});
