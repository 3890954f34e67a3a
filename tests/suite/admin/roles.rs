//! Roles and their grants.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, ids, issues, keys, refused, revision};
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

/// The names of a list, in its order.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect()
}

on_both!(a_minimal_role_holds_what_new_users_hold, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let pattern = admin.get("/roles/3").await.expect(200).json();
    let by_query = admin.call("POST", "/roles/create-minimal?role_name=content_editor").await.expect(200);
    let role = by_query.json();
    assert_eq!((keys(&role), &role["description"]), (KEYS.to_vec(), &json!("Content_Editor role")));
    assert_eq!((&role["permissions"], &role["is_system_role"]), (&pattern["permissions"], &json!(false)));
    let body = json!({ "name": "content_editor", "description": "other" });
    let again = admin.post("/roles/create-minimal", body).await.expect(200);
    assert_eq!((again.json(), revision(&again)), (role, revision(&by_query)), "it is there already");
    assert_eq!(admin.made("/roles/create-minimal", json!({ "name": "admin" })).await["id"], 2);
    let described = admin.call("POST", "/roles/create-minimal/?role_name=x&description=Of+x").await.expect(200).json();
    assert_eq!((&described["name"], &described["description"]), (&json!("x"), &json!("Of x")));
    let described = admin.made("/roles/create-minimal", json!({ "name": "y", "description": "Of y" })).await;
    assert_eq!(described["description"], "Of y");
    for name in ["superadmin", "super_admin", "SuperAdmin"] {
        let detail = "Cannot create super admin role through this endpoint";
        refused(admin.post("/roles/create-minimal", json!({ "name": name })).await, 400, detail);
        refused(admin.call("POST", &format!("/roles/create-minimal?role_name={name}")).await, 400, detail);
    }
    let missing = "missing body.name: Field required";
    assert_eq!(issues(admin.call("POST", "/roles/create-minimal").await), [missing]);
    assert_eq!(issues(admin.post("/roles/create-minimal", json!({ "role_name": "z" })).await), [missing]);
    let short = "string_too_short query.role_name: String should have at least 1 character";
    assert_eq!(issues(admin.call("POST", "/roles/create-minimal?role_name=").await), [short]);
});

on_both!(a_role_is_switched_off_and_on, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    for (active, status) in [(false, 403), (true, 200)] {
        let toggled = admin.call("PATCH", "/roles/3/toggle-status").await.expect(200).json();
        assert_eq!((keys(&toggled), &toggled["is_active"]), (KEYS.to_vec(), &json!(active)));
        assert_eq!(user.gateway("GET", "/demo/articles").await, status);
    }
    let stays = "Cannot deactivate the super role";
    refused(admin.call("PATCH", "/roles/1/toggle-status").await, 400, stays);
    refused(admin.call("PATCH", "/roles/999/toggle-status").await, 404, "Role not found");

    let set = async |ids: Value, active: bool| {
        admin.post("/roles/bulk-status", json!({ "ids": ids, "is_active": active })).await
    };
    let done = set(json!([4, 3, 1, 999, 3]), false).await.expect(200);
    let failed = json!([{ "id": 1, "detail": stays }, { "id": 999, "detail": "Role not found" }]);
    let message = "2 role(s) updated successfully";
    assert_eq!(done.json(), json!({ "message": message, "success": true, "affected": 2, "failed": failed }));
    assert_eq!(ids(&admin.get("/roles/?is_active=false").await), [3, 4]);
    assert_eq!(admin.get("/roles/count?is_active=true").await.text, "2");
    let again = set(json!([3, 4]), false).await.expect(200);
    assert_eq!(revision(&again), revision(&done), "nothing changed");
    set(json!([1, 3, 4]), true).await.expect(200);
    assert_eq!(user.gateway("GET", "/demo/articles").await, 200);
    refused(set(json!([1]), false).await, 400, "No valid roles to update");
    refused(set(json!([999]), false).await, 404, "No roles found with the provided IDs");
    refused(set(json!([]), false).await, 400, "No role IDs provided");
    let missing = ["missing body.ids: Field required", "missing body.is_active: Field required"];
    assert_eq!(issues(admin.post("/roles/bulk-status", json!({})).await), missing);
});

