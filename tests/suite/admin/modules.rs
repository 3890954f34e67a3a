//! Modules.

use serde_json::{Value, json};

use super::{Caller, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const KEYS: [&str; 11] =
    ["name", "label", "icon", "route", "priority", "is_active", "id", "created_at", "updated_at", "routes", "roles"];
const ITEM_KEYS: [&str; 10] =
    ["id", "name", "label", "icon", "route", "priority", "is_active", "created_at", "route_count", "roles"];

on_both!(a_module_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let made = admin.post("/modules/", json!({ "name": "Shop_1", "label": " Shop ", "role_ids": [3, 1] })).await;
    let module = made.clone().expect(200).json();
    let with_count: Vec<&str> = KEYS.into_iter().chain(["route_count"]).collect();
    assert_eq!(keys(&module), with_count);
    assert_eq!(
        (&module["name"], &module["label"], &module["route"]),
        (&json!("shop_1"), &json!("Shop"), &json!("/shop_1"))
    );
    assert_eq!((&module["icon"], &module["priority"], &module["is_active"]), (&Value::Null, &json!(0), &json!(true)));
    assert_eq!((&module["updated_at"], &module["routes"]), (&Value::Null, &json!([])));
    assert_timestamp(&module["created_at"]);
    assert_eq!(ids_of(&module["roles"]), [1, 3]);
    assert_eq!(keys(&module["roles"][0]), ["id", "name", "description"]);

    let path = format!("/modules/{}", id(&module));
    for same in [path.clone(), format!("{path}/"), format!("/modules/get-one/{}", id(&module))] {
        let shown = admin.get(&same).await.expect(200).json();
        assert_eq!(keys(&shown), KEYS);
        assert_eq!(shown["created_at"], module["created_at"]);
    }
    let body = json!({ "label": "Store", "icon": "Cart", "route": "/store", "priority": "7", "role_ids": [2] });
    let changed = admin.put(&path, body).await.expect(200).json();
    assert_eq!(
        (&changed["label"], &changed["icon"], &changed["priority"]),
        (&json!("Store"), &json!("Cart"), &json!(7))
    );
    assert_eq!(ids_of(&changed["roles"]), [2]);
    assert_timestamp(&changed["updated_at"]);
    let get_one = format!("/modules/get-one/{}", id(&module));
    let same = admin.put(&get_one, json!({ "role_ids": null, "priority": null })).await.expect(200).json();
    assert_eq!((ids_of(&same["roles"]), &same["priority"]), (vec![2], &json!(7)));
    let cleared = admin.put(&path, json!({ "icon": null, "role_ids": [] })).await.expect(200).json();
    assert_eq!((&cleared["icon"], ids_of(&cleared["roles"])), (&Value::Null, vec![]));

    let deleted = admin.delete(&path).await.expect(200);
    assert!(revision(&deleted) > revision(&made));
    assert_eq!(deleted.json(), json!({ "message": "Module deleted successfully", "success": true }));
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "Module not found");
    }
    admin.made("/modules/", json!({ "name": "shop_1", "label": "Again" })).await;
});

fn ids_of(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(id).collect()
}

on_both!(a_module_shows_its_routes_one_level_deep, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let module = admin.get("/modules/2").await.expect(200).json();
    let routes = module["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 7);
    for route in routes {
        assert_eq!((&route["module"], &route["parent"], &route["children"]), (&Value::Null, &Value::Null, &json!([])));
        assert_eq!(ids_of(&route["roles"]), [1]);
    }
    refused(admin.delete("/modules/2").await, 400, "Cannot delete module that has associated routes");
});

on_both!(input_is_held_to_the_rules, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let required = ["name", "label"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(admin.post("/modules/", json!({})).await), required);
    let new = |key: &str, value: Value| {
        let mut body = json!({ "name": "x", "label": "X" });
        body[key] = value;
        body
    };
    let form = "Module name must contain only letters, numbers, hyphens, and underscores";
    for (key, value, expected) in [
        ("name", json!("a b"), format!("value_error body.name: Value error, {form}")),
        ("label", json!("  "), "value_error body.label: Value error, Label cannot be empty".to_owned()),
        (
            "role_ids",
            json!([1, 0]),
            "value_error body.role_ids: Value error, All role IDs must be positive integers".to_owned(),
        ),
        (
            "icon",
            json!("x".repeat(51)),
            "string_too_long body.icon: String should have at most 50 characters".to_owned(),
        ),
        ("route", json!(""), "string_too_short body.route: String should have at least 1 character".to_owned()),
    ] {
        assert_eq!(issues(admin.post("/modules/", new(key, value.clone())).await), std::slice::from_ref(&expected));
        assert_eq!(issues(admin.put("/modules/1", json!({ key: value })).await), [expected]);
    }
    for key in ["name", "label", "route"] {
        let expected = format!("string_type body.{key}: Input should be a valid string");
        assert_eq!(issues(admin.put("/modules/1", json!({ key: null })).await), [expected]);
    }
    let negative = "greater_than_equal body.priority: Input should be greater than or equal to 0";
    assert_eq!(issues(admin.put("/modules/1", json!({ "priority": -1 })).await), [negative]);
    admin.post("/modules/", new("priority", json!(-1))).await.expect(200);
    refused(
        admin.post("/modules/", new("name", json!("Dashboard"))).await,
        400,
        "Module name 'dashboard' already exists",
    );
    refused(
        admin.put("/modules/2", json!({ "name": "dashboard" })).await,
        400,
        "Module name 'dashboard' already exists",
    );
    for answer in [
        admin.post("/modules/", json!({ "name": "y", "label": "Y", "role_ids": [77, 1, 78] })).await,
        admin.put("/modules/1", json!({ "role_ids": [77, 78] })).await,
    ] {
        refused(answer, 400, "Role IDs not found: [77, 78]");
    }
});

on_both!(lists_come_by_priority, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let first = id(&admin.made("/modules/", json!({ "name": "aa", "label": "First", "priority": -5 })).await);
    let last = id(&admin
        .made("/modules/", json!({ "name": "b_b", "label": "Last", "is_active": false, "priority": 9 }))
        .await);
    let all = admin.get("/modules/").await.expect(200);
    assert_eq!(ids(&all), [first, 1, 2, 3, last]);
    assert_eq!(keys(&all.json()[0]), ITEM_KEYS);
    assert_eq!(all.json()[2]["route_count"], 7);
    let uncounted = admin.get("/modules/?include_count=false").await.expect(200).json();
    assert!(uncounted.as_array().unwrap().iter().all(|module| module["route_count"] == 0));
    for (query, expected) in [
        ("skip=1&limit=2", vec![1, 2]),
        ("search=ADMINISTRATION", vec![2]),
        ("search=_", vec![last]),
        ("search=%2Finfinity", vec![1, 2]),
        ("is_active=false", vec![last]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/modules/?{query}")).await.expect(200)), expected, "{query}");
        if !query.contains("limit") {
            let count = admin.get(&format!("/modules/count?{query}")).await.expect(200).text;
            assert_eq!(count, expected.len().to_string(), "{query}");
        }
    }
    for query in ["skip=-1", "limit=0", "limit=1001", "limit=x"] {
        admin.get(&format!("/modules/?{query}")).await.expect(422);
    }
});
