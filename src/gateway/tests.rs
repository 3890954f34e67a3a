//! One gateway, one back end that shows what reached it, real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::*;
use crate::http::Cors;
use crate::jwt::{Kind, Minter, Verifier};
use crate::model::rules::{Assignment, GrantRule, ModuleRule, PermissionRule, RoleRule, Rules, UserState};
use crate::model::{
    Balance, ModuleId, Operation, PermissionId, Protocol, RoleId, Route, RouteId, Secret, Target, Timeouts, Timestamp,
    Upstream, UpstreamId, UserId,
};
use crate::policy::{Compiled, Fixed, MountedPath, Revisions, Snapshot, SnapshotHandle};
use crate::telemetry::{AccessLog, Metrics};

struct World {
    gateway: Running,
    metrics: Arc<Metrics>,
    seen: Arc<AtomicUsize>,
    token: String,
    log: Log,
    _guard: tracing_appender::non_blocking::WorkerGuard,
}

#[derive(Clone, Default)]
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Answers each request with the head it saw as body; `/slow` waits, `/hang` never answers.
async fn back_end(name: &'static str, seen: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    seen.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
                    let length = head
                        .to_lowercase()
                        .split("content-length: ")
                        .nth(1)
                        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                    while bytes.len() < length {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    bytes.drain(..length);
                    if head.contains("/hang") {
                        std::future::pending::<()>().await;
                    }
                    if head.contains("/slow") {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                    let body = if head.starts_with("HEAD") { "" } else { &*format!("{name}\n{head}") };
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nServer: own\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn route(id: i64, path: &str, upstream: &str, strip: Option<&str>, operations: &str) -> Route {
    Route {
        id: RouteId(id),
        route: path.to_owned().try_into().unwrap(),
        label: "r".try_into().unwrap(),
        icon: None,
        is_active: true,
        is_sidebar: false,
        module_id: ModuleId(1),
        parent_id: None,
        priority: 0,
        created_at: Timestamp::now(),
        updated_at: None,
        host: None,
        upstream: Some(upstream.try_into().unwrap()),
        strip_prefix: strip.map(str::to_owned),
        forward_authorization: id != 4,
        operations: serde_json::from_str::<Vec<Operation>>(operations).unwrap(),
    }
}

fn upstream(id: i64, name: &str, addresses: &[SocketAddr], retries: i64) -> Upstream {
    Upstream {
        id: UpstreamId(id),
        name: name.try_into().unwrap(),
        is_active: true,
        protocol: Protocol::Http1,
        targets: addresses.iter().map(|address| Target { address: address.to_string(), weight: 1 }).collect(),
        balance: Balance::RoundRobin,
        tls: None,
        host_header: None,
        timeouts: Timeouts { read_ms: 700, ..Timeouts::default() },
        retries,
        health_check: None,
        max_body_bytes: Some(16),
    }
}

async fn world(tls: Option<TlsFiles>) -> World {
    let seen = Arc::new(AtomicUsize::new(0));
    let back = back_end("back", Arc::clone(&seen)).await;
    let admin = back_end("admin", Arc::clone(&seen)).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let read = r#"[{"methods":["GET"],"access":"permission","permission":"article:read"},
                   {"methods":["DELETE"],"access":"permission","permission":"article:delete"},
                   {"methods":["POST"],"access":"authenticated"}]"#;
    let public = r#"[{"methods":["*"],"access":"public"}]"#;
    let own = r#"[{"methods":["GET"],"access":"permission","permission":"order:read","owner":"query.user_id"}]"#;
    let permission =
        |id: i64, name: &str| PermissionRule { id: PermissionId(id), name: name.try_into().unwrap(), is_active: true };
    let rules = Rules {
        roles: vec![RoleRule {
            id: RoleId(1), name: "reader é".try_into().unwrap(), is_active: true, parents: vec![]
        }],
        permissions: vec![
            permission(1, "article:read"),
            permission(2, "article:delete"),
            permission(3, "order:read"),
            permission(4, "order:read:own"),
        ],
        grants: [1, 4].map(|id| GrantRule { role_id: RoleId(1), permission_id: PermissionId(id) }).to_vec(),
        modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
        routes: vec![
            route(1, "/demo/{*rest}", "back", Some("/demo"), read),
            route(2, "/public/{*rest}", "back", None, public),
            route(3, "/dead", "dead", None, public),
            route(4, "/orders", "back", None, own),
            route(5, "/second", "second", None, public),
        ],
        upstreams: vec![
            upstream(1, "back", &[back], 0),
            upstream(2, "dead", &[dead], 0),
            upstream(3, "second", &[dead, back], 1),
        ],
        ..Rules::default()
    };
    let fixed = Fixed {
        mounts: vec![Arc::new(MountedPath { template: "/api/v1/users/{id}".to_owned().try_into().unwrap() })],
        ..Fixed::default()
    };
    let now = Timestamp::now();
    let user = UserState {
        id: UserId(42),
        username: "alice".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: vec![Assignment { role_id: RoleId(1), expires_at: None }],
    };
    let secret = Secret::new("s".repeat(32));
    let minter = Minter::new(&secret, Duration::from_secs(60), Duration::from_secs(60));
    let token = minter.mint(Kind::Access, (user.id, &user.username), 0, "s1", now).unwrap().token.expose().clone();
    let compiled = Compiled::new(rules, &fixed, None).unwrap();
    let revisions = Revisions { revision: 9, policy_revision: 7 };
    let metrics = Arc::new(Metrics::new("test").unwrap());
    let log = Log::default();
    let (access_log, guard) = AccessLog::to(log.clone());
    let parts = Parts {
        snapshots: SnapshotHandle::new(Snapshot::new(revisions, compiled, [user], [], now)),
        verifier: Verifier::new(&secret, Duration::ZERO, 16),
        metrics: Arc::clone(&metrics),
        access_log,
    };
    let settings = Settings {
        listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        tls,
        mount: Some(Mount { address: admin, secret: Secret::new("mount-secret".to_owned()) }),
        limits: Limits {
            header_timeout: Duration::from_millis(500),
            max_connections_per_address: 50,
            ..Limits::default()
        },
        cors: Cors::default(),
    };
    let gateway = start(settings, parts, &Handle::current()).unwrap();
    World { gateway, metrics, seen, token, log, _guard: guard }
}

impl World {
    /// Sends raw bytes and returns all that comes back until the connection closes or falls silent.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.gateway.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(900), stream.read_buf(&mut answer)).await {
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str, extra: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: Gw.Example:80\r\n{extra}\r\n").as_bytes()).await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permitted_requests_are_forwarded_with_identity() {
    let world = world(None).await;
    let spoofed = "X-Auth-User-Id: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Request-Id: mine\r\nConnection: x-auth-user-id\r\n\
                   X-HTTP-Method-Override: DELETE\r\nCookie: a=b\r\nUser-Agent: ua\r\n";
    let answer = world.get("/demo/a%20b?x=//1", &format!("{spoofed}{}", world.bearer())).await;
    assert_eq!(status(&answer), "200", "{answer}");
    for part in [
        "back\nGET /a%20b?x=//1 HTTP/1.1\r\n",
        "X-Auth-User-Id: 42\r\n",
        "X-Auth-Username: alice\r\n",
        "X-Auth-Roles: reader%20%C3%A9\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-Proto: http\r\n",
        "X-Forwarded-Host: Gw.Example:80\r\n",
        "Authorization: Bearer ",
        "X-Policy-Revision: 7\r\n",
        "Server: own",
    ] {
        assert!(answer.contains(part), "{part}\n{answer}");
    }
    assert!(!answer.contains("mine") && !answer.contains("9.9.9.9") && !answer.contains("DELETE"), "{answer}");
    let head = world.raw(format!("HEAD /demo/a HTTP/1.1\r\nHost: a\r\n{}\r\n", world.bearer()).as_bytes()).await;
    assert_eq!(status(&head), "200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_reach_no_back_end() {
    let world = world(None).await;
    let bearer = world.bearer();
    let (twice, cookie) = (format!("{bearer}{bearer}"), format!("{bearer}Cookie: cedargate_session=x\r\n"));
    for (path, extra, expected, reason) in [
        ("/nowhere", "", "404", "unknown_route"),
        ("/public/../demo/a", "", "400", "bad_target"),
        ("/demo/%2e%2e/x", bearer.as_str(), "400", "bad_target"),
        ("/demo/a", "", "401", "no_credentials"),
        ("/demo/a", "Authorization: Basic x\r\n", "401", "invalid_token"),
        ("/public/a", "Authorization: Bearer a.b.c\r\n", "401", "invalid_token"),
        ("/demo/a", &twice, "400", "bad_request"),
        ("/demo/a", &cookie, "400", "bad_request"),
        ("/public/a", "X_Auth_User: 1\r\n", "400", "bad_request"),
        ("/public/a", "Host: b\r\n", "400", "bad_request"),
        ("/public/a", "Content-Length: 17\r\n", "413", "too_large"),
        ("/orders?user_id=42&user_id=1", &bearer, "400", "bad_request"),
        ("/orders?user_id=1", &bearer, "403", "no_grant"),
        ("/public/a b", "", "400", "bad_target"),
        ("/public/a#b", "", "400", "bad_target"),
    ] {
        let answer = world.get(path, extra).await;
        assert_eq!(status(&answer), expected, "{path} {answer}");
        assert!(answer.contains(&format!("\"reason\":\"{reason}\"")), "{path} {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("Server: cedargate"), "{answer}");
        assert!(answer.contains("\"policy_revision\":7"), "{answer}");
    }
    for (raw, expected) in [
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "405"),
        ("TRACE /public/a HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("PUT /demo/a HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("GET /public/a HTTP/1.1\n\n", "400"),
        (
            "POST /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", "400"),
        ("GET /public/a HTTP/1.1\r\n\r\n", "400"),
        ("DELETE /demo/a HTTP/1.1\r\nHost: a\r\n\r\n", "401"),
    ] {
        let answer = world.raw(raw.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{raw}\n{answer}");
        assert!(answer.contains("Server: cedargate"), "{answer}");
    }
    assert_eq!(world.seen.load(Ordering::SeqCst), 0);
    let own = world.get("/orders?user_id=42", &bearer).await;
    assert_eq!(status(&own), "200", "{own}");
    assert!(!own.contains("Authorization"), "{own}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_counted() {
    let world = world(None).await;
    let chunked = "POST /public/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n";
    let answer = world.raw(chunked.as_bytes()).await;
    assert_eq!(status(&answer), "413", "{answer}");
    let fine = "POST /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
    let answer = world.raw(fine.as_bytes()).await;
    assert_eq!(status(&answer), "200", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounted_paths_lead_to_the_admin_service() {
    let world = world(None).await;
    let answer = world.get("/api/v1/users/7", "Authorization: Bearer x\r\nX-Cedargate-Mount: forged\r\n").await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("admin\nGET /api/v1/users/7 "), "{answer}");
    assert!(answer.contains("mount-secret") && !answer.contains("forged"), "{answer}");
    assert!(answer.contains("Authorization: Bearer x") && !answer.contains("X-Auth-"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_failures_and_retries() {
    let world = world(None).await;
    let answer = world.get("/dead", "").await;
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(answer.contains("upstream_unreachable"), "{answer}");
    let answer = world.get("/public/hang", "").await;
    assert_eq!(status(&answer), "504", "{answer}");
    for _ in 0..4 {
        let answer = world.get("/second", "").await;
        assert_eq!(status(&answer), "200", "{answer}");
    }
    let text = world.metrics.render();
    for line in [
        "cedargate_upstream_errors_total{kind=\"connect_refused\",upstream=\"dead\"} 1",
        "cedargate_upstream_errors_total{kind=\"read_timeout\",upstream=\"back\"} 1",
        "cedargate_requests_total{method=\"GET\",route=\"3\",status=\"502\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_are_answered_and_other_options_are_not_allowed() {
    let world = world(None).await;
    let preflight = "OPTIONS /demo/a HTTP/1.1\r\nHost: a\r\nOrigin: https://o\r\nAccess-Control-Request-Method: GET\r\n\
                     Access-Control-Request-Headers: x-a\r\n\r\n";
    let answer = world.raw(preflight.as_bytes()).await.to_lowercase();
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.ends_with("\r\n\r\nok") && answer.contains("access-control-allow-headers: x-a"), "{answer}");
    let answer = world.raw(b"OPTIONS /demo/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&answer), "405", "{answer}");
    assert!(answer.contains("Allow: "), "{answer}");
    assert_eq!(world.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_and_slow_heads_are_not() {
    let world = world(None).await;
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /public/a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") || answer.windows(4).filter(|w| w == b"\r\n\r\n").count() < 2 {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    stream.write_all(b"GET /public/a HT").await.unwrap();
    let start = std::time::Instant::now();
    assert_eq!(stream.read_buf(&mut Vec::new()).await.unwrap_or(0), 0);
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_log_line() {
    let world = world(None).await;
    world.get("/demo/a?access_token=secret", &format!("User-Agent: ua\r\n{}", world.bearer())).await;
    world.get("/public/a b?secret", "").await;
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.write_all(b"GET /public/hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let text = String::from_utf8(world.log.0.lock().clone()).unwrap();
    assert!(!text.contains("secret") && !text.contains(&world.token), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0]["decision"], "allow");
    assert_eq!(lines[0]["user_id"], 42);
    assert_eq!(lines[0]["operation"], "GET article:read");
    assert_eq!(lines[0]["policies"], serde_json::json!(["grant:1:1"]));
    assert_eq!(lines[0]["host"], "gw.example");
    assert_eq!(lines[0]["path"], "/demo/a");
    assert_eq!(lines[0]["revision"], 9);
    assert_eq!(lines[1]["reason"], "bad_target");
    assert_eq!(lines[1]["path"], "/public/a");
    assert_eq!(lines[2]["route_id"], 2);
    assert!(lines[2]["status"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_lets_requests_finish() {
    let mut world = world(None).await;
    let address = world.gateway.address();
    let idle = TcpStream::connect(address).await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.gateway.in_flight(), 1);
    world.gateway.stop_accepting();
    assert!(world.gateway.drained(Duration::from_secs(5)).await);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(TcpStream::connect(address).await.is_err());
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificates: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
    std::fs::write(&files.certificates, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = world(Some(files)).await;
    assert!(world.gateway.reload_certificate().is_ok());
    let client = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap())
        .build()
        .unwrap();
    let base = format!("https://localhost:{}", world.gateway.address().port());
    let answer = client.get(format!("{base}/demo/a")).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.status(), 200);
    let body = answer.text().await.unwrap();
    assert!(body.contains("X-Auth-User-Id: 42") && body.contains("X-Forwarded-Proto: https"), "{body}");
    assert!(body.to_lowercase().contains("host: localhost"), "{body}");
    for (path, expected) in [("/demo/a", 401), ("/nowhere", 404), ("/a%2fb", 400)] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.text().await.unwrap().contains("\"request_id\""));
    }
    let head = client.head(format!("{base}/demo/a")).send().await.unwrap();
    assert_eq!(head.status(), 401);
    let large = client.post(format!("{base}/public/a")).body(vec![b'a'; 100]).send().await.unwrap();
    assert_eq!(large.status(), 413);
}
