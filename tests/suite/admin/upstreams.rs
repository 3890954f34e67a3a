//! Upstreams.

use serde_json::{Value, json};

use super::{Caller, assert_timestamp, id, ids, issues, keys, refused, revision};
use crate::support::app::App;
use crate::support::raw::Recorder;

on_both!(an_upstream_is_made_read_changed_and_deleted, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let made = admin.post("/upstreams/", json!({ "name": "a", "targets": [{ "address": "127.0.0.1:9" }] })).await;
    let upstream = made.clone().expect(200).json();
    let defaults = json!({
        "id": id(&upstream), "name": "a", "is_active": true, "protocol": "http1",
        "targets": [{ "address": "127.0.0.1:9", "weight": 1 }], "balance": "round_robin", "tls": null,
        "host_header": null,
        "timeouts": { "connect_ms": 1000, "read_ms": 30000, "write_ms": 30000, "total_ms": 60000 },
        "retries": 0, "health_check": null, "max_body_bytes": null,
    });
    assert_eq!((&upstream, keys(&upstream)), (&defaults, keys(&defaults)));
    let path = format!("/upstreams/{}", id(&upstream));
    assert_eq!(admin.get(&path).await.expect(200).json(), upstream);
    assert_eq!(ids(&admin.get("/upstreams").await.expect(200)), [1, id(&upstream)]);
    assert_eq!(ids(&admin.get("/upstreams/?skip=1&limit=1").await.expect(200)), [id(&upstream)]);
    assert_eq!(admin.get("/upstreams/count").await.expect(200).text, "2");

    // What was read can be sent back.
    assert_eq!(admin.put(&path, upstream.clone()).await.expect(200).json(), upstream);
    let body = json!({
        "tls": { "server_name": "a.example.com" }, "host_header": "b.example.com:8443", "retries": 2,
        "timeouts": { "connect_ms": 5 }, "max_body_bytes": 10, "is_active": false,
    });
    let changed = admin.put(&path, body).await.expect(200).json();
    assert_eq!(changed["timeouts"], json!({ "connect_ms": 5, "read_ms": 30000, "write_ms": 30000, "total_ms": 60000 }));
    assert_eq!(
        (&changed["tls"], &changed["retries"], &changed["is_active"]),
        (&json!({ "server_name": "a.example.com" }), &json!(2), &json!(false))
    );
    let cleared = json!({ "tls": null, "host_header": null, "max_body_bytes": null });
    let cleared = admin.put(&path, cleared).await.expect(200).json();
    assert_eq!(
        (&cleared["tls"], &cleared["host_header"], &cleared["max_body_bytes"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let deleted = admin.delete(&path).await.expect(200);
    assert!(revision(&deleted) > revision(&made));
    for answer in [admin.get(&path).await, admin.put(&path, json!({})).await, admin.delete(&path).await] {
        refused(answer, 404, "Upstream not found");
    }
    admin.post("/upstreams/", json!({ "name": "a", "targets": [{ "address": "[::1]:9" }] })).await.expect(200);
});

on_both!(a_deleted_one_is_listed_and_restored, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let new = || json!({ "name": "a", "targets": [{ "address": "127.0.0.1:9" }] });
    let first = admin.made("/upstreams/", new()).await;
    let path = format!("/upstreams/{}", id(&first));
    let restore = async || admin.call("POST", &format!("{path}/restore")).await;
    refused(restore().await, 400, "Upstream is not deleted");
    refused(admin.call("POST", "/upstreams/999/restore").await, 404, "Upstream not found");
    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(admin.get("/upstreams/count?include_deleted=true").await.expect(200).text, "2");
    let listed = admin.get("/upstreams/?include_deleted=yes").await.expect(200).json();
    assert_eq!((keys(&listed[0]).len(), keys(&listed[1]).last()), (12, Some(&"deleted_at")));
    assert_timestamp(&listed[1]["deleted_at"]);
    let restored = restore().await.expect(200);
    assert_eq!(restored.json(), first);
    assert!(revision(&restored) > revision(&deleted));
    admin.delete(&path).await.expect(200);
    admin.made("/upstreams/", new()).await;
    refused(restore().await, 400, "Upstream name already exists");
});

on_both!(what_cannot_work_is_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    refused(
        admin.post("/upstreams/", json!({ "name": "demo", "targets": [{ "address": "a:1" }] })).await,
        400,
        "Upstream name already exists",
    );
    let required = ["name", "targets"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(admin.post("/upstreams/", json!({})).await), required);
    for (key, value, place) in [
        ("name", json!("Upper"), "body.name"),
        ("name", json!("-a"), "body.name"),
        ("targets", json!([]), "body.targets"),
        ("targets", json!([{ "address": "a" }]), "body.targets"),
        ("targets", json!([{ "address": "a:0" }]), "body.targets"),
        ("targets", json!([{ "address": "a:65536" }]), "body.targets"),
        ("targets", json!([{ "address": ":1" }]), "body.targets"),
        ("targets", json!([{ "address": "http://a:1" }]), "body.targets"),
        ("targets", json!([{ "address": "a b:1" }]), "body.targets"),
        ("targets", json!([{ "address": "a:1", "weight": 0 }]), "body.targets"),
        ("targets", json!([{ "address": "a:1", "weight": 101 }]), "body.targets"),
        ("targets", json!([{ "address": "a:1" }, { "address": "a:1", "port": 2 }]), "body.targets.1.port"),
        ("targets", json!([{}]), "body.targets.0"),
        ("targets", json!("a:1"), "body.targets"),
        ("tls", json!({ "server_name": "" }), "body.tls"),
        ("tls", json!({}), "body.tls"),
        ("tls", json!({ "server_name": "a", "verify": false }), "body.tls.verify"),
        ("timeouts", json!({ "connect_ms": 0 }), "body.timeouts"),
        ("timeouts", json!({ "total_ms": 86_400_001 }), "body.timeouts"),
        ("timeouts", json!({ "read_ms": -1 }), "body.timeouts.read_ms"),
        ("timeouts", json!({ "idle_ms": 1 }), "body.timeouts.idle_ms"),
        ("host_header", json!("a/b"), "body.host_header"),
        ("host_header", json!("a:99999"), "body.host_header"),
        ("retries", json!(11), "body.retries"),
        ("max_body_bytes", json!(-1), "body.max_body_bytes"),
        ("protocol", json!("http2"), "body.protocol"),
        ("balance", json!("random"), "body.balance"),
        ("health_check", json!({}), "body.health_check"),
        ("unknown", json!(1), "body.unknown"),
    ] {
        let mut new = json!({ "name": "x", "targets": [{ "address": "a:1" }] });
        new[key] = value.clone();
        for answer in [admin.post("/upstreams/", new).await, admin.put("/upstreams/1", json!({ key: value })).await] {
            let found = issues(answer);
            assert!(found.len() == 1 && found[0].contains(&format!(" {place}: ")), "{key} {value}: {found:?}");
        }
    }
    assert_eq!(admin.get("/upstreams/count").await.expect(200).text, "1");
});

