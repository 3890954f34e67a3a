//! `/metrics`: every promised name, type and label; nothing unbounded, nothing about anybody; each reason counted.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cedargate::model::{Reason, Timestamp};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::Backend;
use crate::support::app::{App, SECRET};
use crate::support::exposition::Scrape;
use crate::support::raw::{exchange, status};

/// Name, type and labels, as interfaces promise them.
const PROMISED: [(&str, &str, &[&str]); 27] = [
    ("cedargate_open_streams", "gauge", &[]),
    ("cedargate_streams_closed_total", "counter", &["cause"]),
    ("cedargate_requests_total", "counter", &["method", "route", "status"]),
    ("cedargate_request_seconds", "histogram", &["route"]),
    ("cedargate_decisions_total", "counter", &["decision", "reason"]),
    ("cedargate_decision_seconds", "histogram", &[]),
    ("cedargate_upstream_errors_total", "counter", &["kind", "upstream"]),
    ("cedargate_upstream_target_up", "gauge", &["target", "upstream"]),
    ("cedargate_upstream_ejections_total", "counter", &["upstream"]),
    ("cedargate_upstream_retries_total", "counter", &["outcome", "upstream"]),
    ("cedargate_upstream_health_checks_total", "counter", &["outcome", "upstream"]),
    ("cedargate_upstream_all_out_total", "counter", &["upstream"]),
    ("cedargate_snapshot_revision", "gauge", &[]),
    ("cedargate_snapshot_age_seconds", "gauge", &[]),
    ("cedargate_snapshot_rebuild_seconds", "histogram", &[]),
    ("cedargate_snapshot_failures_total", "counter", &[]),
    ("cedargate_policy_errors_total", "counter", &["policy"]),
    ("cedargate_policy_files_in_force", "gauge", &[]),
    ("cedargate_logins_total", "counter", &["result"]),
    ("cedargate_connections", "gauge", &[]),
    ("cedargate_connections_refused_total", "counter", &["cause"]),
    ("cedargate_shedding", "gauge", &[]),
    ("cedargate_certificate_reload_failures_total", "counter", &[]),
    ("cedargate_mails_waiting", "gauge", &[]),
    ("cedargate_reloads_total", "counter", &["outcome"]),
    ("cedargate_upgrades_total", "counter", &["outcome"]),
    ("cedargate_build_info", "gauge", &["version"]),
];
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "OTHER"];
const KINDS: [&str; 9] = [
    "dns",
    "connect_refused",
    "connect_timeout",
    "connect_failed",
    "tls",
    "read_timeout",
    "write_timeout",
    "closed",
    "invalid_answer",
];
/// A policy that forbids, and one that cannot be evaluated.
const POLICIES: &str = r#"
forbid (principal, action, resource) when { context.host == "forbidden.example" };
forbid (principal, action, resource) when { context.host == "broken.example" && 9223372036854775807 + 1 == 0 };
"#;

async fn scrape(app: &App) -> Scrape {
    Scrape::parse(&app.internal("GET", "/metrics").await.expect(200).text)
}

