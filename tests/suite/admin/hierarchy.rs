//! Roles that inherit from others.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, ids, issues, keys, refused, revision};
use crate::support::app::App;

const CYCLE: &str = "Role inheritance would form a cycle";
const DEEP: &str = "Role inheritance would be more than 32 steps deep";

async fn role(admin: &Caller<'_>, name: &str, permission_ids: &[i64]) -> i64 {
    id(&admin.made("/roles/", json!({ "name": name, "permission_ids": permission_ids })).await)
}

/// The link by which `role` inherits from `parent`.
fn link(role: i64, parent: i64) -> String {
    format!("/roles/{role}/parents/{parent}")
}

on_both!(a_role_has_what_its_parents_have, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let article = app.permission(&admin.token, "article:read").await;
    let reader = role(&admin, "reader", &[article]).await;
    let staff = role(&admin, "staff", &[1]).await;
    let editor = role(&admin, "editor", &[1, 2]).await;
    admin.user("ann", &[editor]).await;
    let ann = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
    assert_eq!(ann.gateway("GET", "/demo/articles").await, 403);

    let added = admin.call("POST", &link(editor, staff)).await.expect(200);
    let message = format!("Parent role {staff} added to role {editor}");
    assert_eq!(added.json(), json!({ "message": message, "success": true }));
    let again = admin.call("POST", &link(editor, staff)).await.expect(200);
    assert_eq!(revision(&again), revision(&added), "only the first one changes the rules");
    admin.call("POST", &link(staff, reader)).await.expect(200);
    assert_eq!(ann.gateway("GET", "/demo/articles").await, 200, "through two steps, on the very next request");

    let parents = admin.get(&format!("/roles/{editor}/parents")).await.expect(200);
    assert_eq!(parents.json(), json!([{ "id": staff, "name": "staff", "description": null }]));
    let effective = admin.get(&format!("/roles/{editor}/effective-permissions")).await.expect(200).json();
    assert_eq!(keys(&effective[0]), ["name", "description", "category", "id", "is_active", "source_role"]);
    let sources = |list: &Value| -> Vec<(i64, String)> {
        let one = |entry: &Value| (id(entry), entry["source_role"].as_str().unwrap().to_owned());
        list.as_array().unwrap().iter().map(one).collect()
    };
    let from = |id: i64, role: &str| (id, role.to_owned());
    assert_eq!(sources(&effective), [from(1, "editor"), from(2, "editor"), from(article, "reader")]);
    let direct = admin.get(&format!("/roles/{editor}")).await.json();
    assert_eq!(direct["permissions"].as_array().unwrap().len(), 2, "a role shows what it was granted itself");

    // An inactive role passes nothing on, and has nothing itself.
    admin.call("PATCH", &format!("/roles/{staff}/toggle-status")).await.expect(200);
    assert_eq!(ann.gateway("GET", "/demo/articles").await, 403);
    let effective =
        async |role: i64| admin.get(&format!("/roles/{role}/effective-permissions")).await.expect(200).json();
    assert_eq!(sources(&effective(editor).await), [from(1, "editor"), from(2, "editor")]);
    assert_eq!(effective(staff).await, json!([]));
    admin.call("PATCH", &format!("/roles/{staff}/toggle-status")).await.expect(200);
    admin.call("PATCH", &format!("/permissions/{article}/toggle-status")).await.expect(200);
    assert_eq!(sources(&effective(staff).await), [from(1, "staff")]);
    admin.call("PATCH", &format!("/permissions/{article}/toggle-status")).await.expect(200);
    assert_eq!(ann.gateway("GET", "/demo/articles").await, 200);

    let removed = admin.delete(&link(editor, staff)).await.expect(200);
    let message = format!("Parent role {staff} removed from role {editor}");
    assert_eq!(removed.json(), json!({ "message": message, "success": true }));
    assert_eq!(ann.gateway("GET", "/demo/articles").await, 403);
    let again = admin.delete(&link(editor, staff)).await.expect(200);
    assert_eq!(revision(&again), revision(&removed));
    assert_eq!(admin.get(&format!("/roles/{editor}/parents")).await.text, "[]");
});

on_both!(what_does_not_exist_inherits_nothing, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for path in [link(3, 999), link(999, 3)] {
        refused(admin.call("POST", &path).await, 404, "Role or parent role not found");
        refused(admin.delete(&path).await, 404, "Role or parent role not found");
    }
    for path in ["parents", "effective-permissions"] {
        refused(admin.get(&format!("/roles/999/{path}")).await, 404, "Role not found");
    }
    assert_eq!(issues(admin.call("POST", "/roles/x/parents/y").await).len(), 2);
    // A deleted parent gives nothing, and a deleted child is nobody's.
    let (parent, child) = (role(&admin, "parent", &[1]).await, role(&admin, "child", &[]).await);
    admin.call("POST", &link(child, parent)).await.expect(200);
    admin.delete(&format!("/roles/{parent}")).await.expect(200);
    assert_eq!(admin.get(&format!("/roles/{child}/parents")).await.text, "[]");
    assert_eq!(admin.get(&format!("/roles/{child}/effective-permissions")).await.text, "[]");
});

