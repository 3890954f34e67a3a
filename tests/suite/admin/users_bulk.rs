//! Users, several at once; and users that come back.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

fn account(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

/// How many, and who was left out why.
fn outcome(body: &Value, message: &str) -> (Value, Value) {
    assert_eq!(keys(body), ["message", "success", "affected", "failed"]);
    assert_eq!((&body["message"], &body["success"]), (&json!(message), &json!(true)));
    (body["affected"].clone(), body["failed"].clone())
}

async fn rows(admin: &Caller<'_>) -> (String, i64) {
    let users = admin.get("/users/?limit=1000").await.expect(200).text;
    (users, admin.app.running.control().snapshots().load().revision())
}

on_both!(many_users_are_made_or_none, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let path = "/users/bulk-create";
    let mut bob = account("bob");
    (bob["role_names"], bob["is_active"]) = (json!(["guest", "SuperAdmin", "nothing"]), json!(false));
    let mut eve = account("eve");
    eve["role_ids"] = json!([2, 999]);
    let made = admin.post(path, json!({ "users": [account("Ann"), bob, eve] })).await.expect(200);
    assert!(revision(&made) > 0);
    assert_eq!(outcome(&made.json(), "3 user(s) created successfully"), (json!(3), json!([])));
    let listed = admin.get("/users/?skip=4").await.expect(200).json();
    let brief = |user: &Value| {
        let roles = user["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap().to_owned());
        (user["username"].as_str().unwrap().to_owned(), user["is_active"] == true, roles.collect::<Vec<_>>().join(","))
    };
    let brief: Vec<_> = listed.as_array().unwrap().iter().map(brief).collect();
    let expected = [("ann", true, "user"), ("bob", false, "superadmin,guest"), ("eve", true, "admin")];
    assert_eq!(brief, expected.map(|(name, active, roles)| (name.to_owned(), active, roles.to_owned())));
    app.login("ann", PASSWORD).await.expect(200);

    let before = rows(&admin).await;
    for users in [json!([account("new"), account("ann")]), json!([account("new"), account("other"), account("NEW")])] {
        let last = users.as_array().unwrap().last().unwrap()["username"].as_str().unwrap().to_lowercase();
        let taken = format!("Username or email already exists: {last}");
        refused(admin.post(path, json!({ "users": users })).await, 400, &taken);
    }
    refused(admin.post(path, json!({ "users": [] })).await, 400, "No users provided");
    let mut weak = account("weak");
    weak["password"] = json!("x");
    let answer = admin.post(path, json!({ "users": [account("new"), weak, 7, { "username": "abc" }] })).await;
    assert_eq!(
        issues(answer),
        [
            "string_too_short body.users.1.password: String should have at least 8 characters",
            "model_attributes_type body.users.2: Input should be a valid dictionary or object to extract fields from",
            "missing body.users.3.email: Field required",
            "missing body.users.3.password: Field required",
        ]
    );
    let many: Vec<Value> = (0..101).map(|n| account(&format!("many{n}"))).collect();
    for (users, expected) in [
        (json!(many), "too_long body.users: List should have at most 100 items after validation, not 101"),
        (json!({}), "list_type body.users: Input should be a valid list"),
    ] {
        assert_eq!(issues(admin.post(path, json!({ "users": users })).await), [expected]);
    }
    assert_eq!(issues(admin.post(path, json!({})).await), ["missing body.users: Field required"]);
    assert_eq!(rows(&admin).await, before, "nothing was written");
});

on_both!(many_users_are_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let path = "/users/bulk-delete";
    let (ann, bob) = (admin.user("ann", &[3]).await, admin.user("bob", &[3]).await);
    let caller = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    refused(admin.post(path, json!({ "user_ids": [] })).await, 400, "No user IDs provided");
    refused(admin.post(path, json!({ "user_ids": [1, "1"] })).await, 400, "Cannot delete your own account");
    refused(admin.post(path, json!({ "user_ids": [1, 999] })).await, 400, "No valid users to delete");
    refused(admin.post(path, json!({ "user_ids": [999] })).await, 404, "No users found with the provided IDs");
    let done = admin.post(path, json!({ "user_ids": [bob, 999, 1, ann, ann] })).await.expect(200).json();
    let failed = json!([
        { "id": 1, "detail": "Cannot delete your own account" },
        { "id": 999, "detail": "User not found" },
    ]);
    assert_eq!(outcome(&done, "2 user(s) deleted successfully"), (json!(2), failed));
    refused(caller.get("/auth/me").await, 401, "User not found");
    assert_eq!(caller.gateway("GET", "/demo/articles").await, 401);
    assert_eq!(ids(&admin.get("/users/").await), [1, 2, 3, 4]);
    for (body, expected) in [
        (json!({}), "missing body.user_ids: Field required"),
        (json!({ "user_ids": null }), "list_type body.user_ids: Input should be a valid list"),
        (
            json!({ "user_ids": vec![7; 1_001] }),
            "too_long body.user_ids: List should have at most 1000 items after validation, not 1001",
        ),
    ] {
        assert_eq!(issues(admin.post(path, body).await), [expected]);
    }
});

