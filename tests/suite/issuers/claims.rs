//! Principals that are known by their claims only, with keys from a file.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ISS, World, get, reason, role, start, whoami};
use crate::support::issuer::Signer;

#[tokio::test(flavor = "multi_thread")]
async fn show_5_an_editor_opens_what_editors_may_and_nothing_else() {
    let world = start(json!({})).await;
    let World { app, signer, file, .. } = &world;
    let editor = signer.token("u-1", json!({ "roles": ["editor", "unknown", 7] }));
    get(app, "/demo/articles", &editor).await.expect(200);
    app.gateway("PUT", "/demo/articles/1").bearer(&editor).await.expect(200);
    reason(&app.gateway("DELETE", "/demo/articles/1").bearer(&editor).await, 403, "no_grant");
    reason(&get(app, "/demo/users/1/orders", &editor).await, 403, "no_grant");
    // Without the claim there is a caller, who holds nothing.
    let nobody = signer.token("u-2", json!({}));
    reason(&get(app, "/demo/articles", &nobody).await, 403, "no_grant");
    get(app, "/demo/whoami", &nobody).await.expect(200);

    // The file goes away: known keys go on, until the bound.
    std::fs::remove_file(file).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    get(app, "/demo/articles", &editor).await.expect(200);
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(app, "/demo/articles", &editor).await;
        if answer.status == 401 {
            reason(&answer, 401, "invalid_token");
            break;
        }
        assert!(tokio::time::Instant::now() < until, "keys are used for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let health = app.internal("GET", "/health/detailed").await.expect(503).json();
    assert_eq!(health["checks"]["issuers"]["status"], "unhealthy", "{health}");
    // It comes back, with another key.
    let next = Signer::new(ISS, "k2");
    next.publish(file);
    get(app, "/demo/articles", &next.token("u-1", json!({ "roles": "editor" }))).await.expect(200);
    reason(&get(app, "/demo/articles", &editor).await, 401, "invalid_token");
    let health = app.internal("GET", "/health/detailed").await.expect(200).json();
    assert_eq!(health["checks"]["issuers"]["issuers"][0]["keys"], 1, "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn back_ends_are_told_whose_claims_they_are() {
    let world = start(json!({})).await;
    let World { app, signer, .. } = &world;
    let token = signer.token("a|b ü", json!({ "roles": ["editor"], "preferred_username": "superadmin" }));
    let told = whoami(app, &token).await;
    let iss = "https%3A%2F%2Fid.example.com%2Frealms%2Fmain";
    assert_eq!(told["x-auth-user-id"], format!("{iss}%7Ca%7Cb%20%C3%BC"));
    assert_eq!(told["x-auth-issuer"], iss);
    assert_eq!((&told["x-auth-username"], &told["x-auth-roles"]), (&json!("superadmin"), &json!("editor")));
    let own = whoami(app, &app.token("testuser").await).await;
    assert!(own.get("x-auth-issuer").is_none(), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_roles_are_not_given_unless_said() {
    let world = start(json!({})).await;
    let World { app, admin, signer, .. } = &world;
    let heir = role(app, admin, "heir", &[]).await;
    let admins = app.role(admin, "superadmin").await;
    app.admin("POST", &format!("/roles/{heir}/parents/{admins}")).bearer(admin).await.expect(200);
    for name in ["superadmin", "admin", "guest", "heir"] {
        let token = signer.token("u", json!({ "roles": [name] }));
        assert_eq!(whoami(app, &token).await["x-auth-roles"], "", "{name}");
    }
    // What everybody has who signs up is nothing to guard.
    assert_eq!(whoami(app, &signer.token("u", json!({ "roles": ["user"] }))).await["x-auth-roles"], "user");

    let world = start(json!({ "system_roles": true })).await;
    let World { app, signer, .. } = &world;
    let token = signer.token("u", json!({ "roles": "superadmin" }));
    assert_eq!(whoami(app, &token).await["x-auth-roles"], "superadmin");
    app.gateway("DELETE", "/demo/articles/1").bearer(&token).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_translates_and_lets_nothing_else_through() {
    let table =
        json!({ "roles_claim": "realm_access.roles", "roles": { "writers": "editor", "bosses": "superadmin" } });
    let world = start(table).await;
    let World { app, signer, .. } = &world;
    let roles = |value: Value| json!({ "realm_access": { "roles": value } });
    let token = signer.token("u", roles(json!(["writers", "editor", "user", "bosses"])));
    assert_eq!(whoami(app, &token).await["x-auth-roles"], "editor");
    assert_eq!(whoami(app, &signer.token("u", roles(json!("editor user")))).await["x-auth-roles"], "");
    // More than can be told is not cut, but refused.
    let many: Vec<String> = (0..129).map(|index| format!("r{index}")).collect();
    reason(&get(app, "/demo/whoami", &signer.token("u", roles(json!(many)))).await, 401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_see_who_it_is_and_what_the_token_says() {
    let world = start(json!({})).await;
    let World { app, admin, signer, .. } = &world;
    let source = format!(
        r#"permit (principal == User::"{ISS}|u-7", action == Action::"delete", resource in Resource::"article")
           when {{ context has issuer && context.issuer == "{ISS}" && context.mfa && context.scopes.contains("write")
                   && context has tenant && context.tenant == "t1" && context.claims.getTag("dept").contains("x") }};"#
    );
    let source = source.replace("context.claims.getTag", "context.claims.hasTag(\"dept\") && context.claims.getTag");
    let body = json!({ "name": "foreign", "source": source });
    app.admin("POST", "/policies/").bearer(admin).json(body).await.expect(200);
    let claims = json!({ "amr": ["pwd", "mfa"], "scope": "read write", "tenant": "t1", "dept": "x" });
    let delete = |token: String| app.gateway("DELETE", "/demo/articles/1").bearer(&token);
    delete(signer.token("u-7", claims.clone())).await.expect(200);
    reason(&delete(signer.token("u-8", claims.clone())).await, 403, "no_grant");
    let mut without = claims;
    without["amr"] = json!(["pwd"]);
    let refused = delete(signer.token("u-7", without)).await;
    reason(&refused, 403, "no_grant");
    // What was refused can be explained, although nobody here has an account.
    let id = refused.header("x-request-id").unwrap();
    let told = loop {
        let answer = app.admin("POST", "/explain").bearer(admin).json(json!({ "request_id": id })).await;
        // It is remembered once it is over.
        if answer.status != 404 {
            break answer.expect(200).json();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(told["principal"]["username"], format!("{ISS}|u-7"), "{told}");
    assert_eq!((&told["principal"]["id"], &told["reason"]), (&Value::Null, &json!("no_grant")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_needs_an_account() {
    let world = start(json!({ "system_roles": true })).await;
    let World { app, signer, .. } = &world;
    let token = signer.token("u", json!({ "roles": "superadmin" }));
    for path in ["/users/", "/auth/me", "/issuers/"] {
        let answer = app.admin("GET", path).bearer(&token).await.expect(403);
        assert!(answer.text.contains("gives no account here"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_takes_a_name_that_tokens_give_only_from_who_holds_it() {
    let table = json!({ "roles": { "writers": "editor" } });
    let World { app, admin, .. } = &start(table).await;
    let keeper = role(app, admin, "keeper", &["role:read", "role:update", "role:create", "article:read"]).await;
    let payroll = role(app, admin, "payroll", &["article:delete"]).await;
    let body = json!({
        "username": "kim", "email": "kim@example.com", "password": "Correct-horse-1", "role_ids": [keeper],
    });
    app.admin("POST", "/users/").bearer(admin).json(body).await.expect(200);
    let kim = app.login("kim", "Correct-horse-1").await.expect(200).json()["access_token"].as_str().unwrap().to_owned();
    let rename = async |token: &str, id: i64, name: &str| {
        app.admin("PUT", &format!("/roles/{id}")).bearer(token).json(json!({ "name": name })).await.status
    };
    let roles = app.admin("GET", "/roles/").bearer(admin).await.expect(200).json();
    let editor = roles.as_array().unwrap().iter().find(|role| role["name"] == "editor").unwrap()["id"].clone();
    assert_eq!(rename(&kim, editor.as_i64().unwrap(), "old").await, 200);
    // Whoever the issuer calls a writer would be given it.
    assert_eq!(rename(&kim, payroll, "editor").await, 403);
    assert_eq!(rename(&kim, payroll, "wages").await, 200);
    // With what they hold themselves they may, and who holds `role:escalate` always.
    let harmless = role(app, admin, "readers", &["article:read"]).await;
    assert_eq!(rename(&kim, harmless, "editor").await, 200);
    assert_eq!(rename(&kim, harmless, "readers").await, 200);
    assert_eq!(rename(admin, payroll, "editor").await, 200);
}
