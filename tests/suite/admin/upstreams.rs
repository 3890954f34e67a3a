//! Upstreams.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use sqlx::types::Json;

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
        "targets": [{ "address": "127.0.0.1:9", "weight": 1 }], "balance": "round_robin", "hash_on": "client",
        "tls": null, "host_header": null,
        "timeouts":
            { "connect_ms": 1000, "read_ms": 30000, "write_ms": 30000, "total_ms": 60000, "idle_ms": 30000 },
        "retries": 0, "retry_budget_percent": 20, "health_check": null,
        "ejection": { "failures": 5, "ms": 10000 }, "max_body_bytes": null,
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
    let mut timeouts = defaults["timeouts"].clone();
    timeouts["connect_ms"] = json!(5);
    assert_eq!(changed["timeouts"], timeouts);
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
    assert_eq!((keys(&listed[0]).len(), keys(&listed[1]).last()), (15, Some(&"deleted_at")));
    assert_timestamp(&listed[1]["deleted_at"]);
    let restored = restore().await.expect(200);
    assert_eq!(restored.json(), first);
    assert!(revision(&restored) > revision(&deleted));
    admin.delete(&path).await.expect(200);
    let second = admin.made("/upstreams/", new()).await;
    refused(restore().await, 400, "Upstream name already exists");
    admin.delete(&format!("/upstreams/{}", id(&second))).await.expect(200);
    // What the settings no longer have is asked for as by any other write.
    let mut tx = app.running.control().db().write().await.unwrap();
    let lost = json!({ "server_name": "a", "client_certificate": "lost" });
    tx.query("UPDATE upstreams SET tls = $1 WHERE deleted_at IS NOT NULL").bind(Json(lost)).execute().await.unwrap();
    tx.commit().await.unwrap();
    let answer = restore().await.expect(422);
    assert!(
        answer.text.contains("client_certificate 'lost' is not in gateway.upstream_certificates"),
        "{}",
        answer.text
    );
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
        ("targets", json!([{ "address": "a:1" }, { "address": "A:01" }]), "body.targets"),
        ("targets", json!("a:1"), "body.targets"),
        ("tls", json!({ "server_name": "" }), "body.tls"),
        ("tls", json!({}), "body.tls"),
        ("tls", json!({ "server_name": "a b" }), "body.tls"),
        ("tls", json!({ "server_name": "a.example.com:443" }), "body.tls"),
        ("tls", json!({ "server_name": "[::1]" }), "body.tls"),
        ("tls", json!({ "server_name": "a", "verify": false }), "body.tls.verify"),
        ("tls", json!({ "server_name": "a", "client_certificate": "fleet" }), "body.tls.client_certificate"),
        ("timeouts", json!({ "connect_ms": 0 }), "body.timeouts"),
        ("timeouts", json!({ "total_ms": 86_400_001 }), "body.timeouts"),
        ("timeouts", json!({ "read_ms": -1 }), "body.timeouts.read_ms"),
        ("timeouts", json!({ "idle_ms": 0 }), "body.timeouts"),
        ("timeouts", json!({ "head_ms": 1 }), "body.timeouts.head_ms"),
        ("host_header", json!("a/b"), "body.host_header"),
        ("host_header", json!("a:99999"), "body.host_header"),
        ("retries", json!(11), "body.retries"),
        ("max_body_bytes", json!(-1), "body.max_body_bytes"),
        ("protocol", json!("http3"), "body.protocol"),
        ("balance", json!("random"), "body.balance"),
        ("hash_on", json!("host"), "body.hash_on"),
        ("hash_on", json!("header."), "body.hash_on"),
        ("hash_on", json!("header.a b"), "body.hash_on"),
        ("hash_on", json!({ "header": "a" }), "body.hash_on"),
        ("retry_budget_percent", json!(-1), "body.retry_budget_percent"),
        ("retry_budget_percent", json!(101), "body.retry_budget_percent"),
        ("health_check", json!({ "path": "healthz" }), "body.health_check"),
        ("health_check", json!({ "path": "" }), "body.health_check"),
        ("health_check", json!({ "path": "/a/../b" }), "body.health_check"),
        ("health_check", json!({ "path": "/a\r\nX: y" }), "body.health_check"),
        ("health_check", json!({ "path": format!("/{}", "a".repeat(1_024)) }), "body.health_check"),
        ("health_check", json!({ "interval_ms": 99 }), "body.health_check"),
        ("health_check", json!({ "timeout_ms": 0 }), "body.health_check"),
        ("health_check", json!({ "timeout_ms": 60_001 }), "body.health_check"),
        ("health_check", json!({ "healthy_after": 0 }), "body.health_check"),
        ("health_check", json!({ "unhealthy_after": 101 }), "body.health_check"),
        ("health_check", json!({ "path": "/", "status": [199] }), "body.health_check"),
        ("health_check", json!({ "path": "/", "status": vec![200; 51] }), "body.health_check"),
        ("health_check", json!({ "status": [200] }), "body.health_check"),
        ("health_check", json!({ "url": "/" }), "body.health_check.url"),
        ("ejection", json!({ "failures": 0 }), "body.ejection"),
        ("ejection", json!({ "failures": 1_001 }), "body.ejection"),
        ("ejection", json!({ "ms": 99 }), "body.ejection"),
        ("ejection", json!({ "percent": 50 }), "body.ejection.percent"),
        ("ejection", json!(5), "body.ejection"),
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

