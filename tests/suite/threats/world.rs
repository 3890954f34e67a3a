//! A server whose routes lead to a back end that records every byte.

use serde_json::{Value, json};

use super::wire::{Answer, Wire, get};
use crate::support::Backend;
use crate::support::app::App;
use crate::support::raw::Recorder;

/// A running server, its back end, and tokens.
///
/// `/open/…`, `/svc/…` and `/info/…` are public, `/wide/…` is for those who may read articles, `/admin` and
/// `/admin/…` for those who may delete them (administrators), `/api/…` for whoever has a token, forwarded
/// without `/api`.
pub(super) struct World {
    pub(super) app: App,
    pub(super) back: Recorder,
    /// May do everything.
    pub(super) admin: String,
    /// May read articles.
    pub(super) user: String,
    module: i64,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further settings, by the names of their variables.
    pub(super) async fn start_with(extra: &[(&str, &str)]) -> Self {
        let app = App::start_with(Backend::Sqlite, extra).await;
        let back = Recorder::start().await;
        let (admin, user) = (app.token("superadmin").await, app.token("testuser").await);
        let upstream = json!({ "name": "back", "targets": [{ "address": back.address.to_string() }] });
        app.admin("POST", "/upstreams/").bearer(&admin).json(upstream).await.expect(200);
        let modules = app.admin("GET", "/modules/").bearer(&admin).await.expect(200).json();
        let module = modules.as_array().unwrap().iter().find(|module| module["name"] == "demo").unwrap()["id"].as_i64();
        let world = Self { app, back, admin, user, module: module.unwrap() };
        for path in ["/open/{*rest}", "/svc/{*rest}", "/info/{*rest}"] {
            world.route(json!({ "route": path, "operations": public() })).await;
        }
        world.route(json!({ "route": "/wide/{*rest}", "operations": needs("article:read") })).await;
        for path in ["/admin", "/admin/{*rest}"] {
            world.route(json!({ "route": path, "operations": needs("article:delete") })).await;
        }
        let operations = json!([{ "methods": ["*"], "access": "authenticated" }]);
        world.route(json!({ "route": "/api/{*rest}", "strip_prefix": "/api", "operations": operations })).await;
        world
    }

    /// With a public route for everything that no other route matches: what is not refused reaches the back end.
    pub(super) async fn open() -> Self {
        let world = Self::start().await;
        world.route(json!({ "route": "/{*rest}", "operations": public() })).await;
        world
    }

    /// Adds a route to the back end.
    pub(super) async fn route(&self, mut route: Value) {
        route["label"] = "a route".into();
        route["module_id"] = self.module.into();
        if route.get("upstream").is_none() {
            route["upstream"] = "back".into();
        }
        self.app.admin("POST", "/routes/").bearer(&self.admin).json(route).await.expect(200);
    }

    /// Adds a public route `/silent/…` to a back end that never answers.
    pub(super) async fn silent(&self) -> Recorder {
        let back = Recorder::silent().await;
        let upstream = json!({ "name": "silent", "targets": [{ "address": back.address.to_string() }] });
        self.app.admin("POST", "/upstreams/").bearer(&self.admin).json(upstream).await.expect(200);
        self.route(json!({ "route": "/silent/{*rest}", "upstream": "silent", "operations": public() })).await;
        back
    }

    /// Sends one request on a connection of its own.
    pub(super) async fn send(&self, request: &[u8]) -> Answer {
        Wire::open(self.app.gateway).await.exchange(request).await
    }

    /// The request is answered with `status`, and no byte reaches the back end.
    #[track_caller]
    pub(super) fn refuses(&self, status: u16, request: &[u8]) -> impl Future<Output = Answer> {
        let caller = std::panic::Location::caller();
        let shown = request.escape_ascii().to_string();
        let request = request.to_vec();
        async move {
            self.back.clear();
            let answer = self.send(&request).await;
            assert_eq!(answer.status, status, "{caller}: {shown}\n{}", answer.text);
            assert_eq!(self.back.received(), "", "{caller}: {shown}");
            answer
        }
    }

    /// The request is answered by the back end; returns what reached it.
    #[track_caller]
    pub(super) fn passes(&self, request: &[u8]) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        let shown = request.escape_ascii().to_string();
        let request = request.to_vec();
        async move {
            self.back.clear();
            let answer = self.send(&request).await;
            assert_eq!(answer.status, 200, "{caller}: {shown}\n{}", answer.text);
            assert_eq!(self.back.requests(), 1, "{caller}: {shown}");
            self.back.received()
        }
    }

    /// Every target is refused with 400 before anything else is looked at, and `control` passes as it is.
    pub(super) async fn refuses_targets(&self, targets: &[&str], control: &str) {
        for target in targets {
            for fields in [String::new(), bearer(&self.admin)] {
                let answer = self.refuses(400, &get(target, &fields)).await;
                assert!(answer.text.contains("\"reason\":\"bad_target\""), "{target}: {}", answer.text);
            }
        }
        let seen = self.passes(&get(control, "")).await;
        assert!(seen.starts_with(&format!("GET {control} HTTP/1.1\r\n")), "{seen}");
    }
}

pub(super) fn public() -> Value {
    json!([{ "methods": ["*"], "access": "public" }])
}

pub(super) fn needs(permission: &str) -> Value {
    json!([{ "methods": ["*"], "access": "permission", "permission": permission }])
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
