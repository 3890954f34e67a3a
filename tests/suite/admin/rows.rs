//! Threats to the admin API by the rows of the catalogue that no other file of tests has in a test's name.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, refused};
use crate::support::app::{Answer, App};

const ESCALATE: &str = "Permission 'role:escalate' required for this action";

async fn refresh(app: &App, token: &Value) -> Answer {
    app.admin("POST", "/auth/refresh").json(json!({ "refresh_token": token })).await
}

on_both!(row_57_a_disabled_user_or_an_ended_token_is_refused_on_every_flow, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    let pair = app.login("ann", PASSWORD).await.expect(200).json();
    let own = Caller { app: &app, token: pair["access_token"].as_str().unwrap().to_owned() };
    admin.call("POST", &format!("/users/{ann}/deactivate")).await.expect(200);
    let change = json!({ "current_password": PASSWORD, "new_password": "An0ther!pass" });
    let flows = async || {
        [
            app.gateway("GET", "/demo/articles").bearer(&own.token).await.status,
            app.gateway("GET", "/demo/public").bearer(&own.token).await.status,
            app.gateway("GET", "/api/v1/auth/me").bearer(&own.token).await.status,
            own.get("/auth/me").await.status,
            own.get("/auth/sessions").await.status,
            own.post("/auth/change-password", change.clone()).await.status,
            own.post("/auth/check-permission", json!({ "permission": "article:read" })).await.status,
            own.call("POST", "/auth/logout").await.status,
            refresh(&app, &pair["refresh_token"]).await.status,
        ]
    };
    assert_eq!(flows().await, [401; 9]);
    app.login("ann", PASSWORD).await.expect(401);
    admin.call("POST", &format!("/users/{ann}/activate")).await.expect(200);
    own.call("POST", "/auth/logout").await.expect(200);
    assert_eq!(flows().await, [401; 9]);
});

on_both!(row_58_nobody_hands_on_what_they_lack, |backend| async move {
    let app = App::start(backend).await;
    // Not the last of them, who would stay for another reason.
    let chief = Caller::superadmin(&app).await.user("chief", &[1]).await;
    let manager = Caller::demo(&app, "admin").await;
    let ann = manager.user("ann", &[3]).await;
    refused(manager.call("POST", "/users/2/roles/1").await, 403, ESCALATE);
    refused(manager.call("POST", &format!("/users/{ann}/roles/1")).await, 403, ESCALATE);
    refused(manager.put(&format!("/users/{ann}"), json!({ "role_ids": [1] })).await, 403, ESCALATE);
    let many = json!({ "user_ids": [ann], "role_ids": [1], "action": "add" });
    refused(manager.post("/users/bulk-roles", many).await, 403, ESCALATE);
    for change in [json!({ "password": PASSWORD }), json!({ "email": "x@example.com" }), json!({ "is_active": false })]
    {
        refused(manager.put(&format!("/users/{chief}"), change).await, 403, ESCALATE);
    }
    refused(manager.delete(&format!("/users/{chief}")).await, 403, ESCALATE);
    let greedy = json!({ "username": "root2", "email": "r@example.com", "password": PASSWORD, "role_ids": [1] });
    refused(manager.post("/users/", greedy).await, 403, ESCALATE);
    app.token_with("chief", PASSWORD).await;
});

on_both!(row_59_one_forbidden_id_of_many_stops_them_all, |backend| async move {
    let app = App::start(backend).await;
    // Not the last of them, who would stay for another reason.
    let chief = Caller::superadmin(&app).await.user("chief", &[1]).await;
    let manager = Caller::demo(&app, "admin").await;
    let ann = manager.user("ann", &[3]).await;
    let is_active = async || manager.get(&format!("/users/{ann}")).await.expect(200).json()["is_active"].clone();
    let off = |ids: Value| json!({ "ids": ids, "is_active": false });
    refused(manager.post("/users/bulk-status", off(json!([ann, chief]))).await, 403, ESCALATE);
    refused(manager.post("/users/bulk-delete", json!({ "user_ids": [ann, chief] })).await, 403, ESCALATE);
    assert_eq!(is_active().await, true, "nothing was written");
    manager.post("/users/bulk-status", off(json!([ann, 999_999]))).await.expect(200);
    assert_eq!(is_active().await, false, "unknown ids are skipped");
});

on_both!(row_60_names_that_are_known_and_unknown_are_answered_alike, |backend| async move {
    let app = App::start(backend).await;
    let scene = |answer: Answer| {
        let mut body = answer.json();
        body.as_object_mut().unwrap().shift_remove("request_id");
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        (answer.status, body, names)
    };
    let known = scene(app.login("testuser", "wrong").await);
    assert_eq!(known, scene(app.login("nobody", "wrong").await));
    assert_eq!(known, scene(app.login("nobody@example.com", "wrong").await));
    assert_eq!(known.0, 401);
});

