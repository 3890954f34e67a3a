//! Users and the roles assigned to them.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const KEYS: [&str; 7] = ["id", "username", "email", "is_active", "created_at", "updated_at", "roles"];

fn new_user(name: &str) -> Value {
    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
}

fn role_names(user: &Value) -> Vec<&str> {
    user["roles"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect()
}

on_both!(a_user_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = revision(&admin.post("/roles/", json!({ "name": "before" })).await.expect(200));
    let mut new = new_user("Ann1");
    new["email"] = json!("Ann Lee <Ann.Lee@EXAMPLE.com>");
    new["favourite_colour"] = json!("ignored");
    let made = admin.post("/users/", new).await.expect(200);
    assert_eq!(revision(&made), before, "a user is no rule");
    let user = made.json();
    assert_eq!(keys(&user), KEYS);
    assert_eq!((&user["username"], &user["email"]), (&json!("ann1"), &json!("Ann.Lee@example.com")));
    assert_eq!((&user["is_active"], &user["updated_at"]), (&json!(true), &Value::Null));
    assert_timestamp(&user["created_at"]);
    assert_eq!(role_names(&user), ["user"], "the default role");
    let role = &user["roles"][0];
    assert_eq!(keys(role), ["name", "description", "id", "is_system_role", "permissions", "is_active"]);
    assert_eq!(keys(&role["permissions"][0]), ["name", "description", "category", "id", "is_active"]);

    let path = format!("/users/{}", id(&user));
    for same in [path.clone(), format!("{path}/"), format!("/users/get-one/{}", id(&user))] {
        assert_eq!(admin.get(&same).await.expect(200).json(), user);
    }
    assert_eq!(admin.call("HEAD", &path).await.expect(200).text, "");
    let listed = admin.get("/users/").await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().last(), Some(&user));

    let changed = admin.put(&path, json!({ "email": "ann@example.org" })).await.expect(200);
    assert_eq!(revision(&changed), before);
    let changed = changed.json();
    assert_eq!(keys(&changed), KEYS);
    assert_eq!((&changed["email"], &changed["username"]), (&json!("ann@example.org"), &json!("ann1")));
    assert_timestamp(&changed["updated_at"]);
    let renamed = admin.put(&format!("/users/get-one/{}", id(&user)), json!({ "username": "ANNA" })).await;
    assert_eq!(renamed.expect(200).json()["username"], "anna");

    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(revision(&deleted), before);
    assert_eq!(deleted.json(), json!({ "message": "User deleted successfully", "success": true }));
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "User not found");
    }
    let again = admin.made("/users/", json!({ "username": "anna", "email": "ann@example.org", "password": PASSWORD }));
    assert!(id(&again.await) > id(&user), "name and address are free, the id is not");
});

on_both!(names_and_addresses_are_unique, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = id(&admin.made("/users/", new_user("ann")).await);
    admin.made("/users/", new_user("bob")).await;
    let taken = "Username or email already exists";
    refused(admin.post("/users/", new_user("ANN")).await, 400, taken);
    let mut other = new_user("carol");
    other["email"] = json!("ANN@example.com");
    refused(admin.post("/users/", other).await, 400, taken);
    let path = format!("/users/{ann}");
    refused(admin.put(&path, json!({ "username": "Bob" })).await, 400, taken);
    refused(admin.put(&path, json!({ "email": "Bob@Example.com" })).await, 400, taken);
    admin.put(&path, json!({ "username": "ann", "email": "ann@example.com" })).await.expect(200);
});

on_both!(roles_are_given_by_id_or_by_name, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let made = async |name: &str, key: &str, value: Value| {
        let mut new = new_user(name);
        new[key] = value;
        admin.made("/users/", new).await
    };
    assert_eq!(role_names(&made("aaa", "role_ids", json!([2, "4", 999])).await), ["admin", "guest"]);
    assert_eq!(role_names(&made("bbb", "role_names", json!(["guest", "nothing"])).await), ["guest"]);
    for spelling in ["superadmin", "super_admin", "SuperAdmin"] {
        let name = spelling.replace('_', "1");
        assert_eq!(role_names(&made(&name[..9], "role_names", json!([spelling])).await), ["superadmin"], "{spelling}");
        let found = admin.get(&format!("/users/?role={spelling}")).await.expect(200);
        assert!(ids(&found).contains(&1), "{spelling}");
        admin.delete(&format!("/users/{}", ids(&found).last().unwrap())).await.expect(200);
    }
    for (name, nothing) in [("ddd", json!(null)), ("eee", json!([]))] {
        assert_eq!(role_names(&made(name, "role_ids", nothing).await), ["user"]);
    }
    let mut both = new_user("fff");
    (both["role_ids"], both["role_names"]) = (json!([4]), json!(["admin"]));
    assert_eq!(role_names(&admin.made("/users/", both).await), ["guest"], "ids win");

    let inactive = made("ggg", "is_active", json!("no")).await;
    assert_eq!(inactive["is_active"], false);
    refused(app.login("ggg", PASSWORD).await, 401, "Account is disabled");

    let path = format!("/users/{}", id(&inactive));
    let put = async |role_ids: Value| admin.put(&path, json!({ "role_ids": role_ids })).await.expect(200).json();
    assert_eq!(role_names(&put(json!([4, 2])).await), ["admin", "guest"]);
    assert_eq!(role_names(&put(json!(null)).await), ["admin", "guest"], "null changes nothing");
    assert_eq!(role_names(&put(json!([])).await), Vec::<&str>::new());
});

