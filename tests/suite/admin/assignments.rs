//! Roles assigned for good or for a time, and what becomes of them in the end.

use std::time::Duration;

use cedargate::model::Timestamp;
use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, issues, keys, refused};
use crate::support::app::App;

fn in_seconds(seconds: i64) -> String {
    Timestamp::now().plus_seconds(seconds).to_string()
}

/// The user's assignments: role, end, by whom.
async fn held(admin: &Caller<'_>, user: i64) -> Vec<(i64, Value, Value)> {
    let body = admin.get(&format!("/users/{user}/roles")).await.expect(200).json();
    assert_eq!((keys(&body), &body["user_id"]), (vec!["user_id", "roles"], &json!(user)));
    let role = |role: &Value| {
        let own = ["name", "description", "id", "is_system_role", "permissions", "is_active"];
        assert_eq!(keys(role), [&own[..], &["expires_at", "granted_at", "granted_by"]].concat());
        assert_timestamp(&role["granted_at"]);
        (super::id(role), role["expires_at"].clone(), role["granted_by"].clone())
    };
    body["roles"].as_array().unwrap().iter().map(role).collect()
}

on_both!(an_assignment_has_an_end_until_another_is_given, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[4]).await;
    let path = format!("/users/{ann}/roles/3");
    let none = Value::Null;
    assert_eq!(held(&admin, ann).await, [(4, none.clone(), json!(1))], "by whoever made the user");
    let end = in_seconds(3_600);
    admin.post(&path, json!({ "expires_at": end })).await.expect(200);
    let before = app.running.control().snapshots().load().revision();
    for body in [None, Some(json!({})), Some(json!({ "expires_at": end }))] {
        let again = body.map_or_else(|| admin.call("POST", &path), |body| admin.post(&path, body));
        let done = again.await.expect(200).json();
        assert_eq!(done, json!({ "message": "Role assigned to user successfully", "success": true }));
        assert_eq!(held(&admin, ann).await[0], (3, json!(end), json!(1)), "kept");
    }
    assert_eq!(app.running.control().snapshots().load().revision(), before, "nothing changed");
    admin.put(&format!("/users/{ann}"), json!({ "role_ids": [3, 2] })).await.expect(200);
    assert_eq!(held(&admin, ann).await, [(2, none.clone(), json!(1)), (3, json!(end), json!(1))]);
    let later = in_seconds(7_200);
    admin.post(&path, json!({ "expires_at": later.replace('Z', "+00:00") })).await.expect(200);
    assert_eq!(held(&admin, ann).await[1].1, later);
    admin.post(&path, json!({ "expires_at": null })).await.expect(200);
    assert_eq!(held(&admin, ann).await[1].1, none);

    let future = "value_error body.expires_at: Value error, expires_at must be in the future";
    let parsing = "datetime_parsing body.expires_at: Input should be a valid datetime, ";
    for (given, expected) in [
        (json!(in_seconds(-1)), future),
        (json!("2026-01-01T00:00:00Z"), future),
        (json!("tomorrow"), parsing),
        (json!("2030-01-01"), parsing),
        (json!("2030-01-01T00:00:00"), parsing),
        (json!("9999-12-31T23:59:59-01:00"), parsing),
        (json!("2030-01-01T23:59:60Z"), parsing),
        (json!("\0"), parsing),
        (json!(1), "datetime_type body.expires_at: Input should be a valid datetime"),
    ] {
        let found = issues(admin.post(&path, json!({ "expires_at": given })).await);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{given}: {found:?}");
    }
    let object = "model_attributes_type body: Input should be a valid dictionary or object to extract fields from";
    assert_eq!(issues(admin.post(&path, json!([])).await), [object]);
    refused(admin.get("/users/999/roles").await, 404, "User not found");
});

on_both!(an_assignment_ends_on_time_without_a_request, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[]).await;
    let caller = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let control = app.running.control();
    let end = Timestamp::now().plus_seconds(2);
    admin.post(&format!("/users/{ann}/roles/3"), json!({ "expires_at": end.to_string() })).await.expect(200);
    assert_eq!(caller.gateway("GET", "/demo/articles").await, 200);
    let before = control.snapshots().load();
    let rows = async || {
        let mut tx = control.read().await.unwrap();
        let query = tx.query("SELECT COUNT(*) FROM user_roles WHERE user_id = $1").bind(ann);
        query.fetch_value::<i64>().await.unwrap()
    };
    assert_eq!(rows().await, 1);
    let deadline = end.plus_seconds(3);
    while rows().await > 0 {
        assert!(Timestamp::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Timestamp::now() >= end);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after = control.snapshots().load();
    assert!(after.revision() > before.revision(), "an entry in the feed");
    assert_eq!(after.policy_revision(), before.policy_revision());
    let state = after.user(cedargate::model::UserId(ann)).unwrap().clone();
    assert!(state.roles.is_empty());
    assert_eq!(caller.gateway("GET", "/demo/articles").await, 403);
    assert_eq!(admin.get("/users/?role=user&search=ann").await.expect(200).text, "[]");
    assert_eq!(held(&admin, ann).await, []);
});

on_both!(an_end_that_passed_while_nothing_ran_is_kept_to_at_the_start, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[]).await;
    let end = Timestamp::now().plus_seconds(1);
    admin.post(&format!("/users/{ann}/roles/3"), json!({ "expires_at": end.to_string() })).await.expect(200);
    drop(admin);
    let app = app.restart().await;
    let control = app.running.control();
    for _ in 0..200 {
        if control.snapshots().load().user(cedargate::model::UserId(ann)).unwrap().roles.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is still there");
});
