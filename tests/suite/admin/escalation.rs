//! Nobody hands on more than they hold, and somebody can always administer.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, id, refused};
use crate::support::app::{Answer, App};

const ESCALATE: &str = "Permission 'role:escalate' required for this action";
const LAST: &str = "The last active superuser cannot be removed";

async fn permission(admin: &Caller<'_>, name: &str) -> i64 {
    let all = admin.get("/permissions/?limit=1000").await.expect(200).json();
    let found = all.as_array().unwrap().iter().find(|permission| permission["name"] == name);
    id(found.unwrap_or_else(|| panic!("no permission {name}")))
}

async fn role(admin: &Caller<'_>, name: &str) -> i64 {
    let all = admin.get("/roles/").await.expect(200).json();
    id(all.as_array().unwrap().iter().find(|role| role["name"] == name).unwrap())
}

fn revision(app: &App) -> i64 {
    app.running.control().snapshots().load().revision()
}

/// A deputy: everything about users, roles and permissions, but neither the upstreams nor escalation.
struct World<'a> {
    admin: Caller<'a>,
    deputy: Caller<'a>,
    deputy_id: i64,
    own_role: i64,
    foreign: i64,
    superadmin: i64,
}

impl<'a> World<'a> {
    async fn new(app: &'a App) -> Self {
        let admin = Caller::superadmin(app).await;
        let mut held = Vec::new();
        for resource in ["user", "role", "permission"] {
            for verb in ["create", "read", "update", "delete"] {
                held.push(permission(&admin, &format!("{resource}:{verb}")).await);
            }
        }
        let own_role = id(&admin.made("/roles/", json!({ "name": "deputies", "permission_ids": held })).await);
        let deputy_id = admin.user("deputy", &[own_role]).await;
        let deputy = Caller { app, token: app.token_with("deputy", PASSWORD).await };
        let foreign = permission(&admin, "upstream:delete").await;
        let superadmin = role(&admin, "superadmin").await;
        Self { admin, deputy, deputy_id, own_role, foreign, superadmin }
    }

    /// Asserts that the deputy is refused, and that nothing was written.
    async fn refused(&self, call: crate::support::app::Call) {
        let before = revision(self.deputy.app);
        let answer: Answer = call.await;
        assert_eq!(answer.json()["detail"], ESCALATE, "{}", answer.text);
        refused(answer, 403, ESCALATE);
        assert_eq!(revision(self.deputy.app), before, "something was written");
    }
}

on_both!(nobody_grants_what_they_do_not_hold, |backend| async move {
    let app = App::start(backend).await;
    let world = World::new(&app).await;
    let (deputy, own, foreign) = (&world.deputy, world.own_role, world.foreign);
    world.refused(deputy.call("POST", &format!("/roles/{own}/permissions/{foreign}"))).await;
    world.refused(deputy.put(&format!("/roles/{own}"), json!({ "permission_ids": [foreign] }))).await;
    world.refused(deputy.post("/roles/", json!({ "name": "fresh", "permission_ids": [foreign] }))).await;
    let escalate = permission(&world.admin, "role:escalate").await;
    world.refused(deputy.call("POST", &format!("/roles/{own}/permissions/{escalate}"))).await;

    // A sleeping role is no way around it, neither to grant nor to wake.
    let sleeper = json!({ "name": "sleeper", "permission_ids": [foreign] });
    let sleeper = id(&world.admin.made("/roles/", sleeper).await);
    world.admin.put(&format!("/roles/{sleeper}"), json!({ "is_active": false })).await.expect(200);
    world.refused(deputy.put(&format!("/roles/{sleeper}"), json!({ "is_active": true }))).await;
    let empty = id(&deputy.made("/roles/", json!({ "name": "empty" })).await);
    deputy.put(&format!("/roles/{empty}"), json!({ "is_active": false })).await.expect(200);
    world.refused(deputy.call("POST", &format!("/roles/{empty}/permissions/{foreign}"))).await;

    // A permission that is renamed takes its holders along.
    let toy = id(&world.admin.made("/permissions/", json!({ "name": "toy:read", "description": "d" })).await);
    world.admin.call("POST", &format!("/roles/{own}/permissions/{toy}")).await.expect(200);
    world.refused(deputy.put(&format!("/permissions/{toy}"), json!({ "name": "safe:open" }))).await;

    // What one holds one may hand on; and whoever may escalate hands on anything.
    let held = permission(&world.admin, "user:read").await;
    deputy.call("POST", &format!("/roles/{empty}/permissions/{held}")).await.expect(200);
    world.admin.call("POST", &format!("/roles/{own}/permissions/{foreign}")).await.expect(200);
});

