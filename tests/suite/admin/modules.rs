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

on_both!(a_module_is_switched_on_and_off, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let toggle = async || admin.call("PATCH", "/modules/2/toggle-status").await.expect(200);
    let off = toggle().await;
    let module = off.json();
    assert_eq!(
        (&module["is_active"], &module["route_count"], &module["name"]),
        (&json!(false), &json!(7), &json!("administration"))
    );
    assert_timestamp(&module["updated_at"]);
    let on = toggle().await;
    assert_eq!(on.json()["is_active"], true);
    assert!(revision(&on) > revision(&off), "the gateway's rules know whether it is on");
    refused(admin.call("PATCH", "/modules/999/toggle-status").await, 404, "Module not found");
});

on_both!(active_ones_come_with_their_routes, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let off = json!({ "name": "off", "label": "Off", "is_active": false, "priority": 0 });
    admin.made("/modules/", off).await;
    let active = admin.get("/modules/active").await.expect(200);
    assert_eq!(ids(&active), [1, 2, 3]);
    for module in active.json().as_array().unwrap() {
        let one = admin.get(&format!("/modules/{}", id(module))).await.expect(200).json();
        assert_eq!(module, &one);
    }
    let listed = admin.get("/modules/2/routes").await.expect(200);
    assert_eq!(listed.text, admin.get("/routes/?module_id=2").await.expect(200).text);
    refused(admin.get("/modules/999/routes").await, 404, "Module not found");
});

on_both!(several_are_deleted_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(id(&admin.made("/modules/", json!({ "name": name, "label": name })).await));
    }
    let delete = async |ids: Value| admin.post("/modules/bulk-delete", json!({ "module_ids": ids })).await;
    refused(delete(json!([])).await, 400, "No module IDs provided");
    refused(delete(json!([999, 998])).await, 404, "No modules found with the provided IDs");
    refused(delete(json!([2, 999])).await, 400, "No valid modules to delete");
    assert_eq!(
        issues(admin.post("/modules/bulk-delete", json!({})).await),
        ["missing body.module_ids: Field required"]
    );
    assert_eq!(
        issues(delete((0..1001).collect()).await),
        ["too_long body.module_ids: List should have at most 1000 items after validation, not 1001"]
    );
    let answer = delete(json!([made[0], 2, 999, made[1], made[0]])).await.expect(200).json();
    assert_eq!(
        answer,
        json!({
            "message": "2 module(s) deleted successfully", "success": true, "affected": 2,
            "failed": [
                { "id": 2, "detail": "Cannot delete module that has associated routes" },
                { "id": 999, "detail": "Module not found" },
            ],
        })
    );
    assert_eq!(ids(&admin.get("/modules/").await), [1, made[2], 2, 3]);
});

on_both!(several_are_switched_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let set =
        async |ids: Value, on: Value| admin.post("/modules/bulk-status", json!({ "ids": ids, "is_active": on })).await;
    refused(set(json!([]), json!(true)).await, 400, "No module IDs provided");
    refused(set(json!([999]), json!(true)).await, 404, "No modules found with the provided IDs");
    assert_eq!(issues(set(json!([1]), Value::Null).await).len(), 1);
    let off = set(json!([1, 2, 999]), json!(false)).await.expect(200);
    let unknown = json!([{ "id": 999, "detail": "Module not found" }]);
    assert_eq!(
        off.json(),
        json!({ "message": "2 module(s) updated successfully", "success": true, "affected": 2, "failed": unknown })
    );
    assert_eq!(ids(&admin.get("/modules/?is_active=false").await), [1, 2]);
    let again = set(json!([1]), json!(false)).await.expect(200);
    assert_eq!(revision(&again), revision(&off), "nothing changed");
    let on = set(json!([2, 1]), json!(true)).await.expect(200);
    assert_eq!(on.json()["message"], "2 module(s) updated successfully");
    assert!(revision(&on) > revision(&again));
});

on_both!(they_are_put_in_order_all_or_none, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let order = async |body: Value| admin.call("PATCH", "/modules/reorder").json(body).await;
    let before = admin.get("/modules/").await;
    refused(order(json!([{ "id": 3, "priority": 0 }, { "id": 999, "priority": 1 }])).await, 404, "Module not found");
    assert_eq!(admin.get("/modules/").await.text, before.text);
    refused(order(json!([])).await, 400, "No module IDs provided");
    let two = json!([{ "id": 3, "priority": 0 }, { "id": 3, "priority": 1 }]);
    assert_eq!(issues(order(two).await), ["value_error body: Value error, Each id may stand there only once"]);
    let wrong = json!([{ "id": "x", "priority": -1 }, 1, {}]);
    assert_eq!(
        issues(order(wrong).await),
        [
            "int_parsing body.0.id: Input should be a valid integer, unable to parse string as an integer",
            "greater_than_equal body.0.priority: Input should be greater than or equal to 0",
            "model_attributes_type body.1: Input should be a valid dictionary or object to extract fields from",
            "missing body.2.id: Field required",
            "missing body.2.priority: Field required",
        ]
    );
    assert_eq!(issues(order(json!({ "id": 1 })).await), ["list_type body: Input should be a valid list"]);
    let places = json!([{ "id": 3, "priority": 0 }, { "id": 2, "priority": 1 }, { "id": 1, "priority": 2 }]);
    let answer = order(places).await.expect(200);
    assert_eq!(answer.json(), json!({ "message": "3 module(s) reordered successfully", "success": true }));
    assert_eq!(ids(&admin.get("/modules/").await), [3, 2, 1]);
});

on_both!(a_deleted_one_is_listed_and_restored, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let new = || json!({ "name": "shop", "label": "Shop", "role_ids": [3] });
    let module = id(&admin.made("/modules/", new()).await);
    let path = format!("/modules/{module}");
    let restore = async || admin.call("POST", &format!("{path}/restore")).await;
    refused(restore().await, 400, "Module is not deleted");
    refused(admin.call("POST", "/modules/999/restore").await, 404, "Module not found");
    admin.delete(&path).await.expect(200);
    assert_eq!(admin.get("/modules/count?include_deleted=1").await.expect(200).text, "4");
    let listed = admin.get("/modules/?include_deleted=true&search=shop").await.expect(200).json();
    assert_timestamp(&listed[0]["deleted_at"]);
    assert_eq!(ids(&admin.get("/modules/").await), [1, 2, 3]);
    let restored = restore().await.expect(200).json();
    assert_eq!((id(&restored), ids_of(&restored["roles"]), &restored["route_count"]), (module, vec![3], &json!(0)));
    admin.delete(&path).await.expect(200);
    admin.made("/modules/", new()).await;
    refused(restore().await, 400, "Module name 'shop' already exists");
});

on_both!(what_only_people_see_leaves_the_rules_alone, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = revision(&admin.put("/modules/2", json!({ "label": "A" })).await.expect(200));
    for body in
        [json!({ "icon": "I", "priority": 4 }), json!({ "route": "/a", "role_ids": [3] }), json!({ "is_active": true })]
    {
        assert_eq!(revision(&admin.put("/modules/2", body.clone()).await.expect(200)), before, "{body}");
    }
    for (number, body) in [json!({ "name": "other" }), json!({ "is_active": false })].into_iter().enumerate() {
        let after = revision(&admin.put("/modules/2", body.clone()).await.expect(200));
        assert_eq!(after, before + 1 + i64::try_from(number).unwrap(), "{body}");
    }
});
