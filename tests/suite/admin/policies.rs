//! Hand-written policies by the API: what is written is enforced, what is wrong is told with its place.

use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::{Answer, App};

/// For back ends alone: the admin API is about resources, and not about endpoints.
const STEP_UP: &str = "forbid (principal, action == Action::\"delete\", resource is Endpoint) unless { context.mfa };";

fn new(name: &str, source: &str) -> Value {
    json!({ "name": name, "source": source })
}

/// The one entry of a 422 that is about Cedar text: message, line, column, help.
#[track_caller]
fn fault(answer: Answer) -> (String, Value, Value, Value) {
    let body = answer.expect(422).json();
    let entries = body["detail"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{body}");
    let entry = &entries[0];
    assert_eq!((&entry["type"], &entry["loc"]), (&json!("cedar"), &json!(["body", "source"])), "{body}");
    assert_eq!(keys(&entry["ctx"]), ["line", "column", "help"]);
    let ctx = &entry["ctx"];
    (entry["msg"].as_str().unwrap().to_owned(), ctx["line"].clone(), ctx["column"].clone(), ctx["help"].clone())
}

on_both!(a_policy_is_enforced_changed_and_taken_back, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 200);
    let made = admin.post("/policies/", new("step-up", STEP_UP)).await.expect(200);
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 403);
    assert_eq!(admin.gateway("GET", "/demo/articles/1").await, 200);
    let policy = made.json();
    assert_eq!(
        keys(&policy),
        ["id", "name", "description", "source", "is_active", "created_at", "updated_at"],
        "{policy}"
    );
    assert_eq!((&policy["name"], &policy["source"]), (&json!("step-up"), &json!(STEP_UP)));
    assert_eq!((&policy["description"], &policy["is_active"]), (&Value::Null, &json!(true)));
    assert_timestamp(&policy["created_at"]);
    let path = format!("/policies/{}", id(&policy));
    assert_eq!(admin.get(&path).await.expect(200).json(), policy);
    assert_eq!(ids(&admin.get("/policies/").await.expect(200)), [id(&policy)]);
    assert_eq!(admin.get("/policies/count?is_active=true&search=STEP").await.expect(200).text, "1");

    // What was read can be sent back but for what the server says of it.
    let changed = admin.put(&path, json!({ "description": "for deletes", "is_active": false })).await.expect(200);
    assert!(revision(&changed) > revision(&made));
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 200);
    let toggled = admin.call("PATCH", &format!("{path}/toggle-status")).await.expect(200).json();
    assert_eq!((&toggled["is_active"], &toggled["description"]), (&json!(true), &json!("for deletes")));
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 403);
    let other = STEP_UP.replace("mfa", "client_ip.isLoopback()");
    let patched = admin.call("PATCH", &path).json(json!({ "source": other, "description": null })).await.expect(200);
    assert_eq!((&patched.json()["source"], &patched.json()["description"]), (&json!(other), &Value::Null));
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 200);

    admin.put(&path, json!({ "source": STEP_UP })).await.expect(200);
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 403);
    admin.delete(&path).await.expect(200);
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 200);
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "Policy not found");
    }
    let listed = admin.get("/policies/?include_deleted=true").await.expect(200).json();
    assert_timestamp(&listed[0]["deleted_at"]);
    admin.call("POST", &format!("{path}/restore")).await.expect(200);
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 403);
    refused(admin.call("POST", &format!("{path}/restore")).await, 400, "Policy is not deleted");
    refused(admin.call("POST", "/policies/999/restore").await, 404, "Policy not found");

    // It outlives the process.
    let token = admin.token.clone();
    let app = app.restart().await;
    assert_eq!(app.gateway("DELETE", "/demo/articles/1").bearer(&token).await.status, 403);
    let audit = app.admin("GET", "/audit-logs/?resource=policy").bearer(&token).await.expect(200).json();
    assert_eq!(audit.as_array().unwrap().len(), 7, "{audit}");
});

on_both!(a_policy_on_everything_is_about_the_admin_api_too, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let source = "forbid (principal, action == Action::\"delete\", resource) unless { context.mfa };";
    let policy = admin.made("/policies/", new("step-up", source)).await;
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 403);
    let path = format!("/policies/{}", id(&policy));
    refused(admin.delete(&path).await, 403, "Permission 'policy:delete' required for this action");
    admin.call("PATCH", &format!("{path}/toggle-status")).await.expect(200);
    admin.delete(&path).await.expect(200);
    assert_eq!(admin.gateway("DELETE", "/demo/articles/1").await, 200);
});

