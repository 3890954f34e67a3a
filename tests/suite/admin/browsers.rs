//! What browsers are told: pages of other origins, and care with answers.

use serde_json::json;

use super::{Caller, refused};
use crate::support::Backend;
use crate::support::app::{Answer, App, Call};
use crate::support::raw::exchange;

const PAGE: &str = "https://front.example";

/// The same request to the admin listener, and through the gateway.
fn both<'a>(app: &'a App, method: &'a str, path: &'a str) -> [Call; 2] {
    [app.internal(method, path), app.gateway(method, path)]
}

fn preflight(call: Call, origin: &str, method: &str) -> Call {
    call.header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type")
}

/// The one value of a header: browsers refuse an answer that names two origins.
#[track_caller]
fn only<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    assert!(answer.headers.get_all(name).iter().count() < 2, "{name} is doubled: {:?}", answer.headers);
    answer.header(name)
}

on_both!(pages_of_other_origins_ask_first, |backend| async move {
    let app = App::start(backend).await;
    for path in ["/api/v1/auth/login", "/api/v1/users/", "/api/v1/users/7", "/health"] {
        for call in both(&app, "OPTIONS", path) {
            let answer = preflight(call, PAGE, "DELETE").await.expect(200);
            assert_eq!(answer.text, "OK", "{path}");
            assert_eq!(only(&answer, "access-control-allow-origin"), Some(PAGE));
            assert_eq!(only(&answer, "access-control-allow-credentials"), Some("true"));
            assert_eq!(only(&answer, "access-control-allow-headers"), Some("authorization,content-type"));
            assert_eq!(only(&answer, "access-control-max-age"), Some("600"));
            assert!(only(&answer, "access-control-allow-methods").unwrap().contains("DELETE"));
            assert!(answer.header("x-request-id").is_some());
        }
        // Without asking for a method it is no preflight.
        for call in both(&app, "OPTIONS", path) {
            call.header("Origin", PAGE).await.expect(405);
        }
    }
});

on_both!(answers_are_shown_to_pages_that_may_see_them, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    for (path, status) in [("/api/v1/auth/me", 200), ("/api/v1/users/999", 404), ("/health", 200)] {
        for call in both(&app, "GET", path) {
            let answer = call.bearer(&admin.token).header("Origin", PAGE).await.expect(status);
            assert_eq!(only(&answer, "access-control-allow-origin"), Some(PAGE), "{path}");
            assert_eq!(only(&answer, "access-control-allow-credentials"), Some("true"), "{path}");
            assert_eq!(only(&answer, "vary"), Some("Origin"), "{path}");
            let exposed = only(&answer, "access-control-expose-headers").unwrap();
            let exposed: Vec<&str> = exposed.split(", ").collect();
            for name in ["X-RateLimit-Limit", "X-Total-Count", "ETag", "X-Policy-Revision", "X-Request-Id"] {
                assert!(exposed.contains(&name), "{name}");
            }
        }
        for call in both(&app, "GET", path) {
            let answer = call.bearer(&admin.token).await.expect(status);
            assert_eq!(only(&answer, "access-control-allow-origin"), None, "nobody asked");
            assert_eq!(only(&answer, "vary"), Some("Origin"), "{path}");
        }
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_pages_may_call() {
    let settings = [
        ("CORS_ORIGINS", PAGE),
        ("CORS_ALLOW_METHODS", "GET,POST"),
        ("CORS_ALLOW_HEADERS", "Authorization,Content-Type"),
        ("ALLOW_CREDENTIALS", "false"),
    ];
    let app = App::start_with(Backend::Sqlite, &settings).await;
    for call in both(&app, "OPTIONS", "/api/v1/users/") {
        let answer = preflight(call, PAGE, "POST").await.expect(200);
        assert_eq!(only(&answer, "access-control-allow-origin"), Some(PAGE));
        assert_eq!(only(&answer, "access-control-allow-methods"), Some("GET, POST"));
        assert_eq!(only(&answer, "access-control-allow-credentials"), None);
    }
    for (origin, method) in [("https://evil.example", "POST"), (PAGE, "DELETE")] {
        for call in both(&app, "OPTIONS", "/api/v1/users/") {
            let answer = preflight(call, origin, method).await;
            assert_eq!(only(&answer, "access-control-allow-origin"), None);
            refused(answer, 400, "Disallowed CORS request");
        }
    }
}

on_both!(answers_are_handled_with_care, |backend| async move {
    let app = App::start(backend).await;
    let expected = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ];
    let mut answers = vec![
        app.internal("GET", "/").await.expect(200),
        app.internal("GET", "/readyz").await.expect(200),
        app.internal("GET", "/metrics").await.expect(200),
        app.admin("GET", "/nothing").await.expect(404),
        app.login("testuser", "testuser123").await.expect(200),
        // The gateway's own, before and after it looks for a route.
        app.gateway("GET", "/nothing").await.expect(404),
        app.gateway("GET", "/demo/articles").await.expect(401),
        app.gateway("GET", "/demo/a%2fb").await.expect(400),
    ];
    for path in ["/api/v1/auth/me", "/api/v1/users/"] {
        for call in both(&app, "GET", path) {
            answers.push(call.await.expect(401));
        }
    }
    for call in both(&app, "POST", "/api/v1/auth/register") {
        answers.push(call.json(json!({})).await.expect(422));
    }
    for answer in &answers {
        for (name, value) in expected {
            assert_eq!(only(answer, name), Some(value), "{}", answer.text);
        }
        assert_eq!(answer.header("strict-transport-security"), None, "this is not TLS");
    }
    // Refused before it is parsed.
    let raw = exchange(app.gateway, b"GET / HTTP/1.1\nHost: a\r\n\r\n").await.to_lowercase();
    for (name, value) in expected {
        assert!(raw.contains(&format!("\r\n{name}: {}\r\n", value.to_lowercase())), "{raw}");
    }
    // Whoever pretends to be the gateway is not believed; what a back end answers is its own.
    let spoofed = app.internal("GET", "/").header("X-Forwarded-Proto", "https").await.expect(200);
    assert_eq!(spoofed.header("strict-transport-security"), None);
    assert_eq!(app.gateway("GET", "/demo/public").await.expect(200).header("x-frame-options"), None);
});

#[tokio::test(flavor = "multi_thread")]
async fn care_can_be_turned_off() {
    let app = App::start_with(Backend::Sqlite, &[("SECURITY_HEADERS_ENABLED", "false")]).await;
    for answer in [app.internal("GET", "/").await, app.gateway("GET", "/nothing").await] {
        assert_eq!(answer.header("x-frame-options"), None);
        assert_eq!(answer.header("content-security-policy"), None);
    }
}
