//! Making an account, and everybody's own.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, issues, keys, refused, revision};
use crate::support::app::{Answer, App};

const NEW: &str = "An0ther!pass";

fn account(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

/// The same with everything that only an administrator may choose.
fn greedy(name: &str) -> Value {
    let mut account = account(name);
    (account["role_ids"], account["role_names"]) = (json!([1]), json!(["superadmin"]));
    (account["is_active"], account["id"]) = (json!(false), json!(1));
    account
}

fn role_names(user: &Value) -> Vec<&str> {
    user["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect()
}

async fn post(app: &App, path: &str, body: Value) -> Answer {
    app.admin("POST", path).json(body).await
}

on_both!(anybody_signs_up_for_the_default_role, |backend| async move {
    let app = App::start(backend).await;
    for (path, name) in [("/auth/register", "ann"), ("/auth/public-register", "bob")] {
        let made = post(&app, path, greedy(name)).await.expect(200);
        assert!(revision(&made) > 0);
        let user = made.json();
        assert_eq!(keys(&user), ["id", "username", "email", "is_active", "created_at", "updated_at", "roles"]);
        assert_eq!((role_names(&user), &user["is_active"]), (vec!["user"], &json!(true)));
        let caller = Caller { app: &app, token: app.token_with(name, PASSWORD).await };
        assert_eq!(caller.get("/auth/me").await.expect(200).json(), user);
        assert_eq!(caller.gateway("GET", "/demo/articles").await, 200, "at once");

        refused(post(&app, path, account(&name.to_uppercase())).await, 400, "Username already exists");
        let mut other = account("other");
        other["email"] = json!(format!("{name}@EXAMPLE.com"));
        refused(post(&app, path, other).await, 400, "Email already registered");
        let required = ["username", "email", "password"].map(|name| format!("missing body.{name}: Field required"));
        assert_eq!(issues(post(&app, path, json!({})).await), required);
        let mut weak = account("other");
        weak["password"] = json!("Sh0rt!");
        let short = "string_too_short body.password: String should have at least 8 characters";
        assert_eq!(issues(post(&app, path, weak).await), [short]);
    }
    let unreadable = app.admin("POST", "/auth/register").header("content-type", "application/json").body("{").await;
    unreadable.expect(422);
});

on_both!(whoever_presents_a_token_needs_the_right_to_make_users, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    refused(
        user.post("/auth/register", account("ann")).await,
        403,
        "Permission 'user:create' required for this action",
    );
    let bad = app.admin("POST", "/auth/register").bearer("nonsense").json(account("ann")).await;
    refused(bad, 401, "Invalid authentication token");
    let mut new = account("ann");
    (new["role_ids"], new["is_active"]) = (json!([2, 4]), json!(false));
    let made = admin.made("/auth/register", new).await;
    assert_eq!((role_names(&made), &made["is_active"]), (vec!["admin", "guest"], &json!(false)));
    refused(admin.post("/auth/register", account("ann")).await, 400, "Username already exists");
    let held = admin.get(&format!("/users/{}/roles", id(&made))).await.expect(200).json();
    assert_eq!(held["roles"][0]["granted_by"], 1);
});

on_both!(registration_can_be_closed, |backend| async move {
    let app = App::start_with(backend, &[("USER_REGISTRATION_ENABLED", "false")]).await;
    for path in ["/auth/register", "/auth/public-register"] {
        for body in [account("ann"), json!({})] {
            refused(post(&app, path, body).await, 403, "User registration is disabled");
        }
    }
    let admin = Caller::superadmin(&app).await;
    admin.made("/auth/register", account("ann")).await;
    refused(admin.post("/auth/public-register", account("bob")).await, 403, "User registration is disabled");
});

on_both!(one_changes_ones_own_password, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    admin.user("ann", &[3]).await;
    let change = "/auth/change-password";
    let mut password = PASSWORD.to_owned();
    for (key, next) in [("current_password", NEW), ("old_password", "Th1rd!password")] {
        let session = app.login("ann", &password).await.expect(200).json();
        let other = Caller { app: &app, token: app.token_with("ann", &password).await };
        let own = Caller { app: &app, token: session["access_token"].as_str().unwrap().to_owned() };
        let wrong = own.post(change, json!({ key: "Wr0ng!pass", "new_password": next })).await;
        refused(wrong, 400, "Current password is incorrect");
        let done = own.post(change, json!({ key: password, "new_password": next })).await.expect(200);
        assert_eq!(done.json(), json!({ "message": "Password changed successfully", "success": true }));
        assert!(revision(&done) > 0);
        for caller in [&own, &other] {
            refused(caller.get("/auth/me").await, 401, "Invalid authentication token");
            assert_eq!(caller.gateway("GET", "/demo/whoami").await, 401);
        }
        let renewed = post(&app, "/auth/refresh", json!({ "refresh_token": session["refresh_token"] })).await;
        refused(renewed, 401, "Invalid or expired token");
        refused(app.login("ann", &password).await, 401, "Invalid username or password");
        next.clone_into(&mut password);
    }
    let own = Caller { app: &app, token: app.token_with("ann", &password).await };
    let missing = ["current_password", "new_password"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(own.post(change, json!({})).await), missing);
    let weak = own.post(change, json!({ "current_password": password, "new_password": "weak pass" })).await;
    let answer = weak.text.clone();
    let upper = "value_error body.new_password: Value error, Password must contain at least one uppercase letter";
    assert_eq!(issues(weak), [upper]);
    assert!(!answer.contains("weak pass"), "a refused password is not repeated: {answer}");
    let odd = own.post(change, json!({ "current_password": 1, "new_password": NEW })).await;
    assert_eq!(issues(odd), ["string_type body.current_password: Input should be a valid string"]);
});

