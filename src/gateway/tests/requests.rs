//! What becomes of single requests.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{status, world};

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
    let old = world.raw(b"GET /public/a HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&old), "200", "{old}");
    assert!(old.contains("Host: 127.0.0.1:"), "{old}");
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

/// The upstream takes 16 bytes, where a route says nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_takes_bodies_as_it_says() {
    let world = world(None).await;
    let cases = [
        ("/more", 20, "200"),
        ("/more", 21, "413"),
        ("/less", 4, "200"),
        ("/less", 5, "413"),
        ("/second", 16, "200"),
        ("/second", 17, "413"),
    ];
    for (path, size, expected) in cases {
        let body = "x".repeat(size);
        let reached = world.seen.load(Ordering::SeqCst);
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}");
        let answer = world.raw(request.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{path} {size}: {answer}");
        assert_eq!(world.seen.load(Ordering::SeqCst) - reached, usize::from(expected == "200"), "{path} {size}");
    }
    // The head of a chunked request is sent on before its size is known, and may arrive after its refusal: the
    // upstream's count of these says nothing.
    for (path, size, expected) in cases {
        let body = "x".repeat(size);
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = world.raw(format!("{head}{size:x}\r\n{body}\r\n0\r\n\r\n").as_bytes()).await;
        assert_eq!(status(&answer), expected, "{path} {size}, chunked: {answer}");
        assert_eq!(answer.contains("\"reason\":\"too_large\""), expected == "413", "{answer}");
    }
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
    assert_eq!(status(&world.get("/unknown", "").await), "502");
    let answer = world.get("/public/hang", "").await;
    assert_eq!(status(&answer), "504", "{answer}");
    for _ in 0..4 {
        let answer = world.get("/second", "").await;
        assert_eq!(status(&answer), "200", "{answer}");
    }
    let text = world.metrics.render();
    for line in [
        "cedargate_upstream_errors_total{kind=\"connect_refused\",upstream=\"dead\"} 1",
        "cedargate_upstream_errors_total{kind=\"dns\",upstream=\"unknown\"} 1",
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
    assert!(answer.contains("allow: DELETE, GET, POST, HEAD"), "{answer}");
    assert_eq!(world.seen.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_not_smuggled() {
    let world = world(None).await;
    let two = "POST /public/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /demo/secret HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(status(&answers), "200", "{answers}");
    assert!(answers.contains("HTTP/1.1 401 ") && !answers.contains("secret"), "{answers}");
    assert_eq!(world.seen.load(Ordering::SeqCst), 1);
}
