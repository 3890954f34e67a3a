//! Routes as entries of the navigation tree.

use serde_json::{Value, json};

use super::{Caller, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const FORWARDING: [&str; 9] = [
    "host",
    "upstream",
    "strip_prefix",
    "forward_authorization",
    "operations",
    "rate_limit",
    "max_body_bytes",
    "headers",
    "permission_ids",
];
const KEYS: [&str; 15] = [
    "route",
    "label",
    "icon",
    "is_active",
    "is_sidebar",
    "module_id",
    "parent_id",
    "priority",
    "id",
    "created_at",
    "updated_at",
    "module",
    "parent",
    "children",
    "roles",
];
const ITEM_KEYS: [&str; 14] = [
    "id",
    "route",
    "label",
    "icon",
    "is_active",
    "is_sidebar",
    "module_id",
    "parent_id",
    "created_at",
    "module_name",
    "parent_route",
    "children_count",
    "priority",
    "roles",
];
const LISTED: [&str; 3] = ["module_name", "parent_route", "children_count"];

fn with<'a>(keys: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    keys.iter().chain(&FORWARDING).chain(more).copied().collect()
}

async fn make(admin: &Caller<'_>, route: &str, parent_id: Option<i64>) -> i64 {
    id(&admin.made("/routes/", json!({ "route": route, "label": route, "module_id": 1, "parent_id": parent_id })).await)
}

on_both!(a_route_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let body =
        json!({ "route": "a//b", "label": " A ", "icon": "  ", "module_id": "2", "parent_id": 1, "role_ids": [3, 1] });
    let made = admin.post("/routes/", body).await.expect(200);
    let route = made.json();
    assert_eq!(keys(&route), with(&KEYS, &LISTED));
    assert_eq!((&route["route"], &route["label"], &route["icon"]), (&json!("/a/b"), &json!("A"), &Value::Null));
    assert_eq!(
        (&route["is_active"], &route["is_sidebar"], &route["priority"]),
        (&json!(true), &json!(true), &json!(0))
    );
    assert_eq!(
        (&route["module"]["id"], &route["parent"]["id"], &route["children"]),
        (&json!(2), &json!(1), &json!([]))
    );
    assert_eq!((&route["module_name"], &route["children_count"]), (&json!("administration"), &json!(0)));
    assert_eq!(
        (&route["upstream"], &route["operations"], &route["updated_at"]),
        (&Value::Null, &json!([]), &Value::Null)
    );
    assert_timestamp(&route["created_at"]);

    let path = format!("/routes/{}", id(&route));
    for same in [path.clone(), format!("{path}/"), format!("/routes/get-one/{}", id(&route))] {
        assert_eq!(keys(&admin.get(&same).await.expect(200).json()), with(&KEYS, &[]));
    }
    let body = json!({ "route": "/c", "label": "C", "icon": " I ", "is_sidebar": 0, "priority": 3, "role_ids": [] });
    let changed = admin.put(&path, body).await.expect(200).json();
    assert_eq!(keys(&changed), with(&KEYS, &LISTED));
    assert_eq!(
        (&changed["route"], &changed["icon"], &changed["is_sidebar"]),
        (&json!("/c"), &json!("I"), &json!(false))
    );
    assert_eq!((&changed["parent_id"], &changed["roles"]), (&json!(1), &json!([])));
    assert_timestamp(&changed["updated_at"]);
    let get_one = format!("/routes/get-one/{}", id(&route));
    let detached = admin.put(&get_one, json!({ "parent_id": null, "icon": null })).await.expect(200).json();
    assert_eq!(
        (&detached["parent_id"], &detached["parent"], &detached["icon"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(revision(&deleted), revision(&made), "the gateway's rules do not contain it");
    assert_eq!(deleted.json(), json!({ "message": "Route '/c' deleted successfully", "success": true }));
    let gone = format!("Route with ID {} not found", id(&route));
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, &gone);
    }
    admin.made("/routes/", json!({ "route": "/c", "label": "Again", "module_id": 2 })).await;
});

on_both!(a_route_shows_its_neighbours_one_level_deep, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let route = admin.get("/routes/1").await.expect(200).json();
    assert_eq!(route["module"]["routes"], json!([]));
    let children = route["children"].as_array().unwrap();
    assert_eq!(children.iter().map(id).collect::<Vec<_>>(), [2, 3, 4]);
    for child in children {
        assert_eq!(keys(child), with(&KEYS, &[]));
        assert_eq!((&child["module"], &child["parent"], &child["children"]), (&Value::Null, &Value::Null, &json!([])));
    }
    let child = admin.get("/routes/2").await.expect(200).json();
    assert_eq!((&child["parent"]["id"], &child["parent"]["children"]), (&json!(1), &json!([])));
    refused(
        admin.delete("/routes/1").await,
        400,
        "Cannot delete route '/infinity/administration/accessControls' because it has 3 child routes",
    );
});

