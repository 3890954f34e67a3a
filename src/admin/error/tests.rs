use axum::routing::{get, post};
use http::Request;
use serde_json::json;
use tower::ServiceExt;

use std::time::Duration;

use super::*;
use crate::admin::input::{Input, Valid};
use crate::http::Standing;

async fn save(mut input: Input) -> Result<axum::Json<String>, Error> {
    let name: Valid<String> = input.body().required("name");
    input.finish(|| name).map(axum::Json)
}

async fn panics() -> Result<(), Error> {
    Err(Error::internal("password of the database is hunter2"))
}

fn app() -> Router {
    let fail = |error: fn() -> Error| get(move || async move { Err::<(), _>(error()) });
    let wait = Duration::from_millis(1_500);
    surface(
        Router::new()
            .route("/save", post(save))
            .route("/internal", get(panics))
            .route("/unavailable", fail(|| Error::Unavailable("no connection".into())))
            .route("/missing", fail(|| Error::NotFound("User not found".into())))
            .route("/rule", fail(|| Error::BadRequest("Username already exists".into())))
            .route("/forbidden", fail(|| Error::permission("user:read")))
            .route("/anonymous", fail(Error::unauthenticated))
            .route("/token", fail(|| Error::invalid_token("Invalid authentication token")))
            .route("/large", fail(|| Error::TooLarge))
            .route(
                "/often",
                get(move || async move {
                    let window = Duration::from_mins(15);
                    let standing = Standing { policy: "login", limit: 5, window, remaining: 0, reset: wait };
                    Err::<(), _>(Error::TooManyRequests(Refusal { standing, retry_after: wait }))
                }),
            )
            .route("/layer", get(|| async { (StatusCode::REQUEST_TIMEOUT, "text of a layer") }))
            .route(
                "/health",
                get(|| async { (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"status": "down"}))) }),
            ),
    )
    .layer(axum::Extension(RequestId(HeaderValue::from_static("r-1"))))
}

async fn ask(request: Request<Body>) -> (String, HeaderMap) {
    let response = app().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(parts.headers["x-request-id"], "r-1");
    assert_eq!(parts.headers["content-type"], "application/json");
    (format!("{} {}", parts.status.as_u16(), String::from_utf8(bytes.to_vec()).unwrap()), parts.headers)
}

async fn get_body(path: &str) -> String {
    ask(Request::get(path).body(Body::empty()).unwrap()).await.0
}

#[tokio::test]
async fn errors_of_handlers() {
    insta::assert_snapshot!(get_body("/missing?x=1").await, @r#"404 {"detail":"User not found","error":"User not found","status_code":404,"path":"/missing","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/rule").await, @r#"400 {"detail":"Username already exists","error":"Username already exists","status_code":400,"path":"/rule","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/forbidden").await, @r#"403 {"detail":"Permission 'user:read' required for this action","error":"Permission 'user:read' required for this action","status_code":403,"path":"/forbidden","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/anonymous").await, @r#"401 {"detail":"Not authenticated","error":"Not authenticated","status_code":401,"path":"/anonymous","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/token").await, @r#"401 {"detail":"Invalid authentication token","error":"Invalid authentication token","status_code":401,"path":"/token","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/large").await, @r#"413 {"detail":"Request body too large","error":"Request body too large","status_code":413,"path":"/large","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/often").await, @r#"429 {"detail":"Rate limit exceeded. Max 5 requests per 900 seconds.","error":"Rate limit exceeded. Max 5 requests per 900 seconds.","status_code":429,"path":"/often","method":"GET","request_id":"r-1"}"#);
}

#[tokio::test]
async fn faults_keep_their_source() {
    insta::assert_snapshot!(get_body("/internal").await, @r#"500 {"detail":"Internal server error","error":"Internal server error","status_code":500,"path":"/internal","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/unavailable").await, @r#"503 {"detail":"Service temporarily unavailable","error":"Service temporarily unavailable","status_code":503,"path":"/unavailable","method":"GET","request_id":"r-1"}"#);
}

#[tokio::test]
async fn errors_of_router_and_layers() {
    insta::assert_snapshot!(get_body("/nowhere").await, @r#"404 {"detail":"Not Found","request_id":"r-1"}"#);
    let (body, headers) = ask(Request::delete("/missing").body(Body::empty()).unwrap()).await;
    insta::assert_snapshot!(body, @r#"405 {"detail":"Method Not Allowed","request_id":"r-1"}"#);
    assert_eq!(headers["allow"], "GET,HEAD");
    insta::assert_snapshot!(get_body("/layer").await, @r#"408 {"detail":"Request Timeout","error":"Request Timeout","status_code":408,"path":"/layer","method":"GET","request_id":"r-1"}"#);
    insta::assert_snapshot!(get_body("/health").await, @r#"503 {"status":"down"}"#);
}

#[tokio::test]
async fn headers_of_errors() {
    for (path, name, value) in [
        ("/anonymous", "www-authenticate", "Bearer"),
        ("/token", "www-authenticate", "Bearer error=\"invalid_token\""),
        ("/often", "retry-after", "2"),
        ("/often", "x-ratelimit-limit", "5"),
        ("/often", "x-ratelimit-window", "900"),
        ("/often", "x-ratelimit-remaining", "0"),
    ] {
        let (_, headers) = ask(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(headers[name], value, "{path}");
    }
}

#[tokio::test]
async fn refused_input() {
    let post = |body: &'static str| ask(Request::post("/save").body(Body::from(body)).unwrap());
    insta::assert_snapshot!(post(r#"{"name":"a"}"#).await.0, @r#"200 "a""#);
    insta::assert_snapshot!(post("").await.0, @r#"422 {"detail":[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}"#);
    insta::assert_snapshot!(post(r#"{"name":"#).await.0, @r#"422 {"detail":[{"type":"json_invalid","loc":["body",8],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}"#);
    insta::assert_snapshot!(post(r#"{"name":1}"#).await.0, @r#"422 {"detail":[{"type":"string_type","loc":["body","name"],"msg":"Input should be a valid string","input":1}]}"#);
}

#[tokio::test]
async fn a_body_over_the_limit() {
    let app = surface(Router::new().route("/save", post(save)).layer(axum::extract::DefaultBodyLimit::max(4)));
    let response = app.oneshot(Request::post("/save").body(Body::from("{\"a\":1}")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 413);
    assert!(response.headers().contains_key("x-request-id"));
}
