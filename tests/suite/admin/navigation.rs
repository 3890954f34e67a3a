//! The navigation tree: what it shows to whom, and how it is changed.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::{Answer, App};
use crate::support::raw::Recorder;

const ADMINISTRATION: &str = "/infinity/administration";

/// Names of modules and paths of routes, indented by depth.
fn outline(tree: &Answer) -> Vec<String> {
    let tree = tree.json();
    let mut lines = Vec::new();
    let mut open: Vec<(usize, &Value)> = tree.as_array().unwrap().iter().rev().map(|node| (0, node)).collect();
    while let Some((depth, node)) = open.pop() {
        let name = node.get("name").unwrap_or(&node["route"]).as_str().unwrap();
        lines.push(format!("{}{}", " ".repeat(depth), name.trim_start_matches(ADMINISTRATION)));
        let below = node.get("routes").unwrap_or(&node["children"]).as_array().unwrap();
        open.extend(below.iter().rev().map(|node| (depth + 1, node)));
    }
    lines
}

async fn user<'a>(app: &'a App, admin: &Caller<'_>, name: &str, roles: &[i64]) -> Caller<'a> {
    admin.user(name, roles).await;
    Caller { app, token: app.token_with(name, PASSWORD).await }
}

async fn route(admin: &Caller<'_>, path: &str, parent_id: Option<i64>, role_ids: &[i64]) -> i64 {
    let body = json!({ "route": path, "label": path, "module_id": 1, "parent_id": parent_id, "role_ids": role_ids });
    id(&admin.made("/routes/", body).await)
}

const WHOLE: [&str; 10] = [
    "dashboard",
    "administration",
    " /accessControls",
    "  /users",
    "  /roles",
    "  /permissions",
    " /pages",
    "  /modules",
    "  /routes",
    "demo",
];

on_both!(the_sidebar_shows_what_the_roles_see, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let whole = admin.get("/routes/sidebar").await.expect(200);
    assert_eq!(whole.header("content-type"), Some("application/json"));
    assert_eq!(outline(&whole), WHOLE);
    assert_eq!(
        whole.json()[1]["routes"][0],
        json!({
            "id": 1, "route": format!("{ADMINISTRATION}/accessControls"), "label": "Access Control",
            "icon": "GlobeLock", "module_name": "administration", "priority": 0,
            "children": whole.json()[1]["routes"][0]["children"],
        })
    );
    let module = &whole.json()[0];
    assert_eq!(keys(module), ["id", "name", "label", "icon", "route", "priority", "is_active", "routes"]);
    assert_eq!((&module["route"], &module["is_active"]), (&json!("/infinity/dashboard"), &json!(true)));
    let entry = &whole.json()[1]["routes"][1]["children"][0];
    assert_eq!(keys(entry), ["id", "route", "label", "icon", "module_name", "priority", "children"]);
    let testuser = Caller::demo(&app, "testuser").await;
    assert_eq!(outline(&testuser.get("/routes/sidebar/").await.expect(200)), ["dashboard", "demo"]);
    let nobody = user(&app, &admin, "nobody", &[]).await;
    assert_eq!(nobody.get("/routes/sidebar").await.expect(200).text, "[]");
    // Without an icon it is an empty text.
    admin.put("/modules/1", json!({ "icon": null })).await.expect(200);
    assert_eq!(testuser.get("/routes/sidebar").await.json()[0]["icon"], "");
});

