//! What a newcomer is promised, as the README tells it.

use serde_json::json;

use crate::support::app::App;
use crate::support::raw::Recorder;

on_both!(a_grant_and_its_withdrawal_act_on_the_very_next_request, |backend| async move {
    let app = App::start(backend).await;
    let (user, admin) = (app.token("testuser").await, app.token("superadmin").await);
    app.gateway("GET", "/demo/articles").bearer(&user).await.expect(200);
    let refused = app.gateway("POST", "/demo/articles").bearer(&user).await.expect(403);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = refused.json();
    assert_eq!((&problem["status"], &problem["reason"]), (&json!(403), &json!("no_grant")));
    assert_eq!(refused.header("x-request-id"), problem["request_id"].as_str());

    let grant = format!("/roles/3/permissions/{}", app.permission(&admin, "article:create").await);
    for _ in 0..20 {
        let granted = app.admin("POST", &grant).bearer(&admin).await.expect(200);
        let after = app.gateway("POST", "/demo/articles").bearer(&user).await.expect(200);
        assert_eq!(after.header("x-policy-revision"), granted.header("x-policy-revision"));
        let revoked = app.admin("DELETE", &grant).bearer(&admin).await.expect(200);
        let after = app.gateway("POST", "/demo/articles").bearer(&user).await.expect(403);
        assert_eq!(after.header("x-policy-revision"), revoked.header("x-policy-revision"));
    }

    app.admin("PUT", "/users/4").bearer(&admin).json(json!({ "is_active": false })).await.expect(200);
    let refused = app.gateway("GET", "/demo/articles").bearer(&user).await.expect(401);
    assert_eq!(refused.json()["reason"], "user_inactive");
    app.admin("PATCH", "/users/4/toggle-status").bearer(&admin).await.expect(200);
    app.gateway("GET", "/demo/articles").bearer(&user).await.expect(200);
});

on_both!(what_is_owned_is_served_to_its_owner_only, |backend| async move {
    let app = App::start(backend).await;
    let (user, admin) = (app.token("testuser").await, app.token("superadmin").await);
    app.gateway("GET", "/demo/users/4/orders").bearer(&user).await.expect(200);
    app.gateway("GET", "/demo/users/3/orders").bearer(&user).await.expect(403);
    app.gateway("GET", "/demo/users/04/orders").bearer(&user).await.expect(403);
    app.gateway("GET", "/demo/users/3/orders").bearer(&admin).await.expect(200);
});

on_both!(requests_without_a_grant_are_told_why, |backend| async move {
    let app = App::start(backend).await;
    let user = app.token("testuser").await;
    let refused = app.gateway("GET", "/demo/articles").await.expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"cedargate\""));
    app.gateway("GET", "/demo/public").await.expect(200);
    app.gateway("GET", "/demo/public").bearer("not.a.token").await.expect(401);
    app.gateway("GET", "/nowhere").await.expect(404);
    let refused = app.gateway("PATCH", "/demo/articles").bearer(&user).await.expect(405);
    assert_eq!(refused.header("allow"), Some("GET, POST, HEAD"));
    app.gateway("HEAD", "/demo/articles").bearer(&user).await.expect(200);
});

on_both!(identity_reaches_the_back_end_from_us_alone, |backend| async move {
    let app = App::start(backend).await;
    let user = app.token("testuser").await;
    let shown = app
        .gateway("GET", "/demo/whoami")
        .bearer(&user)
        .header("X-Auth-User-Id", "1")
        .header("X-Auth-Groups", "wheel")
        .await
        .expect(200)
        .json();
    assert_eq!(shown["path"], "/whoami");
    assert_eq!(shown["identity"]["x-auth-user-id"], "4");
    assert_eq!(shown["identity"]["x-auth-username"], "testuser");
    assert_eq!(shown["identity"]["x-auth-roles"], "user");
    assert_eq!(shown["identity"]["x-auth-groups"], json!(null));
});

on_both!(a_new_route_serves_at_once_and_survives_a_restart, |backend| async move {
    let app = App::start(backend).await;
    let admin = app.token("superadmin").await;
    let upstream = Recorder::start().await;
    app.gateway("GET", "/second/thing").await.expect(404);
    let operations = json!([{ "methods": ["GET"], "access": "public" }]);
    let id = app.route_to(&admin, "second", upstream.address, "/second/{name}", operations).await;
    assert_eq!(app.gateway("GET", "/second/thing").await.expect(200).text, "ok");

    let app = app.restart().await;
    assert_eq!(app.gateway("GET", "/second/thing").await.expect(200).text, "ok");
    let admin = app.token("superadmin").await;
    let shown = app.admin("GET", &format!("/routes/{id}")).bearer(&admin).await.expect(200).json();
    assert_eq!(shown["upstream"], "second");
    app.admin("DELETE", &format!("/routes/{id}")).bearer(&admin).await.expect(200);
    app.gateway("GET", "/second/thing").await.expect(404);
});