on_both!(row_63_a_lock_holds_on_every_path, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_AUTH__LOGIN_FAILURES", "2")]).await;
    let own = Caller::demo(&app, "testuser").await;
    for _ in 0..2 {
        app.login("testuser", "wrong").await.expect(401);
    }
    let body = json!({ "username": "testuser", "password": "testuser123" });
    app.admin("POST", "/auth/login").json(body.clone()).await.expect(429);
    app.gateway("POST", "/api/v1/auth/login").json(body).await.expect(429);
    let change = json!({ "current_password": "testuser123", "new_password": "An0ther!pass" });
    own.post("/auth/change-password", change).await.expect(429);
    let change = json!({ "current_password": "testuser123", "password": "An0ther!pass" });
    own.put("/auth/me", change.clone()).await.expect(429);
    own.put("/users/me", change).await.expect(429);
    own.get("/auth/me").await.expect(200);
});

on_both!(row_64_roles_do_not_inherit_in_circles, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mut roles = Vec::new();
    for name in ["one", "two", "three"] {
        roles.push(id(&admin.made("/roles/", json!({ "name": name })).await));
    }
    let inherit = async |child: usize, parent: usize| {
        admin.call("POST", &format!("/roles/{}/parents/{}", roles[child], roles[parent])).await.status
    };
    assert_eq!((inherit(0, 1).await, inherit(1, 2).await), (200, 200));
    assert_eq!((inherit(2, 0).await, inherit(1, 0).await, inherit(0, 0).await), (400, 400, 400));
});

on_both!(row_65_hostile_parameters_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for query in [
        "sort=password_hash",
        "sort=id%3Bdrop%20table%20users",
        "sort=-",
        "skip=99999999999999999999",
        "skip=-1",
        "limit=-1",
        "limit=1e9",
        "created_from=%27%20or%201=1",
        &format!("search={}", "x".repeat(4_000)),
    ] {
        let answer = admin.get(&format!("/users/?{query}")).await;
        assert!([400, 414, 422].contains(&answer.status), "{query}: {} {}", answer.status, answer.text);
        assert!(!answer.text.to_lowercase().contains("sql"), "{}", answer.text);
    }
    assert_eq!(admin.get("/users/?search=%25").await.expect(200).json(), json!([]), "no wildcard");
});

on_both!(row_66_nothing_is_assigned_that_is_not_offered, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let made = json!({
        "username": "ann", "email": "ann@example.com", "password": PASSWORD, "id": 1, "email_verified": true,
        "token_epoch": 99, "password_hash": "!", "created_at": "2000-01-01T00:00:00Z", "locked_until": null,
    });
    let made = app.admin("POST", "/auth/register").json(made).await.expect(200).json();
    assert!(id(&made) > 4 && !made["created_at"].as_str().unwrap().starts_with("2000"), "{made}");
    app.token_with("ann", PASSWORD).await;
    let role = admin.made("/roles/", json!({ "name": "r", "id": 1, "is_system_role": true })).await;
    assert_eq!((role["is_system_role"].clone(), id(&role) > 4), (json!(false), true));
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let theirs = admin.get("/auth/sessions").await.expect(200).json()[0]["id"].as_str().unwrap().to_owned();
    refused(own.delete(&format!("/auth/sessions/{theirs}")).await, 404, "Session not found");
    assert_eq!(admin.get("/auth/me").await.status, 200);
});

on_both!(row_67_nobody_is_sent_elsewhere, |backend| async move {
    let app = App::start(backend).await;
    for path in
        ["//evil.example", "/%5Cevil.example", "/api/v1//evil.example/", "/docs//evil.example", "/api/v1/users//x"]
    {
        for answer in [app.internal("GET", path).await, app.gateway("GET", path).await] {
            assert!(answer.status >= 400, "{path}: {}", answer.status);
            assert_eq!(answer.header("location"), None, "{path}");
        }
    }
});

on_both!(row_69_a_demotion_is_enforced_before_it_is_acknowledged, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let role = format!("/users/{ann}/roles/3");
    for _ in 0..25 {
        assert_eq!(own.gateway("GET", "/demo/articles").await, 200);
        admin.delete(&role).await.expect(200);
        assert_eq!(own.gateway("GET", "/demo/articles").await, 403);
        admin.call("POST", &role).await.expect(200);
    }
});

on_both!(row_70_credentials_are_repeated_nowhere, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let secret = "Unheard-of-secret-2026";
    let made = json!({ "username": "ann", "email": "ann@example.com", "password": secret });
    let mut answers = vec![admin.post("/users/", made).await.expect(200)];
    answers.push(app.login("ann", &format!("{secret}x")).await.expect(401));
    answers.push(app.admin("POST", "/auth/login").json(json!({ "username": 1, "password": secret })).await.expect(422));
    let token = app.token_with("ann", secret).await;
    let own = Caller { app: &app, token: token.clone() };
    answers.push(own.post("/auth/change-password", json!({ "current_password": secret, "new_password": "x" })).await);
    answers.push(app.gateway("GET", &format!("/demo/whoami?access_token={token}")).await.expect(401));
    for path in ["/audit-logs/?limit=1000", "/users/?limit=1000", "/config", "/users/me/activity"] {
        answers.push(admin.get(path).await.expect(200));
    }
    for path in ["/metrics", "/health/detailed"] {
        answers.push(app.internal("GET", path).await);
    }
    for answer in answers {
        let told = format!("{}{:?}", answer.text, answer.headers);
        assert!(!told.contains(secret) && !told.contains(&token) && !told.contains("$argon2"), "{}", answer.text);
    }
});