on_both!(below_what_is_hidden_nothing_is_shown, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let role = id(&admin.made("/roles/", json!({ "name": "club" })).await);
    let member = user(&app, &admin, "member", &[role]).await;
    let module = admin.get("/modules/1").await.expect(200).json();
    assert_eq!(module["roles"].as_array().unwrap().len(), 4);
    let menu = async || outline(&member.get("/routes/sidebar").await.expect(200));
    assert_eq!(menu().await, Vec::<String>::new());
    admin.put("/modules/1", json!({ "role_ids": [1, 2, 3, 4, role] })).await.expect(200);
    assert_eq!(menu().await, ["dashboard"]);
    let top = route(&admin, "/top", None, &[role]).await;
    let middle = route(&admin, "/middle", Some(top), &[role]).await;
    let leaf = route(&admin, "/leaf", Some(middle), &[role]).await;
    route(&admin, "/others", Some(top), &[1]).await;
    let all = ["dashboard", " /top", "  /middle", "   /leaf"];
    assert_eq!(menu().await, all);
    let patch = async |path: String| admin.call("PATCH", &path).await.expect(200);
    for (path, shown) in [
        (format!("/routes/{leaf}/toggle-status"), &all[..3]),
        (format!("/routes/{middle}/toggle-sidebar"), &all[..2]),
        (format!("/routes/{top}/toggle-status"), &all[..1]),
        ("/modules/1/toggle-status".to_owned(), &all[..0]),
    ] {
        patch(path.clone()).await;
        assert_eq!(menu().await, shown, "{path}");
        patch(path).await;
        assert_eq!(menu().await, all);
    }
    let binding = format!("/routes/{middle}/roles/{role}");
    admin.delete(&binding).await.expect(200);
    assert_eq!(menu().await, all[..2]);
    admin.call("POST", &binding).await.expect(200);
    assert_eq!(menu().await, all);
    // A role that is off shows nothing.
    admin.put(&format!("/roles/{role}"), json!({ "is_active": false })).await.expect(200);
    assert_eq!(menu().await, Vec::<String>::new());
});

on_both!(inherited_roles_see_too, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let [parent, child] = [json!({ "name": "parent" }), json!({ "name": "child" })];
    let (parent, child) = (id(&admin.made("/roles/", parent).await), id(&admin.made("/roles/", child).await));
    let member = user(&app, &admin, "member", &[child]).await;
    admin.put("/modules/1", json!({ "role_ids": [parent] })).await.expect(200);
    route(&admin, "/top", None, &[parent]).await;
    assert_eq!(member.get("/routes/sidebar").await.expect(200).text, "[]");
    let mut write = app.running.control().write().await.unwrap();
    let inherit = write.tx().query("INSERT INTO role_parents (role_id, parent_id) VALUES ($1, $2)");
    inherit.bind(child).bind(parent).execute().await.unwrap();
    write.touch(cedargate::store::changes::Change::Rules);
    write.commit(()).await.unwrap();
    assert_eq!(outline(&member.get("/routes/sidebar").await.expect(200)), ["dashboard", " /top"]);
    let allowed = member.get("/routes/check?path=/top").await.expect(200).json();
    assert_eq!(allowed, json!({ "allowed": true }));
});

on_both!(the_first_release_is_shown_a_flat_list, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let nobody = user(&app, &admin, "nobody", &[]).await;
    let below = route(&admin, "/z", None, &[]).await;
    let below = route(&admin, "/y", Some(below), &[]).await;
    route(&admin, "/too-deep", Some(below), &[]).await;
    let flat = nobody.get("/routes/sidebar?view=flat").await.expect(200);
    assert_eq!(flat.text, admin.get("/routes/sidebar?view=flat").await.text);
    assert_eq!(
        outline(&flat),
        ["/accessControls", " /permissions", " /roles", " /users", "/pages", " /modules", " /routes", "/z", " /y"]
    );
    let flat = flat.json();
    assert_eq!(keys(&flat[0]), ["id", "route", "label", "icon", "module_name", "children"]);
    assert_eq!((&flat[0]["icon"], &flat[2]["icon"]), (&json!("GlobeLock"), &Value::Null));
    assert_eq!((&flat[0]["module_name"], &flat[2]["module_name"]), (&json!("administration"), &json!("dashboard")));
    assert_eq!(outline(&admin.get("/routes/sidebar?view=tree").await.expect(200))[..1], WHOLE[..1]);
    assert_eq!(
        issues(nobody.get("/routes/sidebar?view=round").await),
        ["literal_error query.view: Input should be 'tree' or 'flat'"]
    );
});