on_both!(nobody_assigns_or_touches_more_than_they_hold, |backend| async move {
    let app = App::start(backend).await;
    let world = World::new(&app).await;
    let (deputy, me, super_role) = (&world.deputy, world.deputy_id, world.superadmin);
    world.refused(deputy.call("POST", &format!("/users/{me}/roles/{super_role}"))).await;
    world.refused(deputy.put(&format!("/users/{me}"), json!({ "role_ids": [super_role] }))).await;
    let new = |roles: Value| json!({ "username": "fresh", "email": "fresh@example.com", "password": PASSWORD, "role_ids": roles });
    world.refused(deputy.post("/users/", new(json!([super_role])))).await;

    let superior = world.admin.user("superior", &[super_role]).await;
    let path = format!("/users/{superior}");
    for body in [
        json!({ "password": "An0ther!pass" }),
        json!({ "email": "mine@example.com" }),
        json!({ "username": "renamed" }),
        json!({ "role_ids": [] }),
        json!({ "is_active": false }),
    ] {
        world.refused(deputy.put(&path, body)).await;
    }
    world.refused(deputy.call("PATCH", &format!("{path}/toggle-status"))).await;
    world.refused(deputy.delete(&path)).await;
    world.refused(deputy.delete(&format!("{path}/roles/{super_role}"))).await;
    app.token_with("superior", PASSWORD).await;

    // Ordinary users are theirs to manage, and the default role is anybody's to give.
    let ordinary = id(&deputy.made("/users/", new(json!([]))).await);
    deputy.put(&format!("/users/{ordinary}"), json!({ "email": "other@example.com" })).await.expect(200);
    deputy.call("POST", &format!("/users/{ordinary}/roles/{}", world.own_role)).await.expect(200);
    deputy.delete(&format!("/users/{ordinary}")).await.expect(200);
});

/// A policy file that takes something from a role.
const FORBID: &str = "forbid (principal in Role::\"interns\", action, resource in Resource::\"user\") \
                      when { context.method == \"DELETE\" };";

on_both!(nobody_sheds_a_role_that_is_held_against_them, |backend| async move {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("interns.cedar"), FORBID).unwrap();
    let app = App::start_with(backend, &[("CEDARGATE_POLICY__DIR", directory.path().to_str().unwrap())]).await;
    let world = World::new(&app).await;
    let (deputy, me) = (&world.deputy, world.deputy_id);
    // A role that policies speak of is more than what it grants: not even an empty one is made under such a name.
    world.refused(deputy.post("/roles/", json!({ "name": "interns" }))).await;
    let interns = id(&world.admin.made("/roles/", json!({ "name": "interns" })).await);
    world.refused(deputy.call("POST", &format!("/users/{me}/roles/{interns}"))).await;
    world.admin.call("POST", &format!("/users/{me}/roles/{interns}")).await.expect(200);
    let shed = json!({ "user_ids": [me], "role_ids": [interns], "action": "remove" });
    world.refused(deputy.post("/users/bulk-roles", shed)).await;
    world.refused(deputy.put(&format!("/users/{me}"), json!({ "role_ids": [world.own_role] }))).await;
    world.refused(deputy.call("PATCH", &format!("/roles/{interns}/toggle-status"))).await;
    let renamed = deputy.put(&format!("/roles/{interns}"), json!({ "name": "freed" })).await;
    refused(renamed, 400, "Role 'interns' cannot be renamed: the policy 'interns' speaks of it");
    let ordinary = world.admin.user("ordinary", &[]).await;
    deputy.delete(&format!("/users/{ordinary}")).await.expect(403);
    world.admin.delete(&format!("/users/{me}/roles/{interns}")).await.expect(200);
    deputy.delete(&format!("/users/{ordinary}")).await.expect(200);
});