on_both!(a_role_is_assigned_and_removed_any_number_of_times, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[]).await;
    let caller = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    let path = format!("/users/{ann}/roles/3");
    let before = revision(&admin.post("/roles/", json!({ "name": "x" })).await);
    for _ in 0..2 {
        let done = admin.call("POST", &path).await.expect(200);
        assert_eq!(revision(&done), before, "an assignment is no rule");
        assert_eq!(done.json(), json!({ "message": "Role assigned to user successfully", "success": true }));
        caller.get("/users/").await.expect(200);
        assert_eq!(caller.gateway("GET", "/demo/articles").await, 200);
    }
    for _ in 0..2 {
        let done = admin.delete(&path).await.expect(200);
        assert_eq!(revision(&done), before);
        assert_eq!(done.json()["message"], "Role removed from user successfully");
        caller.get("/users/").await.expect(403);
        assert_eq!(caller.gateway("GET", "/demo/articles").await, 403);
    }
    for unknown in ["/users/999/roles/3".to_owned(), format!("/users/{ann}/roles/999")] {
        refused(admin.call("POST", &unknown).await, 404, "User or role not found");
        refused(admin.delete(&unknown).await, 404, "User or role not found");
    }
});

on_both!(nobody_shuts_himself_out, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    refused(admin.delete("/users/1").await, 400, "You cannot delete your own account");
    let own = "You cannot deactivate your own account";
    refused(admin.call("PATCH", "/users/1/toggle-status").await, 400, own);
    refused(admin.put("/users/1", json!({ "is_active": false })).await, 400, own);
    let ann = admin.user("ann", &[3]).await;
    for active in [false, true] {
        let toggled = admin.call("PATCH", &format!("/users/{ann}/toggle-status")).await.expect(200).json();
        assert_eq!((keys(&toggled), &toggled["is_active"]), (KEYS.to_vec(), &json!(active)));
    }
    refused(admin.call("PATCH", "/users/999/toggle-status").await, 404, "User not found");
});

on_both!(input_is_held_to_the_rules, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let empty = issues(admin.post("/users/", json!({})).await);
    let required = ["username", "email", "password"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(empty, required);
    assert_eq!(issues(admin.call("POST", "/users/").await), ["missing body: Field required"]);
    let object = "model_attributes_type body: Input should be a valid dictionary or object to extract fields from";
    assert_eq!(issues(admin.post("/users/", json!([])).await), [object]);
    for (key, value, expected) in [
        ("username", json!("ab"), "string_too_short body.username: String should have at least 3 characters"),
        ("username", json!("x".repeat(51)), "string_too_long body.username: String should have at most 50 characters"),
        ("username", json!("a b c"), "assertion_error body.username: Assertion failed, Username must be alphanumeric"),
        ("username", json!(7), "string_type body.username: Input should be a valid string"),
        ("password", json!("Sh0rt!"), "string_too_short body.password: String should have at least 8 characters"),
        ("role_ids", json!("1"), "list_type body.role_ids: Input should be a valid list"),
        (
            "role_ids",
            json!([1, 1.5]),
            "int_from_float body.role_ids.1: Input should be a valid integer, got a number with a fractional part",
        ),
        (
            "is_active",
            json!("maybe"),
            "bool_parsing body.is_active: Input should be a valid boolean, unable to interpret input",
        ),
    ] {
        for (method, path) in [("POST", "/users/"), ("PUT", "/users/4")] {
            let mut new = new_user("carol");
            new[key] = value.clone();
            assert_eq!(issues(admin.call(method, path).json(new).await), [expected], "{method}");
        }
    }
    for address in ["a@localhost", "a@b.test", "no-at", "a@@b.com", ".a@b.com", "a@[127.0.0.1]", "\"q\"@b.com"] {
        let mut new = new_user("carol");
        new["email"] = json!(address);
        let found = issues(admin.post("/users/", new).await);
        let start = "value_error body.email: value is not a valid email address: ";
        assert!(found.len() == 1 && found[0].starts_with(start), "{address}: {found:?}");
    }
    let mut long = new_user("carol");
    long["password"] = json!("Aa1!".repeat(300));
    let text = admin.post("/users/", long).await.expect(422).text;
    assert!(!text.contains("Aa1!"), "a refused password is not repeated: {text}");
    assert_eq!(admin.get("/users/count").await.expect(200).text, "4");
});

on_both!(lists_are_cut_searched_and_counted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for name in ["ann", "bob", "carol"] {
        let mut new = new_user(name);
        (new["is_active"], new["role_ids"]) = (json!(name != "bob"), json!([4]));
        admin.made("/users/", new).await;
    }
    for (query, expected) in [
        ("", vec![1, 2, 3, 4, 5, 6, 7]),
        ("skip=1&limit=2", vec![2, 3]),
        ("limit=0", vec![]),
        ("skip=99", vec![]),
        ("limit=5&limit=1", vec![1]),
        ("limit=999999", vec![1, 2, 3, 4, 5, 6, 7]),
        ("is_active=false", vec![6]),
        ("role=guest", vec![5, 6, 7]),
        ("role=Guest", vec![]),
        ("role=", vec![1, 2, 3, 4, 5, 6, 7]),
        ("search=CAROL", vec![7]),
        ("search=%40example.com&is_active=1", vec![5, 7]),
        ("search=%25", vec![]),
        ("search=_", vec![]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/users/?{query}")).await.expect(200)), expected, "{query}");
        if !query.contains("limit") && !query.contains("skip") {
            let count = admin.get(&format!("/users/count?{query}")).await.expect(200).text;
            assert_eq!(count, expected.len().to_string(), "{query}");
        }
    }
    for query in ["skip=-1", "limit=-1", "skip=x", "is_active=2"] {
        admin.get(&format!("/users/?{query}")).await.expect(422);
    }
});