on_both!(lists_go_by_place_in_the_tree, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for (path, same) in [
        ("/routes/module/2", "/routes/?module_id=2"),
        ("/routes/module/999", "/routes/?module_id=999"),
        ("/routes/parent/1/children", "/routes/?parent_id=1"),
        ("/routes/parent/999/children/", "/routes/?parent_id=999"),
    ] {
        assert_eq!(admin.get(path).await.expect(200).text, admin.get(same).await.expect(200).text, "{path}");
    }
    assert_eq!(ids(&admin.get("/routes/parent/1/children").await), [2, 3, 4]);
    let top = admin.get("/routes/top-level").await.expect(200);
    assert!(top.json().as_array().unwrap().iter().all(|route| route["parent_id"].is_null()));
    assert_eq!(ids(&admin.get("/routes/top-level?module_id=2").await.expect(200)), [1, 5]);
    assert_eq!(ids(&admin.get("/routes/top-level?module_id=2&skip=1&limit=5").await.expect(200)), [5]);
    assert_eq!(ids(&admin.get("/routes/top-level?module_id=999").await.expect(200)), Vec::<i64>::new());
    for query in ["skip=-1", "limit=0", "limit=100001", "module_id=x"] {
        assert_eq!(issues(admin.get(&format!("/routes/top-level?{query}")).await).len(), 1, "{query}");
    }
    for path in ["/routes/module/x", "/routes/parent/x/children", "/routes/x/breadcrumbs", "/routes/tree?module_id=x"] {
        assert_eq!(issues(admin.get(path).await).len(), 1, "{path}");
    }
});

on_both!(the_tree_has_every_route, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let of_two = admin.get("/routes/tree?module_id=2").await.expect(200);
    let expected: Vec<&str> = WHOLE[2..9].iter().map(|line| &line[1..]).collect();
    assert_eq!(outline(&of_two), expected);
    let listed = admin.get("/routes/?module_id=2&search=accessControls").await.json();
    let node = &of_two.json()[0];
    let with_children: Vec<&str> = keys(&listed[0]).into_iter().chain(["children"]).collect();
    assert_eq!(keys(node), with_children);
    assert_eq!((&node["children_count"], node["children"].as_array().unwrap().len()), (&json!(3), 3));
    let whole = outline(&admin.get("/routes/tree").await.expect(200));
    let count: usize = admin.get("/routes/count").await.text.parse().unwrap();
    assert_eq!(whole.len(), count);
    assert_eq!(admin.get("/routes/tree?module_id=999").await.expect(200).text, "[]");
});

on_both!(breadcrumbs_lead_down_from_the_root, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let top = route(&admin, "/top", None, &[1]).await;
    let middle = route(&admin, "/middle", Some(top), &[]).await;
    let leaf = route(&admin, "/leaf", Some(middle), &[]).await;
    let way = admin.get(&format!("/routes/{leaf}/breadcrumbs")).await.expect(200);
    assert_eq!(ids(&way), [top, middle, leaf]);
    let listed = admin.get("/routes/?module_id=1&search=top").await.json();
    assert_eq!(way.json()[0], listed[0]);
    assert_eq!(ids(&admin.get(&format!("/routes/{top}/breadcrumbs")).await.expect(200)), [top]);
    refused(admin.get("/routes/999/breadcrumbs").await, 404, "Route with ID 999 not found");
});

on_both!(depth_exhausts_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mut parent = None;
    let mut write = app.running.control().write().await.unwrap();
    let now = write.now();
    for number in 0..3_000 {
        let path = format!("/deep/{number}");
        let new = cedargate::model::NewRoute {
            route: path.clone().try_into().unwrap(),
            label: path.try_into().unwrap(),
            icon: None,
            is_active: true,
            is_sidebar: true,
            module_id: cedargate::model::ModuleId(1),
            parent_id: parent,
            priority: 0,
            role_ids: vec![cedargate::model::RoleId(1)],
            host: None,
            upstream: None,
            strip_prefix: None,
            forward_authorization: true,
            rate_limit: None,
            max_body_bytes: None,
            headers: cedargate::model::HeaderRules::default(),
            operations: Vec::new(),
        };
        parent = Some(cedargate::store::routes::insert(write.tx(), &new, now).await.unwrap());
    }
    write.commit(()).await.unwrap();
    let leaf = parent.unwrap();
    for path in ["/routes/sidebar", "/routes/tree"] {
        let answer = admin.get(path).await.expect(200);
        assert!(answer.text.contains("/deep/2999"), "{path}: {} bytes", answer.text.len());
    }
    assert_eq!(ids(&admin.get(&format!("/routes/{leaf}/breadcrumbs")).await.expect(200)).len(), 3_000);
    let first = ids(&admin.get("/routes/?search=/deep/0").await)[0];
    let round = admin.put(&format!("/routes/{first}"), json!({ "parent_id": leaf })).await;
    refused(round, 400, "Route cannot be its own ancestor");
});

