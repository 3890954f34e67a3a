//! A whole server on ports of its own, with the demo's accounts and routes.

use std::net::SocketAddr;

use cedargate::config::{Mode, Settings, Sources};
use cedargate::server::{self, Running};
use cedargate::telemetry::Logs;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Backend, Guard, fresh_database};

/// 48 bytes that no test treats as a secret.
pub(crate) const SECRET: &str = "tests-only-tests-only-tests-only-tests-only-4848";

pub(crate) struct App {
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) running: Running,
    pub(crate) database: String,
    client: Client,
    guard: Guard,
    _data: TempDir,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The answer, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl App {
    pub(crate) async fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[]).await
    }

    /// Starts with further settings, by the names of their variables.
    pub(crate) async fn start_with(backend: Backend, extra: &[(&str, &str)]) -> Self {
        let (database, guard) = fresh_database(backend).await;
        Self::start_on(database, guard, extra).await
    }

    /// Why a server with these settings does not start.
    pub(crate) async fn start_error(backend: Backend, extra: &[(&str, &str)]) -> String {
        choose_tls_provider();
        let (database, _guard) = fresh_database(backend).await;
        let data = TempDir::with_prefix("cedargate-data-").unwrap();
        let settings = match Settings::load(&sources(&database, data.path(), extra)) {
            Ok(settings) => settings,
            Err(error) => return format!("{error:#}"),
        };
        match Box::pin(server::start(&settings, &Logs::nowhere())).await {
            Ok(running) => panic!("it started at {}", running.gateway),
            Err(error) => format!("{error:#}"),
        }
    }

    pub(crate) async fn start_on(database: String, guard: Guard, extra: &[(&str, &str)]) -> Self {
        choose_tls_provider();
        let data = TempDir::with_prefix("cedargate-data-").unwrap();
        let settings = Settings::load(&sources(&database, data.path(), extra)).unwrap();
        let running = Box::pin(server::start(&settings, &Logs::nowhere())).await.unwrap();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let (gateway, admin) = (running.gateway, running.admin);
        Self { gateway, admin, running, database, client, guard, _data: data }
    }

    /// Stops the server and starts another on the same database.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, database, guard, .. } = self;
        assert!(running.shut_down().await, "requests were cut off");
        Self::start_on(database, guard, &[]).await
    }

    /// A request to the gateway.
    pub(crate) fn gateway(&self, method: &str, path: &str) -> Call {
        self.call(self.gateway, method, path)
    }

    /// A request to the admin API, by the path below its prefix.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Call {
        self.call(self.admin, method, &format!("/api/v1{path}"))
    }

    /// A request to the admin listener, outside the API.
    pub(crate) fn internal(&self, method: &str, path: &str) -> Call {
        self.call(self.admin, method, path)
    }

    fn call(&self, address: SocketAddr, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Call(self.client.request(method, format!("http://{address}{path}")))
    }

    /// An access token of a demo account, whose password is its name and `123`.
    pub(crate) async fn token(&self, name: &str) -> String {
        self.token_with(name, &format!("{name}123")).await
    }

    pub(crate) async fn token_with(&self, name: &str, password: &str) -> String {
        let answer = self.login(name, password).await.expect(200);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> Answer {
        self.admin("POST", "/auth/login").json(json!({ "username": name, "password": password })).await
    }

    /// The id of the permission of this name.
    pub(crate) async fn permission(&self, admin: &str, name: &str) -> i64 {
        let all = self.admin("GET", "/permissions/?limit=1000").bearer(admin).await.expect(200).json();
        let found = all.as_array().unwrap().iter().find(|permission| permission["name"] == name);
        found.unwrap_or_else(|| panic!("no permission {name}"))["id"].as_i64().unwrap()
    }

    /// The id of the role of this name.
    pub(crate) async fn role(&self, admin: &str, name: &str) -> i64 {
        let all = self.admin("GET", "/roles/").bearer(admin).await.expect(200).json();
        let found = all.as_array().unwrap().iter().find(|role| role["name"] == name);
        found.unwrap_or_else(|| panic!("no role {name}"))["id"].as_i64().unwrap()
    }

    /// Adds an upstream at `address`, and a route to it with these operations; returns the route's id.
    pub(crate) async fn route_to(
        &self,
        admin: &str,
        name: &str,
        address: SocketAddr,
        path: &str,
        operations: Value,
    ) -> i64 {
        let known = self.admin("GET", "/upstreams/").bearer(admin).await.expect(200).json();
        if !known.as_array().unwrap().iter().any(|upstream| upstream["name"] == name) {
            let upstream = json!({ "name": name, "targets": [{ "address": address.to_string() }] });
            self.admin("POST", "/upstreams/").bearer(admin).json(upstream).await.expect(200);
        }
        let modules = self.admin("GET", "/modules/").bearer(admin).await.expect(200).json();
        let module = modules.as_array().unwrap().iter().find(|module| module["name"] == "demo").unwrap()["id"].clone();
        let route = json!({
            "route": path, "label": path, "module_id": module, "upstream": name, "operations": operations,
        });
        let made = self.admin("POST", "/routes/").bearer(admin).json(route).await.expect(200);
        made.json()["id"].as_i64().unwrap()
    }
}

/// The program does so in `run`, which tests do not pass.
fn choose_tls_provider() {
    let _already = rustls::crypto::ring::default_provider().install_default();
}

fn sources(database: &str, data: &std::path::Path, extra: &[(&str, &str)]) -> Sources {
    let fixed = [
        ("CEDARGATE_GATEWAY__LISTEN", "127.0.0.1:0"),
        ("CEDARGATE_ADMIN__LISTEN", "127.0.0.1:0"),
        ("CEDARGATE_DATABASE__URL", database),
        ("CEDARGATE_DATABASE__POOL_SIZE", "4"),
        ("CEDARGATE_AUTH__SECRET_KEY", SECRET),
        ("CEDARGATE_AUTH__ARGON2_MEMORY_KIB", "1024"),
        ("CEDARGATE_AUTH__ARGON2_ITERATIONS", "1"),
        ("CEDARGATE_AUTH__LEEWAY_SECONDS", "0"),
        ("CEDARGATE_ACCESS_LOG__ENABLED", "false"),
        // Tests ask more than people do.
        ("CEDARGATE_RATE_LIMIT__ENABLED", "false"),
        ("DATABASE_MAX_OVERFLOW", "0"),
    ];
    let environment = fixed.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources {
        config_file: None,
        data_dir: data.to_owned(),
        mode: Mode::Dev,
        environment: environment.collect(),
        dotenv: None,
        flags: Vec::new(),
    }
}

/// A request in the making; awaiting it sends it.
#[must_use]
pub(crate) struct Call(RequestBuilder);

impl Call {
    pub(crate) fn bearer(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    #[expect(clippy::needless_pass_by_value, reason = "called with `json!`, where a reference reads badly")]
    pub(crate) fn json(self, body: Value) -> Self {
        Self(self.0.json(&body))
    }

    /// The same request by another client.
    pub(crate) fn with(self, client: &Client) -> Self {
        Self(RequestBuilder::from_parts(client.clone(), self.0.build().unwrap()))
    }

    pub(crate) fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(body))
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let response = self.0.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.unwrap() }
        })
    }
}