on_both!(guesses_of_ones_own_password_are_limited, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_AUTH__LOGIN_FAILURES", "3")]).await;
    let user = Caller::demo(&app, "testuser").await;
    let guess = async |right: bool| {
        let current = if right { "testuser123" } else { "Wr0ng!pass" };
        user.post("/auth/change-password", json!({ "current_password": current, "new_password": NEW })).await
    };
    let own = json!({ "password": NEW, "current_password": "Wr0ng!pass" });
    refused(guess(false).await, 400, "Current password is incorrect");
    refused(user.put("/users/me", own.clone()).await, 400, "Current password is incorrect");
    let long = json!({ "current_password": "x".repeat(2_000), "new_password": NEW });
    refused(user.post("/auth/change-password", long).await, 400, "Current password is incorrect");
    let limited = "Rate limit exceeded. Max 3 requests per 900 seconds.";
    refused(guess(true).await, 429, limited);
    refused(user.put("/auth/me", own).await, 429, limited);
    refused(app.login("testuser", "testuser123").await, 429, limited);
    user.get("/auth/me").await.expect(200);
});

on_both!(one_changes_ones_own_account, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[4]).await;
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    for (path, name) in [("/users/me", "anna"), ("/auth/me", "annabel")] {
        let body = json!({
            "username": name.to_uppercase(), "email": format!("{name}@example.org"), "is_active": true,
            "current_password": PASSWORD,
        });
        let changed = own.put(path, body).await.expect(200);
        assert!(revision(&changed) > 0);
        let changed = changed.json();
        assert_eq!((id(&changed), &changed["username"]), (ann, &json!(name)));
        assert_eq!(changed["email"], format!("{name}@example.org"));
        assert_eq!(own.get("/auth/me").await.expect(200).json(), changed);
        for roles in [json!([1]), json!([])] {
            refused(own.put(path, json!({ "role_ids": roles })).await, 403, "Cannot modify your own roles");
        }
        own.put(path, json!({ "role_ids": null, "username": null, "is_active": null })).await.expect(200);
        let inactive = own.put(path, json!({ "is_active": false })).await;
        refused(inactive, 400, "You cannot deactivate your own account");
        let taken = own.put(path, json!({ "username": "superadmin" })).await;
        refused(taken, 400, "Username or email already exists");
        refused(own.put(path, json!({ "password": NEW })).await, 400, "Current password is incorrect");
        let short = own.put(path, json!({ "username": "x" })).await;
        assert_eq!(issues(short), ["string_too_short body.username: String should have at least 3 characters"]);
    }
    let user = admin.get(&format!("/users/{ann}")).await.expect(200).json();
    assert_eq!((role_names(&user), &user["is_active"]), (vec!["guest"], &json!(true)));
    own.put("/users/me", json!({ "password": NEW, "current_password": PASSWORD })).await.expect(200);
    refused(own.get("/auth/me").await, 401, "Invalid authentication token");
    app.login("annabel", NEW).await.expect(200);
});

