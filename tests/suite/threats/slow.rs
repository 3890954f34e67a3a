//! Clients that take their time (Slowloris and its kin).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::World;
use super::secure::{BEGINNING, Secure, block, frame};
use super::wire::get;

const SETTINGS: &[(&str, &str)] = &[
    ("CEDARGATE_GATEWAY__HANDSHAKE_TIMEOUT_MS", "600"),
    ("CEDARGATE_GATEWAY__HEADER_TIMEOUT_MS", "600"),
    ("CEDARGATE_GATEWAY__BODY_READ_TIMEOUT_MS", "400"),
    ("CEDARGATE_GATEWAY__BODY_TIMEOUT_MS", "800"),
    ("CEDARGATE_GATEWAY__BODY_MIN_BYTES_PER_SECOND", "100"),
    ("CEDARGATE_GATEWAY__KEEPALIVE_TIMEOUT_MS", "600"),
];
/// Every deadline above, and time to spare on a busy machine.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Sends `bytes` one by one, so that no single pause is long, until the other side has ended the connection; what came
/// back, and how long it took.
async fn drip(mut stream: TcpStream, beginning: &[u8], byte: u8, pause: Duration) -> (String, Duration) {
    let start = Instant::now();
    stream.write_all(beginning).await.unwrap();
    let mut answer = Vec::new();
    let dripping = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut answer) => {
                    if read.unwrap_or(0) == 0 {
                        return;
                    }
                }
                () = sleep(pause) => {
                    // It may have closed already: reading tells.
                    let _ = stream.write_all(&[byte]).await;
                }
            }
        }
    };
    timeout(PATIENCE, dripping).await.expect("the connection ends");
    (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_slow_heads_and_bodies_are_cut_off() {
    let world = World::start_with(SETTINGS).await;
    let silent = world.silent().await;
    let open = || async { TcpStream::connect(world.app.gateway).await.unwrap() };
    let pause = Duration::from_millis(100);

    for beginning in ["", "G", "GET /open/x HTTP/1.1\r\nHost: gw.example\r\nX-Drip: "] {
        world.back.clear();
        let (answer, _) = drip(open().await, beginning.as_bytes(), b'a', pause).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"reason\":\"request_timeout\""), "{answer}");
        assert_eq!(world.back.received(), "");
    }
    for head in ["Content-Length: 10000\r\n", "Transfer-Encoding: chunked\r\n"] {
        // Either a byte in every pause, or nothing at all.
        for pause in [pause, PATIENCE] {
            let post = format!("POST /silent/x HTTP/1.1\r\nHost: gw.example\r\n{head}\r\n");
            let (answer, _) = drip(open().await, post.as_bytes(), b'0', pause).await;
            let is_told =
                answer.contains("\"reason\":\"request_timeout\"") || answer.contains("\"reason\":\"bad_request\"");
            assert!(answer.starts_with("HTTP/1.1 40") && is_told, "{answer}");
            // An answer that comes before the body is no excuse.
            let (answer, _) = drip(open().await, post.replace("silent", "open").as_bytes(), b'0', pause).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
    // Nothing at all, and nothing any more.
    let (answer, took) = drip(open().await, b"", b'a', PATIENCE).await;
    assert!(answer.is_empty() && took < PATIENCE, "{answer}");
    let (answer, _) = drip(open().await, &get("/open/x", ""), b'a', PATIENCE).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(silent.requests(), 4);
    world.passes(&get("/open/x", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_39_slow_handshakes_and_blocks_are_cut_off() {
    let secure = Secure::start_with(SETTINGS).await;
    let gateway = secure.world.app.gateway;
    let silent = secure.world.silent().await;
    // A record of the handshake (RFC 8446 5.1) whose end does not come.
    let (answer, _) = drip(TcpStream::connect(gateway).await.unwrap(), b"\x16\x03\x01\x02\x00\x01", 0, PATIENCE).await;
    assert_eq!(answer, "");
    let pause = Duration::from_millis(100);
    let (answer, _) = drip(TcpStream::connect(gateway).await.unwrap(), b"\x16\x03\x01\x02\x00\x01\0", 0, pause).await;
    assert!(!answer.starts_with("HTTP"));

    let mut half = BEGINNING.to_vec();
    let mut headers = Vec::new();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "gw.example"), (":path", "/open/x")];
    frame(&mut headers, 0x1, 0, 1, &block(&fields));
    let mut body = BEGINNING.to_vec();
    let mut post = fields;
    (post[0].1, post[3].1) = ("POST", "/silent/x");
    frame(&mut body, 0x1, 0x4, 1, &block(&post));
    half.extend_from_slice(&headers);
    for beginning in [b"PRI * HT".to_vec(), half, BEGINNING.to_vec()] {
        let mut stream = secure.connect().await;
        stream.write_all(&beginning).await.unwrap();
        let ended = timeout(PATIENCE, async { while let Ok(1..) = stream.read(&mut [0; 1024]).await {} });
        ended.await.expect("the connection ends");
    }
    // A stream whose body does not come is reset; the connection has others.
    let mut stream = secure.connect().await;
    stream.write_all(&body).await.unwrap();
    let mut seen = Vec::new();
    let reset = async {
        while !seen.windows(9).any(|head| head[3] == 0x3 && head[5..] == [0, 0, 0, 1]) {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the stream is reset before the connection ends");
        }
    };
    timeout(PATIENCE, reset).await.expect("the stream ends");
    assert_eq!(silent.requests(), 1);
    assert_eq!(secure.request("GET", "gw.example", "/open/x", &[]).await, 200);
}

/// An answer that comes before the body is no licence to keep the stream.
#[tokio::test(flavor = "multi_thread")]
async fn row_39_a_body_that_never_ends_ends_with_its_answer() {
    let secure = Secure::start_with(&[SETTINGS, &[("CEDARGATE_GATEWAY__WRITE_TIMEOUT_MS", "200")]].concat()).await;
    let admin = secure.world.admin.clone();
    let upstreams = secure.world.app.admin("GET", "/upstreams/").bearer(&admin).await.expect(200).json();
    let back = upstreams.as_array().unwrap().iter().find(|upstream| upstream["name"] == "back").unwrap()["id"].clone();
    let timeouts =
        serde_json::json!({ "timeouts": { "connect_ms": 200, "read_ms": 200, "write_ms": 200, "total_ms": 400 } });
    secure.world.app.admin("PUT", &format!("/upstreams/{back}")).bearer(&admin).json(timeouts).await.expect(200);
    let mut stream = secure.connect().await;
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "gw.example"), (":path", "/open/x")];
    let mut bytes = BEGINNING.to_vec();
    // Without END_STREAM.
    frame(&mut bytes, 0x1, 0x4, 1, &block(&fields));
    stream.write_all(&bytes).await.unwrap();
    let ended = timeout(PATIENCE, async { while let Ok(1..) = stream.read(&mut [0; 1024]).await {} });
    ended.await.expect("the stream ends, and then the idle connection");
}

