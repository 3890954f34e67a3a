//! The demo back end: a service that knows nothing of Cedargate, and shows what it received.

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

/// What it serves. Each answer holds the method, the path and the identity headers of the request.
pub(super) fn router() -> Router {
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
