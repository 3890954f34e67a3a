//! The gateway's listeners: certificates, redirects, and what is turned away.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::Backend;
use crate::support::app::App;
use crate::support::certificates::{Authority, authority, signed};
use crate::support::raw::{Recorder, exchange, status};

/// Files of certificates, and the authority that clients trust.
struct Files {
    folder: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        Self { folder: TempDir::with_prefix("cedargate-edge-").unwrap(), authority: authority("test authority") }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        // As renewal tools do it: the file is there in one piece or not at all.
        let whole = self.path(&format!("{name}.new"));
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(&whole, self.path(name)).unwrap();
    }

    fn certificate(&self, stem: &str, names: &[&str]) {
        let (chain, key) = signed(&self.authority, names);
        self.write(&format!("{stem}.key"), &key);
        self.write(&format!("{stem}.pem"), &chain);
    }

    /// A server with the certificate `first` and some more settings.
    async fn serve(&self, more: &[(&str, &str)]) -> App {
        let (certificate, key) = (self.path("first.pem"), self.path("first.key"));
        let own = [("CEDARGATE_GATEWAY__TLS_CERTIFICATE", &*certificate), ("CEDARGATE_GATEWAY__TLS_KEY", &*key)];
        App::start_with(Backend::Sqlite, &[&own, more].concat()).await
    }

    /// A client that finds every host at the gateway, and trusts our authority only.
    fn client(&self, app: &App, identity: Option<&(String, String)>) -> Client {
        let mut builder = Client::builder()
            .tls_certs_only([Certificate::from_pem(self.authority.pem().as_bytes()).unwrap()])
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0);
        for host in ["a.example", "b.example", "x.b.example", "c.example"] {
            builder = builder.resolve(host, app.gateway);
        }
        if let Some((chain, key)) = identity {
            builder = builder.identity(Identity::from_pem(format!("{chain}{key}").as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }
}

async fn get(client: &Client, app: &App, host: &str) -> Result<u16, reqwest::Error> {
    let url = format!("https://{host}:{}/health", app.gateway.port());
    client.get(url).send().await.map(|answer| answer.status().as_u16())
}

async fn check(app: &App, name: &str) -> serde_json::Value {
    app.internal("GET", "/health/detailed").await.json()["checks"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_have_certificates_of_their_own() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    files.certificate("second", &["b.example", "*.b.example"]);
    let (more, keys) = (files.path("second.pem"), files.path("second.key"));
    let app = files
        .serve(&[
            ("CEDARGATE_GATEWAY__TLS_MORE_CERTIFICATES", &more),
            ("CEDARGATE_GATEWAY__TLS_MORE_KEYS", &keys),
            ("CEDARGATE_GATEWAY__TLS_MIN_VERSION", "1.3"),
        ])
        .await;
    let client = files.client(&app, None);
    for host in ["a.example", "b.example", "x.b.example"] {
        assert_eq!(get(&client, &app, host).await.unwrap(), 200, "{host}");
    }
    // Only the first is left for it, which is not for that name.
    assert!(get(&client, &app, "c.example").await.is_err());
    let served = check(&app, "certificates").await;
    assert_eq!(served["served"][1]["names"], json!(["b.example", "*.b.example"]), "{served}");
    let old = Client::builder()
        .tls_certs_only([Certificate::from_pem(files.authority.pem().as_bytes()).unwrap()])
        .tls_version_max(reqwest::tls::Version::TLS_1_2)
        .resolve("a.example", app.gateway)
        .build()
        .unwrap();
    assert!(get(&old, &app, "a.example").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_and_broken_ones_are_not() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    let app = files.serve(&[]).await;
    let client = files.client(&app, None);
    // One connection that stays open all along.
    let kept = Client::builder()
        .tls_certs_only([Certificate::from_pem(files.authority.pem().as_bytes()).unwrap()])
        .resolve("a.example", app.gateway)
        .build()
        .unwrap();
    assert_eq!(get(&kept, &app, "a.example").await.unwrap(), 200);

    for (broken, told) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n", "first.pem: ")] {
        files.write("first.pem", broken);
        app.running.reload_certificates();
        assert_eq!(get(&client, &app, "a.example").await.unwrap(), 200);
        assert_eq!(get(&kept, &app, "a.example").await.unwrap(), 200);
        let state = check(&app, "certificates").await;
        assert_eq!(state["status"], "unhealthy");
        assert!(state["error"].as_str().unwrap().contains(told), "{state}");
    }
    // A key of another certificate.
    files.certificate("other", &["b.example"]);
    std::fs::copy(files.path("other.pem"), files.path("first.pem")).unwrap();
    app.running.reload_certificates();
    assert_eq!(get(&client, &app, "a.example").await.unwrap(), 200);
    let metrics = app.internal("GET", "/metrics").await.text;
    assert!(metrics.contains("cedargate_certificate_reload_failures_total 3"), "{metrics}");

    // Nobody has to tell: files are looked at.
    files.certificate("first", &["b.example"]);
    let mut tries = 0;
    while get(&client, &app, "b.example").await.is_err() {
        tries += 1;
        assert!(tries < 150, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(get(&client, &app, "a.example").await.is_err());
    assert_eq!(get(&kept, &app, "a.example").await.unwrap(), 200);
    let state = check(&app, "certificates").await;
    assert_eq!((&state["status"], &state["error"]), (&json!("healthy"), &serde_json::Value::Null), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_certificate_is_told_at_the_start() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    let (certificate, key) = (files.path("first.pem"), files.path("first.key"));
    let fault = |settings: Vec<(&'static str, String)>| async move {
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        App::start_error(Backend::Sqlite, &settings).await
    };
    let (tls_certificate, tls_key) = ("CEDARGATE_GATEWAY__TLS_CERTIFICATE", "CEDARGATE_GATEWAY__TLS_KEY");
    let both = [(tls_certificate, certificate.clone()), (tls_key, key.clone())];
    let with = |more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        both.iter().cloned().chain(more).collect::<Vec<_>>()
    };
    for (settings, told) in [
        (vec![(tls_certificate, key.clone()), (tls_key, key.clone())], "first.key: holds no certificate"),
        (
            vec![(tls_certificate, certificate.clone()), (tls_key, certificate.clone())],
            "first.pem: holds no private key",
        ),
        (with(&[("CEDARGATE_GATEWAY__TLS_MORE_CERTIFICATES", "x.pem")]), "gateway.tls_more_keys"),
        (with(&[("CEDARGATE_GATEWAY__TLS_CLIENT_AUTH", "required")]), "is set without gateway.tls_client_ca"),
        (with(&[("CEDARGATE_GATEWAY__TLS_CLIENT_CA", "x.pem")]), "is set while gateway.tls_client_auth is off"),
        (
            vec![("CEDARGATE_GATEWAY__REDIRECT_LISTEN", "127.0.0.1:0".to_owned())],
            "is set without gateway.tls_certificate",
        ),
    ] {
        let error = fault(settings).await;
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_certificates_where_they_must() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    files.write("clients.pem", &files.authority.pem());
    let (known, stranger) = (signed(&files.authority, &[]), signed(&authority("strangers"), &[]));
    let trusted = files.path("clients.pem");
    for (auth, without) in [("required", false), ("optional", true)] {
        let app = files
            .serve(&[("CEDARGATE_GATEWAY__TLS_CLIENT_AUTH", auth), ("CEDARGATE_GATEWAY__TLS_CLIENT_CA", &trusted)])
            .await;
        assert_eq!(get(&files.client(&app, Some(&known)), &app, "a.example").await.unwrap(), 200, "{auth}");
        assert_eq!(get(&files.client(&app, None), &app, "a.example").await.is_ok(), without, "{auth}");
        assert!(get(&files.client(&app, Some(&stranger)), &app, "a.example").await.is_err(), "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_see_the_certificate_that_was_shown() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    files.write("clients.pem", &files.authority.pem());
    let trusted = files.path("clients.pem");
    let optional =
        [("CEDARGATE_GATEWAY__TLS_CLIENT_AUTH", "optional"), ("CEDARGATE_GATEWAY__TLS_CLIENT_CA", &*trusted)];
    let app = files.serve(&optional).await;
    let back = Recorder::start().await;
    let admin = app.token("superadmin").await;
    let operations = json!([{ "methods": ["*"], "access": "public" }]);
    app.route_to(&admin, "back", back.address, "/devices/{*rest}", operations).await;
    let source = "forbid (principal, action, resource is Endpoint) when { context.path like \"/devices/*\" } \
                  unless { context has client_certificate && context.client_certificate.subject like \"CN=device-*\" };";
    let policy = json!({ "name": "devices", "description": "known devices only", "source": source });
    app.admin("POST", "/policies/").bearer(&admin).json(policy).await.expect(200);

    let ask = async |identity: Option<&(String, String)>| {
        let url = format!("https://a.example:{}/devices/1", app.gateway.port());
        let forged = ("X-Auth-Client-Certificate-Subject", "CN=device-9");
        let asked = files.client(&app, identity).get(url).header(forged.0, forged.1).send().await.unwrap();
        asked.status().as_u16()
    };
    let (device, person) = (signed(&files.authority, &["device-7"]), signed(&files.authority, &["person"]));
    assert_eq!(ask(Some(&device)).await, 200);
    let seen = back.received().to_lowercase();
    assert!(seen.contains("\r\nx-auth-client-certificate-subject: cn%3ddevice-7\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-auth-client-certificate-fingerprint: ") && !seen.contains("device-9"), "{seen}");
    back.clear();
    assert_eq!(ask(Some(&person)).await, 403);
    assert_eq!(ask(None).await, 403);
    assert_eq!(back.received(), "");
}

/// Sends from `address` and returns the answer, empty if there is none.
async fn from(address: &str, gateway: SocketAddr, bytes: &[u8]) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(gateway).await.unwrap();
    // It may have closed already: the answer tells.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_pass_on_connections_with_their_source() {
    let settings = [
        ("CEDARGATE_GATEWAY__TRUSTED_PROXIES", "127.0.0.2"),
        ("CEDARGATE_GATEWAY__PROXY_PROTOCOL", "true"),
        ("CEDARGATE_GATEWAY__HANDSHAKE_TIMEOUT_MS", "500"),
    ];
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let back = Recorder::start().await;
    let admin = app.token("superadmin").await;
    let operations = json!([{ "methods": ["*"], "access": "public" }]);
    app.route_to(&admin, "back", back.address, "/open/{*rest}", operations).await;
    let request = "GET /open/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x40\0\x50".to_vec();
    binary.extend_from_slice(request.as_bytes());
    let text = format!("PROXY TCP4 192.0.2.7 127.0.0.1 8000 80\r\n{request}");
    for header in [text.as_bytes(), &binary] {
        back.clear();
        let answer = from("127.0.0.2", app.gateway, header).await;
        assert_eq!(status(&answer), 200, "{answer}");
        let seen = back.received().to_lowercase();
        assert!(seen.contains("\r\nx-forwarded-for: 192.0.2.7\r\n"), "{seen}");
    }
    // A connection of nobody it can name: what the request says of its client is not the proxy's word.
    back.clear();
    let unknown = format!("PROXY UNKNOWN\r\n{request}");
    assert_eq!(status(&from("127.0.0.2", app.gateway, unknown.as_bytes()).await), 200);
    let seen = back.received().to_lowercase();
    assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.2\r\n"), "{seen}");
    back.clear();
    // From the proxy without a header, or with one that does not end; from a stranger with one.
    assert_eq!(from("127.0.0.2", app.gateway, request.as_bytes()).await, "");
    assert_eq!(from("127.0.0.2", app.gateway, b"PROXY TCP4 192.0").await, "");
    assert_eq!(status(&from("127.0.0.3", app.gateway, text.as_bytes()).await), 400);
    assert_eq!(back.received(), "");
    let metrics = app.internal("GET", "/metrics").await.text;
    assert!(metrics.contains("refused_total{cause=\"proxy_protocol\"} 2"), "{metrics}");
    assert_eq!(status(&from("127.0.0.3", app.gateway, request.as_bytes()).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_sent_to_https() {
    let files = Files::new();
    files.certificate("first", &["a.example"]);
    let app = files.serve(&[("CEDARGATE_GATEWAY__REDIRECT_LISTEN", "127.0.0.1:0")]).await;
    let redirect = app.running.redirect.unwrap();
    let answer = exchange(redirect, b"GET /a?b=c HTTP/1.1\r\nHost: A.example:80\r\n\r\n").await;
    let port = app.gateway.port();
    assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
    assert!(answer.contains(&format!("\r\nLocation: https://a.example:{port}/a?b=c\r\n")), "{answer}");
    for bad in
        ["GET //evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1\nHost: a\n\n"]
    {
        let answer = exchange(redirect, bad.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(!answer.contains("Location"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_are_told() {
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_GATEWAY__MAX_CONNECTIONS_PER_ADDRESS", "3")]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(app.gateway).await.unwrap());
    }
    let request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    // The three may not have been accepted yet.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(app.gateway).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    let metrics = app.internal("GET", "/metrics").await.text;
    assert!(metrics.contains("refused_total{cause=\"max_connections_per_address\"} 1"), "{metrics}");
    held.pop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(status(&exchange(app.gateway, request).await), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_new_work_is_refused() {
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_GATEWAY__MAX_MEMORY_BYTES", "1000000")]).await;
    let mut tries = 0;
    while check(&app, "connections").await["status"] == "healthy" {
        tries += 1;
        assert!(tries < 100, "no shortage is seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = exchange(app.gateway, b"").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let metrics = app.internal("GET", "/metrics").await.text;
    assert!(metrics.contains("cedargate_shedding 1"), "{metrics}");
    let health = app.internal("GET", "/health/detailed").await.expect(503);
    assert!(health.text.contains("memory runs short"), "{}", health.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_bounded_by_the_settings() {
    let app = App::start_with(
        Backend::Sqlite,
        &[
            ("CEDARGATE_GATEWAY__MAX_HEADER_BYTES", "2000"),
            ("CEDARGATE_GATEWAY__MAX_HEADER_FIELDS", "8"),
            ("CEDARGATE_GATEWAY__MAX_TARGET_BYTES", "64"),
        ],
    )
    .await;
    let get = |target: &str, fields: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (request, code, reason) in [
        (get("/health", &"a: b\r\n".repeat(7)), 200, "healthy"),
        (get("/health", &"a: b\r\n".repeat(8)), 431, "headers_too_large"),
        (get("/health", &format!("a: {}\r\n", "b".repeat(2_000))), 431, "headers_too_large"),
        (get(&format!("/{}", "a".repeat(63)), ""), 404, "unknown_route"),
        (get(&format!("/{}", "a".repeat(64)), ""), 414, "target_too_long"),
    ] {
        let answer = exchange(app.gateway, request.as_bytes()).await;
        assert_eq!(status(&answer), code, "{answer}");
        assert!(answer.contains(reason), "{answer}");
    }
}