/// Two policies in one text, which speak of a role and of a module.
const NAMING: &str = "forbid (principal in Role::\"contractors\", action == Action::\"delete\", resource);
                      permit (principal in Role::\"interns\", action, resource in Module::\"vault\");";

on_both!(what_a_policy_speaks_of_keeps_its_name, |backend| async move {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("house.cedar"), NAMING).unwrap();
    let app = App::start_with(backend, &[("CEDARGATE_POLICY__DIR", directory.path().to_str().unwrap())]).await;
    let admin = Caller::superadmin(&app).await;
    let role = |name: &str| json!({ "name": name });
    let contractors = id(&admin.made("/roles/", role("contractors")).await);
    let others = id(&admin.made("/roles/", role("others")).await);
    let path = format!("/roles/{contractors}");
    let before = revision(&app);
    let detail = "Role 'contractors' cannot be renamed: the policy 'house' speaks of it";
    refused(admin.put(&path, role("freed")).await, 400, detail);
    let module = |name: &str| json!({ "name": name, "label": name });
    let vault = id(&admin.made("/modules/", module("vault")).await);
    let shelf = id(&admin.made("/modules/", module("shelf")).await);
    let detail = "Module 'vault' cannot be renamed: the policy 'house' speaks of it";
    for path in ["/modules", "/modules/get-one"] {
        refused(admin.put(&format!("{path}/{vault}"), module("opened")).await, 400, detail);
    }
    assert_eq!(revision(&app), before + 2, "only two modules were made");

    // Everything else about them may change, and what no policy speaks of may be renamed.
    let body = json!({ "name": "contractors", "description": "From outside" });
    assert_eq!(admin.put(&path, body).await.expect(200).json()["description"], "From outside");
    admin.put(&format!("/modules/{vault}"), json!({ "name": "VAULT", "label": "Safe" })).await.expect(200);
    admin.put(&format!("/roles/{others}"), role("renamed")).await.expect(200);
    admin.put(&format!("/modules/{shelf}"), module("cupboard")).await.expect(200);
    let gone = |what: &str| format!("{what} cannot be removed: the policy 'house' speaks of it");
    refused(admin.delete(&path).await, 400, &gone("Role::\"contractors\""));
    refused(admin.delete(&format!("/modules/{vault}")).await, 400, &gone("Module::\"vault\""));
});

on_both!(a_superuser_is_always_left, |backend| async move {
    let app = App::start(backend).await;
    let world = World::new(&app).await;
    let (admin, super_role) = (&world.admin, world.superadmin);
    let me = id(&admin.get("/auth/me").await.expect(200).json());
    let second = admin.user("second", &[super_role]).await;
    let other = Caller { app: &app, token: app.token_with("second", PASSWORD).await };
    // While there are two, one may go.
    admin.delete(&format!("/users/{second}/roles/{super_role}")).await.expect(200);
    other.get("/users/").await.expect(403);
    admin.call("POST", &format!("/users/{second}/roles/{super_role}")).await.expect(200);
    other.call("PATCH", &format!("/users/{me}/toggle-status")).await.expect(200);
    refused(other.delete(&format!("/users/{second}/roles/{super_role}")).await, 400, LAST);
    refused(other.put(&format!("/users/{second}"), json!({ "role_ids": [] })).await, 400, LAST);
    other.get("/users/").await.expect(200);
});

on_both!(a_permission_is_asked_for_again_when_the_write_begins, |backend| async move {
    let app = App::start(backend).await;
    let world = World::new(&app).await;
    // Held from here, writes of the deputy wait, and find their permission gone.
    let mut write = app.running.control().write().await.unwrap();
    let path = format!("/users/{}", world.deputy_id);
    let call = world.deputy.put(&path, json!({ "email": "late@example.com" }));
    let late = tokio::spawn(call.into_future());
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let (user, now) = (cedargate::model::UserId(world.deputy_id), write.now());
    let patch = cedargate::model::UserPatch { role_ids: Some(Vec::new()), ..Default::default() };
    cedargate::store::users::update(write.tx(), user, &patch, now).await.unwrap();
    write.touch(cedargate::store::changes::Change::User(user));
    write.commit(()).await.unwrap();
    refused(late.await.unwrap(), 403, "Permission 'user:update' required for this action");
    let email = world.admin.get(&path).await.json()["email"].clone();
    assert_eq!(email, "deputy@example.com");
});
