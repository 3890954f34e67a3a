//! The demo back end: a service that knows nothing of Cedargate, and shows what it received.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::listen::{Until, bind, serve};
use super::sockets::Sockets;
use crate::control::{self, Control};

/// The preferred address of the demo back end; another port is taken when this one is in use.
pub const DEMO_ADDRESS: &str = "127.0.0.1:8002";

/// The demo back end on its own, on the current runtime.
#[derive(Debug)]
pub struct DemoBackend {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl DemoBackend {
    /// Starts it; `dev` has one built in.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(listen: SocketAddr) -> anyhow::Result<Self> {
        let (stop, stopping) = watch::channel(false);
        let socket = bind(listen, "--listen")?;
        let address = socket.local_addr()?;
        Ok(Self { address, stop, task: serve(socket, router(), &Until::stopped(stopping))? })
    }

    /// Stops accepting and lets requests in flight finish, for `patience` at most.
    pub async fn shut_down(self, patience: Duration) {
        self.stop.send_replace(true);
        let _ended = tokio::time::timeout(patience, self.task).await;
    }
}

/// Starts it within another server, and points the demo's upstream at it.
pub(super) async fn start(
    control: &Control,
    sockets: &mut Sockets,
    until: &Until,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<SocketAddr> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let preferred: SocketAddr = DEMO_ADDRESS.parse().context("the demo back end's address")?;
    let socket = sockets.listen(preferred, "demo").or_else(|_| sockets.listen(any_port, "demo"))?;
    let address = socket.local_addr()?;
    control::seed_demo(control, address).await.context("seeding the demo")?;
    tasks.push(serve(socket, router(), until)?);
    Ok(address)
}

/// What it serves. Each answer holds the method, the path and the identity headers of the request.
fn router() -> Router {
    Router::new()
        .route("/articles", get(articles).post(echo))
        .route("/articles/{id}", get(article).put(echo).delete(echo))
        .route("/users/{user_id}/orders", get(orders))
        .route("/public", get(echo))
        .route("/whoami", get(echo))
}

fn shown(request: &Request) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("method".to_owned(), request.method().as_str().into());
    shown.insert("path".to_owned(), request.uri().to_string().into());
    shown.insert("identity".to_owned(), identity(request.headers()).into());
    shown
}

fn identity(headers: &HeaderMap) -> Map<String, Value> {
    let ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    ours.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())).collect()
}

fn with(mut shown: Map<String, Value>, key: &str, value: Value) -> Response {
    shown.insert(key.to_owned(), value);
    Json(Value::Object(shown)).into_response()
}

async fn echo(request: Request) -> Json<Value> {
    Json(Value::Object(shown(&request)))
}

async fn articles(request: Request) -> Response {
    let articles = json!([{ "id": 1, "title": "Gates and cedars" }, { "id": 2, "title": "On forbidding" }]);
    with(shown(&request), "articles", articles)
}

async fn article(Path(id): Path<String>, request: Request) -> Response {
    with(shown(&request), "article", json!({ "id": id, "title": "Gates and cedars" }))
}

async fn orders(Path(user): Path<String>, request: Request) -> Response {
    with(shown(&request), "orders", json!([{ "id": 1, "user_id": user, "total": "12.50" }]))
}
