//! Writes to navigation and upstreams, as another node sees them.

use serde_json::json;

use super::id;
use crate::support::{
    app::{App, Call},
    follower::Follower,
};

on_both!(another_node_learns_part_by_part, |backend| async move {
    let app = App::start(backend).await;
    let admin = app.token("superadmin").await;
    let follower = Follower::of(&app.database).await;
    let send = async |call: Call| {
        let answer = call.bearer(&admin).await.expect(200);
        follower.agrees().await;
        if answer.text.is_empty() { 0 } else { answer.json()["id"].as_i64().unwrap_or_default() }
    };
    let post = |path: &str, body| app.admin("POST", path).json(body);
    let put = |path: String, body| app.admin("PUT", &path).json(body);
    let no_body = |method: &str, path: String| app.admin(method, &path);

    let targets = json!([{ "address": "127.0.0.1:9" }]);
    let upstream = send(post("/upstreams/", json!({ "name": "shop", "targets": targets }))).await;
    let role = send(post("/roles/", json!({ "name": "clerk", "permission_ids": [1] }))).await;
    let module = send(post("/modules/", json!({ "name": "shop", "label": "Shop", "route": "/shop" }))).await;
    let other = send(post("/modules/", json!({ "name": "till", "label": "Till", "route": "/till" }))).await;
    let operations = json!([
        { "methods": ["GET"], "access": "roles" },
        { "methods": ["POST"], "access": "permission", "permission": "order:create" },
    ]);
    let route = |path: &str, module: i64| {
        json!({
            "route": path, "label": "Route", "module_id": module, "upstream": "shop", "operations": operations,
            "role_ids": [role],
        })
    };
    let first = send(post("/routes/", route("/shop/{id}", module))).await;
    let second = send(post("/routes/", route("/shop/{id}/lines", module))).await;
    send(put(format!("/routes/{first}"), json!({ "route": "/shop/{number}/all", "host": "shop.example" }))).await;
    send(put(format!("/routes/{second}"), json!({ "module_id": other }))).await;
    send(no_body("DELETE", format!("/routes/{first}/roles/{role}"))).await;
    send(no_body("POST", format!("/routes/{first}/roles/{role}"))).await;
    send(no_body("PATCH", format!("/routes/{second}/toggle-status"))).await;
    send(no_body("PATCH", format!("/routes/{second}/toggle-status"))).await;
    send(put(format!("/modules/{other}"), json!({ "name": "counter" }))).await;
    send(no_body("PATCH", format!("/modules/{module}/toggle-status"))).await;
    send(no_body("PATCH", format!("/modules/{module}/toggle-status"))).await;
    send(put(format!("/roles/{role}"), json!({ "name": "cashier" }))).await;
    send(no_body("DELETE", format!("/roles/{role}"))).await;
    send(no_body("POST", format!("/roles/{role}/restore"))).await;
    send(put(format!("/upstreams/{upstream}"), json!({ "targets": [{ "address": "127.0.0.1:10" }] }))).await;
    send(post("/routes/bulk-status", json!({ "ids": [first, second], "is_active": false }))).await;
    send(post("/modules/bulk-status", json!({ "ids": [module, other], "is_active": false }))).await;
    send(post("/modules/bulk-status", json!({ "ids": [module, other], "is_active": true }))).await;
    send(no_body("DELETE", format!("/routes/{first}"))).await;
    send(no_body("POST", format!("/routes/{first}/restore"))).await;
    send(post("/routes/bulk-delete", json!({ "route_ids": [first, second] }))).await;
    send(no_body("DELETE", format!("/modules/{module}"))).await;
    send(no_body("POST", format!("/modules/{module}/restore"))).await;
    send(post("/modules/bulk-delete", json!({ "module_ids": [module, other] }))).await;
    send(no_body("DELETE", format!("/upstreams/{upstream}"))).await;
    let all = app.admin("GET", "/upstreams/").bearer(&admin).await.expect(200).json();
    assert!(all.as_array().unwrap().iter().all(|row| id(row) != upstream));
});