on_both!(a_fleet_is_described_and_kept_as_it_was_said, |backend| async move {
    let folder = tempfile::tempdir().unwrap();
    let certificates = client_certificates(folder.path(), &["fleet", "other"]);
    let app = App::start_with(backend, &[("CEDARGATE_GATEWAY__UPSTREAM_CERTIFICATES", &certificates)]).await;
    let admin = Caller::superadmin(&app).await;
    let fleet = json!({
        "protocol": "http2", "balance": "consistent_hash", "hash_on": "header.x-tenant",
        "tls": { "server_name": "fleet.example.com", "ca": authorities(2), "client_certificate": "fleet" },
        "timeouts": { "connect_ms": 1, "read_ms": 2, "write_ms": 3, "total_ms": 4, "idle_ms": 5 },
        "retries": 2, "retry_budget_percent": 0,
        "health_check": {
            "path": "/healthz?full=1", "interval_ms": 100, "timeout_ms": 60_000, "healthy_after": 2,
            "unhealthy_after": 3, "status": [200, 204],
        },
        "ejection": { "failures": 1, "ms": 100 },
    });
    let mut new = json!({ "name": "fleet", "targets": [{ "address": "a:1" }, { "address": "a:2", "weight": 100 }] });
    new.as_object_mut().unwrap().extend(fleet.as_object().unwrap().clone());
    let made = admin.post("/upstreams/", new).await.expect(200).json();
    let path = format!("/upstreams/{}", id(&made));
    let same = |found: &Value| {
        for (key, said) in fleet.as_object().unwrap() {
            assert_eq!(&found[key], said, "{key}");
        }
    };
    same(&made);
    same(&admin.get(&path).await.expect(200).json());
    // Each is left as it is where nothing is said, and what was read can be sent back.
    same(&admin.put(&path, json!({ "name": "crew" })).await.expect(200).json());
    let crew = admin.get(&path).await.expect(200).json();
    assert_eq!(admin.put(&path, crew.clone()).await.expect(200).json(), crew);
    let records = admin.get(&format!("/audit-logs/?resource=upstream&resource_id={}", id(&made))).await.json();
    same(&records[0]["after"]);

    let changes = [
        ("protocol", json!("http1")),
        ("balance", json!("round_robin")),
        ("hash_on", json!("cookie.Session")),
        ("tls", json!({ "server_name": "127.0.0.1", "client_certificate": "other" })),
        ("retry_budget_percent", json!(100)),
        ("health_check", Value::Null),
        ("ejection", Value::Null),
    ];
    let mut last = revision(&admin.put(&path, json!({})).await.expect(200));
    for (key, value) in changes {
        let before = admin.get(&path).await.expect(200);
        admin.put(&format!("{path}?dry_run=true"), json!({ key: value })).await.expect(200);
        let rehearsed = admin.get(&path).await.expect(200);
        assert_eq!((&rehearsed.text, rehearsed.header("etag")), (&before.text, before.header("etag")), "{key}");
        let changed = admin.put(&path, json!({ key: value })).await.expect(200);
        assert_eq!(changed.json()[key], value);
        assert!(revision(&changed) > last, "{key}");
        assert_ne!(before.header("etag"), admin.get(&path).await.header("etag"), "{key}");
        last = revision(&changed);
    }
    // What is left out of a part has its default.
    let check = admin.put(&path, json!({ "health_check": {} })).await.expect(200).json();
    let defaults = json!({
        "path": null, "interval_ms": 5000, "timeout_ms": 2000, "healthy_after": 1, "unhealthy_after": 2, "status": [],
    });
    assert_eq!(check["health_check"], defaults);
    let ejection = admin.put(&path, json!({ "ejection": { "ms": 500 } })).await.expect(200).json();
    assert_eq!(ejection["ejection"], json!({ "failures": 5, "ms": 500 }));
    for on in ["client", "user", "path", "header.x-a", "cookie.A_b"] {
        assert_eq!(admin.put(&path, json!({ "hash_on": on })).await.expect(200).json()["hash_on"], on);
    }
    let folded = admin.put(&path, json!({ "hash_on": "header.X-Tenant" })).await.expect(200).json();
    assert_eq!(folded["hash_on"], "header.x-tenant");

    let shown = async |name: &str| {
        let tls = json!({ "tls": { "server_name": "a", "client_certificate": name } });
        let rehearsed = issues(admin.put(&format!("{path}?dry_run=true"), tls.clone()).await);
        let told = issues(admin.put(&path, tls).await);
        assert_eq!(told, rehearsed);
        told.concat()
    };
    let told = "value_error body.tls.client_certificate: Value error, client_certificate";
    assert_eq!(
        shown("fleat").await,
        format!("{told} 'fleat' is not in gateway.upstream_certificates, did you mean fleet?")
    );
    assert_eq!(
        shown("zzz").await,
        format!("{told} 'zzz' is not in gateway.upstream_certificates, which has fleet, other")
    );
});