/// Answers without a body are answers too.
#[tokio::test(flavor = "multi_thread")]
async fn row_39_who_does_not_read_is_cut_off() {
    let world = World::start_with(&[SETTINGS, &[("CEDARGATE_GATEWAY__WRITE_TIMEOUT_MS", "500")]].concat()).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    let mut stream = socket.connect(world.app.gateway).await.unwrap();
    let request = b"HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let asking = async {
        // Until the other side takes no more, or has closed.
        while stream.write_all(&request).await.is_ok() {}
    };
    timeout(PATIENCE * 4, asking).await.expect("the connection ends");
}

/// Silence is ordinary for a WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_upgraded_may_be_silent() {
    let world = World::start_with(SETTINGS).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream =
        serde_json::json!({ "name": "socket", "targets": [{ "address": listener.local_addr().unwrap().to_string() }] });
    world.app.admin("POST", "/upstreams/").bearer(&world.admin).json(upstream).await.expect(200);
    world
        .route(serde_json::json!({ "route": "/socket", "upstream": "socket", "operations": super::world::public() }))
        .await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                // Later than the head of the request has been dealt with everywhere.
                sleep(Duration::from_millis(50)).await;
                let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                stream.write_all(switch.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
    let request = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"early") {
        assert!(timeout(PATIENCE, stream.read_buf(&mut seen)).await.unwrap().unwrap() > 0);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
    // Longer than any part of a body may take.
    sleep(Duration::from_millis(1_500)).await;
    stream.write_all(b"late").await.unwrap();
    let mut echo = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, b"late");
}

/// A sleeping machine does not hold a shutdown.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_holds_no_shutdown() {
    let secure = Secure::start().await;
    let mut stream = secure.connect().await;
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "gw.example"), (":path", "/open/x")];
    let mut bytes = BEGINNING.to_vec();
    frame(&mut bytes, 0x1, 0x5, 1, &block(&fields));
    stream.write_all(&bytes).await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    let start = Instant::now();
    assert!(secure.world.app.running.shut_down().await);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
