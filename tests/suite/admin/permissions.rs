//! Permissions.

use serde_json::{Value, json};

use super::{Caller, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const KEYS: [&str; 5] = ["name", "description", "category", "id", "is_active"];

on_both!(a_permission_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let made = admin.post("/permissions/", json!({ "name": "report:read", "nothing": 1 })).await.expect(200);
    let permission = made.json();
    assert_eq!(keys(&permission), KEYS);
    assert_eq!(
        (&permission["category"], &permission["description"], &permission["is_active"]),
        (&json!("general"), &Value::Null, &json!(true))
    );
    let path = format!("/permissions/{}", id(&permission));
    for same in [path.clone(), format!("{path}/"), format!("/permissions/get-one/{}", id(&permission))] {
        assert_eq!(admin.get(&same).await.expect(200).json(), permission);
    }
    assert_eq!(admin.get("/permissions/").await.expect(200).json().as_array().unwrap().last(), Some(&permission));
    let held = admin.get("/roles/1").await.expect(200).json();
    assert!(held["permissions"].as_array().unwrap().contains(&permission), "the super role holds everything");

    let body = json!({ "description": "Reads", "category": "report" });
    let changed = admin.put(&path, body).await.expect(200).json();
    assert_eq!((keys(&changed), &changed["category"]), (KEYS.to_vec(), &json!("report")));
    let renamed =
        admin.put(&format!("/permissions/get-one/{}", id(&permission)), json!({ "name": "report:see" })).await;
    assert_eq!(renamed.expect(200).json()["name"], "report:see");

    admin.call("POST", &format!("/roles/4/permissions/{}", id(&permission))).await.expect(200);
    let before = admin.get("/roles/1").await.json();
    refused(admin.delete(&path).await, 400, "Permission cannot be deleted");
    assert_eq!(admin.get("/roles/1").await.json(), before, "a refusal changes nothing");
    admin.delete(&format!("/roles/4/permissions/{}", id(&permission))).await.expect(200);
    let deleted = admin.delete(&path).await.expect(200);
    assert!(revision(&deleted) > revision(&made));
    assert_eq!(deleted.json(), json!({ "message": "Permission deleted successfully", "success": true }));
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "Permission not found");
    }
    assert!(id(&admin.made("/permissions/", json!({ "name": "report:see" })).await) > id(&permission));
});

on_both!(names_are_unique_and_the_systems_own_stay, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let taken = "Permission name already exists";
    refused(admin.post("/permissions/", json!({ "name": "user:read" })).await, 400, taken);
    let own = id(&admin.made("/permissions/", json!({ "name": "x", "category": "" })).await);
    refused(admin.put(&format!("/permissions/{own}"), json!({ "name": "user:read" })).await, 400, taken);
    let system = "System permissions cannot be modified";
    refused(admin.put("/permissions/2", json!({ "name": "user:see" })).await, 400, system);
    refused(admin.put("/permissions/2", json!({ "is_active": false })).await, 400, system);
    refused(admin.delete("/permissions/2").await, 400, "Permission cannot be deleted");
    for (body, expected) in [
        (json!({}), "missing body.name: Field required"),
        (json!({ "name": "" }), "string_too_short body.name: String should have at least 1 character"),
        (json!({ "name": "x".repeat(101) }), "string_too_long body.name: String should have at most 100 characters"),
        (
            json!({ "name": "y", "category": "x".repeat(51) }),
            "string_too_long body.category: String should have at most 50 characters",
        ),
    ] {
        assert_eq!(issues(admin.post("/permissions/", body).await), [expected]);
    }
});

on_both!(an_inactive_permission_grants_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let path = format!("/permissions/{}", app.permission(&admin.token, "article:read").await);
    for (active, status) in [(true, 200), (false, 403), (true, 200)] {
        admin.put(&path, json!({ "is_active": active })).await.expect(200);
        assert_eq!(user.gateway("GET", "/demo/articles").await, status);
    }
    admin.put(&path, json!({ "name": "article:peruse" })).await.expect(200);
    assert_eq!(user.gateway("GET", "/demo/articles").await, 403, "the operation asks for the old name");
});

on_both!(lists_are_cut_searched_and_counted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for (query, expected) in [
        ("limit=3", vec![1, 2, 3]),
        ("skip=1&limit=2", vec![2, 3]),
        ("limit=0", vec![]),
        ("category=role", vec![5, 6, 7, 8]),
        ("search=ROLE%3AREAD", vec![6]),
        ("search=Read+role", vec![6]),
        ("search=role_read", vec![]),
        ("category=Role", vec![]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/permissions/?{query}")).await.expect(200)), expected, "{query}");
    }
    assert_eq!(admin.get("/permissions/count?category=role").await.expect(200).text, "4");
    admin.get("/permissions/?skip=-1").await.expect(422);
});
