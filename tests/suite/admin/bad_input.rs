//! Input that no client of good will sends: a 4xx with a reason, and nothing written.

use serde_json::json;

use super::{Caller, issues, refused};
use crate::support::app::{Answer, App};
use crate::support::raw;

const WRITES: [(&str, &str); 24] = [
    ("POST", "/auth/register"),
    ("POST", "/auth/public-register"),
    ("POST", "/auth/change-password"),
    ("PUT", "/users/me"),
    ("POST", "/users/"),
    ("PUT", "/users/4"),
    ("PATCH", "/users/4"),
    ("POST", "/users/bulk-create"),
    ("POST", "/users/bulk-delete"),
    ("POST", "/users/bulk-status"),
    ("POST", "/users/bulk-roles"),
    ("POST", "/roles/"),
    ("POST", "/roles/create-minimal"),
    ("POST", "/roles/from-template/guest"),
    ("POST", "/roles/bulk-delete"),
    ("POST", "/permissions/bulk-delete"),
    ("POST", "/permissions/bulk-status"),
    ("POST", "/permissions/"),
    ("PUT", "/permissions/21"),
    ("POST", "/modules/"),
    ("PUT", "/modules/1"),
    ("POST", "/routes/"),
    ("PUT", "/routes/1"),
    ("POST", "/upstreams/"),
];

/// Everything that can be read, and the revision.
async fn state(admin: &Caller<'_>) -> (i64, Vec<String>) {
    let mut lists = Vec::new();
    for list in ["users", "roles", "permissions", "modules", "routes", "upstreams"] {
        lists.push(admin.get(&format!("/{list}/")).await.expect(200).text);
    }
    (admin.app.running.control().snapshots().load().revision(), lists)
}

fn assert_refused(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
    assert!(!answer.json()["detail"].is_null(), "{what}: {}", answer.text);
    assert!(answer.text.len() < 300_000, "{what}: an answer of {} bytes", answer.text.len());
}