on_both!(many_users_are_switched_off_and_on, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let path = "/users/bulk-status";
    let (ann, bob) = (admin.user("ann", &[3]).await, admin.user("bob", &[3]).await);
    let caller = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let set = |ids: Value, is_active: bool| admin.post(path, json!({ "ids": ids, "is_active": is_active }));
    let own = "You cannot deactivate your own account";
    refused(set(json!([]), false).await, 400, "No user IDs provided");
    refused(set(json!([1]), false).await, 400, own);
    refused(set(json!([1, 999]), false).await, 400, own);
    refused(set(json!([999]), true).await, 404, "No users found with the provided IDs");
    let done = set(json!([1, bob, ann, 999]), false).await.expect(200).json();
    let failed = json!([{ "id": 1, "detail": own }, { "id": 999, "detail": "User not found" }]);
    assert_eq!(outcome(&done, "2 user(s) updated successfully"), (json!(2), failed));
    assert_eq!(caller.gateway("GET", "/demo/articles").await, 401);
    assert_eq!(ids(&admin.get("/users/?is_active=false").await), [ann, bob]);
    let done = set(json!([1, ann]), true).await.expect(200).json();
    assert_eq!(outcome(&done, "1 user(s) updated successfully"), (json!(1), json!([])));
    assert_eq!(caller.gateway("GET", "/demo/articles").await, 200);
    let missing = ["ids", "is_active"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(admin.post(path, json!({})).await), missing);
});

on_both!(many_users_get_and_lose_roles, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let path = "/users/bulk-roles";
    let (ann, bob) = (admin.user("ann", &[3]).await, admin.user("bob", &[]).await);
    let post = |users: Value, roles: Value, action: &str| {
        admin.post(path, json!({ "user_ids": users, "role_ids": roles, "action": action }))
    };
    refused(post(json!([]), json!([3]), "add").await, 400, "No user IDs provided");
    refused(post(json!([ann]), json!([]), "add").await, 400, "No role IDs provided");
    refused(post(json!([999]), json!([3]), "add").await, 404, "No users found with the provided IDs");
    refused(post(json!([bob]), json!([3, 999]), "add").await, 404, "User or role not found");
    let done = post(json!([ann, bob, 999]), json!([3]), "add").await.expect(200).json();
    let failed = json!([{ "id": 999, "detail": "User not found" }]);
    assert_eq!(outcome(&done, "1 user(s) updated successfully"), (json!(1), failed), "one had it already");
    let end = "2099-01-01T00:00:00.000000Z";
    let body = json!({ "user_ids": [ann, bob], "role_ids": [3, 4], "action": "add", "expires_at": end });
    let done = admin.post(path, body).await.expect(200).json();
    assert_eq!(outcome(&done, "2 user(s) updated successfully").0, 2);
    for user in [ann, bob] {
        let held = admin.get(&format!("/users/{user}/roles")).await.expect(200).json();
        let ends: Vec<&Value> = held["roles"].as_array().unwrap().iter().map(|role| &role["expires_at"]).collect();
        assert_eq!(ends, [end, end]);
    }
    let done = post(json!([bob, ann]), json!([3, 4, 2]), "remove").await.expect(200).json();
    assert_eq!(outcome(&done, "2 user(s) updated successfully"), (json!(2), json!([])));
    assert_eq!(admin.get("/users/?search=bob").await.json()[0]["roles"], json!([]));
    let other = post(json!([ann]), json!([3]), "toggle").await;
    assert_eq!(issues(other), ["literal_error body.action: Input should be 'add' or 'remove'"]);
    let missing = ["user_ids", "role_ids", "action"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(admin.post(path, json!({})).await), missing);
});

