//! Tokens of other issuers, through whole servers.

mod accounts;
mod claims;
mod crud;
mod providers;

use serde_json::{Value, json};

use crate::support::Backend;
use crate::support::app::{Answer, App};
use crate::support::issuer::{Signer, issuers};

/// The issuer of a file.
const ISS: &str = "https://id.example.com/realms/main";

struct World {
    app: App,
    admin: String,
    signer: Signer,
    file: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

/// A server that trusts one issuer by a file, with these settings over the usual ones.
async fn start(more: Value) -> World {
    start_with(more, &[]).await
}

/// The same, with other issuers beside it.
async fn start_with(more: Value, others: &[Value]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let signer = Signer::new(ISS, "k1");
    signer.publish(&file);
    let mut issuer = json!({
        "name": "corp", "issuer": ISS, "jwks_file": file, "audiences": ["cedargate", "other"], "principal": "claims",
        "roles_claim": "roles",
    });
    issuer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let settings = [
        ("CEDARGATE_AUTH__ISSUERS", &*issuers(&[&[issuer], others].concat())),
        ("CEDARGATE_AUTH__ISSUER_REFETCH_SECONDS", "1"),
        ("CEDARGATE_AUTH__ISSUER_OUTAGE_SECONDS", "3"),
    ];
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let admin = app.token("superadmin").await;
    role(&app, &admin, "editor", &["article:read", "article:update"]).await;
    World { app, admin, signer, file, _folder: folder }
}

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
