//! What goes on for long: that it passes, and that it ends when it is no longer allowed.

mod feeds;
mod grpc;
mod web_sockets;

use std::net::SocketAddr;
use std::time::Duration;

use cedargate::model::Timestamp;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::Backend;
use crate::support::app::{App, SECRET};
use crate::support::certificates::Localhost;
use crate::support::exposition::Scrape;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server with a route to a back end, for who may read articles.
struct World {
    app: App,
    admin: String,
    /// Of `testuser`, whose id is 4 and whose role, 3, may read articles.
    user: String,
    route: i64,
    localhost: Localhost,
}

impl World {
    /// Over HTTP without TLS.
    async fn plain(back: SocketAddr, path: &str) -> Self {
        Self::start(back, path, "http1", false).await
    }

    /// Over TLS.
    async fn secure(back: SocketAddr, path: &str, protocol: &str) -> Self {
        Self::start(back, path, protocol, true).await
    }

    async fn start(back: SocketAddr, path: &str, protocol: &str, is_secure: bool) -> Self {
        let localhost = Localhost::new();
        let tls = localhost.settings();
        let app = App::start_with(Backend::Sqlite, if is_secure { &tls } else { &[] }).await;
        let (admin, user) = (app.token("superadmin").await, app.token("testuser").await);
        let upstream = json!({ "name": "back", "targets": [{ "address": back.to_string() }], "protocol": protocol });
        app.admin("POST", "/upstreams/").bearer(&admin).json(upstream).await.expect(200);
        let route = app.route_to(&admin, "back", back, path, may("article:read")).await;
        Self { app, admin, user, route, localhost }
    }

    /// An administrator's request, which is answered with 200.
    async fn admin(&self, method: &str, path: &str, body: Value) {
        self.app.admin(method, path).bearer(&self.admin).json(body).await.expect(200);
    }

    /// Takes what the user's role is granted away.
    async fn withdraw(&self) {
        let permission = self.app.permission(&self.admin, "article:read").await;
        self.admin("DELETE", &format!("/roles/3/permissions/{permission}"), json!({})).await;
    }

    /// Writes what has nothing to do with the user: rules, users and sessions.
    async fn change_what_is_unrelated(&self) {
        let permission = self.app.permission(&self.admin, "article:delete").await;
        self.admin("POST", &format!("/roles/3/permissions/{permission}"), json!({})).await;
        self.admin("PATCH", "/users/3/toggle-status", json!({})).await;
        let other = self.app.token("testuser").await;
        self.app.admin("POST", "/auth/logout").bearer(&other).await.expect(200);
    }

    async fn scrape(&self) -> Scrape {
        Scrape::parse(&self.app.internal("GET", "/metrics").await.expect(200).text)
    }

    /// Waits until so many streams are open.
    async fn opens(&self, count: u32) {
        let until = Instant::now() + PATIENCE;
        loop {
            let open = self.scrape().await.sum("cedargate_open_streams", &[]);
            if (open - f64::from(count)).abs() < 0.5 {
                return;
            }
            assert!(Instant::now() < until, "{open} streams are open");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// One stream was ended for `cause`, and its request is counted under what became of it.
    async fn counts(&self, cause: &str) {
        self.opens(0).await;
        let scrape = self.scrape().await;
        let ended = scrape.sum("cedargate_streams_closed_total", &[("cause", cause)]);
        assert!((ended - 1.0).abs() < 0.1, "{cause}: {ended}");
        let labels = [("decision", "allow"), ("reason", "stream_ended")];
        let counted = scrape.sum("cedargate_decisions_total", &labels);
        assert!((counted - 1.0).abs() < 0.1, "{counted}");
    }
}

fn may(permission: &str) -> Value {
    json!([{ "methods": ["*"], "access": "permission", "permission": permission }])
}

/// A token of `testuser` for so many seconds.
fn token_for(seconds: i64) -> String {
    let claims = json!({ "sub": "testuser", "exp": Timestamp::now().unix_seconds() + seconds });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}