on_both!(cycles_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let [a, b, c] = [role(&admin, "a", &[]).await, role(&admin, "b", &[]).await, role(&admin, "c", &[]).await];
    refused(admin.call("POST", &link(a, a)).await, 400, "Role cannot be its own parent");
    admin.call("POST", &link(a, b)).await.expect(200);
    let before = revision(&admin.call("POST", &link(b, c)).await.expect(200));
    refused(admin.call("POST", &link(b, a)).await, 400, CYCLE);
    refused(admin.call("POST", &link(c, a)).await, 400, CYCLE);
    assert_eq!(revision(&admin.call("POST", &link(a, c)).await.expect(200)), before + 1, "a shorter way is no cycle");
    // While a role is deleted others can be linked so that its return would close a circle.
    admin.delete(&link(a, c)).await.expect(200);
    admin.delete(&format!("/roles/{b}")).await.expect(200);
    admin.call("POST", &link(c, a)).await.expect(200);
    refused(admin.call("POST", &format!("/roles/{b}/restore")).await, 400, CYCLE);
    refused(admin.get(&format!("/roles/{b}")).await, 404, "Role not found");
    admin.delete(&link(c, a)).await.expect(200);
    admin.call("POST", &format!("/roles/{b}/restore")).await.expect(200);
    assert_eq!(ids(&admin.get(&format!("/roles/{a}/parents")).await), [b]);
});

on_both!(chains_are_bounded, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let mut chain = Vec::new();
    for index in 0..34 {
        chain.push(role(&admin, &format!("r{index}"), &[]).await);
    }
    // Two chains of 16 and 15 steps, which one more step joins to 32.
    for pair in chain[..17].windows(2).chain(chain[17..33].windows(2)) {
        admin.call("POST", &link(pair[0], pair[1])).await.expect(200);
    }
    admin.call("POST", &link(chain[33], chain[0])).await.expect(200);
    refused(admin.call("POST", &link(chain[16], chain[17])).await, 400, DEEP);
    admin.delete(&link(chain[33], chain[0])).await.expect(200);
    admin.call("POST", &link(chain[16], chain[17])).await.expect(200);
    refused(admin.call("POST", &link(chain[33], chain[0])).await, 400, DEEP);
    refused(admin.call("POST", &link(chain[32], chain[33])).await, 400, DEEP);
    refused(admin.call("POST", &link(chain[32], chain[0])).await, 400, CYCLE);
    admin.call("POST", &link(chain[33], chain[1])).await.expect(200);
    // A role that comes back may make a chain too long.
    admin.delete(&format!("/roles/{}", chain[2])).await.expect(200);
    admin.call("POST", &link(chain[0], chain[33])).await.expect(200);
    refused(admin.call("POST", &format!("/roles/{}/restore", chain[2])).await, 400, DEEP);
    admin.call("POST", &format!("/roles/{}/parents/{}", chain[32], 4)).await.expect(200);

    let tree = admin.get("/roles/hierarchy").await.expect(200).json();
    let (mut depth, mut at) = (0, tree.as_array().unwrap().iter().find(|root| root["id"] == 4).unwrap());
    while let Some(child) = at["children"].as_array().unwrap().first() {
        (depth, at) = (depth + 1, child);
    }
    assert_eq!(depth, 30);
});

on_both!(the_hierarchy_is_a_tree, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let [a, b, c] = [role(&admin, "a", &[]).await, role(&admin, "b", &[]).await, role(&admin, "c", &[]).await];
    for (child, parent) in [(b, a), (c, a), (c, b), (3, c)] {
        admin.call("POST", &link(child, parent)).await.expect(200);
    }
    let tree = admin.get("/roles/hierarchy").await.expect(200).json();
    assert_eq!(tree.as_array().unwrap().iter().map(id).collect::<Vec<_>>(), [1, 2, 4, a]);
    let shown = keys(&tree[0]);
    assert_eq!(shown, ["id", "name", "description", "is_system_role", "is_active", "children"]);
    let top = &tree[3];
    assert_eq!(top["children"].as_array().unwrap().iter().map(id).collect::<Vec<_>>(), [b, c]);
    let first = &top["children"][0]["children"][0];
    assert_eq!((id(first), id(&first["children"][0])), (c, 3));
    let second = &top["children"][1];
    assert_eq!((&second["children"], &second["repeated"]), (&json!([]), &json!(true)));
    admin.delete(&link(c, a)).await.expect(200);
    let tree = admin.get("/roles/hierarchy").await.expect(200).json();
    assert_eq!(tree[3]["children"].as_array().unwrap().len(), 1);
});