on_both!(a_route_is_switched_on_and_off, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let public = json!([{ "methods": ["GET"], "access": "public" }]);
    let gateway = app.route_to(&admin.token, "t", back.address, "/t", public.clone()).await;
    let toggle = async |what: &str, id: i64| admin.call("PATCH", &format!("/routes/{id}/toggle-{what}")).await;
    let off = toggle("status", gateway).await.expect(200);
    let route = off.json();
    assert_eq!(
        (&route["is_active"], &route["module_name"], &route["children_count"]),
        (&json!(false), &json!("demo"), &json!(0))
    );
    assert_timestamp(&route["updated_at"]);
    assert_eq!(admin.gateway("GET", "/t").await, 404);
    let twin = app.route_to(&admin.token, "t", back.address, "/{x}", public.clone()).await;
    let on = toggle("status", gateway).await.expect(200);
    assert!(revision(&on) > revision(&off));
    assert_eq!(admin.gateway("GET", "/t").await, 200);
    // One that would tie with another stays off.
    toggle("status", twin).await.expect(200);
    app.route_to(&admin.token, "t", back.address, "/{y}", public).await;
    let tie = toggle("status", twin).await.expect(400).json();
    assert!(tie["detail"].as_str().unwrap().contains("matches the same requests"), "{tie}");
    assert_eq!(admin.get(&format!("/routes/{twin}")).await.json()["is_active"], false);
    let hidden = toggle("sidebar", 1).await.expect(200).json();
    assert_eq!((&hidden["is_sidebar"], &hidden["children_count"]), (&json!(false), &json!(3)));
    for what in ["status", "sidebar"] {
        refused(toggle(what, 999).await, 404, "Route with ID 999 not found");
    }
});

on_both!(roles_are_given_a_route_one_by_one, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let role = id(&admin.made("/roles/", json!({ "name": "club" })).await);
    let member = user(&app, &admin, "member", &[role]).await;
    let operations = json!([{ "methods": ["GET"], "access": "roles" }]);
    let route = app.route_to(&admin.token, "club", back.address, "/club", operations).await;
    let binding = format!("/routes/{route}/roles/{role}");
    let (bind, unbind) = (async || admin.call("POST", &binding).await, async || admin.delete(&binding).await);
    assert_eq!(member.gateway("GET", "/club").await, 403);
    let bound = bind().await.expect(200);
    assert_eq!(bound.json(), json!({ "message": "Role assigned to route successfully", "success": true }));
    assert_eq!(member.gateway("GET", "/club").await, 200);
    assert_eq!(revision(&bind().await.expect(200)), revision(&bound), "it was bound already");
    let unbound = unbind().await.expect(200);
    assert_eq!(unbound.json(), json!({ "message": "Role removed from route successfully", "success": true }));
    assert_eq!(member.gateway("GET", "/club").await, 403);
    assert_eq!(revision(&unbind().await.expect(200)), revision(&unbound), "it was not bound");
    for path in [format!("/routes/999/roles/{role}"), format!("/routes/{route}/roles/999")] {
        for method in ["POST", "DELETE"] {
            refused(admin.call(method, &path).await, 404, "Route or role not found");
        }
    }
    assert_eq!(issues(admin.call("POST", "/routes/x/roles/y").await).len(), 2);
});

