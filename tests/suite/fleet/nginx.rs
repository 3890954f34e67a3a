//! Three nginx: one is paused, goes on, and is killed, while requests come.

use rustix::process::Signal;
use serde_json::json;

use super::{World, extend, until};
use crate::support::programs::{self, Server};

fn nginx() -> Server {
    programs::nginx(
        "$request_uri",
        "location /health { access_log off; return 200 'ok'; }
         location / { access_log FOLDER/seen seen; return 200 'ok'; }",
    )
}

fn count(server: &Server) -> usize {
    server.read("seen").lines().count()
}

/// Sends requests, none of which fails.
async fn traffic(world: &World, requests: usize) {
    for number in 0..requests {
        world.get(&format!("/fleet/{number}")).await.expect(200);
    }
}

async fn survives(more: serde_json::Value) {
    let world = World::start().await;
    let servers = [nginx(), nginx(), nginx()];
    let addresses = servers.each_ref().map(|server| server.address);
    let mut settings =
        json!({ "retries": 2, "retry_budget_percent": 100, "timeouts": { "connect_ms": 500, "read_ms": 500 } });
    extend(&mut settings, more);
    let id = world.fleet(&addresses, settings).await;
    traffic(&world, 30).await;
    until(async || servers.iter().map(count).sum::<usize>() == 30).await;
    assert!(servers.iter().all(|server| count(server) == 10));

    // The kernel goes on accepting, and nobody answers.
    servers[0].signal(Signal::STOP);
    until(async || {
        traffic(&world, 3).await;
        world.target(id, addresses[0]).await["is_well"] == false
    })
    .await;
    assert_eq!(world.target(id, addresses[0]).await["out"]["kind"], "read_timeout");

    servers[0].signal(Signal::CONT);
    until(async || {
        traffic(&world, 3).await;
        world.target(id, addresses[0]).await["is_well"] == true
    })
    .await;
    // What was waiting for it is done by now.
    let before = count(&servers[0]);
    until(async || {
        traffic(&world, 3).await;
        count(&servers[0]) > before + 3
    })
    .await;

    servers[1].signal(Signal::KILL);
    until(async || {
        traffic(&world, 3).await;
        world.target(id, addresses[1]).await["is_well"] == false
    })
    .await;
    let before = servers.each_ref().map(count);
    traffic(&world, 20).await;
    until(async || {
        let after = servers.each_ref().map(count);
        after[0] + after[2] >= before[0] + before[2] + 20
    })
    .await;
    assert_eq!(count(&servers[1]), before[1]);
    assert_eq!(world.target(id, addresses[1]).await["address"], addresses[1].to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_find_out_who_is_gone() {
    Box::pin(survives(json!({ "ejection": { "failures": 2, "ms": 300 } }))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_find_out_who_is_gone() {
    let check = json!({ "path": "/health", "interval_ms": 100, "timeout_ms": 400, "unhealthy_after": 2 });
    Box::pin(survives(json!({ "ejection": null, "health_check": check }))).await;
}