on_both!(one_in_use_keeps_its_name, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let (first, second) = (Recorder::start().await, Recorder::start().await);
    let public = json!([{ "methods": ["GET"], "access": "public" }]);
    let route = app.route_to(&admin.token, "used", first.address, "/used", public).await;
    let upstream = ids(&admin.get("/upstreams/").await)[1];
    let path = format!("/upstreams/{upstream}");
    let detail = format!("Upstream is used by routes: /used ({route})");
    refused(admin.delete(&path).await, 400, &detail);
    refused(admin.put(&path, json!({ "name": "other" })).await, 400, &detail);
    // Everything else may change, and does at once.
    assert_eq!(admin.gateway("GET", "/used").await, 200);
    let targets = json!([{ "address": second.address.to_string() }]);
    admin.put(&path, json!({ "name": "used", "targets": targets })).await.expect(200);
    assert_eq!(admin.gateway("GET", "/used").await, 200);
    assert_eq!((first.requests(), second.requests()), (1, 1));
    admin.put(&path, json!({ "is_active": false })).await.expect(200);
    assert_eq!(admin.gateway("GET", "/used").await, 502);
    assert_eq!(second.requests(), 1);
    admin.delete(&format!("/routes/{route}")).await.expect(200);
    admin.put(&path, json!({ "name": "other" })).await.expect(200);
    admin.delete(&path).await.expect(200);
});
