//! Targets that fail are left out, are tried, and come back.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::back::{Back, Mood};
use super::{World, until};

async fn three() -> ([Back; 3], [SocketAddr; 3]) {
    let backs = [Back::start("a").await, Back::start("b").await, Back::start("c").await];
    let addresses = backs.each_ref().map(|back| back.address);
    (backs, addresses)
}

async fn upstreams_check(world: &World) -> Value {
    world.app.internal("GET", "/health/detailed").await.json()["checks"]["upstreams"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_requests_gets_none() {
    let world = World::start().await;
    let (backs, addresses) = three().await;
    let more = json!({ "ejection": { "failures": 2, "ms": 60_000 }, "timeouts": { "read_ms": 300 } });
    let id = world.fleet(&addresses, more).await;
    backs[0].becomes(Mood::Closing);
    let mut failed = 0;
    for _ in 0..30 {
        failed += usize::from(world.get("/fleet/x").await.status == 502);
    }
    // Two in a row of its own, whatever the others answer in between.
    assert_eq!((failed, backs[0].count()), (2, 2));
    let told = world.target(id, addresses[0]).await;
    assert_eq!(
        (&told["is_well"], &told["out"]["by"], &told["out"]["kind"]),
        (&json!(false), &json!("requests"), &json!("closed"))
    );
    assert!(told["out"]["since"].is_string() && told["out"]["next_trial"].is_string());
    assert!(world.target(id, addresses[1]).await["out"].is_null());
    let health = upstreams_check(&world).await;
    assert_eq!((&health["status"], &health["out"][0]["upstream"]), (&json!("healthy"), &json!("fleet")));
    assert_eq!(health["out"][0]["address"], addresses[0].to_string());
    // One that says nothing is found as well, and the last one stays.
    backs[1].becomes(Mood::Silent);
    for _ in 0..4 {
        world.get("/fleet/x").await;
    }
    until(async || !world.target(id, addresses[1]).await["is_well"].as_bool().unwrap()).await;
    assert_eq!(world.target(id, addresses[1]).await["out"]["kind"], "read_timeout");
    backs[2].becomes(Mood::Babbling);
    for _ in 0..6 {
        world.get("/fleet/x").await.expect(502);
    }
    assert!(world.target(id, addresses[2]).await["is_well"].as_bool().unwrap());
    assert_eq!(world.sum("cedargate_upstream_ejections_total", &[]).await, 2);
    assert_eq!(world.sum("cedargate_upstream_target_up", &[]).await, 1);
    // Nobody without the permission is told.
    let user = world.app.token("testuser").await;
    world.app.admin("GET", &format!("/upstreams/{id}/health")).bearer(&user).await.expect(403);
    world.app.admin("GET", "/upstreams/987654/health").bearer(&world.admin).await.expect(404);
    // What is gone is forgotten.
    let routes = world.app.admin("GET", "/routes/").bearer(&world.admin).await.expect(200).json();
    let route =
        routes.as_array().unwrap().iter().find(|route| route["route"] == "/fleet/{*rest}").unwrap()["id"].clone();
    world.app.admin("DELETE", &format!("/routes/{route}")).bearer(&world.admin).await.expect(200);
    world.app.admin("DELETE", &format!("/upstreams/{id}")).bearer(&world.admin).await.expect(200);
    until(async || world.sum("cedargate_upstream_ejections_total", &[]).await < 1).await;
    assert_eq!(world.sum("cedargate_upstream_target_up", &[]).await, 0);
    assert_eq!(upstreams_check(&world).await["out"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_no_failure() {
    let world = World::start().await;
    let (backs, addresses) = three().await;
    let id = world.fleet(&addresses, json!({ "ejection": { "failures": 1, "ms": 60_000 } })).await;
    backs[0].becomes(Mood::Unwell);
    for _ in 0..6 {
        world.get("/fleet/health").await;
    }
    assert!(world.health(id).await.iter().all(|target| target["is_well"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_tries_it_and_brings_it_back() {
    let world = World::start().await;
    let (mut backs, addresses) = three().await;
    let more = json!({ "ejection": { "failures": 1, "ms": 100 }, "retries": 2 });
    let id = world.fleet(&addresses, more).await;
    backs[0].stop().await;
    for _ in 0..6 {
        world.get("/fleet/x").await.expect(200);
    }
    assert_eq!(world.target(id, addresses[0]).await["out"]["kind"], "connect_refused");
    // Tries fail, and cost no request anything.
    until(async || {
        world.get("/fleet/x").await.expect(200);
        world.sum("cedargate_upstream_ejections_total", &[]).await >= 3
    })
    .await;
    assert_eq!(backs[0].count(), 0);
    backs[0].start_again().await;
    until(async || {
        world.get("/fleet/x").await.expect(200);
        world.target(id, addresses[0]).await["is_well"] == true
    })
    .await;
    let before = backs.each_ref().map(Back::count);
    for _ in 0..30 {
        world.get("/fleet/x").await.expect(200);
    }
    let after = backs.each_ref().map(Back::count);
    assert_eq!([0, 1, 2].map(|index| after[index] - before[index]), [10, 10, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_find_who_is_not_well() {
    let world = World::start().await;
    let (backs, addresses) = three().await;
    let check =
        json!({ "path": "/health", "interval_ms": 100, "timeout_ms": 300, "unhealthy_after": 2, "healthy_after": 2 });
    let id = world.fleet(&addresses, json!({ "health_check": check })).await;
    backs[0].becomes(Mood::Unwell);
    backs[1].becomes(Mood::Silent);
    world.becomes(id, addresses[0], false).await;
    world.becomes(id, addresses[1], false).await;
    assert_eq!(world.target(id, addresses[0]).await["out"]["kind"], "status");
    let silent = world.target(id, addresses[1]).await["out"].clone();
    assert_eq!(
        (&silent["by"], &silent["kind"], &silent["next_trial"]),
        (&json!("check"), &json!("read_timeout"), &json!(null))
    );
    for _ in 0..9 {
        assert_eq!(world.get("/fleet/x").await.expect(200).text, "c");
    }
    backs[0].becomes(Mood::Well);
    world.becomes(id, addresses[0], true).await;
    // All are out: all are asked.
    for index in [0, 2] {
        backs[index].becomes(Mood::Unwell);
        world.becomes(id, addresses[index], false).await;
    }
    backs[1].becomes(Mood::Unwell);
    assert_eq!(upstreams_check(&world).await["status"], "unhealthy");
    let before = backs.each_ref().map(Back::count);
    for _ in 0..6 {
        world.get("/fleet/x").await.expect(200);
    }
    let after = backs.each_ref().map(Back::count);
    assert_eq!([0, 1, 2].map(|index| after[index] - before[index]), [2, 2, 2]);
    assert_eq!(world.sum("cedargate_upstream_all_out_total", &[]).await, 6);
    for outcome in ["passed", "failed"] {
        assert!(world.sum("cedargate_upstream_health_checks_total", &[("outcome", outcome)]).await >= 4);
    }
    // Nobody is asked any more, and so nobody is out.
    world.change(id, json!({ "health_check": null })).await;
    until(async || world.health(id).await.iter().all(|target| target["is_well"] == true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_port_will_do_without_a_path() {
    let world = World::start().await;
    let (mut backs, addresses) = three().await;
    let check = json!({ "interval_ms": 100, "timeout_ms": 1_000, "unhealthy_after": 1 });
    let id = world.fleet(&addresses, json!({ "health_check": check })).await;
    backs[2].stop().await;
    world.becomes(id, addresses[2], false).await;
    assert_eq!(world.target(id, addresses[2]).await["out"]["kind"], "connect_refused");
    backs[2].start_again().await;
    world.becomes(id, addresses[2], true).await;
    assert!(backs.iter().all(|back| back.count() == 0));
}
