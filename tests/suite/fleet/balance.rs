//! Who is asked: by weight, or by what requests have in common.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::World;
use super::back::Back;

async fn three() -> [Back; 3] {
    [Back::start("a").await, Back::start("b").await, Back::start("c").await]
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_share_requests_by_weight() {
    let (world, backs) = (World::start().await, three().await);
    let weighted = |back: &Back, weight: u32| json!({ "address": back.address.to_string(), "weight": weight });
    let targets = json!([weighted(&backs[0], 1), weighted(&backs[1], 1), weighted(&backs[2], 2)]);
    let id = world.fleet_of(targets, json!({})).await;
    let mut row = Vec::new();
    for _ in 0..40 {
        row.push(world.get("/fleet/x").await.expect(200).text);
    }
    assert_eq!(backs.each_ref().map(Back::count), [10, 10, 20]);
    // In turns, not in runs.
    assert!(row.windows(3).all(|three| three.iter().collect::<BTreeSet<_>>().len() > 1), "{row:?}");
    // One that is added gets its share, and those that were there keep their turns.
    let more: Vec<Value> = backs.iter().map(|back| json!({ "address": back.address.to_string() })).collect();
    world.change(id, json!({ "targets": more })).await;
    for _ in 0..30 {
        world.get("/fleet/x").await.expect(200);
    }
    assert_eq!(backs.each_ref().map(Back::count), [20, 20, 30]);
    assert_eq!(world.sum("cedargate_upstream_target_up", &[]).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_the_same_key_go_to_the_same_target() {
    let (world, backs) = (World::start().await, three().await);
    let more = json!({
        "balance": "consistent_hash", "hash_on": "header.x-tenant", "retries": 2,
        "ejection": { "failures": 1, "ms": 60_000 },
    });
    world.fleet(&backs.each_ref().map(|back| back.address), more).await;
    let places = async || {
        let mut places = BTreeMap::new();
        for tenant in 0..60 {
            let asked = world.app.gateway("GET", "/fleet/x").header("X-Tenant", &tenant.to_string()).await;
            places.insert(tenant, asked.expect(200).text);
        }
        places
    };
    let before = places().await;
    assert_eq!(before.values().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    assert_eq!(places().await, before);
    backs[0].stop().await;
    let after = places().await;
    for (tenant, was) in &before {
        assert_ne!(after[tenant], "a");
        assert!(was == "a" || after[tenant] == *was, "{tenant} moved");
    }
    assert_eq!(places().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_taken_from_where_they_stand() {
    let (world, backs) = (World::start().await, three().await);
    let id = world.fleet(&backs.each_ref().map(|back| back.address), json!({ "balance": "consistent_hash" })).await;
    let user = world.app.token("testuser").await;
    let ask = async |path: &str, name: &str, value: &str| {
        world.app.gateway("GET", path).header(name, value).await.expect(200).text
    };
    // The client's address, whatever else is different.
    let mut places = BTreeSet::new();
    for number in 0..60 {
        places.insert(ask(&format!("/fleet/{number}"), "X-Tenant", &number.to_string()).await);
    }
    assert_eq!(places.len(), 1);
    let client = places.pop_first().unwrap();
    for (on, count) in [("path", 3), ("cookie.shard", 3), ("header.x-tenant", 3), ("user", 1)] {
        world.change(id, json!({ "hash_on": on })).await;
        let mut places = BTreeSet::new();
        for number in 0..60 {
            let path = if on == "path" { format!("/fleet/{number}") } else { format!("/fleet/x?{number}") };
            places.insert(match on {
                "cookie.shard" => ask(&path, "Cookie", &format!("a=b; shard={number}")).await,
                "user" => ask(&path, "Authorization", &format!("Bearer {user}")).await,
                _ => ask(&path, "X-Tenant", &number.to_string()).await,
            });
        }
        assert_eq!(places.len(), count, "{on}");
        if on != "path" {
            // Without it, the client's address.
            assert_eq!(world.get("/fleet/x").await.text, client, "{on}");
        }
    }
}