/// Sends one request on a connection of its own; returns the answer's status.
async fn send(app: &App, method: &str, target: &str, host: &str, fields: &str) -> u16 {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    status(&exchange(app.gateway, head.as_bytes()).await)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn token(subject: &str, seconds: i64) -> String {
    let claims = json!({ "sub": subject, "exp": Timestamp::now().unix_seconds() + seconds });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A server with the policies above, and routes to upstreams that are down and silent.
async fn world(extra: &[(&str, &str)]) -> (App, String, TempDir, TcpListener) {
    let directory = TempDir::with_prefix("cedargate-policies-").unwrap();
    std::fs::write(directory.path().join("world.cedar"), POLICIES).unwrap();
    let mut settings = vec![("CEDARGATE_POLICY__DIR", directory.path().to_str().unwrap())];
    settings.extend_from_slice(extra);
    let app = App::start_with(Backend::Sqlite, &settings).await;
    let admin = app.token("superadmin").await;
    let anybody = || json!([{ "methods": ["GET", "POST"], "access": "public" }]);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    app.route_to(&admin, "down", down, "/down", anybody()).await;
    app.route_to(&admin, "silent", silent.local_addr().unwrap(), "/silent", anybody()).await;
    let upstreams = app.admin("GET", "/upstreams/").bearer(&admin).await.expect(200).json();
    let slow = upstreams.as_array().unwrap().iter().find(|upstream| upstream["name"] == "silent").unwrap();
    let timeouts = json!({ "timeouts": { "connect_ms": 200, "read_ms": 200, "write_ms": 200, "total_ms": 400 } });
    app.admin("PUT", &format!("/upstreams/{}", slow["id"])).bearer(&admin).json(timeouts).await.expect(200);
    (app, admin, directory, silent)
}

/// Some of everything.
async fn traffic(app: &App, user: &str) {
    let user = bearer(user);
    for (method, target, fields, expected) in [
        ("GET", "/demo/articles", user.as_str(), 200),
        ("HEAD", "/demo/articles", &user, 200),
        ("POST", "/demo/articles", &user, 403),
        ("GET", "/demo/articles", "", 401),
        ("GET", "/health", "", 200),
        ("BREW", "/demo/articles", "", 405),
        ("GET", "/secret-path/of/somebody", "", 404),
        ("GET", "/down", "", 502),
        ("GET", "/silent", "", 504),
    ] {
        assert_eq!(send(app, method, target, "localhost", fields).await, expected, "{method} {target}");
    }
}

/// Scrapes until the gateway has counted this many requests; it does so after they are answered.
async fn counted(app: &App, requests: f64) -> Scrape {
    let asked = Instant::now();
    loop {
        let scraped = scrape(app).await;
        if scraped.sum("cedargate_requests_total", &[]) >= requests {
            return scraped;
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "requests are not counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_its_name_type_and_labels_under_traffic() {
    let (app, _, _directory, _silent) = world(&[("CEDARGATE_AUTH__LOGIN_FAILURES", "2")]).await;
    let user = app.token("testuser").await;
    for expected in [401, 401, 429] {
        app.login("admin", "Wrong-Password-1").await.expect(expected);
    }
    let requests = async {
        for _ in 0..5 {
            traffic(&app, &user).await;
        }
    };
    let scrapes = async {
        let mut last = 0.0;
        for _ in 0..30 {
            let counted = scrape(&app).await.sum("cedargate_decisions_total", &[]);
            assert!(counted >= last, "{counted} after {last}");
            last = counted;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(requests, scrapes);

    assert_eq!(send(&app, "GET", "/demo/articles", "broken.example", &bearer(&user)).await, 403);
    let scraped = counted(&app, 46.0).await;
    assert!(scraped.sum("cedargate_policy_errors_total", &[("policy", "policy:world.2")]) >= 1.0);
    for (name, kind, labels) in PROMISED {
        let family = scraped.0.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(family.help.ends_with('.') && !family.samples.is_empty(), "{name}: {}", family.help);
        for sample in &family.samples {
            let has: BTreeSet<&str> = sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(has, labels.iter().copied().collect(), "{}", sample.name);
        }
    }
    for name in scraped.0.keys().filter(|name| !PROMISED.iter().any(|(promised, ..)| promised == name)) {
        assert!(name.starts_with("process_") || name == "cedargate_log_lines_lost_total", "{name} is not promised");
    }
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(scraped.0.contains_key(name), "{name}");
    }
    let route = |text: &str| matches!(text, "none" | "admin") || text.parse::<u32>().is_ok();
    assert!(scraped.values("route").into_iter().all(route), "{:?}", scraped.values("route"));
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(scraped.values("reason"), reasons, "all of them, from the start");
    assert_eq!(scraped.values("decision"), ["allow", "deny"].into());
    assert_eq!(scraped.values("result"), ["failure", "limited", "success"].into());
    assert_eq!(scraped.values("upstream"), ["demo", "down", "silent"].into());
    assert_eq!(scraped.values("version"), [env!("CARGO_PKG_VERSION")].into());
    assert!(scraped.values("method").is_subset(&METHODS.into()), "{:?}", scraped.values("method"));
    assert!(scraped.values("kind").is_subset(&KINDS.into()), "{:?}", scraped.values("kind"));
    assert!(scraped.values("status").iter().all(|status| status.len() == 3));
    for (labels, expected) in [
        ([("method", "OTHER"), ("status", "405")], 5.0),
        ([("route", "none"), ("status", "404")], 5.0),
        ([("route", "admin"), ("status", "200")], 5.0),
        ([("method", "HEAD"), ("status", "200")], 5.0),
    ] {
        assert!((scraped.sum("cedargate_requests_total", &labels) - expected).abs() < 0.1, "{labels:?}");
    }
    let text = app.internal("GET", "/metrics").await.text;
    for private in ["testuser", "superadmin", "articles", "secret-path", "somebody", &user] {
        assert!(!text.contains(private), "{private} is in the metrics");
    }
    promtool(&text);
}

/// Buckets that are cumulative, help texts, names: what the scraper's own makers object to.
fn promtool(text: &str) {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    let program = if own.exists() { own } else { "promtool".into() };
    let started = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.expect("promtool, of Debian's package prometheus, is missing: run tests/run.sh");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.trim().is_empty(), "promtool: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_raises_its_own_counter_by_one() {
    let (app, admin, _directory, _silent) = world(&[]).await;
    let (user, inactive) = (app.token("testuser").await, app.token("user").await);
    let revoked = app.token("testuser").await;
    app.admin("POST", "/auth/logout").bearer(&revoked).await.expect(200);
    app.admin("PATCH", "/users/3/toggle-status").bearer(&admin).await.expect(200);
    let user = bearer(&user);
    let expired = bearer(&token("testuser", -1));
    let (revoked, inactive) = (bearer(&revoked), bearer(&inactive));
    let articles = "/demo/articles";
    let large = "Content-Length: 99999999\r\n";
    for (reason, method, target, host, fields) in [
        (Reason::Allowed, "GET", articles, "a", user.as_str()),
        (Reason::NoCredentials, "GET", articles, "a", ""),
        (Reason::InvalidToken, "GET", articles, "a", "Authorization: Bearer a.b.c\r\n"),
        (Reason::ExpiredToken, "GET", articles, "a", &expired),
        (Reason::Revoked, "GET", articles, "a", &revoked),
        (Reason::UserInactive, "GET", articles, "a", &inactive),
        (Reason::NoGrant, "POST", articles, "a", &user),
        (Reason::ForbiddenByPolicy, "GET", articles, "forbidden.example", &user),
        (Reason::PolicyError, "GET", articles, "broken.example", &user),
        (Reason::UnknownRoute, "GET", "/nowhere", "a", &user),
        (Reason::MethodNotAllowed, "PATCH", articles, "a", &user),
        (Reason::BadTarget, "GET", "/demo/../demo/articles", "a", &user),
        (Reason::BadRequest, "GET", articles, "a/b", &user),
        (Reason::TooLarge, "POST", "/down", "a", large),
        (Reason::UpstreamUnreachable, "GET", "/down", "a", ""),
        (Reason::UpstreamTimeout, "GET", "/silent", "a", ""),
    ] {
        let before = scrape(&app).await;
        assert_eq!(send(&app, method, target, host, fields).await, reason.status(), "{reason:?}");
        let after = scrape(&app).await;
        let was_permitted = matches!(
            reason,
            Reason::Allowed | Reason::TooLarge | Reason::UpstreamUnreachable | Reason::UpstreamTimeout
        );
        for other in Reason::ALL {
            let of = |scraped: &Scrape| scraped.sum("cedargate_decisions_total", &[("reason", other.code())]);
            let expected = *other == reason || was_permitted && *other == Reason::Allowed;
            let raised = of(&after) - of(&before);
            assert!((raised - f64::from(u8::from(expected))).abs() < 0.1, "{reason:?} raised {other:?} by {raised}");
        }
        let decision = if was_permitted { "allow" } else { "deny" };
        let labels = [("decision", decision), ("reason", reason.code())];
        assert!(after.sum("cedargate_decisions_total", &labels) > 0.5, "{labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_add_series() {
    let app = App::start(Backend::Sqlite).await;
    let round = async |from: u32, to: u32| {
        for i in from..to {
            let fields = bearer(&token(&format!("rnd{i}"), 60));
            let host = format!("rnd{i}.example");
            send(&app, &format!("RND{i}"), &format!("/rnd{i}/x?rnd={i}"), &host, &fields).await;
            send(&app, "GET", &format!("/demo/articles/rnd{i}"), &host, &fields).await;
            if i % 10 == 0 {
                app.login(&format!("rnd{i}"), "Wrong-Password-1").await.expect(401);
            }
        }
        counted(&app, f64::from(2 * to)).await
    };
    let before = round(0, 20).await;
    let after = round(20, 500).await;
    assert_eq!(before.series(), after.series());
    assert!(!app.internal("GET", "/metrics").await.text.to_lowercase().contains("rnd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_where_they_belong() {
    let app = App::start(Backend::Sqlite).await;
    app.internal("GET", "/metrics").await.expect(200);
    app.gateway("GET", "/metrics").await.expect(404);
    assert!(app.running.metrics.is_none());

    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_METRICS__LISTEN", "127.0.0.1:0")]).await;
    app.internal("GET", "/metrics").await.expect(404);
    app.gateway("GET", "/metrics").await.expect(404);
    let own = app.running.metrics.unwrap();
    let answer = exchange(own, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 200);
    Scrape::parse(answer.split_once("\r\n\r\n").unwrap().1);
    for other in ["/health", "/readyz", "/api/v1/users/"] {
        let request = format!("GET {other} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(own, request.as_bytes()).await), 404, "{other}");
    }

    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_METRICS__ENABLED", "false")]).await;
    app.internal("GET", "/metrics").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_scrapes_are_answered() {
    let app = App::start(Backend::Sqlite).await;
    let answer = app.internal("GET", "/metrics").header("Accept", "\u{e9}/;;q=x").header("Accept-Encoding", "x").await;
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("content-encoding"), None);
    let openmetrics =
        app.internal("GET", "/metrics").header("Accept", "application/openmetrics-text").await.expect(200);
    assert!(openmetrics.header("content-type").unwrap().starts_with("text/plain"));
    assert_eq!(app.internal("HEAD", "/metrics").await.expect(200).text, "");
    app.internal("POST", "/metrics").await.expect(405);
    app.internal("GET", "/metrics?name=x&name=y").await.expect(200);
    for (fields, expected) in [(98, 200), (300, 431)] {
        let fields = "X-Odd: 1\r\n".repeat(fields);
        let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        assert_eq!(status(&exchange(app.admin, request.as_bytes()).await), expected);
    }
    app.internal("GET", "/metrics").await.expect(200);
}
