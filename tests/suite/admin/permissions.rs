//! Permissions.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, ids, issues, keys, refused, revision};
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
        ("category=module", vec![13, 14, 15, 16]),
        ("category=role", vec![5, 6, 7, 8, 27]),
        ("search=ROLE%3AREAD", vec![5]),
        ("search=Read+role", vec![5]),
        ("search=role_read", vec![]),
        ("category=Role", vec![]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/permissions/?{query}")).await.expect(200)), expected, "{query}");
    }
    assert_eq!(admin.get("/permissions/count?category=module").await.expect(200).text, "4");
    admin.get("/permissions/?skip=-1").await.expect(422);
});

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|permission| permission["name"].as_str().unwrap()).collect()
}

on_both!(the_systems_permissions_have_the_predecessors_ids, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let all = admin.get("/permissions/?limit=28").await.expect(200).json();
    let resources = ["user", "role", "permission", "module", "route", "upstream"];
    let crud = |resource: &str| ["read", "create", "update", "delete"].map(|verb| format!("{resource}:{verb}"));
    let others = ["system:read", "system:manage", "role:escalate", "audit:read"].map(str::to_owned);
    let expected: Vec<String> = resources.iter().flat_map(|resource| crud(resource)).chain(others).collect();
    assert_eq!(names(&all), expected);
    assert_eq!(
        (&all[0]["description"], &all[1]["description"]),
        (&json!("Read user resources"), &json!("Create user resources"))
    );
    assert_eq!(ids(&admin.get("/permissions/?limit=28").await), (1..=28).collect::<Vec<_>>());
});

on_both!(permissions_stand_under_headings, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for (name, category) in [("report:read", "finance"), ("reports", "report"), ("report_x:read", "finance")] {
        admin.made("/permissions/", json!({ "name": name, "category": category })).await;
    }
    let gone = id(&admin.made("/permissions/", json!({ "name": "report:gone", "category": "lost" })).await);
    admin.delete(&format!("/permissions/{gone}")).await.expect(200);
    let categories = admin.get("/permissions/categories").await.expect(200).json();
    let system = [
        "audit",
        "finance",
        "issuer",
        "key",
        "module",
        "order",
        "permission",
        "policy",
        "report",
        "role",
        "route",
        "system",
        "upstream",
        "user",
    ];
    let mut expected = system.to_vec();
    expected.insert(0, "article");
    assert_eq!(categories, json!(expected));

    for path in ["/permissions/category/finance", "/permissions/by-category/finance/"] {
        assert_eq!(names(&admin.get(path).await.expect(200).json()), ["report:read", "report_x:read"]);
    }
    assert_eq!(keys(&admin.get("/permissions/category/finance").await.json()[0]), KEYS);
    for unknown in [
        "category/lost",
        "category/Finance",
        "category/%25",
        "by-resource/none",
        "by-resource/%25",
        "by-resource/Report",
    ] {
        assert_eq!(admin.get(&format!("/permissions/{unknown}")).await.expect(200).text, "[]", "{unknown}");
    }
    let of_report = admin.get("/permissions/by-resource/report").await.expect(200).json();
    assert_eq!(names(&of_report), ["report:read", "reports"], "by name or by category, and no further");
    assert_eq!(names(&admin.get("/permissions/by-resource/order").await.json()), ["order:read", "order:read:own"]);

    let grouped = admin.get("/permissions/grouped").await.expect(200).json();
    assert_eq!(keys(&grouped), expected);
    assert_eq!(names(&grouped["finance"]), ["report:read", "report_x:read"]);
    let all: usize = grouped.as_object().unwrap().values().map(|group| group.as_array().unwrap().len()).sum();
    assert_eq!(admin.get("/permissions/count").await.text, all.to_string());
    assert_eq!(issues(admin.get("/permissions/category/%00").await).len(), 1);
});

on_both!(everybody_sees_their_own_permissions, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mine = async |caller: &Caller<'_>| caller.get("/permissions/my-permissions").await.expect(200).json();
    let everything = mine(&admin).await;
    let everything: Vec<&str> = everything.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(everything.is_sorted() && everything.contains(&"role:escalate"));
    assert_eq!(admin.get("/permissions/count").await.text, everything.len().to_string());
    let user = Caller::demo(&app, "testuser").await;
    assert_eq!(mine(&user).await, json!(["article:read", "order:read:own", "user:read"]));

    let base = id(&admin.made("/roles/", json!({ "name": "base", "permission_ids": [5, 6] })).await);
    let middle = id(&admin.made("/roles/", json!({ "name": "middle", "permission_ids": [6, 9] })).await);
    admin.call("POST", &format!("/roles/{middle}/parents/{base}")).await.expect(200);
    let ann = admin.user("ann", &[middle]).await;
    let own = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    assert_eq!(mine(&own).await, json!(["permission:read", "role:create", "role:read"]));
    admin.call("PATCH", &format!("/roles/{base}/toggle-status")).await.expect(200);
    assert_eq!(mine(&own).await, json!(["permission:read", "role:create"]));
    admin.put(&format!("/users/{ann}"), json!({ "role_ids": [] })).await.expect(200);
    assert_eq!(mine(&own).await, json!([]));
});