on_both!(many_roles_are_deleted_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for name in ["a", "b", "c"] {
        admin.made("/roles/", json!({ "name": name })).await;
    }
    admin.user("ann", &[6]).await;
    let delete = async |ids: Value| admin.post("/roles/bulk-delete", json!({ "role_ids": ids })).await;
    let done = delete(json!([7, 6, 5, 2, 999])).await.expect(200);
    let failed = json!([
        { "id": 2, "detail": "Cannot delete system roles" },
        { "id": 6, "detail": "Cannot delete role that is assigned to users" },
        { "id": 999, "detail": "Role not found" },
    ]);
    let message = "2 role(s) deleted successfully";
    assert_eq!(done.json(), json!({ "message": message, "success": true, "affected": 2, "failed": failed }));
    assert_eq!(ids(&admin.get("/roles/").await), [1, 2, 3, 4, 6]);
    refused(delete(json!([])).await, 400, "No role IDs provided");
    refused(delete(json!([1, 6])).await, 400, "No valid roles to delete");
    refused(delete(json!([5, 999])).await, 404, "No roles found with the provided IDs");
    let many: Vec<i64> = (1..=1001).collect();
    let long = "too_long body.role_ids: List should have at most 1000 items after validation, not 1001";
    assert_eq!(issues(delete(json!(many)).await), [long]);
    assert_eq!(issues(delete(json!(["x", null])).await).len(), 2);
    let next = admin.post("/roles/", json!({ "name": "d" })).await.expect(200);
    assert_eq!(revision(&next), revision(&done) + 1, "refusals change nothing");
});

on_both!(grants_are_read_and_written_as_lists, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let editor = id(&admin.made("/roles/", json!({ "name": "editor", "permission_ids": [2] })).await);
    let path = format!("/roles/{editor}/permissions");
    let added = admin.post(&format!("{path}/bulk"), json!([3, "1", 3, 2])).await.expect(200);
    assert_eq!((keys(&added.json()), permission_ids(&added.json())), (KEYS.to_vec(), vec![1, 2, 3]));
    let again = admin.post(&format!("{path}/bulk"), json!([3])).await.expect(200);
    assert_eq!((again.json(), revision(&again)), (added.json(), revision(&added)));
    admin.post(&format!("{path}/bulk"), json!([])).await.expect(200);

    let held = admin.get(&path).await.expect(200).json();
    assert_eq!(keys(&held), ["role_id", "role_name", "permissions", "permissions_count"]);
    assert_eq!((&held["role_id"], &held["role_name"]), (&json!(editor), &json!("editor")));
    assert_eq!((permission_ids(&held), &held["permissions_count"]), (vec![1, 2, 3], &json!(3)));
    let free = admin.get(&format!("/roles/{editor}/available-permissions")).await.expect(200).json();
    assert_eq!(keys(&free), ["role_id", "role_name", "available_permissions", "available_count"]);
    let available: Vec<i64> = free["available_permissions"].as_array().unwrap().iter().map(id).collect();
    let count: usize = admin.get("/permissions/count").await.text.parse().unwrap();
    assert_eq!((available.len(), available[0], &free["available_count"]), (count - 3, 4, &json!(count - 3)));

    let replaced = admin.put(&path, json!([2, 4])).await.expect(200);
    assert_eq!((permission_ids(&replaced.json()), revision(&replaced)), (vec![2, 4], revision(&added) + 1));
    let same = admin.put(&path, json!([4, 2, 2])).await.expect(200);
    assert_eq!(revision(&same), revision(&replaced));
    assert_eq!(permission_ids(&admin.put(&path, json!([])).await.expect(200).json()), [0; 0]);

    let unknown = "Role or permission not found";
    refused(admin.put(&path, json!([1, 999])).await, 404, unknown);
    refused(admin.post(&format!("{path}/bulk"), json!([1, 999])).await, 404, unknown);
    assert_eq!(admin.get(&path).await.json()["permissions_count"], 0, "all or nothing");
    refused(admin.put("/roles/999/permissions", json!([1])).await, 404, unknown);
    for read in ["permissions", "available-permissions"] {
        refused(admin.get(&format!("/roles/999/{read}")).await, 404, "Role not found");
    }
    // Grants of system roles may change, but the super role keeps all of them.
    admin.put("/roles/4/permissions", json!([1])).await.expect(200);
    let weaker = "Cannot remove permissions from the super role";
    refused(admin.put("/roles/1/permissions", json!([1, 2])).await, 400, weaker);
    assert_eq!(admin.get("/roles/1/permissions").await.json()["permissions_count"], json!(count));
    let all: Vec<i64> = ids(&admin.get("/permissions/?limit=1000").await);
    admin.put("/roles/1/permissions", json!(all)).await.expect(200);

    let no_list = "list_type body: Input should be a valid list";
    for (body, expected) in [
        (json!({ "permission_ids": [1] }), no_list),
        (json!("1"), no_list),
        (json!(null), "missing body: Field required"),
        (json!(["x"]), "int_parsing body.0: Input should be a valid integer, unable to parse string as an integer"),
        (json!(vec![1; 1001]), "too_long body: List should have at most 1000 items after validation, not 1001"),
    ] {
        assert_eq!(issues(admin.put(&path, body.clone()).await), [expected]);
        assert_eq!(issues(admin.post(&format!("{path}/bulk"), body).await), [expected]);
    }
    assert_eq!(issues(admin.call("PUT", &path).await), ["missing body: Field required"]);
});