on_both!(authorities_that_nothing_can_be_traced_to_are_refused, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let told = async |ca: &str| {
        let answer = admin.put("/upstreams/1", json!({ "tls": { "server_name": "a", "ca": ca } })).await;
        assert!(!answer.text.contains("PRIVATE"), "{}", answer.text);
        issues(answer).remove(0)
    };
    let (good, key) = (authorities(1), KeyPair::generate().unwrap().serialize_pem());
    // Well-formed PEM around what is no certificate.
    let torn = good.replacen("MII", "MIJ", 1);
    let cut = &good[..good.len() / 2];
    for (ca, reason) in [
        ("", "ca holds no certificate"),
        ("text", "ca holds no certificate"),
        (cut, "ca: certificate 1 cannot be used: "),
        (&torn, "ca: certificate 1 cannot be used: "),
        (&format!("{good}{torn}"), "ca: certificate 2 cannot be used: "),
        (&format!("{good}{key}"), "ca holds a private key"),
        (&key, "ca holds a private key"),
        (&good.repeat(65_536 / good.len() + 1), "ca has "),
    ] {
        let found = told(ca).await;
        assert!(found.starts_with(&format!("value_error body.tls: Value error, {reason}")), "{reason}: {found}");
    }
    let none = admin.get("/upstreams/1").await.expect(200).json();
    assert_eq!(none["tls"], Value::Null);
    let shows = json!({ "tls": { "server_name": "a", "client_certificate": "fleet" } });
    let none = "client_certificate 'fleet' is not in gateway.upstream_certificates, which has none";
    assert!(issues(admin.put("/upstreams/1", shows).await)[0].ends_with(none));
    // Comments between certificates are usual.
    let commented = format!("# one\n{good}# two\n{}", authorities(1));
    let kept = admin.put("/upstreams/1", json!({ "tls": { "server_name": "a", "ca": commented } })).await;
    assert_eq!(kept.expect(200).json()["tls"]["ca"], commented);
});

/// Certificates of so many authorities.
fn authorities(count: usize) -> String {
    let one = |_| {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    };
    (0..count).map(one).collect()
}

/// The setting with a certificate under each name.
fn client_certificates(folder: &std::path::Path, names: &[&str]) -> String {
    let one = |name: &&str| {
        let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).unwrap();
        let [certificate, key] = ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        json!({ "name": name, "certificate": certificate, "key": key })
    };
    names.iter().map(one).collect::<Value>().to_string()
}
