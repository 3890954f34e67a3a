//! Tokens of other issuers, through whole servers.

mod accounts;
mod claims;
mod crud;
mod providers;

use serde_json::{Value, json};

use crate::support::app::{Answer, App};

/// Roles of the names, made by the API and granted these permissions of the demo.
async fn role(app: &App, admin: &str, name: &str, permissions: &[&str]) -> i64 {
    let mut ids = Vec::new();
    for permission in permissions {
        ids.push(app.permission(admin, permission).await);
    }
    let body = json!({ "name": name, "permission_ids": ids });
    app.admin("POST", "/roles/").bearer(admin).json(body).await.expect(200).json()["id"].as_i64().unwrap()
}

/// A GET of the gateway with a token.
async fn get(app: &App, path: &str, token: &str) -> Answer {
    app.gateway("GET", path).bearer(token).await
}

#[track_caller]
fn reason(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{}", answer.text);
}

/// What the demo back end was told of the caller.
async fn whoami(app: &App, token: &str) -> Value {
    get(app, "/demo/whoami", token).await.expect(200).json()["identity"].clone()
}
