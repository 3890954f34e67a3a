//! Other issuers that are hostile, and tokens that pretend to be theirs (rows 41, 44, 47, 51, 52).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::World;
use super::wire::get;
use super::world::bearer;
use crate::support::Backend;
use crate::support::app::App;
use crate::support::issuer::{Canned, Signer, issuers};

const ISS: &str = "https://id.example.com";

/// A world that trusts these signers by files.
async fn world(signers: &[&Signer]) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = by_files(signers, &folder);
    (World::start_with(&[("CEDARGATE_AUTH__ISSUERS", &settings)]).await, folder)
}

fn by_files(signers: &[&Signer], folder: &tempfile::TempDir) -> String {
    let all: Vec<Value> = signers
        .iter()
        .enumerate()
        .map(|(index, signer)| {
            let file = folder.path().join(format!("{index}.json"));
            signer.publish(&file);
            json!({
                "name": format!("i{index}"), "issuer": signer.iss, "jwks_file": file, "audiences": ["cedargate"],
                "principal": "claims", "roles_claim": "roles",
            })
        })
        .collect();
    issuers(&all)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_41_hostile_sets_of_keys_are_cut_and_refused() {
    let signer = |name: &str| Signer::new(&format!("https://{name}.example.com"), "k");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let decoy = Canned::json(&signer("redirect").jwks()).await;
    let many: Vec<Value> = (0..10_000).map(|_| json!({ "kty": "RSA" })).collect();
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", decoy.url());
    let servers = [
        (
            "endless",
            "too_large",
            Canned::start(format!("{head}\r\n{{\"keys\":["), Some(b"{},{},{},{},{},{},{},{},")).await,
        ),
        ("announced", "too_large", Canned::start(format!("{head}Content-Length: 999999999\r\n\r\n{{"), None).await),
        ("many", "malformed", Canned::json(&json!({ "keys": many })).await),
        ("redirect", "status", Canned::start(redirect, None).await),
        ("garbage", "connection", Canned::start(&b"\0\0\0\0"[..], None).await),
        ("html", "malformed", Canned::start(format!("{head}Content-Length: 6\r\n\r\n<html>"), None).await),
    ];
    let mut all: Vec<Value> = servers
        .iter()
        .map(|(name, _, server)| {
            json!({
                "name": name, "issuer": signer(name).iss, "jwks_url": server.url(), "audiences": ["cedargate"],
                "principal": "claims", "allow_private_addresses": true, "allow_http": true,
            })
        })
        .collect();
    // Discovery that speaks for another issuer.
    let impostor = Canned::json(&json!({ "issuer": ISS, "jwks_uri": decoy.url() })).await;
    let iss = format!("http://{}", impostor.address);
    all.push(json!({
        "name": "impostor", "issuer": iss, "audiences": ["cedargate"], "allow_private_addresses": true,
        "allow_http": true, "principal": "claims",
    }));
    // A name that leads to this machine.
    all.push(json!({ "name": "rebound", "issuer": "https://localhost:9", "audiences": ["cedargate"] }));
    let world = World::start_with(&[("CEDARGATE_AUTH__ISSUERS", &issuers(&all))]).await;

    let asked = servers.iter().map(|(name, ..)| signer(name)).chain([Signer::new(&iss, "k")]);
    for signer in asked {
        let started = Instant::now();
        world.refuses(401, &get("/api/x", &bearer(&signer.token("u", json!({}))))).await;
        assert!(started.elapsed() < Duration::from_secs(4), "{}", signer.iss);
    }
    assert_eq!(decoy.asked(), 0);
    world.passes(&get("/api/x", &bearer(&world.user))).await;
    let metrics = world.app.internal("GET", "/metrics").await.expect(200).text;
    let others = [("impostor", "other_issuer"), ("rebound", "refused_address")];
    for (name, outcome) in servers.iter().map(|(name, outcome, _)| (*name, *outcome)).chain(others) {
        let line = format!("cedargate_issuer_fetches_total{{issuer=\"{name}\",outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_44_keys_that_tokens_bring_along_are_not_looked_at() {
    let (trusted, forger) = (Signer::new(ISS, "k"), Signer::new(ISS, "evil"));
    let (world, _folder) = world(&[&trusted]).await;
    let server = Canned::json(&forger.jwks()).await;
    let claims = forger.claims("u", json!({}));
    let jwk = forger.jwks()["keys"][0].clone();
    for header in [
        json!({ "alg": "ES256", "jwk": jwk }),
        json!({ "alg": "ES256", "kid": "k", "jwk": jwk }),
        json!({ "alg": "ES256", "kid": "k", "jku": server.url() }),
        json!({ "alg": "ES256", "kid": "evil", "jku": server.url() }),
        json!({ "alg": "ES256", "kid": "k", "x5u": server.url() }),
        json!({ "alg": "ES256", "kid": "k", "x5c": ["MIIB"] }),
        json!({ "alg": "ES256", "kid": server.url() }),
        json!({ "alg": "ES256", "kid": "k" }),
    ] {
        world.refuses(401, &get("/api/x", &bearer(&forger.signed(&header, &claims)))).await;
    }
    assert_eq!(server.asked(), 0);
    world.passes(&get("/api/x", &bearer(&trusted.token("u", json!({}))))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_47_tokens_for_others_and_of_others_are_refused() {
    let trusted = Signer::new(ISS, "k");
    let (world, _folder) = world(&[&trusted]).await;
    for more in [
        json!({ "aud": null }),
        json!({ "aud": "" }),
        json!({ "aud": [] }),
        json!({ "aud": ["somebody", "else"] }),
        json!({ "aud": "cedargate " }),
        json!({ "aud": "Cedargate" }),
        json!({ "aud": { "cedargate": true } }),
        json!({ "aud": ["cedargate", 1] }),
        json!({ "iss": "https://id.example.com/" }),
        json!({ "iss": "https://ID.example.com" }),
        json!({ "iss": "https://evil.example.com" }),
        json!({ "iss": ["https://id.example.com"] }),
        // Without it, or as ourselves, it would have to be one of ours.
        json!({ "iss": null }),
        json!({ "iss": "cedargate" }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "x".repeat(300) }),
        json!({ "exp": 1 }),
        json!({ "exp": null }),
    ] {
        let token = trusted.token("u", more.clone());
        let answer = world.refuses(401, &get("/api/x", &bearer(&token))).await;
        assert!(!answer.text.contains("aud") && !answer.text.contains("iss\""), "{more}: {}", answer.text);
    }
    for aud in [json!("cedargate"), json!(["cedargate"]), json!(["else", "cedargate"])] {
        world.passes(&get("/api/x", &bearer(&trusted.token("u", json!({ "aud": aud }))))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_51_what_issuers_call_alike_is_kept_apart() {
    let signers = ["https://a.example.com", "https://a.example.com/b", "https://a.example.com:sid"];
    let signers = signers.map(|iss| Signer::new(iss, "k"));
    let (world, _folder) = world(&signers.each_ref()).await;
    let body = json!({ "username": "testuser", "password": "testuser123" });
    let own = world.app.admin("POST", "/auth/login").json(body).await.expect(200).json();
    let own = own["access_token"].as_str().unwrap();
    let part = own.split('.').nth(1).unwrap();
    let said: Value = serde_json::from_slice(
        &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part).unwrap(),
    )
    .unwrap();
    // Everything that names us, our user, and our session.
    let claims = json!({
        "sub": said["uid"].to_string(), "uid": said["uid"], "jti": said["jti"], "sid": said["sid"], "ver": 0,
        "type": "access", "preferred_username": "testuser",
    });
    let tokens = signers.each_ref().map(|signer| signer.token("x", claims.clone()));
    for (signer, token) in signers.iter().zip(&tokens) {
        let seen = world.passes(&get("/api/x", &bearer(token))).await;
        let encoded: String = url::form_urlencoded::byte_serialize(signer.iss.as_bytes()).collect();
        let id = format!("X-Auth-User-Id: {encoded}%7C{}\r\n", said["uid"]);
        assert!(seen.to_lowercase().contains(&id.to_lowercase()), "{id}\n{seen}");
        // Nothing of ours: articles are for those with our role.
        world.refuses(403, &get("/wide/x", &bearer(token))).await;
    }
    world.passes(&get("/wide/x", &bearer(own))).await;
    // Ours ends alone.
    world.app.admin("POST", "/auth/logout").bearer(own).json(json!({})).await.expect(200);
    world.refuses(401, &get("/wide/x", &bearer(own))).await;
    for token in &tokens {
        world.passes(&get("/api/x", &bearer(token))).await;
    }
    // A token of one, said to be of another.
    let stolen = signers[0].token("x", json!({ "iss": signers[1].iss }));
    world.refuses(401, &get("/api/x", &bearer(&stolen))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_52_a_thousand_at_once_are_not_mixed_up() {
    let (one, other) = (Signer::new(ISS, "k"), Signer::new("https://other.example.com", "k"));
    let folder = tempfile::tempdir().unwrap();
    let app =
        App::start_with(Backend::Sqlite, &[("CEDARGATE_AUTH__ISSUERS", &by_files(&[&one, &other], &folder))]).await;
    let admin = app.token("superadmin").await;
    let patient = json!({ "timeouts": { "connect_ms": 30_000, "total_ms": 60_000 } });
    app.admin("PUT", "/upstreams/1").bearer(&admin).json(patient).await.expect(200);
    // As many as the demo's back end takes at a time.
    let at_once = Arc::new(Semaphore::new(200));
    let calls = (0..1_000).map(|index| {
        let signer = if index % 2 == 0 { &one } else { &other };
        let subject = format!("{}-{index}", if index % 2 == 0 { "one" } else { "other" });
        let call = app.gateway("GET", "/demo/whoami").bearer(&signer.token(&subject, json!({})));
        let at_once = Arc::clone(&at_once);
        tokio::spawn(async move {
            let _turn = at_once.acquire().await.unwrap();
            (subject, call.await)
        })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let (subject, answer) = call.await.unwrap();
        let told = answer.expect(200).json()["identity"].clone();
        assert_eq!(told["x-auth-username"], subject);
        let id = told["x-auth-user-id"].as_str().unwrap();
        assert!(id.ends_with(&format!("%7C{subject}")) && id.starts_with("https%3A"), "{id}");
        assert_eq!(id.contains("other.example"), subject.starts_with("other"), "{id}");
    }
}
