//! Roles and their grants.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const KEYS: [&str; 6] = ["name", "description", "id", "is_system_role", "permissions", "is_active"];

fn permission_ids(role: &Value) -> Vec<i64> {
    role["permissions"].as_array().unwrap().iter().map(id).collect()
}

on_both!(a_role_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let new = json!({ "name": "editor", "permission_ids": [2, 999, "1"], "is_system_role": true });
    let made = admin.post("/roles/", new).await.expect(200);
    let role = made.json();
    assert_eq!(keys(&role), KEYS);
    assert_eq!(
        (&role["description"], &role["is_system_role"], &role["is_active"]),
        (&Value::Null, &json!(false), &json!(true))
    );
    assert_eq!(permission_ids(&role), [1, 2]);
    let path = format!("/roles/{}", id(&role));
    assert_eq!(admin.get(&path).await.expect(200).json(), role);
    assert_eq!(admin.get("/roles/").await.expect(200).json().as_array().unwrap().last(), Some(&role));
    admin.call("HEAD", "/roles").await.expect(200);

    let body = json!({ "description": "Edits", "permission_ids": [3] });
    let changed = admin.put(&path, body).await.expect(200);
    assert_eq!(revision(&changed), revision(&made) + 1);
    let changed = changed.json();
    assert_eq!((keys(&changed), permission_ids(&changed)), (KEYS.to_vec(), vec![3]));
    assert_eq!((&changed["name"], &changed["description"]), (&json!("editor"), &json!("Edits")));
    let cleared = admin.put(&path, json!({ "name": "writer", "permission_ids": [] })).await.expect(200).json();
    assert_eq!((&cleared["name"], permission_ids(&cleared)), (&json!("writer"), vec![]));

    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(revision(&deleted), revision(&made) + 3);
    assert_eq!(
        deleted.json(),
        json!({ "message": format!("Role {} deleted successfully", id(&role)), "success": true })
    );
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "Role not found");
    }
    assert!(id(&admin.made("/roles/", json!({ "name": "writer" })).await) > id(&role), "the name is free again");
});

on_both!(names_are_unique_and_of_some_length, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let editor = id(&admin.made("/roles/", json!({ "name": "editor" })).await);
    refused(admin.post("/roles/", json!({ "name": "editor" })).await, 400, "Role with name 'editor' already exists");
    let renamed = admin.put(&format!("/roles/{editor}"), json!({ "name": "guest" })).await;
    refused(renamed, 400, "Role with name 'guest' already exists");
    for name in ["super_admin", "SuperAdmin"] {
        let detail = format!("Role with name '{name}' already exists");
        refused(admin.post("/roles/", json!({ "name": name })).await, 400, &detail);
        refused(admin.put(&format!("/roles/{editor}"), json!({ "name": name })).await, 400, &detail);
    }
    let short = "string_too_short body.name: String should have at least 1 character";
    assert_eq!(issues(admin.post("/roles/", json!({ "name": "" })).await), [short]);
    let long = "string_too_long body.name: String should have at most 50 characters";
    assert_eq!(issues(admin.post("/roles/", json!({ "name": "é".repeat(51) })).await), [long]);
    admin.post("/roles/", json!({ "name": "é".repeat(50) })).await.expect(200);
    assert_eq!(issues(admin.post("/roles/", json!({})).await), ["missing body.name: Field required"]);
});

on_both!(system_roles_are_protected, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for system in 1..=4 {
        let path = format!("/roles/{system}");
        refused(admin.put(&path, json!({ "description": "x" })).await, 400, "Cannot update system roles");
        refused(admin.delete(&path).await, 400, "Cannot delete system roles");
    }
    refused(admin.delete("/roles/1/permissions/1").await, 400, "Cannot remove permissions from the super role");
    // Grants of the others may change.
    admin.call("POST", "/roles/4/permissions/2").await.expect(200);
    admin.delete("/roles/4/permissions/2").await.expect(200);
    let editor = id(&admin.made("/roles/", json!({ "name": "editor" })).await);
    let ann = admin.user("ann", &[editor]).await;
    let assigned = "Cannot delete role that is assigned to users";
    refused(admin.delete(&format!("/roles/{editor}")).await, 400, assigned);
    admin.delete(&format!("/users/{ann}")).await.expect(200);
    admin.delete(&format!("/roles/{editor}")).await.expect(200);
});

on_both!(a_grant_is_made_and_withdrawn_any_number_of_times, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let start = revision(&admin.post("/roles/", json!({ "name": "editor" })).await);
    let editor = app.role(&admin.token, "editor").await;
    let path = format!("/roles/{editor}/permissions/2");
    for _ in 0..2 {
        let done = admin.call("POST", &path).await.expect(200);
        assert_eq!(revision(&done), start + 1, "only the first grant changes the rules");
        assert_eq!(done.json()["message"], format!("Permission 2 added to role {editor}"));
    }
    assert_eq!(permission_ids(&admin.get(&format!("/roles/{editor}")).await.json()), [2]);
    for _ in 0..2 {
        let done = admin.delete(&path).await.expect(200);
        assert_eq!(revision(&done), start + 2);
        assert_eq!(done.json()["message"], format!("Permission 2 removed from role {editor}"));
    }
    for unknown in ["/roles/999/permissions/2".to_owned(), format!("/roles/{editor}/permissions/999")] {
        refused(admin.call("POST", &unknown).await, 404, "Role or permission not found");
        refused(admin.delete(&unknown).await, 404, "Role or permission not found");
    }
    assert_eq!(issues(admin.call("POST", "/roles/x/permissions/y").await).len(), 2);
});

on_both!(an_inactive_role_grants_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let articles = app.permission(&admin.token, "article:read").await;
    let users = app.permission(&admin.token, "user:read").await;
    let role = id(&admin.made("/roles/", json!({ "name": "reader", "permission_ids": [articles, users] })).await);
    admin.user("ann", &[role]).await;
    let ann = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    for (active, status) in [(true, 200), (false, 403), (true, 200)] {
        let changed = admin.put(&format!("/roles/{role}"), json!({ "is_active": active })).await.expect(200).json();
        assert_eq!(changed["is_active"], active);
        assert_eq!(ann.gateway("GET", "/demo/articles").await, status);
        ann.get("/users/").await.expect(status);
    }
});

on_both!(all_roles_come_unless_a_part_is_asked_for, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for index in 5..=110 {
        admin.made("/roles/", json!({ "name": format!("role{index}"), "description": "One of_many" })).await;
    }
    for (query, expected) in [
        ("", (1..=110).collect::<Vec<_>>()),
        ("skip=2&limit=3", vec![3, 4, 5]),
        ("limit=2", vec![1, 2]),
        ("skip=109", vec![110]),
        ("is_system_role=true", vec![1, 2, 3, 4]),
        ("is_system_role=false&limit=1", vec![5]),
        ("search=ROLE11", vec![11, 110]),
        ("search=of_many&limit=1", vec![5]),
        ("search=%25", vec![]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/roles/?{query}")).await.expect(200)), expected, "{query}");
    }
    assert_eq!(admin.get("/roles/count").await.expect(200).text, "110");
    admin.get("/roles/?skip=-1").await.expect(422);
});