on_both!(a_permission_shows_a_route_to_who_holds_it, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let permission = id(&admin.made("/permissions/", json!({ "name": "ledger:read" })).await);
    let clerks = json!({ "name": "clerks", "permission_ids": [permission] });
    let clerks = id(&admin.made("/roles/", clerks).await);
    let guests = id(&admin.made("/roles/", json!({ "name": "strangers" })).await);
    admin.put("/modules/1", json!({ "role_ids": [clerks, guests] })).await.expect(200);
    let (clerk, guest) = (user(&app, &admin, "clerk", &[clerks]).await, user(&app, &admin, "guest", &[guests]).await);
    let body = json!({ "route": "/ledger", "label": "Ledger", "module_id": 1, "permission_ids": [permission] });
    let made = admin.post("/routes/", body).await.expect(200);
    let (before, route) = (revision(&made), made.json());
    assert_eq!((&route["permission_ids"], &route["roles"]), (&json!([permission]), &json!([])));
    let path = format!("/routes/{}", id(&route));
    let listed = admin.get("/routes/?module_id=1").await.expect(200).json();
    assert_eq!(listed[0]["permission_ids"], json!([permission]));
    assert_eq!(admin.get(&path).await.expect(200).json()["permission_ids"], json!([permission]));

    let sees = async |caller: &Caller<'_>| {
        let allowed = caller.get("/routes/check?path=/ledger").await.expect(200).json()["allowed"] == true;
        let shown = outline(&caller.get("/routes/sidebar").await.expect(200)).contains(&" /ledger".to_owned());
        assert_eq!(allowed, shown);
        shown
    };
    assert_eq!((sees(&clerk).await, sees(&guest).await), (true, false));
    // Left alone unless it is said; a role sees it in any case.
    let renamed = admin.put(&path, json!({ "label": "Books", "role_ids": [guests] })).await.expect(200);
    assert_eq!((renamed.json()["permission_ids"].clone(), revision(&renamed)), (json!([permission]), before));
    assert_eq!((sees(&clerk).await, sees(&guest).await), (true, true));
    admin.put(&path, json!({ "permission_ids": [] })).await.expect(200);
    assert_eq!((sees(&clerk).await, sees(&guest).await), (false, true));

    refused(
        admin.put(&path, json!({ "permission_ids": [permission, 9999] })).await,
        400,
        "Permission IDs not found: [9999]",
    );
    let told = issues(admin.put(&path, json!({ "permission_ids": [0] })).await);
    assert_eq!(told, ["value_error body.permission_ids: Value error, All permission IDs must be positive integers"]);
    assert_eq!(admin.get(&path).await.expect(200).json()["permission_ids"], json!([]));
});

on_both!(several_are_deleted_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let top = route(&admin, "/top", None, &[]).await;
    let middle = route(&admin, "/middle", Some(top), &[]).await;
    let leaf = route(&admin, "/leaf", Some(middle), &[]).await;
    let other = route(&admin, "/other", None, &[]).await;
    let delete = async |ids: Value| admin.post("/routes/bulk-delete", json!({ "route_ids": ids })).await;
    refused(delete(json!([])).await, 400, "No route IDs provided");
    refused(delete(json!([999])).await, 404, "No routes found with the provided IDs");
    refused(delete(json!([top, middle])).await, 400, "No valid routes to delete");
    assert_eq!(issues(delete(json!("1")).await), ["list_type body.route_ids: Input should be a valid list"]);
    assert_eq!(
        issues(delete((0..1001).collect()).await),
        ["too_long body.route_ids: List should have at most 1000 items after validation, not 1001"]
    );
    let answer = delete(json!([top, 999, other, middle])).await.expect(200).json();
    assert_eq!(
        answer,
        json!({
            "message": "1 route(s) deleted successfully", "success": true, "affected": 1,
            "failed": [
                { "id": top, "detail": "Cannot delete route '/top' because it has 1 child routes" },
                { "id": middle, "detail": "Cannot delete route '/middle' because it has 1 child routes" },
                { "id": 999, "detail": "Route not found" },
            ],
        })
    );
    // A parent goes with all that lies below it, in whatever order they are named.
    let whole = delete(json!([middle, top, leaf])).await.expect(200);
    assert_eq!((&whole.json()["affected"], &whole.json()["failed"]), (&json!(3), &json!([])));
    assert_eq!(ids(&admin.get("/routes/?module_id=1").await), Vec::<i64>::new());
    let gateway = ids(&admin.get("/routes/?search=/demo/public").await);
    assert_eq!(app.gateway("GET", "/demo/public").await.status, 200);
    let gone = delete(json!(gateway)).await.expect(200);
    assert!(revision(&gone) > revision(&whole));
    app.gateway("GET", "/demo/public").await.expect(404);
});

on_both!(several_are_switched_at_once, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let set =
        async |ids: Value, on: bool| admin.post("/routes/bulk-status", json!({ "ids": ids, "is_active": on })).await;
    refused(set(json!([]), true).await, 400, "No route IDs provided");
    refused(set(json!([999]), true).await, 404, "No routes found with the provided IDs");
    let gateway = ids(&admin.get("/routes/?search=/demo/public").await)[0];
    let off = set(json!([1, gateway, 999]), false).await.expect(200);
    let unknown = json!([{ "id": 999, "detail": "Route not found" }]);
    assert_eq!(
        off.json(),
        json!({ "message": "2 route(s) updated successfully", "success": true, "affected": 2, "failed": unknown })
    );
    app.gateway("GET", "/demo/public").await.expect(404);
    let entry = set(json!([1]), true).await.expect(200);
    assert_eq!(revision(&entry), revision(&off), "an entry of the tree is in no rule");
    assert!(revision(&set(json!([1, gateway]), true).await.expect(200)) > revision(&off));
    app.gateway("GET", "/demo/public").await.expect(200);
});

