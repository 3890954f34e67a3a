//! Profiles, and what users did with their accounts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, issues, keys, refused};
use crate::support::Backend;
use crate::support::app::{Answer, App};

const NEW: &str = "An0ther!pass";

/// Action and outcome of each entry, the newest first.
fn told(answer: &Answer) -> Vec<String> {
    let entry = |entry: &Value| format!("{} {}", entry["action"].as_str().unwrap(), entry["success"]);
    answer.json().as_array().unwrap().iter().map(entry).collect()
}

/// What failed is written down without anybody waiting for it.
async fn eventually(caller: &Caller<'_>, path: &str, expected: &[&str]) -> Answer {
    for _ in 0..100 {
        let answer = caller.get(path).await.expect(200);
        if told(&answer) == expected {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", told(&caller.get(path).await))
}

on_both!(what_one_does_with_ones_account_is_told, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[]).await;
    let of_ann = format!("/users/{ann}/activity");
    assert_eq!(told(&admin.get(&of_ann).await.expect(200)), [""; 0]);
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    assert_eq!(told(&own.get("/users/me/activity").await.expect(200)), ["login true"], "at once");
    app.login("ann@example.com", "wrong").await.expect(401);
    app.login("nobody", "wrong").await.expect(401);
    eventually(&own, "/users/me/activity", &["login false", "login true"]).await;
    let change = json!({ "current_password": "wrong", "new_password": NEW });
    own.post("/auth/change-password", change).await.expect(400);
    eventually(&own, "/users/me/activity", &["password_change false", "login false", "login true"]).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    own.post("/auth/change-password", change).await.expect(200);
    let own = Caller { app: &app, token: app.token_with("ann", NEW).await };
    let other = Caller { app: &app, token: app.token_with("ann", NEW).await };
    own.call("POST", "/auth/logout").header("User-Agent", "tests/1").await.expect(200);
    let all =
        ["logout true", "login true", "login true", "password_change true", "password_change false", "login false"];
    let answer = other.get("/users/me/activity").await.expect(200);
    assert_eq!(told(&answer), [&all[..], &["login true"]].concat());
    assert_eq!(answer.text, admin.get(&of_ann).await.expect(200).text);
    assert_eq!(answer.header("x-total-count"), Some("7"));
    let newest = &answer.json()[0];
    assert_eq!(keys(newest), ["id", "user_id", "action", "success", "ip", "user_agent", "created_at"]);
    assert_eq!(
        (&newest["user_id"], &newest["ip"], &newest["user_agent"]),
        (&json!(ann), &json!("127.0.0.1"), &json!("tests/1"))
    );
    assert_timestamp(&newest["created_at"]);

    let failed = answer.json()[5]["created_at"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("?action=logout", vec!["logout true"]),
        ("?action=password_change&limit=1", vec!["password_change true"]),
        ("?action=nothing", vec![]),
        ("?skip=5", vec!["login false", "login true"]),
        ("?skip=1&limit=2", vec!["login true", "login true"]),
        (&format!("?to={failed}"), vec!["login true"]),
        (&format!("?from={failed}&action=login"), vec!["login true", "login true", "login false"]),
        ("?limit=0", vec![]),
    ] {
        assert_eq!(told(&admin.get(&format!("{of_ann}{query}")).await.expect(200)), expected, "{query}");
    }
    assert_eq!(issues(admin.get(&format!("{of_ann}?from=today")).await).len(), 1);
    refused(admin.get("/users/999/activity").await, 404, "User not found");
    admin.delete(&format!("/users/{ann}")).await.expect(200);
    refused(admin.get(&of_ann).await, 404, "User not found");
});

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_kept_is_not() {
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_ACTIVITY__RETENTION_DAYS", "0")]).await;
    let user = Caller::demo(&app, "testuser").await;
    app.login("testuser", "wrong").await.expect(401);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(told(&user.get("/users/me/activity").await.expect(200)), [""; 0]);
}

on_both!(a_profile_is_answered_as_far_as_it_is_set, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let known = ["id", "username", "email", "is_active", "created_at", "updated_at", "roles"];
    assert_eq!(keys(&own.get("/users/me").await.expect(200).json()), known);
    let profile = json!({ "first_name": " Ann ", "last_name": "Öberg", "avatar": "https://img.example/a.png" });
    let changed = own.put("/users/me", profile).await.expect(200).json();
    assert_eq!(keys(&changed), [&known[..], &["first_name", "last_name", "avatar"]].concat());
    assert_eq!((&changed["first_name"], &changed["last_name"]), (&json!("Ann"), &json!("Öberg")));
    for path in ["/users/", "/users/?search=ann"] {
        let list = admin.get(path).await.expect(200).json();
        let listed = list.as_array().unwrap().iter().find(|user| id(user) == ann).unwrap();
        assert_eq!(listed, &changed, "{path}");
    }
    // Null and absence change nothing, blanks clear; whoever may change users may change this too.
    own.put("/auth/me", json!({ "first_name": null, "email": "ann@example.org", "current_password": PASSWORD }))
        .await
        .expect(200);
    let path = format!("/users/{ann}");
    let changed = admin.put(&path, json!({ "last_name": "", "avatar": "  " })).await.expect(200).json();
    assert_eq!(keys(&changed), [&known[..], &["first_name"]].concat());
    assert_eq!(changed["first_name"], "Ann");
    let bad = json!({ "first_name": "a\nb", "last_name": "x".repeat(101), "avatar": "javascript:alert(1)" });
    assert_eq!(
        issues(own.put("/users/me", bad).await),
        [
            "value_error body.first_name: Value error, A name must be one line",
            "string_too_long body.last_name: String should have at most 100 characters",
            "value_error body.avatar: Value error, Avatar must be an http or https address, or a path",
        ]
    );
    assert_eq!(own.get("/users/me").await.expect(200).json(), changed);
});
