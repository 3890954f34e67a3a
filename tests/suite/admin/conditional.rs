//! Entity tags and the audit trail: what is changed is what was seen, and stays on record.

use serde_json::{Value, json};

use super::{Caller, id, issues, keys, refused, revision};
use crate::support::app::App;

on_both!(what_has_not_changed_is_not_sent_again, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for path in ["/users/", "/users/1", "/roles/", "/roles/2", "/permissions/1", "/modules/1", "/routes/1", "/auth/me"]
    {
        let first = admin.get(path).await.expect(200);
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path}")).to_owned();
        assert_eq!(first.header("cache-control"), Some("private, no-cache"), "{path}");
        assert_eq!(admin.call("HEAD", path).await.expect(200).header("etag"), Some(tag.as_str()), "{path}");
        for sent in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let second = admin.get(path).header("if-none-match", &sent).await.expect(304);
            assert_eq!((second.text.as_str(), second.header("etag")), ("", Some(tag.as_str())), "{path} {sent}");
        }
        admin.get(path).header("if-none-match", "\"other\"").await.expect(200);
    }
    let refusal = app.admin("GET", "/users/").header("if-none-match", "*").await.expect(401);
    assert_eq!(refusal.header("cache-control"), Some("no-store"));
});

on_both!(no_update_is_lost, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = format!("/users/{}", admin.user("alice", &[]).await);
    let role = format!("/roles/{}", id(&admin.made("/roles/", json!({ "name": "editor" })).await));
    let permission = json!({ "name": "toy:read", "description": "d" });
    let permission = format!("/permissions/{}", id(&admin.made("/permissions/", permission).await));
    let module = json!({ "name": "toys", "label": "Toys", "route": "/toys" });
    let module = format!("/modules/{}", id(&admin.made("/modules/", module).await));
    for (path, change) in [
        (&user, json!({ "email": "a@example.com" })),
        (&role, json!({ "description": "Edits" })),
        (&permission, json!({ "description": "e" })),
        (&module, json!({ "label": "Games" })),
    ] {
        let seen = admin.get(path).await.expect(200).header("etag").unwrap().to_owned();
        let put = |tag: &str| admin.put(path, change.clone()).header("if-match", tag);
        refused(put("\"other\"").await, 412, "Precondition failed");
        refused(put(&format!("W/{seen}")).await, 412, "Precondition failed");
        put(&seen).await.expect(200);
        let now = admin.get(path).await.expect(200).header("etag").unwrap().to_owned();
        assert_ne!(now, seen, "{path}");
        refused(put(&seen).await, 412, "Precondition failed");
        refused(admin.delete(path).header("if-match", &seen).await, 412, "Precondition failed");
        put("*").await.expect(200);
        let now = admin.get(path).await.expect(200).header("etag").unwrap().to_owned();
        admin.delete(path).header("if-match", &format!("\"x\", {now}")).await.expect(200);
        admin.get(path).await.expect(404);
    }
});

on_both!(a_write_may_be_bound_to_the_rules_that_were_seen, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let seen = revision(&admin.post("/roles/", json!({ "name": "one" })).await);
    let make = |name: &str, revision: &str| {
        admin.post("/roles/", json!({ "name": name })).header("x-if-policy-revision", revision)
    };
    refused(make("two", &(seen - 1).to_string()).await, 412, "Precondition failed");
    refused(make("two", "soon").await, 400, "X-If-Policy-Revision must be a number");
    make("two", &seen.to_string()).await.expect(200);
    refused(make("three", &seen.to_string()).await, 412, "Precondition failed");
});

on_both!(every_change_is_on_record, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let user = admin.user("alice", &[4]).await;
    let path = format!("/users/{user}");
    let body = json!({ "email": "new@example.com", "password": "An0ther!pass" });
    let changed = admin.put(&path, body).header("user-agent", "suite/1").await.expect(200);
    let records = admin.get(&format!("/audit-logs/?resource=user&resource_id={user}")).await.expect(200).json();
    let newest = &records[0];
    assert_eq!(
        keys(newest),
        [
            "id",
            "actor_id",
            "actor",
            "action",
            "resource",
            "resource_id",
            "before",
            "after",
            "ip",
            "user_agent",
            "request_id",
            "revision",
            "created_at"
        ]
    );
    assert_eq!((&newest["action"], &newest["actor"]), (&json!("update"), &json!("superadmin")));
    assert_eq!(
        (&newest["before"]["email"], &newest["after"]["email"]),
        (&json!("alice@example.com"), &json!("new@example.com"))
    );
    assert_eq!((&newest["ip"], &newest["user_agent"]), (&json!("127.0.0.1"), &json!("suite/1")));
    assert_eq!(newest["request_id"], changed.header("x-request-id").unwrap());
    assert!(!records.to_string().contains("argon2"), "{records}");
    let one = format!("/audit-logs/{}", id(newest));
    assert_eq!(&admin.get(&one).await.expect(200).json(), newest);
    refused(admin.get("/audit-logs/999999999").await, 404, "Audit record not found");

    admin.call("POST", &format!("{path}/roles/3")).await.expect(200);
    admin.delete(&path).await.expect(200);
    refused(admin.delete(&path).await, 404, "User not found");
    let records = admin.get(&format!("/audit-logs/?resource=user&resource_id={user}")).await.expect(200).json();
    let actions: Vec<&Value> = records.as_array().unwrap().iter().map(|record| &record["action"]).collect();
    assert_eq!(actions, ["delete", "update", "update", "create"]);
    assert_eq!((&records[0]["after"], &records[3]["before"]), (&Value::Null, &Value::Null));
    assert_eq!(records[1]["after"]["roles"].as_array().unwrap().len(), 2);
    audit_by_time(&admin, records.as_array().unwrap()).await;
    let by_nobody = admin.get("/audit-logs/?actor_id=999").await.expect(200).json();
    assert_eq!(by_nobody, json!([]));
});

/// Of these records, newest first, those are listed and counted that lie between two times.
async fn audit_by_time(admin: &Caller<'_>, records: &[Value]) {
    let about = format!("resource=user&resource_id={}", records[0]["resource_id"].as_str().unwrap());
    let time = |at: usize| records[at]["created_at"].as_str().unwrap();
    for (range, expected) in [
        (format!("from={}", time(1)), &records[..2]),
        (format!("to={}", time(1)), &records[2..]),
        (format!("from={}&to={}", time(2), time(0)), &records[1..3]),
        (format!("from={}", time(0).replace('Z', "%2B00:00")), &records[..1]),
        ("to=2001-01-01T00:00:00Z".to_owned(), &[]),
    ] {
        let listed = admin.get(&format!("/audit-logs/?{about}&{range}")).await.expect(200).json();
        assert_eq!(listed, json!(expected), "{range}");
        let counted = admin.get(&format!("/audit-logs/count?{about}&{range}")).await.expect(200).json();
        assert_eq!(counted, expected.len(), "{range}");
    }
    for path in ["/audit-logs/", "/audit-logs/count"] {
        let told = issues(admin.get(&format!("{path}?from=yesterday&to=")).await);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("datetime_parsing query.from: Input should be a valid datetime"), "{told:?}");
    }
}