on_both!(one_is_told_what_one_may_do, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let told = user.get("/auth/permissions").await.expect(200).json();
    assert_eq!(keys(&told), ["user_id", "username", "roles", "permissions"]);
    assert_eq!((&told["user_id"], &told["username"]), (&json!(4), &json!("testuser")));
    let role = json!([{ "id": 3, "name": "user", "description": "Basic user with read-only access" }]);
    assert_eq!(told["roles"], role);
    assert_eq!(told["permissions"], json!(["article:read", "order:read:own", "user:read"]));
    let all = admin.get("/auth/permissions").await.expect(200).json();
    let all = all["permissions"].as_array().unwrap().clone();
    assert!(all.len() > 20 && all.is_sorted_by_key(|name| name.as_str().map(str::to_owned)));
    admin.user("nobody", &[]).await;
    let nobody = Caller { app: &app, token: app.token_with("nobody", PASSWORD).await };
    let told = nobody.get("/auth/permissions").await.expect(200).json();
    assert_eq!((&told["roles"], &told["permissions"]), (&json!([]), &json!([])));

    let verified = user.call("POST", "/auth/verify-token").await.expect(200).json();
    assert_eq!(verified, json!({ "valid": true, "user_id": 4, "username": "testuser", "is_active": true }));
});

on_both!(a_permission_is_checked_as_the_gateway_would, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let check = async |body: Value| user.post("/auth/check-permission", body).await.expect(200).json();
    for (body, allowed, reason) in [
        (json!({ "permission": "article:read" }), true, "allowed"),
        (json!({ "permission": "article:read", "resource_id": 7, "owner_id": null }), true, "allowed"),
        (json!({ "permission": "article:delete" }), false, "no_grant"),
        (json!({ "permission": "nothing:atall" }), false, "no_grant"),
        (json!({ "permission": "nothing" }), false, "no_grant"),
        (json!({ "permission": "order:read" }), false, "no_grant"),
        (json!({ "permission": "order:read", "owner_id": 3 }), false, "no_grant"),
        (json!({ "permission": "order:read", "owner_id": "4" }), true, "allowed"),
    ] {
        let told = check(body.clone()).await;
        let expected = json!({ "allowed": allowed, "permission": body["permission"], "reason": reason });
        assert_eq!(told, expected, "{body}");
    }
    let delete = app.permission(&admin.token, "article:delete").await;
    admin.call("POST", &format!("/roles/3/permissions/{delete}")).await.expect(200);
    assert_eq!(check(json!({ "permission": "article:delete" })).await["allowed"], true);
    for (body, expected) in [
        (json!({}), "missing body.permission: Field required"),
        (
            json!({ "permission": "article:read", "owner_id": "x" }),
            "int_parsing body.owner_id: Input should be a valid integer, unable to parse string as an integer",
        ),
    ] {
        assert_eq!(issues(user.post("/auth/check-permission", body).await), [expected]);
    }
});