on_both!(they_are_put_in_order_all_or_none, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let order = async |body: Value| admin.call("PATCH", "/routes/reorder").json(body).await;
    let before = admin.get("/routes/").await.text;
    let unknown = json!([{ "id": 2, "priority": 5 }, { "id": 999, "priority": 1 }]);
    refused(order(unknown).await, 404, "Route with ID 999 not found");
    refused(order(json!([])).await, 400, "No route IDs provided");
    for (body, expected) in [
        (json!({}), "list_type body: Input should be a valid list"),
        (json!(null), "missing body: Field required"),
        (
            json!([{ "id": 2, "priority": 5 }, { "id": "2", "priority": 6 }]),
            "value_error body: Value error, Each id may stand there only once",
        ),
        (
            json!([{ "id": 2, "priority": -1 }]),
            "greater_than_equal body.0.priority: Input should be greater than or equal to 0",
        ),
    ] {
        assert_eq!(issues(order(body).await), [expected]);
    }
    assert_eq!(admin.get("/routes/").await.text, before);
    let places = json!([{ "id": 2, "priority": 9 }, { "id": 4, "priority": 0 }]);
    let answer = order(places).await.expect(200);
    assert_eq!(answer.json(), json!({ "message": "2 route(s) reordered successfully", "success": true }));
    assert_eq!(ids(&admin.get("/routes/parent/1/children").await), [4, 3, 2]);
});

on_both!(a_deleted_one_is_listed_and_restored, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let module = id(&admin.made("/modules/", json!({ "name": "shop", "label": "Shop" })).await);
    let new = |route: &str, parent: Option<i64>| json!({ "route": route, "label": "R", "module_id": module, "parent_id": parent, "role_ids": [3] });
    let top = id(&admin.made("/routes/", new("/top", None)).await);
    let leaf = id(&admin.made("/routes/", new("/leaf", Some(top))).await);
    let restore = async |id: i64| admin.call("POST", &format!("/routes/{id}/restore")).await;
    refused(restore(leaf).await, 400, "Route is not deleted");
    refused(restore(999).await, 404, "Route with ID 999 not found");
    admin.post("/routes/bulk-delete", json!({ "route_ids": [top, leaf] })).await.expect(200);
    let of_module = format!("module_id={module}");
    assert_eq!(ids(&admin.get(&format!("/routes/?{of_module}")).await), Vec::<i64>::new());
    let listed = admin.get(&format!("/routes/?include_deleted=true&{of_module}")).await.expect(200);
    assert_eq!(ids(&listed), [top, leaf]);
    assert_timestamp(&listed.json()[0]["deleted_at"]);
    assert_eq!(admin.get(&format!("/routes/count?include_deleted=true&{of_module}")).await.text, "2");
    let missing = "Module or parent route not found";
    refused(restore(leaf).await, 400, missing);
    admin.delete(&format!("/modules/{module}")).await.expect(200);
    refused(restore(top).await, 400, missing);
    admin.call("POST", &format!("/modules/{module}/restore")).await.expect(200);
    let restored = restore(top).await.expect(200).json();
    assert_eq!(
        (id(&restored), &restored["roles"][0]["id"], &restored["module_name"]),
        (top, &json!(3), &json!("shop"))
    );
    admin.made("/routes/", new("/leaf", None)).await;
    refused(restore(leaf).await, 400, "Route already exists in this module");
});

on_both!(a_restored_gateway_route_forwards_again, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let public = json!([{ "methods": ["GET"], "access": "public" }]);
    let route = app.route_to(&admin.token, "t", back.address, "/t", public).await;
    let restore = async || admin.call("POST", &format!("/routes/{route}/restore")).await;
    admin.delete(&format!("/routes/{route}")).await.expect(200);
    app.gateway("GET", "/t").await.expect(404);
    restore().await.expect(200);
    app.gateway("GET", "/t").await.expect(200);
    admin.delete(&format!("/routes/{route}")).await.expect(200);
    let upstreams = admin.get("/upstreams/").await.json();
    let upstream = upstreams.as_array().unwrap().iter().find(|upstream| upstream["name"] == "t").map(id).unwrap();
    admin.delete(&format!("/upstreams/{upstream}")).await.expect(200);
    refused(restore().await, 400, "Upstream 't' not found");
});

