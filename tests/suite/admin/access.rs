//! Who may call which endpoint, for every endpoint there is.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, issues, keys, refused};
use crate::support::app::{Answer, App, SECRET};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Public,
    SignedIn,
    Needs(&'static str),
}

use Access::{Needs, Public, SignedIn};

/// Every endpoint: path, and its methods with what they ask for.
const ENDPOINTS: &[(&str, &[(&str, Access)])] = &[
    ("/auth/login", &[("POST", Public)]),
    ("/auth/refresh", &[("POST", Public)]),
    ("/auth/logout", &[("POST", SignedIn)]),
    ("/auth/register", &[("POST", Public)]),
    ("/auth/public-register", &[("POST", Public)]),
    ("/auth/me", &[("GET", SignedIn), ("PUT", SignedIn)]),
    ("/users/me", &[("GET", SignedIn), ("PUT", SignedIn)]),
    ("/auth/change-password", &[("POST", SignedIn)]),
    ("/auth/permissions", &[("GET", SignedIn)]),
    ("/auth/verify-token", &[("POST", SignedIn)]),
    ("/auth/check-permission", &[("POST", SignedIn)]),
    ("/users", &[("GET", Needs("user:read")), ("POST", Needs("user:create"))]),
    ("/users/count", &[("GET", Needs("user:read"))]),
    (
        "/users/{user_id}",
        &[
            ("GET", Needs("user:read")),
            ("PUT", Needs("user:update")),
            ("PATCH", Needs("user:update")),
            ("DELETE", Needs("user:delete")),
        ],
    ),
    ("/users/bulk-create", &[("POST", Needs("user:create"))]),
    ("/users/bulk-delete", &[("POST", Needs("user:delete"))]),
    ("/users/bulk-status", &[("POST", Needs("user:update"))]),
    ("/users/bulk-roles", &[("POST", Needs("user:update"))]),
    ("/users/get-one/{user_id}", &[("GET", Needs("user:read")), ("PUT", Needs("user:update"))]),
    ("/users/{user_id}/toggle-status", &[("PATCH", Needs("user:update"))]),
    ("/users/{user_id}/activate", &[("POST", Needs("user:update"))]),
    ("/users/{user_id}/deactivate", &[("POST", Needs("user:update"))]),
    ("/users/{user_id}/restore", &[("POST", Needs("user:update"))]),
    ("/users/{user_id}/roles", &[("GET", Needs("user:read"))]),
    ("/users/{user_id}/roles/{role_id}", &[("POST", Needs("user:update")), ("DELETE", Needs("user:update"))]),
    ("/roles", &[("GET", Needs("role:read")), ("POST", Needs("role:create"))]),
    ("/roles/count", &[("GET", Needs("role:read"))]),
    ("/roles/create-minimal", &[("POST", Needs("role:create"))]),
    ("/roles/templates", &[("GET", Needs("role:read"))]),
    ("/roles/from-template/{template}", &[("POST", Needs("role:create"))]),
    ("/roles/hierarchy", &[("GET", Needs("role:read"))]),
    ("/roles/bulk-delete", &[("POST", Needs("role:delete"))]),
    ("/roles/bulk-status", &[("POST", Needs("role:update"))]),
    (
        "/roles/{role_id}",
        &[("GET", Needs("role:read")), ("PUT", Needs("role:update")), ("DELETE", Needs("role:delete"))],
    ),
    ("/roles/{role_id}/toggle-status", &[("PATCH", Needs("role:update"))]),
    ("/roles/{role_id}/restore", &[("POST", Needs("role:update"))]),
    ("/roles/{role_id}/permissions", &[("GET", Needs("role:read")), ("PUT", Needs("role:update"))]),
    ("/roles/{role_id}/permissions/bulk", &[("POST", Needs("role:update"))]),
    ("/roles/{role_id}/available-permissions", &[("GET", Needs("role:read"))]),
    ("/roles/{role_id}/effective-permissions", &[("GET", Needs("role:read"))]),
    ("/roles/{role_id}/parents", &[("GET", Needs("role:read"))]),
    ("/roles/{role_id}/parents/{parent_id}", &[("POST", Needs("role:update")), ("DELETE", Needs("role:update"))]),
    (
        "/roles/{role_id}/permissions/{permission_id}",
        &[("POST", Needs("role:update")), ("DELETE", Needs("role:update"))],
    ),
    ("/permissions", &[("GET", Needs("permission:read")), ("POST", Needs("permission:create"))]),
    ("/permissions/count", &[("GET", Needs("permission:read"))]),
    ("/permissions/categories", &[("GET", Needs("permission:read"))]),
    ("/permissions/category/{category}", &[("GET", Needs("permission:read"))]),
    ("/permissions/by-category/{category}", &[("GET", Needs("permission:read"))]),
    ("/permissions/by-resource/{resource}", &[("GET", Needs("permission:read"))]),
    ("/permissions/grouped", &[("GET", Needs("permission:read"))]),
    ("/permissions/my-permissions", &[("GET", SignedIn)]),
    ("/permissions/bulk-delete", &[("POST", Needs("permission:delete"))]),
    ("/permissions/bulk-status", &[("POST", Needs("permission:update"))]),
    ("/permissions/{permission_id}/toggle-status", &[("PATCH", Needs("permission:update"))]),
    ("/permissions/{permission_id}/restore", &[("POST", Needs("permission:update"))]),
    (
        "/permissions/{permission_id}",
        &[
            ("GET", Needs("permission:read")),
            ("PUT", Needs("permission:update")),
            ("DELETE", Needs("permission:delete")),
        ],
    ),
    ("/permissions/get-one/{permission_id}", &[("GET", Needs("permission:read")), ("PUT", Needs("permission:update"))]),
    ("/modules", &[("GET", Needs("module:read")), ("POST", Needs("module:create"))]),
    ("/modules/count", &[("GET", Needs("module:read"))]),
    (
        "/modules/{module_id}",
        &[("GET", Needs("module:read")), ("PUT", Needs("module:update")), ("DELETE", Needs("module:delete"))],
    ),
    ("/modules/get-one/{module_id}", &[("GET", Needs("module:read")), ("PUT", Needs("module:update"))]),
    ("/modules/active", &[("GET", Needs("module:read"))]),
    ("/modules/reorder", &[("PATCH", Needs("module:update"))]),
    ("/modules/bulk-delete", &[("POST", Needs("module:delete"))]),
    ("/modules/bulk-status", &[("POST", Needs("module:update"))]),
    ("/modules/{module_id}/routes", &[("GET", Needs("module:read"))]),
    ("/modules/{module_id}/toggle-status", &[("PATCH", Needs("module:update"))]),
    ("/modules/{module_id}/restore", &[("POST", Needs("module:update"))]),
    ("/routes", &[("GET", Needs("route:read")), ("POST", Needs("route:create"))]),
    ("/routes/count", &[("GET", Needs("route:read"))]),
    (
        "/routes/{route_id}",
        &[("GET", Needs("route:read")), ("PUT", Needs("route:update")), ("DELETE", Needs("route:delete"))],
    ),
    ("/routes/get-one/{route_id}", &[("GET", Needs("route:read")), ("PUT", Needs("route:update"))]),
    ("/routes/sidebar", &[("GET", SignedIn)]),
    ("/routes/check", &[("GET", SignedIn)]),
    ("/routes/tree", &[("GET", Needs("route:read"))]),
    ("/routes/top-level", &[("GET", Needs("route:read"))]),
    ("/routes/module/{module_id}", &[("GET", Needs("route:read"))]),
    ("/routes/parent/{parent_id}/children", &[("GET", Needs("route:read"))]),
    ("/routes/reorder", &[("PATCH", Needs("route:update"))]),
    ("/routes/bulk-delete", &[("POST", Needs("route:delete"))]),
    ("/routes/bulk-status", &[("POST", Needs("route:update"))]),
    ("/routes/{route_id}/breadcrumbs", &[("GET", Needs("route:read"))]),
    ("/routes/{route_id}/toggle-status", &[("PATCH", Needs("route:update"))]),
    ("/routes/{route_id}/toggle-sidebar", &[("PATCH", Needs("route:update"))]),
    ("/routes/{route_id}/restore", &[("POST", Needs("route:update"))]),
    ("/routes/{route_id}/roles/{role_id}", &[("POST", Needs("route:update")), ("DELETE", Needs("route:update"))]),
    ("/upstreams", &[("GET", Needs("upstream:read")), ("POST", Needs("upstream:create"))]),
    ("/upstreams/count", &[("GET", Needs("upstream:read"))]),
    (
        "/upstreams/{upstream_id}",
        &[("GET", Needs("upstream:read")), ("PUT", Needs("upstream:update")), ("DELETE", Needs("upstream:delete"))],
    ),
    ("/upstreams/{upstream_id}/restore", &[("POST", Needs("upstream:update"))]),
    ("/audit-logs", &[("GET", Needs("audit:read"))]),
    ("/audit-logs/count", &[("GET", Needs("audit:read"))]),
    ("/audit-logs/{record_id}", &[("GET", Needs("audit:read"))]),
    ("/system/log-level", &[("GET", Needs("system:read")), ("PUT", Needs("system:manage"))]),
];

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Every method on every path, with an id that nothing has.
fn requests() -> impl Iterator<Item = (&'static str, String, Option<Access>)> {
    ENDPOINTS.iter().flat_map(|(template, methods)| {
        let fill = |segment| if str::starts_with(segment, '{') { "999999999" } else { segment };
        let path = template.split('/').map(fill).collect::<Vec<_>>().join("/");
        METHODS.iter().map(move |method| {
            let access = methods.iter().find(|(known, _)| known == method).map(|(_, access)| *access);
            (*method, path.clone(), access)
        })
    })
}