on_both!(bodies_that_are_no_good_change_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = state(&admin).await;
    let long = "x".repeat(200_000);
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        (
            "NUL bytes",
            br#"{"username":"a\u0000b","name":"a\u0000b","label":"\u0000","route":"/\u0000","email":"\u0000"}"#
                .to_vec(),
        ),
        ("a lone surrogate", br#"{"name":"\ud800","username":"\udfff"}"#.to_vec()),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec()),
        ("a deep list", "[".repeat(10_000).into_bytes()),
        ("a deep object", r#"{"a":"#.repeat(10_000).into_bytes()),
        ("a key twice", br#"{"name":"x","name":"y"}"#.to_vec()),
        ("a list", b"[1]".to_vec()),
        ("a text", br#""name""#.to_vec()),
        ("null", b"null".to_vec()),
        ("no JSON", b"{name:1}".to_vec()),
        ("a huge number", br#"{"name":1e999}"#.to_vec()),
        (
            "long texts",
            format!(r#"{{"name":"{long}","username":"{long}","label":"{long}","route":"{long}"}}"#).into_bytes(),
        ),
        ("other types", br#"{"name":{},"username":[],"label":1,"route":true}"#.to_vec()),
    ];
    for (what, bytes) in &bodies {
        for (method, path) in WRITES {
            let request = app.admin(method, path).bearer(&admin.token).header("content-type", "application/json");
            assert_refused(&request.body(bytes.clone()).await, &format!("{what}: {method} {path}"));
        }
    }
    for content_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
        let request = app.admin("POST", "/roles/").bearer(&admin.token).header("content-type", content_type);
        let found = issues(request.body(r#"{"name":"x"}"#).await);
        assert!(found[0].starts_with("model_attributes_type body: "), "{found:?}");
    }
    assert_eq!(state(&admin).await, before);
});

on_both!(numbers_beyond_all_bounds_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = state(&admin).await;
    for id in ["99999999999999999999", "-99999999999999999999", "1e5", "x", "1.5", "%00", "%F0%9F%98%80", "0x1"] {
        for list in ["users", "roles", "permissions", "modules", "routes", "upstreams"] {
            for method in ["GET", "PUT", "DELETE"] {
                let answer = admin.call(method, &format!("/{list}/{id}")).json(json!({})).await;
                assert_eq!(answer.status, 422, "{method} /{list}/{id}: {}", answer.text);
            }
            let answer = admin.get(&format!("/{list}/?skip={id}")).await;
            assert_eq!(answer.status, 422, "/{list}/?skip={id}: {}", answer.text);
        }
    }
    for id in ["-1", "0", "9223372036854775807", "-9223372036854775808"] {
        for list in ["users", "roles", "permissions", "modules", "routes", "upstreams"] {
            assert_eq!(admin.get(&format!("/{list}/{id}")).await.status, 404, "/{list}/{id}");
        }
    }
    assert_refused(&admin.get("/users/%FF").await, "a path that is not UTF-8");
    for list in ["users", "roles", "permissions", "modules", "routes", "upstreams"] {
        assert_refused(&admin.get(&format!("/{list}/?search=%00")).await, list);
        assert_refused(&admin.get(&format!("/{list}/?search={}", "x".repeat(1_000))).await, list);
        for skip in ["10001", "9223372036854775807"] {
            let found = issues(admin.get(&format!("/{list}/?skip={skip}")).await);
            assert_eq!(found, ["less_than_equal query.skip: Input should be less than or equal to 10000"], "{list}");
        }
        admin.get(&format!("/{list}/?skip=10000")).await.expect(200);
        for sort in
            ["x", "-", "--id", "Id", "password_hash", "id;", "id,name", "id desc", "1", "%27", "created_at%00", "ｉｄ"]
        {
            let found = issues(admin.get(&format!("/{list}/?sort={sort}")).await);
            assert!(found.len() == 1 && found[0].contains(" query.sort: "), "{list} {sort}: {found:?}");
        }
        for time in ["x", "0", "2026-02-30T00:00:00Z", "2026-01-01", "-1", "%00", "99999-01-01T00:00:00Z"] {
            let found = issues(admin.get(&format!("/{list}/?created_from={time}&created_to={time}")).await);
            assert!(found.len() == 2 && found[1].contains(" query.created_to: "), "{list} {time}: {found:?}");
        }
        // What is no UTF-8 finds nothing, but is no fault of ours.
        assert!(admin.get(&format!("/{list}/?search=%FF%FE")).await.status < 500);
    }
    let far = json!({ "name": "x", "permission_ids": [1, 1e300] });
    assert_eq!(issues(admin.post("/roles/", far).await).len(), 1);
    let endless = json!({ "name": "x", "label": "x", "priority": u64::MAX });
    assert_eq!(issues(admin.post("/modules/", endless).await).len(), 1);
    assert_eq!(state(&admin).await, before);
});

on_both!(a_body_that_is_too_large_is_not_read, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = state(&admin).await;
    // One byte too many, so that it is read to its end: a connection closed before that would be reset.
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1024 * 1024 - 10));
    let request = app.admin("POST", "/roles/").bearer(&admin.token).header("content-type", "application/json");
    refused(request.body(large).await, 413, "Request body too large");
    // What everybody may ask is bounded closer.
    let strange = format!(r#"{{"username":"{}"}}"#, "x".repeat(64 * 1024 - 14));
    let request = app.admin("POST", "/auth/login").header("content-type", "application/json");
    refused(request.body(strange).await, 413, "Request body too large");
    // The gateway goes by the stated length, within a bound of its own.
    let head = format!(
        "POST /api/v1/roles/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 99999999\r\n\r\n",
        admin.token
    );
    assert_eq!(raw::status(&raw::exchange(app.gateway, head.as_bytes()).await), 413);
    assert_eq!(state(&admin).await, before);
});
