//! What hand-written policies could be misused for.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Caller, PASSWORD, id, refused};
use crate::support::app::App;

const ESCALATE: &str = "Permission 'role:escalate' required for this action";

fn policy(name: &str, source: &str) -> Value {
    json!({ "name": name, "source": source })
}

/// A caller with these permissions alone.
async fn somebody<'a>(admin: &Caller<'a>, name: &str, permissions: &[&str]) -> Caller<'a> {
    let mut ids = Vec::new();
    for permission in permissions {
        ids.push(admin.app.permission(&admin.token, permission).await);
    }
    let role = json!({ "name": format!("role-of-{name}"), "permission_ids": ids });
    let role = id(&admin.made("/roles/", role).await);
    admin.user(name, &[role]).await;
    Caller { app: admin.app, token: admin.app.token_with(name, PASSWORD).await }
}

// What a preview compiles has numbers, by which sets of policies are remembered.
on_both!(a_preview_leaves_nothing_behind_that_decides, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let harmless = "forbid (principal, action, resource) when { context.method == \"NEVER\" };";
    // The second change is let in by the rules that the first has led to.
    let changes = json!({ "changes": [
        { "method": "POST", "path": "/policies/", "body": policy("one", harmless) },
        { "method": "POST", "path": "/roles/", "body": { "name": "another" } },
    ] });
    admin.post("/policies/preview", changes).await.expect(200);
    let shut = "forbid (principal, action, resource) when { context.method == \"\" || context.path like \"*\" };";
    admin.made("/policies/", policy("two", shut)).await;
    assert_eq!(admin.gateway("GET", "/demo/articles").await, 403);
    refused(admin.get("/roles/").await, 403, "Permission 'role:read' required for this action");
});

on_both!(whom_a_policy_names_is_left_alone, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let chief = admin.user("chief", &[]).await;
    let plain = admin.user("plain", &[]).await;
    let held = ["user:read", "user:create", "user:update", "user:delete"];
    let manager = somebody(&admin, "manager", &held).await;
    let path = |user: i64| format!("/users/{user}");
    manager.put(&path(chief), json!({ "password": "An0ther!pass" })).await.expect(200);
    let source = format!("permit (principal == User::\"{chief}\", action, resource);");
    let named = admin.made("/policies/", policy("chief", &source)).await;
    refused(manager.put(&path(chief), json!({ "password": PASSWORD })).await, 403, ESCALATE);
    refused(manager.put(&path(chief), json!({ "email": "mine@example.com" })).await, 403, ESCALATE);
    manager.put(&path(plain), json!({ "password": "An0ther!pass" })).await.expect(200);
    admin.delete(&format!("/policies/{}", id(&named))).await.expect(200);
    manager.put(&path(chief), json!({ "password": PASSWORD })).await.expect(200);

    // The same by what users are called.
    let source = "permit (principal is User, action, resource) when { principal.username == \"boss\" };";
    admin.made("/policies/", policy("boss", source)).await;
    refused(manager.put(&path(plain), json!({ "username": "boss" })).await, 403, ESCALATE);
    let boss = json!({ "username": "boss", "email": "boss@example.com", "password": PASSWORD });
    refused(manager.post("/users/", boss).await, 403, ESCALATE);
    manager.put(&path(plain), json!({ "email": "plain2@example.com" })).await.expect(200);
    // Nor does anybody take or leave such a name by oneself.
    refused(manager.put("/auth/me", json!({ "username": "boss" })).await, 403, ESCALATE);
    manager.put("/auth/me", json!({ "first_name": "Ann" })).await.expect(200);
});

on_both!(a_role_that_a_condition_excludes_is_not_shed, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let role = id(&admin.made("/roles/", json!({ "name": "contractor" })).await);
    let carol = admin.user("carol", &[role]).await;
    let held = ["user:read", "user:update", "role:read", "role:update"];
    let manager = somebody(&admin, "manager", &held).await;
    let source = "permit (principal is User, action == Action::\"read\", resource)
                  unless { principal in Role::\"contractor\" };";
    admin.made("/policies/", policy("all-but-contractors", source)).await;
    refused(manager.put(&format!("/users/{carol}"), json!({ "role_ids": [] })).await, 403, ESCALATE);
    refused(manager.put(&format!("/roles/{role}"), json!({ "is_active": false })).await, 403, ESCALATE);
    admin.put(&format!("/users/{carol}"), json!({ "role_ids": [] })).await.expect(200);
});

on_both!(previews_tell_only_who_may_read_policies, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let role = id(&admin.made("/roles/", json!({ "name": "plain" })).await);
    let manager = somebody(&admin, "manager", &["role:read", "role:update"]).await;
    let path = format!("/roles/{role}?dry_run=true");
    let body = || json!({ "is_active": false });
    refused(manager.put(&path, body()).await, 403, "Permission 'policy:read' required for this action");
    assert_eq!(admin.get(&format!("/roles/{role}")).await.expect(200).json()["is_active"], true);
    let reader = somebody(&admin, "reader", &["role:read", "role:update", "policy:read"]).await;
    reader.put(&path, body()).await.expect(200);
    assert_eq!(admin.get(&format!("/roles/{role}")).await.expect(200).json()["is_active"], true);
});

// A node whose files and the rules of others contradict each other is mended by mending the files.
on_both!(mended_files_mend_a_node, |backend| async move {
    let directory = TempDir::with_prefix("cedargate-policies-").unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let file = directory.path().join("ship.cedar");
    let app = App::start_with(backend, &[("CEDARGATE_POLICY__DIR", &path)]).await;
    let admin = Caller::superadmin(&app).await;
    let permission = id(&admin.made("/permissions/", json!({ "name": "order:ship" })).await);
    std::fs::write(&file, "forbid (principal, action == Action::\"ship\", resource) unless { context.mfa };").unwrap();
    let listed = async || admin.get("/policies/files").await.expect(200).json().as_array().unwrap().len();
    wait(async || listed().await == 2).await;
    // As another node does it, which knows no such file.
    let other = crate::support::follower::start(&app.database).await;
    let mut write = other.write().await.unwrap();
    let now = write.now();
    let gone = cedargate::model::PermissionId(permission);
    assert!(cedargate::store::permissions::delete(write.tx(), gone, now).await.unwrap());
    write.touch(cedargate::store::changes::Change::Permission(gone));
    write.commit(()).await.unwrap();
    // It goes on deciding, and writes nothing upon rules that it does not know.
    let role = || json!({ "name": "made" });
    wait(async || admin.post("/roles/", role()).await.status == 503).await;
    assert_eq!(admin.gateway("GET", "/demo/articles").await, 200);
    std::fs::write(&file, "forbid (principal, action == Action::\"update\", resource is Endpoint);").unwrap();
    wait(async || admin.gateway("PUT", "/demo/articles/1").await == 403).await;
    admin.post("/roles/", role()).await.expect(200);
});

async fn wait(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never was");
}
