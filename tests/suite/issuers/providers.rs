//! Issuers whose keys are fetched: a real provider, its rotation and its end.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{get, reason, role, whoami};
use crate::support::Backend;
use crate::support::app::App;
use crate::support::issuer::{Provider, Signer, issuers};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_is_discovered_rotates_and_goes_away() {
    let clients = json!({ "writer": { "roles": ["editor"] }, "reader": { "roles": "viewer" } });
    let mut provider = Provider::start(&clients);
    let issuer = json!({
        "name": "oidc", "issuer": provider.iss, "audiences": ["cedargate"], "principal": "claims",
        "allow_private_addresses": true, "allow_http": true, "algorithms": ["RS256"], "roles_claim": "roles",
    });
    let settings = [
        ("CEDARGATE_AUTH__ISSUERS", &*issuers(&[issuer])),
        ("CEDARGATE_AUTH__ISSUER_REFETCH_SECONDS", "1"),
        ("CEDARGATE_AUTH__ISSUER_REFRESH_SECONDS", "1"),
        ("CEDARGATE_AUTH__ISSUER_OUTAGE_SECONDS", "4"),
    ];
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let admin = app.token("superadmin").await;
    role(&app, &admin, "editor", &["article:read", "article:update"]).await;
    role(&app, &admin, "viewer", &["article:read"]).await;

    // The very first request comes before the keys are known, and waits for them.
    let (writer, reader) = (provider.token("writer").await, provider.token("reader").await);
    app.gateway("PUT", "/demo/articles/1").bearer(&writer).await.expect(200);
    get(&app, "/demo/articles", &reader).await.expect(200);
    reason(&app.gateway("PUT", "/demo/articles/1").bearer(&reader).await, 403, "no_grant");
    assert_eq!(whoami(&app, &reader).await["x-auth-username"], "reader");
    let metrics = app.internal("GET", "/metrics").await.expect(200).text;
    assert!(metrics.contains("cedargate_issuer_fetches_total{issuer=\"oidc\",outcome=\"ok\"}"), "{metrics}");
    assert!(metrics.contains("cedargate_issuer_keys{issuer=\"oidc\"} 1"), "{metrics}");

    // A new key costs no request, and the old one is believed no more.
    for _ in 0..2 {
        provider.rotate();
        let fresh = provider.token("writer").await;
        get(&app, "/demo/articles", &fresh).await.expect(200);
        reason(&get(&app, "/demo/articles", &writer).await, 401, "invalid_token");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }

    // Without the provider, known keys go on until the bound.
    let last = provider.token("writer").await;
    provider.stop();
    tokio::time::sleep(Duration::from_secs(2)).await;
    get(&app, "/demo/articles", &last).await.expect(200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    reason(&get(&app, "/demo/articles", &last).await, 401, "invalid_token");
    let metrics = app.internal("GET", "/metrics").await.expect(200).text;
    assert!(metrics.contains("cedargate_issuer_fetches_total{issuer=\"oidc\",outcome=\"connection\"}"), "{metrics}");
    assert!(metrics.contains("cedargate_issuer_keys{issuer=\"oidc\"} 0"), "{metrics}");
}

/// Whose keys come after so long.
async fn slow(signer: &Signer, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let body = signer.jwks().to_string();
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::time::sleep(pause).await;
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

async fn started_with(signer: &Signer, pause: Duration) -> App {
    let issuer = json!({
        "name": "slow", "issuer": signer.iss, "jwks_url": slow(signer, pause).await, "audiences": ["cedargate"],
        "principal": "claims", "allow_private_addresses": true, "allow_http": true,
    });
    let settings = [("CEDARGATE_AUTH__ISSUERS", &*issuers(&[issuer])), ("CEDARGATE_AUTH__ISSUER_REFETCH_SECONDS", "1")];
    App::start_with(Backend::Sqlite, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_the_first_keys() {
    let signer = Signer::new("https://slow.example.com", "k");
    let token = signer.token("u", json!({}));
    let app = started_with(&signer, Duration::from_millis(3_500)).await;
    assert_eq!(whoami(&app, &token).await["x-auth-username"], "u");
}
