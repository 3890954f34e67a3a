//! Fleets behind the gateway: several targets that come and go.

mod back;
mod balance;
mod fields;
mod health;
mod names;
mod nginx;
mod retries;
mod secure;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Backend;
use crate::support::app::{Answer, App};
use crate::support::exposition::Scrape;

/// A server and who administers it.
struct World {
    app: App,
    admin: String,
}

impl World {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(extra: &[(&str, &str)]) -> Self {
        let app = App::start_with(Backend::Sqlite, extra).await;
        let admin = app.token("superadmin").await;
        Self { app, admin }
    }

    /// Adds an upstream named `fleet`, and a route `/fleet/{*rest}` to it that everybody may use; returns its id.
    async fn fleet(&self, targets: &[SocketAddr], more: Value) -> i64 {
        let targets: Vec<Value> = targets.iter().map(|address| json!({ "address": address.to_string() })).collect();
        self.fleet_of(json!(targets), more).await
    }

    async fn fleet_of(&self, targets: Value, more: Value) -> i64 {
        let mut upstream = json!({ "name": "fleet" });
        upstream["targets"] = targets;
        extend(&mut upstream, more);
        let made = self.app.admin("POST", "/upstreams/").bearer(&self.admin).json(upstream).await.expect(200).json();
        let anybody = json!([{ "methods": ["*"], "access": "public" }]);
        let nowhere = "127.0.0.1:1".parse().unwrap();
        self.app.route_to(&self.admin, "fleet", nowhere, "/fleet/{*rest}", anybody).await;
        let id = made["id"].as_i64().unwrap();
        // The gateway looks for what nobody has asked it for yet.
        until(async || !self.health(id).await.is_empty()).await;
        id
    }

    async fn change(&self, id: i64, change: Value) {
        self.app.admin("PUT", &format!("/upstreams/{id}")).bearer(&self.admin).json(change).await.expect(200);
    }

    async fn get(&self, path: &str) -> Answer {
        self.app.gateway("GET", path).await
    }

    /// The targets of the upstream, as the admin API tells.
    async fn health(&self, id: i64) -> Vec<Value> {
        let told = self.app.admin("GET", &format!("/upstreams/{id}/health")).bearer(&self.admin).await.expect(200);
        told.json()["targets"].as_array().unwrap().clone()
    }

    /// What is told of the one at `address`.
    async fn target(&self, id: i64, address: SocketAddr) -> Value {
        let told = self.health(id).await;
        let found = told.iter().find(|target| target["address"] == address.to_string());
        found.unwrap_or_else(|| panic!("{address} is not among {told:?}")).clone()
    }

    async fn becomes(&self, id: i64, address: SocketAddr, is_well: bool) {
        until(async || {
            let told = self.health(id).await;
            told.iter().any(|target| target["address"] == address.to_string() && target["is_well"] == is_well)
        })
        .await;
    }

    async fn metrics(&self) -> Scrape {
        Scrape::parse(&self.app.internal("GET", "/metrics").await.expect(200).text)
    }

    /// What a metric of whole numbers comes to.
    async fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let own = [&[("upstream", "fleet")], labels].concat();
        // The sum of nothing is -0.
        (self.metrics().await.sum(name, &own) + 0.0).to_string().parse().unwrap()
    }
}

fn extend(settings: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    settings.as_object_mut().unwrap().extend(more);
}

/// Waits until it is so, for longer than it takes.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let asked = Instant::now();
    while !is_so().await {
        assert!(asked.elapsed() < Duration::from_secs(20), "it does not become so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
