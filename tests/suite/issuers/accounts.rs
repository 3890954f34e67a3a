//! Other issuers' people with accounts here: found, made, and left alone.

use std::time::Duration;

use serde_json::{Value, json};

use super::{World, get, reason, start, start_with, whoami};
use crate::support::issuer::Signer;

/// Makes an account with the role that everybody has; returns its id.
async fn account(world: &World, name: &str, mail: &str) -> i64 {
    let body = json!({ "username": name, "email": mail, "password": "Correct-horse-1" });
    let made = world.app.admin("POST", "/users/").bearer(&world.admin).json(body).await.expect(200);
    made.json()["id"].as_i64().unwrap()
}

async fn verify_mail(world: &World, id: i64) {
    let mut tx = world.app.running.control().plain_write().await.unwrap();
    cedargate::store::issuers::verify_mail(&mut tx, cedargate::model::UserId(id)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn users(world: &World) -> i64 {
    world.app.admin("GET", "/users/count").bearer(&world.admin).await.expect(200).text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_found_by_its_name_and_stays_linked() {
    let world = start(json!({ "principal": "account", "user_claim": "preferred_username" })).await;
    let World { app, admin, signer, .. } = &world;
    let ann = account(&world, "annika", "annika@example.com").await;
    let as_annika = |more: Value| {
        let mut claims = json!({ "preferred_username": "annika" });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signer.token("s-1", claims)
    };
    // The account's roles, and for this request those of the token.
    get(app, "/demo/articles", &as_annika(json!({}))).await.expect(200);
    assert_eq!(whoami(app, &as_annika(json!({}))).await["x-auth-roles"], "user");
    let told = whoami(app, &as_annika(json!({ "roles": ["editor", "superadmin"] }))).await;
    assert_eq!((&told["x-auth-user-id"], &told["x-auth-username"]), (&json!(ann.to_string()), &json!("annika")));
    assert_eq!(told["x-auth-roles"], "editor,user");
    app.gateway("PUT", "/demo/articles/1").bearer(&as_annika(json!({ "roles": "editor" }))).await.expect(200);
    reason(&app.gateway("PUT", "/demo/articles/1").bearer(&as_annika(json!({}))).await, 403, "no_grant");
    // The admin API knows the account, also when it is where the token is seen first.
    assert_eq!(app.admin("GET", "/auth/me").bearer(&as_annika(json!({}))).await.expect(200).json()["id"], ann);
    let other = account(&world, "berta", "berta@example.com").await;
    let berta = signer.token("s-2", json!({ "preferred_username": "berta" }));
    assert_eq!(app.admin("GET", "/auth/me").bearer(&berta).await.expect(200).json()["id"], other);
    // Whose name changes there stays who it is here.
    let renamed = signer.token("s-1", json!({ "preferred_username": "berta" }));
    assert_eq!(app.admin("GET", "/auth/me").bearer(&renamed).await.expect(200).json()["id"], ann);
    let audit = app.admin("GET", "/audit-logs/?resource=user_identity").bearer(admin).await.expect(200);
    assert!(audit.text.contains("s-1"), "{}", audit.text);

    // No account, none made.
    let nobody = signer.token("s-3", json!({ "preferred_username": "nobody" }));
    reason(&get(app, "/demo/whoami", &nobody).await, 401, "invalid_token");
    reason(&get(app, "/demo/whoami", &signer.token("s-4", json!({}))).await, 401, "invalid_token");

    // Deactivated is refused, deleted too, and nobody takes the place.
    let path = format!("/users/{ann}");
    app.admin("PUT", &path).bearer(admin).json(json!({ "is_active": false })).await.expect(200);
    reason(&get(app, "/demo/whoami", &as_annika(json!({}))).await, 401, "user_inactive");
    app.admin("DELETE", &path).bearer(admin).await.expect(200);
    account(&world, "annika", "annika2@example.com").await;
    reason(&get(app, "/demo/whoami", &as_annika(json!({}))).await, 401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namesake_of_an_administrator_takes_nothing_over() {
    let world = start(json!({ "principal": "create", "user_claim": "preferred_username" })).await;
    let World { app, signer, .. } = &world;
    let before = users(&world).await;
    for name in ["superadmin", "admin", "SuperAdmin"] {
        let token = signer.token(&format!("evil-{name}"), json!({ "preferred_username": name }));
        reason(&get(app, "/demo/whoami", &token).await, 401, "invalid_token");
    }
    assert_eq!(users(&world).await, before);

    let world =
        start(json!({ "principal": "account", "user_claim": "preferred_username", "system_roles": true })).await;
    let token = world.signer.token("boss", json!({ "preferred_username": "superadmin" }));
    assert_eq!(whoami(&world.app, &token).await["x-auth-roles"], "superadmin");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_made_once_with_what_everybody_has() {
    let world = start(json!({ "principal": "create", "user_claim": "preferred_username" })).await;
    let World { app, admin, signer, .. } = &world;
    let before = users(&world).await;
    let claims = json!({ "preferred_username": "carl.gustav@x", "email": "carl@example.org", "email_verified": true });
    // Many at once are one.
    let token = signer.token("c-1", claims);
    let calls = (0..20).map(|_| app.gateway("GET", "/demo/articles").bearer(&token).into_future());
    for answer in futures_of(calls).await {
        answer.expect(200);
    }
    assert_eq!(users(&world).await, before + 1);
    let me = app.admin("GET", "/auth/me").bearer(&token).await.expect(200).json();
    assert_eq!((&me["username"], &me["email"]), (&json!("carlgustav"), &json!("carl@example.org")));
    assert_eq!(me["roles"][0]["name"], "user", "{me}");
    // Nobody signs in with a password that there is not.
    for password in ["!", "", "carlgustav"] {
        assert!(matches!(app.login("carlgustav", password).await.status, 401 | 422));
    }
    // A like name is another account, and an address that is not verified nobody's.
    let like = json!({ "preferred_username": "Carl-Gustav", "email": "dora@example.org" });
    let like = app.admin("GET", "/auth/me").bearer(&signer.token("c-2", like)).await.expect(200).json();
    assert_eq!(like["username"], "carlgustav2");
    assert!(like["email"].as_str().unwrap().ends_with("@accounts.example.com"), "{like}");
    // Somebody else who is really called so does not come to the account that was made under a like name, nor does
    // somebody with the address, which the issuer has given again.
    let same = json!({ "preferred_username": "carlgustav", "email": "carl@example.org", "email_verified": true });
    let third = app.admin("GET", "/auth/me").bearer(&signer.token("c-3", same)).await.expect(200).json();
    assert_eq!(third["username"], "carlgustav3");
    assert_ne!(third["id"], me["id"]);
    // Names that people take for the same are taken.
    account(&world, "strasse", "strasse@example.com").await;
    for (subject, name, given) in
        [("c-4", "straße", "straße2"), ("c-5", "\u{ff53}\u{ff54}\u{ff52}asse", "\u{ff53}\u{ff54}\u{ff52}asse3")]
    {
        let token = signer.token(subject, json!({ "preferred_username": name }));
        let made = app.admin("GET", "/auth/me").bearer(&token).await.expect(200).json();
        assert_eq!(made["username"], given);
    }
    // Deleted, it is not made anew.
    let path = format!("/users/{}", me["id"]);
    let before = users(&world).await;
    app.admin("DELETE", &path).bearer(admin).await.expect(200);
    reason(&get(app, "/demo/whoami", &token).await, 401, "invalid_token");
    assert_eq!(users(&world).await, before - 1);
}

/// Trusts a second issuer, too, with keys of a file of its own.
fn second(folder: &std::path::Path, principal: &str) -> (Signer, Value) {
    let signer = Signer::new("https://second.example.com", "k2");
    let file = folder.join("second.json");
    signer.publish(&file);
    let issuer = json!({
        "name": "second", "issuer": signer.iss, "jwks_file": file, "audiences": ["cedargate"], "principal": principal,
    });
    (signer, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_to_an_account_that_was_made_for_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (other, issuer) = second(folder.path(), "create");
    let world = start_with(json!({ "principal": "create" }), &[issuer]).await;
    let World { app, signer, .. } = &world;
    let me = async |token: &str| app.admin("GET", "/auth/me").bearer(token).await.expect(200).json();
    let carl = me(&signer.token("carl", json!({}))).await;
    assert_eq!(carl["username"], "carl");
    // By the second issuer, and by the first in another spelling.
    assert_eq!(me(&other.token("carl", json!({}))).await["username"], "carl2");
    assert_eq!(me(&signer.token("CARL", json!({}))).await["username"], "carl3");
    assert_eq!(me(&signer.token("carl", json!({}))).await["id"], carl["id"]);

    // Where none is made, nobody is let in.
    let folder = tempfile::tempdir().unwrap();
    let (other, issuer) = second(folder.path(), "account");
    let world = start_with(json!({ "principal": "create" }), &[issuer]).await;
    let World { app, signer, .. } = &world;
    let dora = account(&world, "dora", "dora@example.com").await;
    let me = async |token: &str| app.admin("GET", "/auth/me").bearer(token).await.expect(200).json();
    me(&signer.token("carl", json!({}))).await;
    reason(&get(app, "/demo/whoami", &other.token("carl", json!({}))).await, 401, "invalid_token");
    // An account of our own belongs to one of each.
    assert_eq!(me(&signer.token("dora", json!({}))).await["id"], dora);
    assert_eq!(me(&other.token("dora", json!({}))).await["id"], dora);
    reason(&get(app, "/demo/whoami", &other.token("Dora", json!({}))).await, 401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_57_signing_out_everywhere_ends_tokens_of_other_issuers() {
    let world = start(json!({ "principal": "account" })).await;
    let World { app, admin, signer, .. } = &world;
    let ann = account(&world, "annika", "annika@example.com").await;
    let made = |seconds: i64| {
        let now = chrono::Utc::now().timestamp();
        signer.token("annika", json!({ "iat": now + seconds }))
    };
    let (token, without) = (made(0), signer.token("annika", json!({ "iat": null })));
    for token in [&token, &without] {
        get(app, "/demo/whoami", token).await.expect(200);
    }
    app.admin("POST", "/auth/logout-all").bearer(&token).await.expect(200);
    for token in [&token, &without] {
        reason(&get(app, "/demo/whoami", token).await, 401, "revoked");
        app.admin("GET", "/auth/me").bearer(token).await.expect(401);
    }
    // By an administrator, and by a new password.
    for (method, path, body) in [
        ("POST", format!("/users/{ann}/logout-all"), json!({})),
        ("PUT", format!("/users/{ann}"), json!({ "password": "Another-horse-2" })),
    ] {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let token = made(0);
        get(app, "/demo/whoami", &token).await.expect(200);
        app.admin(method, &path).bearer(admin).json(body).await.expect(200);
        reason(&get(app, "/demo/whoami", &token).await, 401, "revoked");
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    get(app, "/demo/whoami", &made(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_comes_to_a_system_role_is_no_longer_had_by_it() {
    let world = start(json!({ "principal": "account" })).await;
    let World { app, admin, signer, .. } = &world;
    let ann = account(&world, "annika", "annika@example.com").await;
    let token = signer.token("annika", json!({}));
    get(app, "/demo/whoami", &token).await.expect(200);
    let roles = app.admin("GET", "/roles/").bearer(admin).await.expect(200).json();
    let roles = roles.as_array().unwrap();
    let id = |name: &str| roles.iter().find(|role| role["name"] == name).unwrap()["id"].as_i64().unwrap();
    let (user, editor, boss) = (id("user"), id("editor"), id("admin"));
    let assign = async |ids: &[i64]| {
        let body = json!({ "role_ids": ids });
        app.admin("PUT", &format!("/users/{ann}")).bearer(admin).json(body).await.expect(200);
    };
    assign(&[user, boss]).await;
    reason(&get(app, "/demo/whoami", &token).await, 401, "invalid_token");
    app.admin("GET", "/auth/me").bearer(&token).await.expect(401);
    assign(&[user, editor]).await;
    get(app, "/demo/whoami", &token).await.expect(200);
    // Inherited, it is no less one.
    app.admin("POST", &format!("/roles/{editor}/parents/{boss}")).bearer(admin).await.expect(200);
    reason(&get(app, "/demo/whoami", &token).await, 401, "invalid_token");
}

async fn futures_of<T: Send + 'static>(
    calls: impl Iterator<Item = std::pin::Pin<Box<dyn Future<Output = T> + Send>>>,
) -> Vec<T> {
    let tasks: Vec<_> = calls.map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_links_only_what_both_sides_have_verified() {
    let world = start(json!({ "principal": "account", "user_claim": "email" })).await;
    let World { app, signer, .. } = &world;
    let emil = account(&world, "emil", "Emil@example.com").await;
    let token = |subject: &str, verified: Value| {
        signer.token(subject, json!({ "email": "emil@EXAMPLE.com", "email_verified": verified }))
    };
    // Here it is not.
    reason(&get(app, "/demo/whoami", &token("e-0", json!(true))).await, 401, "invalid_token");
    verify_mail(&world, emil).await;
    // There it is not.
    for (index, verified) in [json!(false), json!("true"), Value::Null, json!(1)].into_iter().enumerate() {
        let refused = get(app, "/demo/whoami", &token(&format!("e-{}", index + 1), verified)).await;
        reason(&refused, 401, "invalid_token");
    }
    assert_eq!(whoami(app, &token("e-9", json!(true))).await["x-auth-user-id"], emil.to_string());
}
