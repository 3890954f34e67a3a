//! Health: what is said while all is well, while something is not, and while the server stops.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::app::App;
use crate::support::cut::Cut;
use crate::support::{Backend, fresh_database};

async fn detailed(app: &App, status: u16) -> Value {
    app.internal("GET", "/health/detailed").await.expect(status).json()
}

/// Waits until all is well, for two seconds at most.
async fn recovers(app: &App) {
    let mended = Instant::now();
    while app.internal("GET", "/health/detailed").await.status != 200 {
        assert!(mended.elapsed() < Duration::from_secs(2), "no recovery: {}", detailed(app, 503).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All checks but `name` are sound.
#[track_caller]
fn only(health: &Value, name: &str) {
    assert_eq!(health["status"], "degraded");
    for (check, told) in health["checks"].as_object().unwrap() {
        let expected = if check == name { "unhealthy" } else { "healthy" };
        assert_eq!(told["status"], expected, "{check}: {health}");
    }
}

on_both!(a_sound_server_says_so, |backend| async move {
    let app = App::start(backend).await;
    assert_eq!(app.internal("GET", "/livez").await.expect(200).text, "ok\n");
    assert_eq!(app.internal("GET", "/readyz").await.expect(200).text, "ready\n");
    for brief in [app.internal("GET", "/health").await, app.gateway("GET", "/health").await] {
        let version = env!("CARGO_PKG_VERSION");
        let expected = json!({ "status": "healthy", "version": version, "environment": "development", "debug": false });
        assert_eq!(brief.expect(200).json(), expected);
    }
    for internal in ["/livez", "/readyz", "/health/detailed"] {
        app.gateway("GET", internal).await.expect(404);
    }
    let health = detailed(&app, 200).await;
    assert_eq!((&health["status"], &health["draining"]), (&json!("healthy"), &json!(false)));
    assert!(health["uptime_seconds"].is_u64() && health["service"].is_string() && health["environment"].is_string());
    let checks = health["checks"].as_object().unwrap();
    let names: Vec<&str> = checks.keys().map(String::as_str).collect();
    let expected = [
        "database",
        "snapshot",
        "policy_directory",
        "upstreams",
        "issuers",
        "certificates",
        "connections",
        "disk",
        "mail",
        "settings",
        "upgrade",
    ];
    assert_eq!(names, expected);
    assert!(checks.values().all(|check| check["status"] == "healthy"), "{health}");
    let database = &checks["database"];
    assert_eq!(database["kind"], if backend == Backend::Sqlite { "sqlite" } else { "postgres" });
    assert!(database["latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(database["pool"]["max"], 4);
    assert!(database["pool"]["size"].as_u64() >= database["pool"]["idle"].as_u64());
    let snapshot = &checks["snapshot"];
    let admin = app.token("superadmin").await;
    let before = (snapshot["revision"].as_i64().unwrap(), snapshot["policy_revision"].as_i64().unwrap());
    app.admin("POST", "/roles/").bearer(&admin).json(json!({ "name": "another" })).await.expect(200);
    let after = detailed(&app, 200).await["checks"]["snapshot"].clone();
    assert!(after["revision"].as_i64().unwrap() > before.0 && after["policy_revision"].as_i64().unwrap() > before.1);
    assert!(after["age_seconds"].as_i64().unwrap() < 60);
    assert_eq!(after["users"], 4);
    assert_eq!(checks["upstreams"], json!({ "status": "healthy", "active": 1, "failing": [], "out": [] }));
    assert!(checks["disk"]["free_bytes"].as_u64().unwrap() > 0);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_or_hangs_is_named_within_two_seconds_and_traffic_goes_on() {
    let (url, guard) = fresh_database(Backend::Postgres).await;
    let (before, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let relay = Cut::to(server.parse().unwrap()).await;
    let app = App::start_on(format!("{before}@{}/{name}", relay.address), guard, &[]).await;
    let user = app.token("testuser").await;
    for hangs in [false, true] {
        if hangs {
            relay.hang();
        } else {
            relay.cut();
        }
        for _ in 0..3 {
            let asked = Instant::now();
            let health = detailed(&app, 503).await;
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            only(&health, "database");
            assert!(!health["checks"]["database"]["error"].as_str().unwrap().is_empty());
            app.internal("GET", "/readyz").await.expect(200);
            app.internal("GET", "/livez").await.expect(200);
            app.gateway("GET", "/health").await.expect(200);
            app.gateway("GET", "/demo/articles").bearer(&user).await.expect(200);
            app.gateway("POST", "/demo/articles").bearer(&user).await.expect(403);
        }
        relay.mend();
        recovers(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_three_times_is_named_until_it_answers() {
    let app = App::start(Backend::Sqlite).await;
    let admin = app.token("superadmin").await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let anybody = json!([{ "methods": ["GET"], "access": "public" }]);
    app.route_to(&admin, "shop", address, "/shop", anybody).await;
    for _ in 0..2 {
        app.gateway("GET", "/shop").await.expect(502);
    }
    detailed(&app, 200).await;
    app.gateway("GET", "/shop").await.expect(502);
    let health = detailed(&app, 503).await;
    only(&health, "upstreams");
    let failing = &health["checks"]["upstreams"]["failing"];
    assert_eq!(failing.as_array().unwrap().len(), 1);
    assert_eq!((&failing[0]["name"], &failing[0]["failures"]), (&json!("shop"), &json!(3)));
    assert_eq!(failing[0]["kind"], "connect_refused");
    app.internal("GET", "/readyz").await.expect(200);

    let listener = TcpListener::bind(address).await.unwrap();
    let shop = axum::Router::new().route("/shop", axum::routing::get(async || "open"));
    tokio::spawn(async move { axum::serve(listener, shop).await });
    app.gateway("GET", "/shop").await.expect(200);
    detailed(&app, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_directory_that_vanishes_is_named() {
    let place = TempDir::with_prefix("cedargate-policies-").unwrap();
    let directory = place.path().join("policies");
    std::fs::create_dir(&directory).unwrap();
    let shown = directory.to_str().unwrap();
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_POLICY__DIR", shown)]).await;
    assert_eq!(detailed(&app, 200).await["checks"]["policy_directory"]["path"], shown);
    std::fs::remove_dir(&directory).unwrap();
    let health = detailed(&app, 503).await;
    only(&health, "policy_directory");
    assert!(health["checks"]["policy_directory"]["error"].as_str().unwrap().contains("No such file"), "{health}");
    app.internal("GET", "/readyz").await.expect(200);
    std::fs::create_dir(&directory).unwrap();
    detailed(&app, 200).await;
}

/// One GET on a connection that is kept.
async fn on(connection: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let count = connection.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// A request to `/slow`, which nobody answers; returns once it has arrived there.
async fn hanging_request(app: &App) -> (TcpStream, TcpStream) {
    let admin = app.token("superadmin").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let anybody = json!([{ "methods": ["GET"], "access": "public" }]);
    app.route_to(&admin, "slow", silent.local_addr().unwrap(), "/slow", anybody).await;
    let mut client = TcpStream::connect(app.gateway).await.unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (mut upstream, _) = silent.accept().await.unwrap();
    upstream.read_exact(&mut [0; 9]).await.unwrap();
    (client, upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_is_not_ready() {
    let app = App::start(Backend::Sqlite).await;
    let (mut client, mut upstream) = hanging_request(&app).await;
    let mut probe = TcpStream::connect(app.admin).await.unwrap();
    assert!(on(&mut probe, "/readyz").await.starts_with("HTTP/1.1 200"));
    let stopping = tokio::spawn(app.running.shut_down());
    let asked = Instant::now();
    while !on(&mut probe, "/readyz").await.starts_with("HTTP/1.1 503") {
        assert!(asked.elapsed() < Duration::from_secs(2), "still ready");
    }
    let told = on(&mut probe, "/readyz").await;
    assert!(told.starts_with("HTTP/1.1 503") && told.ends_with("{\"status\":\"draining\"}"), "{told}");
    assert!(on(&mut probe, "/livez").await.starts_with("HTTP/1.1 200"));
    let health = on(&mut probe, "/health/detailed").await;
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"draining\":true"), "{health}");
    assert!(!stopping.is_finished(), "a request is in flight");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert!(stopping.await.unwrap(), "everything was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bound_holds_for_everything_that_is_waited_for() {
    let bound = [("CEDARGATE_GATEWAY__SHUTDOWN_TIMEOUT_MS", "1000")];
    let app = App::start_with(Backend::Sqlite, &bound).await;
    let _hangs = hanging_request(&app).await;
    // The admin service waits for a body that never ends.
    let mut half = TcpStream::connect(app.admin).await.unwrap();
    let head =
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    half.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    assert!(!app.running.shut_down().await, "two requests were cut off");
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_millis(1_800), "{took:?}");
}