on_both!(what_is_wrong_with_a_text_is_told_with_its_place, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let before = admin.made("/policies/", new("sound", STEP_UP)).await;
    let path = format!("/policies/{}", id(&before));
    let place = |line, column| (json!(line), json!(column));
    for (source, said, (line, column), help) in [
        (
            "forbid (principal, action, resource)\n  unless { context.mfa }",
            "unexpected end of input",
            place(2, 25),
            Some("expected"),
        ),
        ("\nforbid (principal, action, resource) unless { context.mfq };", "`mfq`", place(2, 47), Some("mfa")),
        (
            "forbid (principal, action == Action::\"delet\", resource);",
            "Action::\"delet\"",
            place(1, 30),
            Some("\"delete\""),
        ),
        (
            "forbid (principal in Role::\"usr\", action, resource);",
            "Role::\"usr\"",
            place(1, 22),
            Some("Role::\"user\""),
        ),
        (
            "permit (principal in Role::\"user\", action, resource in Module::\"dmeo\");",
            "Module",
            place(1, 56),
            Some("demo"),
        ),
        ("permit (principal == User::\"superadmin\", action, resource);", "User", place(1, 22), Some("User::\"1\"")),
        ("permit (principal, action, resource in Resource::\"artikel\");", "Resource", place(1, 40), None),
        ("permit (principal, action, resource == Endpoint::\"1:GIT\");", "Endpoint", place(1, 40), None),
        ("permit (principal == ?principal, action, resource);", "templates", (Value::Null, Value::Null), None),
        ("// nothing", "no policy", (Value::Null, Value::Null), None),
        // Strict: what can never apply is no policy.
        ("permit (principal, action, resource is Route);", "impossible", place(1, 1), None),
    ] {
        for answer in [
            admin.post("/policies/", new("x", source)).await,
            admin.put(&path, json!({ "source": source })).await,
            // What could not be activated is not saved for later either.
            admin.post("/policies/", json!({ "name": "x", "source": source, "is_active": false })).await,
        ] {
            let (msg, at, col, told) = fault(answer);
            assert!(msg.contains(said), "{source}: {msg}");
            assert_eq!((&at, &col), (&line, &column), "{source}: {msg}");
            assert!(help.is_none_or(|help| told.as_str().is_some_and(|told| told.contains(help))), "{source}: {told}");
        }
        let looked = admin.post("/policies/validate", json!({ "source": source })).await.expect(200).json();
        assert_eq!((&looked["valid"], looked["errors"].as_array().unwrap().len()), (&json!(false), 1), "{looked}");
        assert_eq!(looked["errors"][0]["ctx"]["line"], line);
    }
    let looked = admin.post("/policies/validate", json!({ "source": STEP_UP })).await.expect(200).json();
    assert_eq!(looked, json!({ "valid": true, "errors": [] }));
    // Nothing of it was written, and what was there stays.
    assert_eq!(admin.get(&path).await.expect(200).json(), before);
    assert_eq!(admin.get("/policies/count").await.expect(200).text, "1");
    assert_eq!(issues(admin.post("/policies/", json!({})).await).len(), 2);
    for (key, value) in [
        ("name", json!("Upper")),
        ("source", json!("")),
        ("source", json!("/".repeat(64 * 1024 + 1))),
        ("description", json!("d".repeat(501))),
        ("is_active", json!("maybe")),
        ("unknown", json!(1)),
    ] {
        let mut body = new("x", STEP_UP);
        body[key] = value;
        let found = issues(admin.post("/policies/", body).await);
        assert!(found.len() == 1 && found[0].contains(&format!("body.{key}")), "{key}: {found:?}");
    }
});

on_both!(names_are_unique_files_among_them, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    admin.made("/policies/", new("one", STEP_UP)).await;
    let two = admin.made("/policies/", new("two", STEP_UP)).await;
    refused(admin.post("/policies/", new("one", STEP_UP)).await, 400, "Policy name already exists");
    let path = format!("/policies/{}", id(&two));
    refused(admin.put(&path, json!({ "name": "one" })).await, 400, "Policy name already exists");
    let files = admin.get("/policies/files").await.expect(200).json();
    assert_eq!((&files[0]["name"], &files[0]["is_shipped"]), (&json!("inactive_users"), &json!(true)));
    let shipped = new("inactive_users", STEP_UP);
    refused(admin.post("/policies/", shipped).await, 400, "Policy name already exists among policy files");
});