on_both!(a_user_is_switched_in_three_ways, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    let path = format!("/users/{ann}");
    let own = "You cannot deactivate your own account";
    for (method, off, on) in [
        ("PATCH", ("", json!({ "is_active": false })), ("", json!({ "is_active": true }))),
        ("POST", ("/deactivate", json!({})), ("/activate", json!({}))),
    ] {
        for ((suffix, body), active) in [(off.clone(), false), (on, true)] {
            let request = |path: &str| admin.call(method, &format!("{path}{suffix}")).json(body.clone());
            let answer = request(&path).await.expect(200);
            assert!(revision(&answer) > 0);
            let user = answer.json();
            assert_eq!((id(&user), &user["is_active"]), (ann, &json!(active)), "{method} {suffix}");
            assert_eq!(request(&path).await.expect(200).json(), user, "no change, no new date");
            refused(request("/users/999").await, 404, "User not found");
        }
        let (suffix, body) = off;
        refused(admin.call(method, &format!("/users/1{suffix}")).json(body).await, 400, own);
    }
    assert_eq!(admin.call("POST", "/users/1/activate").await.expect(200).json()["is_active"], true);
    assert_eq!(issues(admin.call("PATCH", &path).json(json!({})).await), ["missing body.is_active: Field required"]);
});

on_both!(a_deleted_user_is_shown_to_few_and_comes_back, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[4, 3]).await;
    let caller = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    admin.delete(&format!("/users/{ann}")).await.expect(200);
    assert!(!ids(&admin.get("/users/").await).contains(&ann));
    let all = admin.get("/users/?include_deleted=true&search=ann").await.expect(200).json();
    let mut expected = vec!["id", "username", "email", "is_active", "created_at", "updated_at", "roles"];
    assert_eq!(keys(&admin.get("/users/1").await.json()), expected);
    expected.push("deleted_at");
    assert_eq!((keys(&all[0]), id(&all[0])), (expected, ann));
    assert_eq!(admin.get("/users/count?include_deleted=1").await.expect(200).text, "5");
    assert_eq!(admin.get("/users/count?include_deleted=no").await.expect(200).text, "4");
    let user = Caller::demo(&app, "testuser").await;
    for path in ["/users/?include_deleted=true", "/users/count?include_deleted=true"] {
        refused(user.get(path).await, 403, "Permission 'user:delete' required for this action");
    }
    user.get("/users/?include_deleted=false").await.expect(200);

    let path = format!("/users/{ann}/restore");
    let mut namesake = account("ann");
    namesake["email"] = json!("other@example.com");
    let namesake = id(&admin.made("/users/", namesake).await);
    refused(admin.call("POST", &path).await, 400, "Username or email already exists");
    admin.delete(&format!("/users/{namesake}")).await.expect(200);
    let back = admin.call("POST", &path).await.expect(200);
    assert!(revision(&back) > 0);
    let back = back.json();
    assert_eq!((id(&back), back["roles"].as_array().unwrap().len(), back.get("deleted_at")), (ann, 2, None));
    refused(caller.get("/auth/me").await, 401, "Invalid authentication token");
    let again = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    assert_eq!(again.gateway("GET", "/demo/articles").await, 200);
    assert_eq!(admin.call("POST", &path).await.expect(200).json(), back, "it is there already");
    refused(admin.call("POST", "/users/999/restore").await, 404, "User not found");
});