on_both!(a_permission_is_switched_off_and_on, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let article = app.permission(&admin.token, "article:read").await;
    for (active, status) in [(false, 403), (true, 200)] {
        let path = format!("/permissions/{article}/toggle-status");
        let toggled = admin.call("PATCH", &path).await.expect(200).json();
        assert_eq!((keys(&toggled), &toggled["is_active"]), (KEYS.to_vec(), &json!(active)));
        assert_eq!(user.gateway("GET", "/demo/articles").await, status);
    }
    let system = "System permissions cannot be modified";
    refused(admin.call("PATCH", "/permissions/1/toggle-status").await, 400, system);
    refused(admin.call("PATCH", "/permissions/999/toggle-status").await, 404, "Permission not found");

    let set = async |ids: Value, active: bool| {
        admin.post("/permissions/bulk-status", json!({ "ids": ids, "is_active": active })).await
    };
    let done = set(json!([article, 1, 999, article]), false).await.expect(200).json();
    let failed = json!([{ "id": 1, "detail": system }, { "id": 999, "detail": "Permission not found" }]);
    let message = "1 permission(s) updated successfully";
    assert_eq!(done, json!({ "message": message, "success": true, "affected": 1, "failed": failed }));
    assert_eq!(ids(&admin.get("/permissions/?is_active=false").await), [article]);
    assert_eq!(admin.get("/permissions/count?is_active=false").await.text, "1");
    let before = revision(&set(json!([article]), false).await.expect(200));
    assert_eq!(revision(&set(json!([1, article]), true).await.expect(200)), before + 1);
    assert_eq!(revision(&set(json!([1, article]), true).await.expect(200)), before + 1, "nothing changed");
    refused(set(json!([1]), false).await, 400, "No valid permissions to update");
    refused(set(json!([999]), false).await, 404, "No permissions found with the provided IDs");
    refused(set(json!([]), false).await, 400, "No permission IDs provided");
});

on_both!(many_permissions_are_deleted_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let article = app.permission(&admin.token, "article:read").await;
    let delete = async |ids: Value| admin.post("/permissions/bulk-delete", json!({ "permission_ids": ids })).await;
    let done = delete(json!([1, article, 999])).await.expect(200);
    let failed =
        json!([{ "id": 1, "detail": "Permission cannot be deleted" }, { "id": 999, "detail": "Permission not found" }]);
    let message = "1 permission(s) deleted successfully";
    assert_eq!(done.json(), json!({ "message": message, "success": true, "affected": 1, "failed": failed }));
    assert_eq!(user.gateway("GET", "/demo/articles").await, 403, "the roles that held it lost it");
    refused(admin.get(&format!("/permissions/{article}")).await, 404, "Permission not found");
    let before = revision(&done);
    refused(delete(json!([])).await, 400, "No permission IDs provided");
    refused(delete(json!([1, 2])).await, 400, "No valid permissions to delete");
    refused(delete(json!([article, 999])).await, 404, "No permissions found with the provided IDs");
    let many: Vec<i64> = (1..=1001).collect();
    let long = "too_long body.permission_ids: List should have at most 1000 items after validation, not 1001";
    assert_eq!(issues(delete(json!(many)).await), [long]);
    assert_eq!(
        issues(admin.post("/permissions/bulk-delete", json!({})).await),
        ["missing body.permission_ids: Field required"]
    );
    let next = admin.post("/permissions/", json!({ "name": "x" })).await.expect(200);
    assert_eq!(revision(&next), before + 1, "refusals change nothing");
});

on_both!(a_deleted_permission_comes_back, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let report = id(&admin.made("/permissions/", json!({ "name": "report:read" })).await);
    let path = format!("/permissions/{report}/restore");
    refused(admin.call("POST", &path).await, 400, "Permission is not deleted");
    refused(admin.call("POST", "/permissions/999/restore").await, 404, "Permission not found");
    admin.delete(&format!("/permissions/{report}")).await.expect(200);
    let listed = admin.get("/permissions/?include_deleted=true&search=report").await.expect(200).json();
    assert_eq!(keys(&listed[0]), [&KEYS[..], &["deleted_at"]].concat());
    assert_timestamp(&listed[0]["deleted_at"]);
    assert_eq!(admin.get("/permissions/count?include_deleted=true&search=report").await.text, "1");
    assert_eq!(admin.get("/permissions/count?search=report").await.text, "0");

    let namesake = id(&admin.made("/permissions/", json!({ "name": "report:read" })).await);
    refused(admin.call("POST", &path).await, 400, "Permission name already exists");
    admin.delete(&format!("/permissions/{namesake}")).await.expect(200);
    let restored = admin.call("POST", &path).await.expect(200).json();
    assert_eq!((keys(&restored), id(&restored)), (KEYS.to_vec(), report));
    assert_eq!(admin.get(&format!("/permissions/{report}")).await.expect(200).json(), restored);
    let held = admin.get("/roles/1").await.expect(200).json();
    assert!(held["permissions"].as_array().unwrap().contains(&restored), "the super role holds everything");
});

on_both!(a_verb_that_a_policy_uses_stays, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let publish = id(&admin.made("/permissions/", json!({ "name": "article:publish" })).await);
    let mut write = app.running.control().write().await.unwrap();
    let (now, source) = (write.now(), "forbid (principal, action == Action::\"publish\", resource);");
    let insert =
        write.tx().query("INSERT INTO policies (name, source, is_active, created_at) VALUES ($1, $2, TRUE, $3)");
    insert.bind("guard").bind(source).bind(now).execute().await.unwrap();
    write.touch(cedargate::store::changes::Change::Rules);
    write.commit(()).await.unwrap();

    let used = "Policy 'guard' uses this permission's verb";
    let path = format!("/permissions/{publish}");
    refused(admin.put(&path, json!({ "name": "article:print" })).await, 400, used);
    refused(admin.delete(&path).await, 400, used);
    refused(admin.post("/permissions/bulk-delete", json!({ "permission_ids": [publish] })).await, 400, used);
    assert_eq!(admin.get(&path).await.expect(200).json()["name"], "article:publish");
    admin.made("/permissions/", json!({ "name": "report:publish" })).await;
    admin.delete(&path).await.expect(200);
});