on_both!(what_a_policy_speaks_of_stays, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let role = id(&admin.made("/roles/", json!({ "name": "auditor", "permission_ids": [] })).await);
    let user = admin.user("carol", &[role]).await;
    let source = format!(
        "forbid (principal in Role::\"auditor\", action, resource);
         forbid (principal == User::\"{user}\", action, resource in Resource::\"article\");
         forbid (principal, action == Action::\"approve\", resource in Module::\"archive\");"
    );
    let module = json!({ "name": "archive", "label": "Archive", "priority": 9 });
    let module = id(&admin.made("/modules/", module).await);
    let permission = json!({ "name": "article:approve" });
    let permission = id(&admin.made("/permissions/", permission).await);
    let policy = admin.made("/policies/", new("guard", &source)).await;
    let gone = |what: &str| format!("{what} cannot be removed: the policy 'guard' speaks of it");
    refused(admin.delete(&format!("/users/{user}")).await, 400, &gone(&format!("User::\"{user}\"")));
    admin.put(&format!("/users/{user}"), json!({ "role_ids": [] })).await.expect(200);
    refused(admin.delete(&format!("/roles/{role}")).await, 400, &gone("Role::\"auditor\""));
    refused(
        admin.delete(&format!("/permissions/{permission}")).await,
        400,
        "Policy 'guard' uses this permission's verb",
    );
    refused(admin.delete(&format!("/modules/{module}")).await, 400, &gone("Module::\"archive\""));
    // Without the policy all of it may go.
    admin.delete(&format!("/policies/{}", id(&policy))).await.expect(200);
    for path in [
        format!("/modules/{module}"),
        format!("/users/{user}"),
        format!("/roles/{role}"),
        format!("/permissions/{permission}"),
    ] {
        admin.delete(&path).await.expect(200);
    }
    let refusal = admin.call("POST", &format!("/policies/{}/restore", id(&policy))).await;
    let told = issues(refusal);
    assert_eq!(told.len(), 4, "{told:?}");
});

on_both!(only_forbidding_more_is_no_escalation, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let held: Vec<i64> = {
        let mut held = Vec::new();
        for name in ["policy:read", "policy:create", "policy:update", "policy:delete"] {
            held.push(app.permission(&admin.token, name).await);
        }
        held
    };
    let role = id(&admin.made("/roles/", json!({ "name": "guardian", "permission_ids": held })).await);
    admin.user("dora", &[role]).await;
    let dora = Caller { app: &app, token: app.token_with("dora", PASSWORD).await };
    let refusal = "Permission 'role:escalate' required for this action";
    let everything = "permit (principal == User::\"1\", action, resource);";
    refused(dora.post("/policies/", new("mine", everything)).await, 403, refusal);
    let guard = dora.made("/policies/", new("guard", STEP_UP)).await;
    let path = format!("/policies/{}", id(&guard));
    for answer in [
        dora.put(&path, json!({ "source": everything })).await,
        dora.put(&path, json!({ "source": STEP_UP.replace("mfa", "client_ip.isLoopback()") })).await,
        dora.put(&path, json!({ "is_active": false })).await,
        dora.delete(&path).await,
    ] {
        refused(answer, 403, refusal);
    }
    dora.put(&path, json!({ "description": "only words" })).await.expect(200);
    let permit = admin.made("/policies/", new("open", everything)).await;
    dora.delete(&format!("/policies/{}", id(&permit))).await.expect(200);
    assert_eq!(admin.get("/policies/count").await.expect(200).text, "1");
});

on_both!(cedar_tools_get_schema_and_export, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    admin.made("/policies/", new("step-up", STEP_UP)).await;
    let schema = admin.get("/policies/schema").await.expect(200);
    assert_eq!(schema.header("content-type"), Some("text/plain; charset=utf-8"));
    let (parsed, warnings) = cedar_policy::Schema::from_cedarschema_str(&schema.text).unwrap();
    assert_eq!(warnings.count(), 0);
    let export = admin.get("/policies/export").await.expect(200).json();
    let policies: cedar_policy::PolicySet = export["policies"].as_str().unwrap().parse().unwrap();
    assert!(policies.num_of_policies() > 30);
    let validated =
        cedar_policy::Validator::new(parsed.clone()).validate(&policies, cedar_policy::ValidationMode::Strict);
    assert!(validated.validation_passed(), "{validated}");
    let entities = cedar_policy::Entities::from_json_value(export["entities"].clone(), Some(&parsed)).unwrap();
    assert_eq!(export["schema"].as_str(), Some(&*schema.text));
    assert_eq!(export["users"].as_array().unwrap().len(), 4);
    let without = admin.get("/policies/export?users=false").await.expect(200).json();
    assert_eq!(without["users"], json!([]));
    assert!(without["entities"].as_array().unwrap().len() < entities.iter().count());
    assert_eq!(without["rules"], export["rules"]);
});

/// Each of them is refused in bounded time, and the server goes on.
#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused() {
    let app = App::start(crate::support::Backend::Sqlite).await;
    let admin = Caller::superadmin(&app).await;
    let deep = |open: &str, middle: &str, close: &str, times: usize| {
        let condition = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
        format!("permit (principal, action, resource) when {{ {condition} }};")
    };
    for source in [
        deep("(", "context.mfa", ")", 20_000),
        deep("!", "context.mfa", "", 20_000),
        deep("if context.mfa then ", "true", " else false", 1_500),
        deep("[", "1", "]", 20_000),
        "permit(principal,action,resource);".repeat(1_900),
    ] {
        let body = new("huge", &source);
        let answer = admin.post("/policies/", body).await;
        assert!(matches!(answer.status, 200 | 400 | 422), "{}: {}", answer.status, answer.text);
        if answer.status == 200 {
            admin.delete(&format!("/policies/{}", id(&answer.json()))).await.expect(200);
        }
    }
    let many = "forbid(principal,action,resource)when{context.mfa&&!context.mfa};".repeat(950);
    let mut refusal = None;
    for number in 0..8 {
        let answer = admin.post("/policies/", new(&format!("many-{number}"), &many)).await;
        if answer.status != 200 {
            refusal = Some(answer);
            break;
        }
    }
    let refusal = refusal.expect("there is a bound");
    assert!(refusal.clone().expect(400).text.contains("at most 5000"), "{}", refusal.text);
    assert_eq!(admin.gateway("GET", "/demo/articles/1").await, 200);
}