/// The same request at the admin listener and, by way of the gateway, again.
async fn twice(app: &App, method: &str, path: &str, token: Option<&str>) -> Answer {
    let send = async |request: crate::support::app::Call| {
        let request = if method == "GET" { request } else { request.json(json!({})) };
        match token {
            Some(token) => request.bearer(token).await,
            None => request.await,
        }
    };
    let direct = send(app.admin(method, path)).await;
    let mounted = send(app.gateway(method, &format!("/api/v1{path}"))).await;
    let scene = |answer: &Answer| {
        let mut body = serde_json::from_str::<Value>(&answer.text).unwrap_or_default();
        if let Some(body) = body.as_object_mut() {
            // What differs from one request to the next.
            body.shift_remove("request_id");
            body.shift_remove("updated_at");
        }
        let headers = ["www-authenticate", "content-type", "allow"].map(|name| answer.header(name).map(str::to_owned));
        (answer.status, headers, body)
    };
    assert_eq!(scene(&direct), scene(&mounted), "{method} {path}");
    direct
}

#[test]
fn every_endpoint_is_listed_here() {
    let mounted = cedargate::admin::mounted_paths("/api/v1");
    let mounted: BTreeSet<&str> = mounted.iter().map(|path| path.template.as_str().trim_end_matches('/')).collect();
    let listed: Vec<String> = ENDPOINTS.iter().map(|(path, _)| format!("/api/v1{path}")).collect();
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).chain(["/health"]).collect();
    assert_eq!(mounted, listed);
}

