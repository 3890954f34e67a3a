//! Who may call which endpoint, for every endpoint there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cedargate::admin::Access::{self, Needs, Public, PublicOr, SignedIn};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, issues, keys, refused};
use crate::support::app::{Answer, App, SECRET};

/// An operation: its path without a final slash, its place among methods, and who may call it.
struct Row(String, usize, Access);

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: ", self.0, METHODS[self.1])?;
        match self.2 {
            Public => f.write_str("anybody"),
            SignedIn => f.write_str("any user"),
            Needs(permission) => f.write_str(permission),
            PublicOr(permission) => write!(f, "anybody, or {permission}"),
        }
    }
}

/// What the program itself says about its operations.
static OPERATIONS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let row = |(method, path, access): (cedargate::admin::Method, &str, Access)| {
        let place = METHODS.iter().position(|known| *known == method.as_str()).unwrap();
        Row(path.trim_end_matches('/').to_owned(), place, access)
    };
    cedargate::admin::operation_list().into_iter().map(row).collect()
});

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Every method on every path, with an id that nothing has.
fn requests() -> impl Iterator<Item = (&'static str, String, Option<Access>)> {
    let paths: BTreeSet<&str> = OPERATIONS.iter().map(|Row(path, ..)| path.as_str()).collect();
    paths.into_iter().flat_map(|template| {
        let fill = |segment| if str::starts_with(segment, '{') { "999999999" } else { segment };
        let path = template.split('/').map(fill).collect::<Vec<_>>().join("/");
        METHODS.iter().enumerate().map(move |(place, method)| {
            let known = OPERATIONS.iter().find(|row| row.0 == template && row.1 == place);
            (*method, path.clone(), known.map(|row| row.2))
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

/// Every operation, and who may call it. What it says here is what the engine is asked for, see below.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_operation_is_listed_here() {
    let mut rows: Vec<String> = OPERATIONS.iter().map(Row::to_string).collect();
    rows.sort();
    insta::assert_snapshot!(rows.join("\n"), @r"
    /audit-logs GET: audit:read
    /audit-logs/count GET: audit:read
    /audit-logs/{record_id} GET: audit:read
    /auth/change-password POST: any user
    /auth/check-permission POST: any user
    /auth/forgot-password POST: anybody
    /auth/login POST: anybody
    /auth/logout POST: any user
    /auth/logout-all POST: any user
    /auth/me GET: any user
    /auth/me PUT: any user
    /auth/password-policy GET: anybody
    /auth/permissions GET: any user
    /auth/public-register POST: anybody
    /auth/refresh POST: anybody
    /auth/register POST: anybody, or user:create
    /auth/resend-verification POST: anybody
    /auth/reset-password POST: anybody
    /auth/sessions GET: any user
    /auth/sessions/{session_id} DELETE: any user
    /auth/verify-email POST: anybody
    /auth/verify-token POST: any user
    /config GET: system:read
    /explain GET: any user
    /explain POST: any user
    /issuers GET: issuer:read
    /issuers POST: issuer:create
    /issuers/{issuer_id} DELETE: issuer:delete
    /issuers/{issuer_id} GET: issuer:read
    /issuers/{issuer_id} PUT: issuer:update
    /keys GET: key:read
    /keys POST: key:create
    /keys/{key_id} DELETE: key:delete
    /keys/{key_id} GET: key:read
    /matrix GET: policy:read
    /modules GET: module:read
    /modules POST: module:create
    /modules/active GET: module:read
    /modules/bulk-delete POST: module:delete
    /modules/bulk-status POST: module:update
    /modules/count GET: module:read
    /modules/get-one/{module_id} GET: module:read
    /modules/get-one/{module_id} PUT: module:update
    /modules/reorder PATCH: module:update
    /modules/{module_id} DELETE: module:delete
    /modules/{module_id} GET: module:read
    /modules/{module_id} PUT: module:update
    /modules/{module_id}/restore POST: module:update
    /modules/{module_id}/routes GET: module:read
    /modules/{module_id}/toggle-status PATCH: module:update
    /permissions GET: permission:read
    /permissions POST: permission:create
    /permissions/bulk-delete POST: permission:delete
    /permissions/bulk-status POST: permission:update
    /permissions/by-category/{category} GET: permission:read
    /permissions/by-resource/{resource} GET: permission:read
    /permissions/categories GET: permission:read
    /permissions/category/{category} GET: permission:read
    /permissions/count GET: permission:read
    /permissions/get-one/{permission_id} GET: permission:read
    /permissions/get-one/{permission_id} PUT: permission:update
    /permissions/grouped GET: permission:read
    /permissions/my-permissions GET: any user
    /permissions/{permission_id} DELETE: permission:delete
    /permissions/{permission_id} GET: permission:read
    /permissions/{permission_id} PUT: permission:update
    /permissions/{permission_id}/restore POST: permission:update
    /permissions/{permission_id}/toggle-status PATCH: permission:update
    /policies GET: policy:read
    /policies POST: policy:create
    /policies/count GET: policy:read
    /policies/export GET: policy:read
    /policies/files GET: policy:read
    /policies/preview POST: policy:read
    /policies/schema GET: policy:read
    /policies/validate POST: policy:read
    /policies/{policy_id} DELETE: policy:delete
    /policies/{policy_id} GET: policy:read
    /policies/{policy_id} PATCH: policy:update
    /policies/{policy_id} PUT: policy:update
    /policies/{policy_id}/restore POST: policy:update
    /policies/{policy_id}/toggle-status PATCH: policy:update
    /roles GET: role:read
    /roles POST: role:create
    /roles/bulk-delete POST: role:delete
    /roles/bulk-status POST: role:update
    /roles/count GET: role:read
    /roles/create-minimal POST: role:create
    /roles/from-template/{template} POST: role:create
    /roles/hierarchy GET: role:read
    /roles/templates GET: role:read
    /roles/{role_id} DELETE: role:delete
    /roles/{role_id} GET: role:read
    /roles/{role_id} PUT: role:update
    /roles/{role_id}/available-permissions GET: role:read
    /roles/{role_id}/effective-permissions GET: role:read
    /roles/{role_id}/parents GET: role:read
    /roles/{role_id}/parents/{parent_id} DELETE: role:update
    /roles/{role_id}/parents/{parent_id} POST: role:update
    /roles/{role_id}/permissions GET: role:read
    /roles/{role_id}/permissions PUT: role:update
    /roles/{role_id}/permissions/bulk POST: role:update
    /roles/{role_id}/permissions/{permission_id} DELETE: role:update
    /roles/{role_id}/permissions/{permission_id} POST: role:update
    /roles/{role_id}/restore POST: role:update
    /roles/{role_id}/toggle-status PATCH: role:update
    /routes GET: route:read
    /routes POST: route:create
    /routes/bulk-delete POST: route:delete
    /routes/bulk-status POST: route:update
    /routes/check GET: any user
    /routes/count GET: route:read
    /routes/get-one/{route_id} GET: route:read
    /routes/get-one/{route_id} PUT: route:update
    /routes/module/{module_id} GET: route:read
    /routes/parent/{parent_id}/children GET: route:read
    /routes/reorder PATCH: route:update
    /routes/sidebar GET: any user
    /routes/top-level GET: route:read
    /routes/tree GET: route:read
    /routes/{route_id} DELETE: route:delete
    /routes/{route_id} GET: route:read
    /routes/{route_id} PUT: route:update
    /routes/{route_id}/breadcrumbs GET: route:read
    /routes/{route_id}/restore POST: route:update
    /routes/{route_id}/roles/{role_id} DELETE: route:update
    /routes/{route_id}/roles/{role_id} POST: route:update
    /routes/{route_id}/toggle-sidebar PATCH: route:update
    /routes/{route_id}/toggle-status PATCH: route:update
    /system/log-level GET: system:read
    /system/log-level PUT: system:manage
    /upstreams GET: upstream:read
    /upstreams POST: upstream:create
    /upstreams/count GET: upstream:read
    /upstreams/{upstream_id} DELETE: upstream:delete
    /upstreams/{upstream_id} GET: upstream:read
    /upstreams/{upstream_id} PUT: upstream:update
    /upstreams/{upstream_id}/health GET: upstream:read
    /upstreams/{upstream_id}/restore POST: upstream:update
    /users GET: user:read
    /users POST: user:create
    /users/bulk-create POST: user:create
    /users/bulk-delete POST: user:delete
    /users/bulk-roles POST: user:update
    /users/bulk-status POST: user:update
    /users/count GET: user:read
    /users/get-one/{user_id} GET: user:read
    /users/get-one/{user_id} PUT: user:update
    /users/me GET: any user
    /users/me PUT: any user
    /users/me/activity GET: any user
    /users/{user_id} DELETE: user:delete
    /users/{user_id} GET: user:read
    /users/{user_id} PATCH: user:update
    /users/{user_id} PUT: user:update
    /users/{user_id}/access GET: policy:read
    /users/{user_id}/activate POST: user:update
    /users/{user_id}/activity GET: user:read
    /users/{user_id}/deactivate POST: user:update
    /users/{user_id}/logout-all POST: user:update
    /users/{user_id}/restore POST: user:update
    /users/{user_id}/roles GET: user:read
    /users/{user_id}/roles/{role_id} DELETE: user:update
    /users/{user_id}/roles/{role_id} POST: user:update
    /users/{user_id}/toggle-status PATCH: user:update
    /users/{user_id}/unlock POST: user:update
    /who-can GET: policy:read
    ");
}

on_both!(nobody_gets_in_without_a_token, |backend| async move {
    let app = App::start(backend).await;
    for (method, path, access) in requests() {
        let answer = twice(&app, method, &path, None).await;
        match access {
            // What asks for nothing is answered; from the others something is missing.
            Some(Public) if method == "GET" => assert_eq!(answer.status, 200, "{method} {path}"),
            Some(Public | PublicOr(_)) => assert_eq!(answer.status, 422, "{method} {path}"),
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
    for (method, path, access) in requests().filter(|(_, path, _)| !path.starts_with("/auth/logout")) {
        let answer = match access {
            Some(Needs(_)) => twice(&app, method, &path, Some(&nobody)).await,
            Some(SignedIn) => {
                let answer = twice(&app, method, &path, Some(&nobody)).await;
                // Some need a body, of which they may complain then, or something that is there.
                assert!([200, 404, 422].contains(&answer.status), "{method} {path}: {}", answer.text);
                answer
            }
            Some(Public | PublicOr(_)) | None => continue,
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