on_both!(a_tree_stays_a_tree, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let top = make(&admin, "/top", None).await;
    let middle = make(&admin, "/middle", Some(top)).await;
    let leaf = make(&admin, "/leaf", Some(middle)).await;
    let put = async |route: i64, body: Value| admin.put(&format!("/routes/{route}"), body).await;
    let before = admin.get("/routes/").await.text;
    refused(put(top, json!({ "parent_id": top })).await, 400, "Route cannot be its own parent");
    for below in [middle, leaf] {
        refused(put(top, json!({ "parent_id": below })).await, 400, "Route cannot be its own ancestor");
    }
    let missing = "Module or parent route not found";
    let other = "Parent route must be in the same module";
    refused(put(top, json!({ "parent_id": 999 })).await, 400, missing);
    refused(put(top, json!({ "module_id": 999 })).await, 400, missing);
    refused(put(top, json!({ "role_ids": [999] })).await, 400, missing);
    refused(put(top, json!({ "parent_id": 1 })).await, 400, other);
    refused(put(leaf, json!({ "module_id": 2 })).await, 400, other);
    refused(put(middle, json!({ "module_id": 2, "parent_id": null })).await, 400, other);
    let new = |more: Value| {
        let mut body = json!({ "route": "/new", "label": "N", "module_id": 1 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        admin.post("/routes/", body)
    };
    refused(new(json!({ "parent_id": 999 })).await, 400, missing);
    refused(new(json!({ "module_id": 999 })).await, 400, missing);
    refused(new(json!({ "role_ids": [999] })).await, 400, missing);
    refused(new(json!({ "parent_id": 1 })).await, 400, other);
    refused(new(json!({ "route": "top" })).await, 400, "Route already exists in this module");
    refused(put(leaf, json!({ "route": "//top" })).await, 400, "Route path already exists in this module");
    assert_eq!(admin.get("/routes/").await.text, before, "a refusal changes nothing");
    let moved = put(leaf, json!({ "module_id": 2, "parent_id": 1 })).await.expect(200).json();
    assert_eq!((&moved["module_id"], &moved["parent"]["id"]), (&json!(2), &json!(1)));
    new(json!({ "route": "/top", "module_id": 2 })).await.expect(200);
});

on_both!(input_is_held_to_the_rules, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let required = ["route", "label", "module_id"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(admin.post("/routes/", json!({})).await), required);
    for (key, value, expected) in [
        ("route", json!(""), "string_too_short body.route: String should have at least 1 character"),
        ("label", json!(" "), "value_error body.label: Value error, Label cannot be empty"),
        ("module_id", json!(0), "greater_than body.module_id: Input should be greater than 0"),
        (
            "parent_id",
            json!(0),
            "value_error body.parent_id: Value error, parent_id must be a positive integer or null",
        ),
        ("role_ids", json!([-1]), "value_error body.role_ids: Value error, All role IDs must be positive integers"),
        (
            "is_sidebar",
            json!("maybe"),
            "bool_parsing body.is_sidebar: Input should be a valid boolean, unable to interpret input",
        ),
        (
            "module_id",
            json!(1.5),
            "int_from_float body.module_id: Input should be a valid integer, got a number with a fractional part",
        ),
    ] {
        let mut new = json!({ "route": "/x", "label": "X", "module_id": 1 });
        new[key] = value.clone();
        assert_eq!(issues(admin.post("/routes/", new).await), [expected]);
        assert_eq!(issues(admin.put("/routes/1", json!({ key: value })).await), [expected]);
    }
    let negative = "greater_than_equal body.priority: Input should be greater than or equal to 0";
    assert_eq!(issues(admin.put("/routes/1", json!({ "priority": -1 })).await), [negative]);
});

on_both!(lists_come_by_priority, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let all = admin.get("/routes/").await.expect(200);
    let count = ids(&all).len();
    assert_eq!(keys(&all.json()[0]), with(&ITEM_KEYS, &[]));
    assert_eq!(admin.get("/routes/count").await.expect(200).text, count.to_string());
    for (query, expected) in [
        ("module_id=2", vec![1, 2, 6, 3, 5, 7, 4]),
        ("module_id=2&limit=1", vec![1, 2, 6, 3, 5, 7, 4]),
        ("parent_id=1&skip=2", vec![2, 3, 4]),
        ("parent_id=1&module_id=1", vec![]),
        ("module_id=999", vec![]),
        ("search=ROLES&module_id=2", vec![3]),
        ("search=infinity&limit=2", vec![1, 2]),
        ("is_sidebar=true&search=Pages", vec![5]),
        ("is_active=false", vec![]),
    ] {
        assert_eq!(ids(&admin.get(&format!("/routes/?{query}")).await.expect(200)), expected, "{query}");
    }
    let child = admin.get("/routes/?parent_id=5").await.json();
    assert_eq!(
        (&child[0]["module_name"], &child[0]["parent_route"]),
        (&json!("administration"), &json!("/infinity/administration/pages"))
    );
    for query in ["skip=-1", "limit=0", "limit=100001"] {
        admin.get(&format!("/routes/?{query}")).await.expect(422);
    }
});