on_both!(nobody_gets_in_without_a_token, |backend| async move {
    let app = App::start(backend).await;
    for (method, path, access) in requests() {
        let answer = twice(&app, method, &path, None).await;
        match access {
            Some(Public) => assert_eq!(answer.status, 422, "{method} {path}"),
            Some(_) => {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
                let body = answer.json();
                assert_eq!((&body["path"], &body["method"]), (&json!(format!("/api/v1{path}")), &json!(method)));
                refused(answer, 401, "Not authenticated");
            }
            None => {
                let answer = answer.expect(405);
                assert!(answer.header("allow").is_some(), "{method} {path}");
                let body = answer.json();
                assert_eq!((keys(&body)[0], &body["detail"]), ("detail", &json!("Method Not Allowed")));
            }
        }
    }
    let missing = app.admin("GET", "/nothing").await.expect(404);
    assert_eq!((missing.header("x-request-id").is_some(), &missing.json()["detail"]), (true, &json!("Not Found")));
});

on_both!(a_permission_is_asked_for_everywhere, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    admin.user("nobody", &[]).await;
    let nobody = app.token_with("nobody", PASSWORD).await;
    for (method, path, access) in requests().filter(|(_, path, _)| path != "/auth/logout") {
        let answer = match access {
            Some(Needs(_)) => twice(&app, method, &path, Some(&nobody)).await,
            Some(SignedIn) => {
                let answer = twice(&app, method, &path, Some(&nobody)).await;
                // Some need a body, of which they may complain then.
                assert!([200, 422].contains(&answer.status), "{method} {path}: {}", answer.text);
                answer
            }
            Some(Public) | None => continue,
        };
        if let Some(Needs(permission)) = access {
            refused(answer, 403, &format!("Permission '{permission}' required for this action"));
        }
        let superadmin = twice(&app, method, &path, Some(&admin.token)).await;
        assert!(![401, 403, 500].contains(&superadmin.status), "{method} {path}: {}", superadmin.text);
    }
    // One permission opens its own endpoints and no others.
    let role = id(&admin.made("/roles/", json!({ "name": "auditor" })).await);
    admin.user("auditor", &[role]).await;
    let auditor = app.token_with("auditor", PASSWORD).await;
    let permission = app.permission(&admin.token, "role:read").await;
    admin.call("POST", &format!("/roles/{role}/permissions/{permission}")).await.expect(200);
    for (method, path, access) in requests() {
        let Some(Needs(needed)) = access else { continue };
        let answer = app.admin(method, &path).bearer(&auditor).json(json!({})).await;
        assert_eq!(answer.status != 403, needed == "role:read", "{method} {path}: {}", answer.text);
    }
});