on_both!(roles_are_made_from_templates, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    admin.made("/permissions/", json!({ "name": "report:read" })).await;
    let templates = admin.get("/roles/templates").await.expect(200).json();
    assert_eq!(names(&templates), ["SuperAdmin", "Admin", "User", "Guest"]);
    assert_eq!(keys(&templates[0]), ["name", "description", "permissions"]);
    let held: Vec<usize> =
        templates.as_array().unwrap().iter().map(|one| one["permissions"].as_array().unwrap().len()).collect();
    let count: usize = admin.get("/permissions/count").await.text.parse().unwrap();
    assert_eq!(held, [count, 4, 1, 0]);
    assert_eq!(names(&templates[2]["permissions"]), ["user:read"]);
    for (index, spelling) in ["super_admin", "admin", "USER", "Guest"].iter().enumerate() {
        let new = json!({ "name": format!("my {spelling}") });
        let role = admin.made(&format!("/roles/from-template/{spelling}"), new).await;
        assert_eq!((keys(&role), &role["is_system_role"]), (KEYS.to_vec(), &json!(false)));
        for same in ["description", "permissions"] {
            assert_eq!(role[same], templates[index][same], "{spelling}");
        }
    }
    let described = json!({ "name": "helpers", "description": "Help" });
    assert_eq!(admin.made("/roles/from-template/Guest", described.clone()).await["description"], "Help");
    let taken = "Role with name 'helpers' already exists";
    refused(admin.post("/roles/from-template/Guest", described).await, 400, taken);
    let alias = "Role with name 'super_admin' already exists";
    refused(admin.post("/roles/from-template/Guest", json!({ "name": "super_admin" })).await, 400, alias);
    refused(admin.post("/roles/from-template/owner", json!({ "name": "x" })).await, 404, "Role template not found");
    assert_eq!(
        issues(admin.post("/roles/from-template/owner", json!({})).await),
        ["missing body.name: Field required"]
    );
});

on_both!(a_deleted_role_comes_back_with_all_it_had, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let article = app.permission(&admin.token, "article:read").await;
    let made = admin.made("/roles/", json!({ "name": "editor", "permission_ids": [article] })).await;
    let editor = id(&made);
    let ann = admin.user("ann", &[editor]).await;
    let (path, restore) = (format!("/roles/{editor}"), format!("/roles/{editor}/restore"));
    refused(admin.call("POST", &restore).await, 400, "Role is not deleted");
    refused(admin.call("POST", "/roles/999/restore").await, 404, "Role not found");
    admin.delete(&format!("/users/{ann}")).await.expect(200);
    admin.delete(&path).await.expect(200);
    let listed = admin.get("/roles/?include_deleted=true&search=editor").await.expect(200).json();
    assert_eq!(keys(&listed[0]), [&KEYS[..], &["deleted_at"]].concat());
    assert_timestamp(&listed[0]["deleted_at"]);
    assert_eq!(admin.get("/roles/count?include_deleted=yes").await.text, "5");
    assert_eq!(admin.get("/roles/count").await.text, "4");

    let namesake = id(&admin.made("/roles/", json!({ "name": "editor" })).await);
    refused(admin.call("POST", &restore).await, 400, "Role with name 'editor' already exists");
    admin.delete(&format!("/roles/{namesake}")).await.expect(200);
    assert_eq!(admin.call("POST", &restore).await.expect(200).json(), made);
    assert_eq!(admin.get(&path).await.expect(200).json(), made);
});
