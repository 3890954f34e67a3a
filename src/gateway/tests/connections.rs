//! What becomes of connections, and of what is told about them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{PROXY, status, world};
use crate::gateway::TlsFiles;

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
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(900));
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"reason\":\"request_timeout\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_log_line() {
    let world = world(None).await;
    world.get("/demo/a?access_token=secret", &format!("User-Agent: ua\r\n{}", world.bearer())).await;
    // A line may be written after its answer, and by another thread than the next.
    world.lines(1).await;
    world.get("/public/a b?secret", "").await;
    world.lines(2).await;
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.write_all(b"GET /public/hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    world.lines(3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
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
    assert!(world.gateway.tls().unwrap().reload().is_ok());
    let client = reqwest::Client::builder()
        .add_root_certificate(reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap())
        .build()
        .unwrap();
    let base = format!("https://localhost:{}", world.gateway.address().port());
    let answer = client.get(format!("{base}/demo/a")).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.status(), 200);
    let body = answer.text().await.unwrap().to_lowercase();
    assert!(body.contains("x-auth-user-id: 42") && body.contains("x-forwarded-proto: https"), "{body}");
    assert!(body.contains("\r\nhost: localhost"), "{body}");
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

/// Pingora 0.9.1 ends an upgraded exchange at once when the upstream's 101 is there before Pingora has handled the end
/// of the (empty) request body; on loopback that happens. So one of several attempts must pass, and none may pass more
/// than it should.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_sockets_pass_once_permitted() {
    let world = world(None).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(status(&world.get("/demo/a", upgrade).await), "401");
    let request = format!("GET /demo/a HTTP/1.1\r\nHost: a\r\n{upgrade}{}\r\n", world.bearer());
    for _ in 0..50 {
        let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        let mut echo = [0; 9];
        if stream.write_all(b"any bytes").await.is_ok() && stream.read_exact(&mut echo).await.is_ok() {
            assert_eq!(&echo, b"any bytes");
            return;
        }
    }
    panic!("no upgraded connection carried anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_client_behind_a_proxy() {
    let world = world(None).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(PROXY.parse().unwrap(), 0)).unwrap();
    let mut proxy = socket.connect(world.gateway.address()).await.unwrap();
    let told = "X-Forwarded-For: 203.0.113.9, 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Request-Id: a-1.b_C\r\n";
    // The last one's head is malformed, so that nothing in it is believed.
    for (line, target) in ["/public/a", "/demo/a", "/public/%2e%2e/a", "/public/ b"].into_iter().enumerate() {
        proxy.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{told}\r\n").as_bytes()).await.unwrap();
        world.lines(line + 1).await;
    }
    let text = String::from_utf8(world.log.0.lock().clone()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, status) in [200, 401, 400].into_iter().enumerate() {
        let told = (&lines[line]["status"], &lines[line]["client"], &lines[line]["request_id"]);
        assert_eq!(told, (&status.into(), &"192.0.2.1".into(), &"a-1.b_C".into()), "{text}");
    }
    assert_eq!((&lines[3]["status"], &lines[3]["client"]), (&400.into(), &PROXY.into()), "{text}");
    assert_ne!(lines[3]["request_id"], "a-1.b_C");
    assert!(lines.iter().all(|line| line["tls"].is_null()), "{text}");
}