fn signed(claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn in_seconds(seconds: i64) -> i64 {
    cedargate::model::Timestamp::now().unix_seconds() + seconds
}

on_both!(tokens_that_are_no_good_are_told_apart, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let token = async |name| app.token_with(name, PASSWORD).await;
    let (disabled, deleted, ended, changed) = {
        let mut ids = BTreeMap::new();
        for name in ["disabled", "deleted", "ended", "changed"] {
            ids.insert(name, admin.user(name, &[3]).await);
        }
        let tokens = (token("disabled").await, token("deleted").await, token("ended").await, token("changed").await);
        admin.put(&format!("/users/{}", ids["disabled"]), json!({ "is_active": false })).await.expect(200);
        admin.delete(&format!("/users/{}", ids["deleted"])).await.expect(200);
        app.admin("POST", "/auth/logout").bearer(&tokens.2).await.expect(200);
        admin.put(&format!("/users/{}", ids["changed"]), json!({ "password": "An0ther!pass" })).await.expect(200);
        tokens
    };
    let invalid = "Invalid authentication token";
    let whole = &admin.token;
    let forged = signed(&json!({ "sub": "superadmin", "exp": in_seconds(60) }), "another secret, of 32 bytes at least");
    let expired = signed(&json!({ "sub": "superadmin", "exp": in_seconds(-1) }), SECRET);
    let unknown = signed(&json!({ "sub": "stranger", "exp": in_seconds(60) }), SECRET);
    let endless = signed(&json!({ "sub": "superadmin" }), SECRET);
    let refresh = signed(&json!({ "sub": "superadmin", "exp": in_seconds(60), "type": "refresh" }), SECRET);
    let cut = &whole[..whole.len() - 3];
    for (token, detail) in [
        ("nonsense", invalid),
        ("a.b.c", invalid),
        (cut, invalid),
        (&forged, invalid),
        (&expired, invalid),
        (&endless, invalid),
        (&refresh, invalid),
        (&unknown, "User not found"),
        (&deleted, "User not found"),
        (&disabled, "User account is disabled"),
        (&ended, invalid),
        (&changed, invalid),
    ] {
        for (method, path) in [("GET", "/auth/me"), ("GET", "/roles/"), ("POST", "/users/")] {
            let answer = twice(&app, method, path, Some(token)).await;
            assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{token}");
            refused(answer, 401, detail);
        }
    }
});

on_both!(the_scheme_is_read_in_any_case_and_no_other_is, |backend| async move {
    let app = App::start(backend).await;
    let token = app.token("superadmin").await;
    let me = |value: String| app.admin("GET", "/auth/me").header("Authorization", &value);
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        me(format!("{scheme} {token}")).await.expect(200);
    }
    for value in [format!("Basic {token}"), token.clone(), "Bearer".to_owned(), "Bearer ".to_owned()] {
        me(value).await.expect(401);
    }
    let both = me(format!("Bearer {token}")).header("Authorization", &format!("Bearer {token}")).await;
    assert_eq!(both.status, 400, "{}", both.text);
});

on_both!(what_is_wrong_first_is_said_first, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = app.token("testuser").await;
    let put = |path: &str| app.admin("PUT", path).header("content-type", "application/json");
    // JSON syntax, then the token, then the permission, then the input, then existence, then rules.
    put("/roles/x").body("{").await.expect(422);
    put("/roles/x").body("{}").await.expect(401);
    put("/roles/x").bearer(&user).body("{}").await.expect(403);
    let all = issues(put("/roles/x").bearer(&admin.token).body(r#"{"name":1}"#).await);
    assert_eq!(
        all,
        [
            "int_parsing path.role_id: Input should be a valid integer, unable to parse string as an integer",
            "string_type body.name: Input should be a valid string",
        ]
    );
    refused(put("/roles/999").bearer(&admin.token).body("{}").await, 404, "Role not found");
    refused(put("/roles/1").bearer(&admin.token).body("{}").await, 400, "Cannot update system roles");
});