on_both!(a_caller_may_ask_where_to_go, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let testuser = Caller::demo(&app, "testuser").await;
    let own = testuser.get("/auth/me").await.json();
    let nobody = user(&app, &admin, "nobody", &[]).await;
    let hosted = json!({
        "route": "/hosted", "label": "H", "module_id": 3, "upstream": "demo", "host": "a.example.com",
        "operations": [{ "methods": ["GET"], "access": "public" }],
    });
    admin.made("/routes/", hosted).await;
    let may = async |caller: &Caller<'_>, query: &str| {
        let answer = caller.get(&format!("/routes/check?path={query}")).await.expect(200).json();
        assert_eq!(keys(&answer), ["allowed"]);
        answer["allowed"].as_bool().unwrap()
    };
    let orders = format!("/demo/users/{}/orders", id(&own));
    for (query, boss, someone, no_one) in [
        ("/infinity/administration/users", true, false, false),
        ("infinity/administration//users", true, false, false),
        ("/infinity/administration/nothing", false, false, false),
        ("/demo/articles", true, true, false),
        ("/demo/articles&method=post", true, false, false),
        ("/demo/articles&method=DELETE", false, false, false),
        ("/demo/articles/7&method=DELETE", true, false, false),
        (&orders, true, true, false),
        ("/demo/users/1/orders", true, false, false),
        ("/demo/whoami", true, true, true),
        ("/demo/public", true, true, true),
        ("/demo/articles/..", false, false, false),
        ("/demo/%2E%2E", false, false, false),
        ("/demo//articles", false, false, false),
        ("/hosted", false, false, false),
        ("/hosted&host=a.example.com", true, true, true),
        ("/api/v1/users/", false, false, false),
    ] {
        let answers = (may(&admin, query).await, may(&testuser, query).await, may(&nobody, query).await);
        assert_eq!(answers, (boss, someone, no_one), "{query}");
    }
    let missing = "missing query.path: Field required";
    assert_eq!(issues(admin.get("/routes/check").await), [missing]);
    for query in ["path=", "path=/a&host=a:b", "path=/a&method=", "path=/%00"] {
        assert_eq!(issues(admin.get(&format!("/routes/check?{query}")).await).len(), 1, "{query}");
    }
});

on_both!(what_only_people_see_leaves_the_rules_alone, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let back = Recorder::start().await;
    let public = json!([{ "methods": ["GET"], "access": "public" }]);
    let gateway = format!("/routes/{}", app.route_to(&admin.token, "t", back.address, "/t", public).await);
    let parent = ids(&admin.get("/routes/?search=/demo/public").await)[0];
    let put = async |path: &str, body: Value| revision(&admin.put(path, body).await.expect(200));
    let before = put(&gateway, json!({})).await;
    for body in [
        json!({ "label": "L", "icon": "I", "priority": 7, "is_sidebar": false }),
        json!({ "parent_id": parent }),
        json!({ "is_active": true, "route": "/t", "upstream": "t" }),
    ] {
        assert_eq!(put(&gateway, body.clone()).await, before, "{body}");
    }
    for body in
        [json!({ "is_active": false, "route": "/other" }), json!({ "role_ids": [1] }), json!({ "strip_prefix": "/x" })]
    {
        assert_eq!(put("/routes/2", body.clone()).await, before, "{body}");
    }
    let mut last = before;
    for body in [
        json!({ "is_active": false }),
        json!({ "is_active": true }),
        json!({ "route": "/u" }),
        json!({ "host": "t.example.com" }),
        json!({ "strip_prefix": "/u" }),
        json!({ "forward_authorization": false }),
        json!({ "operations": [{ "methods": ["GET"], "access": "roles" }] }),
        json!({ "role_ids": [2] }),
        json!({ "role_ids": [3] }),
        json!({ "module_id": 1, "parent_id": null }),
        json!({ "upstream": "demo" }),
        json!({ "upstream": null }),
        json!({ "upstream": "demo" }),
    ] {
        let after = put(&gateway, body.clone()).await;
        assert_eq!(after, last + 1, "{body}");
        last = after;
    }
});
