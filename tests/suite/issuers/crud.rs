//! Trusted issuers by the API.

use serde_json::{Value, json};

use super::{get, reason, role, whoami};
use crate::support::Backend;
use crate::support::app::App;
use crate::support::issuer::{Canned, Signer, issuers};

fn local(name: &str, signer: &Signer, server: &Canned) -> Value {
    json!({
        "name": name, "issuer": signer.iss, "jwks_url": server.url(), "audiences": ["cedargate"], "principal": "claims",
        "allow_private_addresses": true, "allow_http": true, "roles_claim": "roles",
    })
}

on_both!(an_issuer_is_trusted_changed_and_trusted_no_more, |backend| async move {
    let configured = Signer::new("https://settings.example.com", "s");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    configured.publish(&file);
    let fixed = json!({ "name": "fixed", "issuer": configured.iss, "jwks_file": file, "audiences": ["cedargate"] });
    let app = App::start_with(backend, &[("CEDARGATE_AUTH__ISSUERS", &*issuers(&[fixed]))]).await;
    let admin = app.token("superadmin").await;
    role(&app, &admin, "editor", &["article:read"]).await;
    let signer = Signer::new("https://id.example.com", "k");
    let server = Canned::json(&signer.jwks()).await;
    let token = signer.token("u", json!({ "roles": "editor" }));
    reason(&get(&app, "/demo/articles", &token).await, 401, "invalid_token");
    assert_eq!(server.asked(), 0);

    let made = app.admin("POST", "/issuers/").bearer(&admin).json(local("corp", &signer, &server)).await.expect(200);
    assert!(made.header("x-policy-revision").is_some());
    let issuer = made.json();
    assert_eq!(
        (&issuer["leeway_seconds"], &issuer["user_claim"], &issuer["is_active"]),
        (&json!(5), &json!("sub"), &json!(true))
    );
    // Enforced with the answer.
    get(&app, "/demo/articles", &token).await.expect(200);
    let path = format!("/issuers/{}", issuer["id"]);
    assert_eq!(app.admin("GET", &path).bearer(&admin).await.expect(200).json(), issuer);
    let all = app.admin("GET", "/issuers/").bearer(&admin).await.expect(200).json();
    assert_eq!((&all[0]["id"], &all[0]["name"], &all[1]), (&Value::Null, &json!("fixed"), &issuer));

    // What was read can be sent back; a mapping that changes is enforced at once, with the keys that are there.
    let put = |body: Value| app.admin("PUT", &path).bearer(&admin).json(body);
    put(issuer.clone()).await.expect(200);
    put(json!({ "roles": { "editor": "user" } })).await.expect(200);
    assert_eq!(whoami(&app, &token).await["x-auth-roles"], "user");
    put(json!({ "audiences": ["somebody else"] })).await.expect(200);
    reason(&get(&app, "/demo/articles", &token).await, 401, "invalid_token");
    put(json!({ "audiences": ["cedargate"], "roles": null })).await.expect(200);
    get(&app, "/demo/articles", &token).await.expect(200);
    assert_eq!(server.asked(), 1);
    put(json!({ "is_active": false })).await.expect(200);
    reason(&get(&app, "/demo/articles", &token).await, 401, "invalid_token");
    put(json!({ "is_active": true })).await.expect(200);
    get(&app, "/demo/articles", &token).await.expect(200);
    let audit = app.admin("GET", "/audit-logs/?resource=issuer").bearer(&admin).await.expect(200).text;
    assert!(audit.contains("somebody else"), "{audit}");

    app.admin("DELETE", &path).bearer(&admin).await.expect(200);
    reason(&get(&app, "/demo/articles", &token).await, 401, "invalid_token");
    for (method, body) in [("GET", None), ("PUT", Some(json!({}))), ("DELETE", None)] {
        let call = app.admin(method, &path).bearer(&admin);
        let call = match body {
            Some(body) => call.json(body),
            None => call,
        };
        call.await.expect(404);
    }
    app.admin("POST", "/issuers/").bearer(&admin).json(local("corp", &signer, &server)).await.expect(200);
});

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_with_its_reason() {
    let configured = json!({ "name": "fixed", "issuer": "https://settings.example.com", "audiences": ["cedargate"] });
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_AUTH__ISSUERS", &*issuers(&[configured]))]).await;
    let admin = app.token("superadmin").await;
    let base = json!({ "name": "corp", "issuer": "https://id.example.com", "audiences": ["cedargate"] });
    let with = |changes: Value| {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.admin("POST", "/issuers/").bearer(&admin).json(body)
    };
    for (changes, field) in [
        (json!({ "name": "No" }), "name"),
        (json!({ "audiences": [] }), "audiences"),
        (json!({ "algorithms": ["HS256"] }), "algorithms"),
        (json!({ "jwks_file": "/etc/passwd" }), "jwks_file"),
        (json!({ "jwks_url": "http://id.example.com/" }), "jwks_url"),
        (json!({ "jwks_url": "https://169.254.169.254/" }), "jwks_url"),
        (json!({ "jwks_url": "https://[::ffff:127.0.0.1]/" }), "jwks_url"),
        (json!({ "allow_http": true }), "allow_http"),
        (json!({ "issuer": "cedargate" }), "issuer"),
        (json!({ "leeway_seconds": -1 }), "leeway_seconds"),
        (json!({ "audience": ["x"] }), "audience"),
    ] {
        let told = with(changes.clone()).await.expect(422).json();
        assert_eq!(told["detail"][0]["loc"][1], field, "{changes}: {told}");
    }
    let own = json!({ "issuer": "cedargate", "jwks_url": "https://id.example.com/keys" });
    with(own).await.expect(422);
    with(json!({ "name": "fixed" })).await.expect(400);
    with(json!({ "issuer": "https://settings.example.com" })).await.expect(400);
    with(json!({})).await.expect(200);
    with(json!({ "name": "other" })).await.expect(400);
    with(json!({ "issuer": "https://other.example.com" })).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_believe_is_for_those_who_may_give_anything() {
    let app = App::start(Backend::Sqlite).await;
    let admin = app.token("superadmin").await;
    let body = || json!({ "name": "corp", "issuer": "https://id.example.com", "audiences": ["cedargate"] });
    let post = |token: String| app.admin("POST", "/issuers/").bearer(&token).json(body());
    app.admin("POST", "/issuers/").json(body()).await.expect(401);
    app.admin("GET", "/issuers/").await.expect(401);
    let user = app.token("testuser").await;
    post(user.clone()).await.expect(403);
    app.admin("GET", "/issuers/").bearer(&user).await.expect(403);
    // The permission alone is not enough: whoever names an issuer names everybody.
    let made = role(&app, &admin, "trustee", &["issuer:create", "issuer:read"]).await;
    let users = app.admin("GET", "/users/?limit=100").bearer(&admin).await.expect(200).json();
    let id = users.as_array().unwrap().iter().find(|user| user["username"] == "testuser").unwrap()["id"].clone();
    app.admin("POST", &format!("/users/{id}/roles/{made}")).bearer(&admin).await.expect(200);
    app.admin("GET", "/issuers/").bearer(&user).await.expect(200);
    post(user).await.expect(403);
    post(admin).await.expect(200);
}
