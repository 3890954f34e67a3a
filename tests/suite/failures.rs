//! What happens when something else fails.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::app::App;
use crate::support::cut::Cut;
use crate::support::{Backend, fresh_database};

fn anybody() -> serde_json::Value {
    json!([{ "methods": ["GET", "POST"], "access": "public" }])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_502_at_once() {
    let app = App::start(Backend::Sqlite).await;
    let admin = app.token("superadmin").await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    app.route_to(&admin, "down", nobody, "/down", anybody()).await;
    let refused = app.gateway("GET", "/down").await.expect(502);
    assert_eq!(refused.json()["reason"], "upstream_unreachable");
    let metrics = app.internal("GET", "/metrics").await.expect(200).text;
    assert!(
        metrics.contains(r#"cedargate_upstream_errors_total{kind="connect_refused",upstream="down"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_silent_is_504_within_its_deadline() {
    let app = App::start(Backend::Sqlite).await;
    let admin = app.token("superadmin").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    app.route_to(&admin, "slow", silent.local_addr().unwrap(), "/slow", anybody()).await;
    let id =
        app.admin("GET", "/upstreams/").bearer(&admin).await.json().as_array().unwrap().last().unwrap()["id"].clone();
    let timeouts = json!({ "timeouts": { "connect_ms": 200, "read_ms": 200, "write_ms": 200, "total_ms": 400 } });
    app.admin("PUT", &format!("/upstreams/{id}")).bearer(&admin).json(timeouts).await.expect(200);
    let started = Instant::now();
    let refused = app.gateway("GET", "/slow").await.expect(504);
    assert_eq!(refused.json()["reason"], "upstream_timeout");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_bound_is_413() {
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_GATEWAY__MAX_BODY_BYTES", "1000")]).await;
    let admin = app.token("superadmin").await;
    let upstream = crate::support::raw::Recorder::start().await;
    app.route_to(&admin, "sink", upstream.address, "/sink", anybody()).await;
    app.gateway("POST", "/sink").body(vec![b'x'; 1_000]).await.expect(200);
    upstream.clear();
    let refused = app.gateway("POST", "/sink").body(vec![b'x'; 1_001]).await.expect(413);
    assert_eq!(refused.json()["reason"], "too_large");
    assert_eq!(upstream.requests(), 0, "a body whose length says it is too large reaches nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_data_plane_decides_and_the_admin_api_is_503() {
    let (url, guard) = fresh_database(Backend::Postgres).await;
    let (before, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let relay = Cut::to(server.parse().unwrap()).await;
    let through = format!("{before}@{}/{name}", relay.address);
    let app = App::start_on(through, guard, &[("CEDARGATE_DATABASE__POOL_TIMEOUT_MS", "300")]).await;
    let (user, admin) = (app.token("testuser").await, app.token("superadmin").await);
    let article_create = app.permission(&admin, "article:create").await;

    relay.cut();
    for _ in 0..20 {
        app.gateway("GET", "/demo/articles").bearer(&user).await.expect(200);
        app.gateway("POST", "/demo/articles").bearer(&user).await.expect(403);
    }
    let grant = format!("/roles/3/permissions/{article_create}");
    let refused = app.admin("POST", &grant).bearer(&admin).await.expect(503);
    assert_eq!(refused.json()["detail"], "Service temporarily unavailable");
    app.internal("GET", "/readyz").await.expect(200);
    let health = app.internal("GET", "/health/detailed").await.expect(503).json();
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["checks"]["database"]["status"], "unhealthy");
    app.gateway("POST", "/demo/articles").bearer(&user).await.expect(403);

    relay.mend();
    let mended = Instant::now();
    while app.internal("GET", "/health/detailed").await.status != 200 {
        assert!(mended.elapsed() < Duration::from_secs(10), "no recovery");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.admin("POST", &grant).bearer(&admin).await.expect(200);
    app.gateway("POST", "/demo/articles").bearer(&user).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_finished_at_shutdown() {
    use axum::{Router, routing::get};

    let app = App::start(Backend::Sqlite).await;
    let admin = app.token("superadmin").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (started, mut has_started) = tokio::sync::mpsc::channel::<()>(1);
    let slow = get(move || {
        let started = started.clone();
        async move {
            started.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(700)).await;
            "finished"
        }
    });
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/long", slow)).await });
    app.route_to(&admin, "long", address, "/long", anybody()).await;
    let request = app.gateway("GET", "/long");
    let request = tokio::spawn(async move { request.await });
    has_started.recv().await.unwrap();
    let gateway = app.gateway;
    let stopping = Instant::now();
    assert!(app.running.shut_down().await, "everything accepted is answered");
    assert!(stopping.elapsed() < Duration::from_secs(3), "{:?}", stopping.elapsed());
    assert_eq!(request.await.unwrap().expect(200).text, "finished");
    assert!(tokio::net::TcpStream::connect(gateway).await.is_err(), "nothing listens any more");
}
