//! Keys that tokens are signed with: rotated and retired while requests run.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cedargate::jwt::{PrivateKey, Sealer, make_key};
use cedargate::model::{Secret, SigningAlgorithm, Timestamp};
use cedargate::store::{changes::Change, signing_keys};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::App;
use crate::support::{Backend, fresh_database};

const SEAL: &str = "tests-only-seal-tests-only-seal-tests-only-seal-4848";

const SETTINGS: [(&str, &str); 2] =
    [("CEDARGATE_AUTH__SIGNING_ALGORITHM", "ES256"), ("CEDARGATE_AUTH__KEY_ENCRYPTION_KEY", SEAL)];

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

async fn published(app: &App) -> BTreeSet<String> {
    let jwks = app.internal("GET", "/.well-known/jwks.json").await.expect(200).json();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

on_both!(a_key_is_rotated_and_retired, |backend| async move {
    let app = App::start_with(backend, &SETTINGS).await;
    let login = app.login("superadmin", "superadmin123").await.expect(200).json();
    let (old, refresh) = (login["access_token"].as_str().unwrap(), login["refresh_token"].as_str().unwrap());
    let header = part(old, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    assert_eq!((&part(old, 1)["iss"], &part(old, 1)["aud"]), (&json!("cedargate"), &json!("cedargate")));
    assert_eq!(part(refresh, 0)["typ"], "rt+jwt");
    let first = app.admin("GET", "/keys/").bearer(old).await.expect(200).json();
    assert_eq!((first.as_array().unwrap().len(), &first[0]["state"]), (1, &json!("active")));
    assert_eq!((&first[0]["signs"], &first[0]["kid"]), (&json!(true), &json!(kid(old))));
    assert_eq!(published(&app).await, BTreeSet::from([kid(old)]));

    // Nothing would sign without it.
    let path = format!("/keys/{}", first[0]["id"]);
    let refused = app.admin("DELETE", &path).bearer(old).await.expect(400);
    assert!(refused.text.contains("rotate first"), "{}", refused.text);

    // One that will sign is published and changes nothing yet.
    let next = app.admin("POST", "/keys/").bearer(old).json(json!({ "delay_seconds": 600 })).await.expect(200).json();
    assert_eq!((&next["state"], &next["signs"]), (&json!("next"), &json!(false)));
    assert_eq!(kid(&app.token("testuser").await), kid(old));
    assert_eq!(published(&app).await.len(), 2);
    app.admin("DELETE", &format!("/keys/{}", next["id"])).bearer(old).await.expect(200);

    let made = app.admin("POST", "/keys/").bearer(old).json(json!({ "delay_seconds": 0 })).await.expect(200);
    assert!(made.header("x-policy-revision").is_some());
    let new = app.token("superadmin").await;
    assert_eq!(json!(kid(&new)), made.json()["kid"]);
    // Both verify, on both listeners, and old refresh tokens lead to new access tokens.
    for token in [old, &new] {
        app.admin("GET", "/auth/me").bearer(token).await.expect(200);
        app.gateway("GET", "/api/v1/auth/me").bearer(token).await.expect(200);
    }
    assert_eq!(published(&app).await, BTreeSet::from([kid(old), kid(&new)]));

    let retired = app.admin("DELETE", &path).bearer(&new).await.expect(200).json();
    assert_eq!(retired["state"], "retired");
    app.admin("GET", "/auth/me").bearer(old).await.expect(401);
    app.gateway("GET", "/api/v1/auth/me").bearer(old).await.expect(401);
    let body = json!({ "refresh_token": refresh });
    app.admin("POST", "/auth/refresh").json(body).await.expect(401);
    app.admin("GET", "/auth/me").bearer(&new).await.expect(200);
    assert_eq!(published(&app).await, BTreeSet::from([kid(&new)]));
    app.admin("DELETE", &path).bearer(&new).await.expect(404);
    app.admin("GET", &path).bearer(&new).await.expect(200);
    let kept = signing_keys::list(&mut app.running.control().read().await.unwrap(), cedargate::store::Page::ALL).await;
    let kept = kept.unwrap();
    assert_eq!(kept.iter().filter(|key| key.sealed.is_some()).count(), 1);
    assert!(kept.iter().all(|key| !format!("{key:?}").contains("PRIVATE")));

    let trail = app.admin("GET", "/audit-logs/?resource=key&limit=100").bearer(&new).await.expect(200);
    let actions: Vec<Value> = trail.json().as_array().unwrap().iter().map(|record| record["action"].clone()).collect();
    assert_eq!(actions.len(), 5, "{}", trail.text);
    assert!(!trail.text.contains("sealed") && !trail.text.contains("PRIVATE") && !trail.text.contains("\"jwk\""));
});

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_about_keys_are_told() {
    let app = App::start_with(Backend::Sqlite, &SETTINGS).await;
    let (admin, user) = (app.token("superadmin").await, app.token("testuser").await);
    for (method, path) in [("GET", "/keys/"), ("POST", "/keys/"), ("GET", "/keys/1"), ("DELETE", "/keys/1")] {
        app.admin(method, path).bearer(&user).await.expect(403);
        app.admin(method, path).await.expect(401);
    }
    for body in [
        json!({ "algorithm": "HS256" }),
        json!({ "algorithm": "none" }),
        json!({ "algorithm": 1 }),
        json!({ "bits": 1024 }),
        json!({ "bits": 1 << 20 }),
        json!({ "delay_seconds": -1 }),
        json!({ "delay_seconds": 1e300 }),
        json!({ "private_key": "x" }),
        json!([]),
    ] {
        app.admin("POST", "/keys/").bearer(&admin).json(body).await.expect(422);
    }
    app.admin("POST", "/keys/?dry_run=true").bearer(&admin).json(json!({})).await.expect(422);
    app.admin("DELETE", "/keys/1").bearer(&admin).header("if-match", "\"other\"").await.expect(412);
    app.admin("DELETE", "/keys/999").bearer(&admin).await.expect(404);
    app.admin("DELETE", "/keys/x").bearer(&admin).await.expect(422);
    app.admin("PUT", "/keys/1").bearer(&admin).json(json!({})).await.expect(405);
    assert_eq!(published(&app).await.len(), 1);
    // Bounded: each token looks for its key among them.
    let mut made = 1;
    loop {
        let body = json!({ "algorithm": "EdDSA", "delay_seconds": 0 });
        let answer = app.admin("POST", "/keys/").bearer(&admin).json(body).await;
        if answer.status != 200 {
            assert!(answer.expect(400).text.contains("32 keys"));
            break;
        }
        made += 1;
    }
    assert_eq!(made, 32);
    assert_eq!(published(&app).await.len(), 32);
    // A key of another algorithm does not sign here.
    assert_eq!(part(&app.token("testuser").await, 0)["alg"], "ES256");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_for_everybody_and_may_be_kept() {
    let app = App::start_with(Backend::Sqlite, &SETTINGS).await;
    for answer in
        [app.internal("GET", "/.well-known/jwks.json").await, app.gateway("GET", "/.well-known/jwks.json").await]
    {
        let answer = answer.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=5"));
        let key = &answer.json()["keys"][0];
        let fields: BTreeSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
        let tag = answer.header("etag").unwrap().to_owned();
        let again = app.gateway("GET", "/.well-known/jwks.json").header("if-none-match", &tag).await.expect(304);
        assert_eq!((again.text.as_str(), again.header("etag")), ("", Some(tag.as_str())));
    }
    app.gateway("POST", "/.well-known/jwks.json").await.expect(405);
    // With the shared secret there is nothing to publish.
    let secret = App::start(Backend::Sqlite).await;
    assert_eq!(published(&secret).await.len(), 0);
    let token = secret.token("superadmin").await;
    assert_eq!(part(&token, 0), json!({ "typ": "JWT", "alg": "HS256" }));
    assert_eq!((part(&token, 1).get("iss"), part(&token, 1).get("aud")), (None, None));
    let unnamed = secret.admin("POST", "/keys/").bearer(&token).json(json!({})).await.expect(400);
    assert!(unnamed.text.contains("HS256"), "{}", unnamed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_under_load_fails_no_request() {
    let app = Arc::new(App::start_with(Backend::Sqlite, &SETTINGS).await);
    let admin = app.token("superadmin").await;
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let first = app.login("testuser", "testuser123").await.expect(200).json();
    let users: Vec<_> = (0..4)
        .map(|_| {
            let (app, stop, served, first) =
                (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&served), first["access_token"].clone());
            tokio::spawn(async move {
                let mut token = first.as_str().unwrap().to_owned();
                let mut names = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    app.gateway("GET", "/api/v1/auth/me").bearer(&token).await.expect(200);
                    if served.fetch_add(1, Ordering::Relaxed) % 50 == 0 {
                        token = app.token("testuser").await;
                        names.insert(kid(&token));
                    }
                }
                names
            })
        })
        .collect();
    for _ in 0..5 {
        app.admin("POST", "/keys/").bearer(&admin).json(json!({ "delay_seconds": 0 })).await.expect(200);
        let so_far = served.load(Ordering::Relaxed);
        let asked = Instant::now();
        while served.load(Ordering::Relaxed) < so_far + 100 && asked.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut names = BTreeSet::new();
    for user in users {
        names.extend(user.await.unwrap());
    }
    assert!(
        served.load(Ordering::Relaxed) >= 500 && names.len() >= 3,
        "{} requests, {names:?}",
        served.load(Ordering::Relaxed)
    );
    // The old one is retired: its tokens end with the next request.
    let old = kid(first["access_token"].as_str().unwrap());
    let all = app.admin("GET", "/keys/").bearer(&admin).await.expect(200).json();
    let id = all.as_array().unwrap().iter().find(|key| key["kid"] == old).unwrap()["id"].clone();
    let newest = app.token("superadmin").await;
    app.gateway("GET", "/api/v1/auth/me").bearer(first["access_token"].as_str().unwrap()).await.expect(200);
    app.admin("DELETE", &format!("/keys/{id}")).bearer(&newest).await.expect(200);
    app.gateway("GET", "/api/v1/auth/me").bearer(first["access_token"].as_str().unwrap()).await.expect(401);
}

on_both!(another_node_follows, |backend| async move {
    let one = App::start_with(backend, &SETTINGS).await;
    let (_, guard) = fresh_database(Backend::Sqlite).await;
    let two = App::start_on(one.database.clone(), guard, &SETTINGS).await;
    let admin = one.token("superadmin").await;
    let old = one.token("testuser").await;
    two.gateway("GET", "/api/v1/auth/me").bearer(&old).await.expect(200);
    one.admin("POST", "/keys/").bearer(&admin).json(json!({ "delay_seconds": 0 })).await.expect(200);
    let new = one.token("superadmin").await;
    let follows = async |token: &str, status: u16| {
        let asked = Instant::now();
        while two.gateway("GET", "/api/v1/auth/me").bearer(token).await.status != status {
            assert!(asked.elapsed() < Duration::from_secs(20), "the other node has not followed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    follows(&new, 200).await;
    assert_eq!(kid(&two.token("testuser").await), kid(&new));
    let keys = one.admin("GET", "/keys/").bearer(&new).await.expect(200).json();
    let retiring = keys.as_array().unwrap().iter().find(|key| key["state"] == "retiring").unwrap();
    one.admin("DELETE", &format!("/keys/{}", retiring["id"])).bearer(&new).await.expect(200);
    follows(&old, 401).await;
    assert_eq!(published(&two).await, BTreeSet::from([kid(&new)]));
});

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_rotates_beside_a_running_server() {
    // One signs in here until the server has followed, and each further session would end the one used longest ago.
    let settings = [&SETTINGS[..], &[("MAX_CONCURRENT_SESSIONS", "1000")]].concat();
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let old = app.token("superadmin").await;
    let data = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cedargate"))
            .arg("keys")
            .args(arguments)
            .args(["--data-dir", data.path().to_str().unwrap()])
            .envs(SETTINGS)
            .env("CEDARGATE_DATABASE__URL", &app.database)
            .current_dir(data.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, told, error) = run(&["rotate", "--delay", "0", "--json"]);
    assert_eq!(status, Some(0), "{error}");
    let made: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&made["algorithm"], &made["state"]), (&json!("ES256"), &json!("active")));
    let asked = Instant::now();
    let new = loop {
        let token = app.token("superadmin").await;
        if json!(kid(&token)) == made["kid"] {
            break token;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "the server has not followed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    app.gateway("GET", "/api/v1/auth/me").bearer(&old).await.expect(200);
    let (status, _, error) = run(&["retire", &kid(&new)]);
    assert_eq!((status, error.contains("rotate first")), (Some(1), true), "{error}");
    let (status, _, error) = run(&["retire", "nobody"]);
    assert_eq!((status, error.contains("there is no key 'nobody'")), (Some(1), true), "{error}");
    assert_eq!(run(&["rotate", "--algorithm", "HS256"]).0, Some(2));
    let (status, told, error) = run(&["retire", &kid(&old)]);
    assert_eq!((status, told.contains("retired")), (Some(0), true), "{told}{error}");
    let asked = Instant::now();
    while app.gateway("GET", "/api/v1/auth/me").bearer(&old).await.status != 401 {
        assert!(asked.elapsed() < Duration::from_secs(20), "the server has not followed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_, told, _) = run(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&json!("active"), &json!("retired")));
    assert!(!told.contains("sealed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_of_no_more_use_are_retired_by_themselves() {
    let app = App::start_with(Backend::Sqlite, &SETTINGS).await;
    let control = app.running.control();
    let sealer = Sealer::new(&Secret::new(SEAL.to_owned())).unwrap();
    let mut write = control.write().await.unwrap();
    let now = write.now();
    let mut ids = Vec::new();
    for days in [20, 10] {
        let new = make_key(Some(&sealer), SigningAlgorithm::Es256, None).unwrap();
        let since = now.plus_seconds(-days * 86_400);
        let id = signing_keys::insert(write.tx(), &new, since, since).await.unwrap();
        write.touch(Change::Key(id));
        ids.push(id);
    }
    write.commit(()).await.unwrap();
    assert_eq!(published(&app).await.len(), 3);
    // The first has been followed for ten days, and tokens live for seven.
    assert_eq!(control.retire_keys().await.unwrap(), 1);
    assert_eq!(control.retire_keys().await.unwrap(), 0);
    assert_eq!(published(&app).await.len(), 2);
    let gone = signing_keys::get(&mut control.read().await.unwrap(), ids[0]).await.unwrap().unwrap();
    assert!(gone.retired_at.is_some_and(|at| at <= Timestamp::now()) && gone.sealed.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_files() {
    let files = TempDir::new().unwrap();
    let file = |name: &str, key: &PrivateKey| {
        let path = files.path().join(name);
        std::fs::write(&path, key.pem().expose()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (new, old) = (PrivateKey::generate(SigningAlgorithm::EdDsa, None).unwrap(), {
        PrivateKey::generate(SigningAlgorithm::EdDsa, None).unwrap()
    });
    let (path, before) = (file("new.pem", &new), file("old.pem", &old));
    let settings = [
        ("CEDARGATE_AUTH__SIGNING_ALGORITHM", "EdDSA"),
        ("CEDARGATE_AUTH__SIGNING_KEY_FILE", path.as_str()),
        ("CEDARGATE_AUTH__VERIFYING_KEY_FILES", before.as_str()),
        ("CEDARGATE_AUTH__ISSUER", "https://gate.example"),
        ("CEDARGATE_AUTH__AUDIENCE", "articles"),
    ];
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let token = app.token("superadmin").await;
    assert_eq!((kid(&token).as_str(), part(&token, 1)["iss"].as_str()), (new.kid(), Some("https://gate.example")));
    assert_eq!(part(&token, 1)["aud"], "articles");
    app.gateway("GET", "/api/v1/auth/me").bearer(&token).await.expect(200);
    assert_eq!(published(&app).await, BTreeSet::from([new.kid().to_owned(), old.kid().to_owned()]));
    let refused = app.admin("POST", "/keys/").bearer(&token).json(json!({})).await.expect(400);
    assert!(refused.text.contains("key file"), "{}", refused.text);
    drop(app);

    let error = async |extra: &[(&str, &str)]| App::start_error(Backend::Sqlite, extra).await;
    let wrong = [settings[1], ("CEDARGATE_AUTH__SIGNING_ALGORITHM", "RS256")];
    assert!(error(&wrong).await.contains("it is a key for EdDSA, but auth.signing_algorithm is RS256"));
    assert!(error(&[settings[1]]).await.contains("auth.signing_algorithm is HS256"));
    std::fs::write(files.path().join("text"), "no key at all").unwrap();
    let text = files.path().join("text").to_str().unwrap().to_owned();
    let unusable = [settings[0], ("CEDARGATE_AUTH__SIGNING_KEY_FILE", text.as_str())];
    assert!(error(&unusable).await.contains("not a usable private key"));
    let unusable = [("CEDARGATE_AUTH__VERIFYING_KEY_FILES", text.as_str())];
    assert!(error(&unusable).await.contains("not a usable public key"));
    let absent = [("CEDARGATE_AUTH__VERIFYING_KEY_FILES", "/nowhere/key.pem")];
    assert!(error(&absent).await.contains("/nowhere/key.pem: cannot be read"));
    let short = [("CEDARGATE_AUTH__KEY_ENCRYPTION_KEY", "short")];
    assert!(error(&short).await.contains("has 5 bytes; at least 32 are needed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_opened_start_no_server() {
    let app = App::start_with(Backend::Sqlite, &SETTINGS).await;
    let database = app.database.clone();
    let other =
        [SETTINGS[0], ("CEDARGATE_AUTH__KEY_ENCRYPTION_KEY", "another-secret-another-secret-another-secret-48")];
    let url = [other[0], other[1], ("CEDARGATE_DATABASE__URL", database.as_str())];
    let told = App::start_error(Backend::Sqlite, &url).await;
    assert!(told.contains("cannot be decrypted with auth.key_encryption_key"), "{told}");
    // Who verifies only needs no private key.
    let (_, guard) = fresh_database(Backend::Sqlite).await;
    let verifies = App::start_on(database, guard, &other[1..]).await;
    verifies.gateway("GET", "/api/v1/auth/me").bearer(&app.token("testuser").await).await.expect(200);
}
