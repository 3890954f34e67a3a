//! Back ends that answer with garbage, half of something, too much or nothing: the client is told within the deadline, is
//! given nothing of anybody else's answer, and what is not idempotent is asked once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::World;
use super::wire::get;
use super::world::public;
use crate::support::raw::{self, exchange};

/// What a back end does once it has read a request's head.
#[derive(Clone, Debug)]
enum Deed {
    Send(Vec<u8>),
    /// Sends one byte after another, each after a while.
    Drip(&'static [u8], Duration),
    /// The same again and again.
    Flood(&'static [u8]),
    Wait(Duration),
    Close,
    /// Resets the connection.
    Reset,
    Hang,
}

/// A back end that does the same with each request, and counts them.
struct Odd {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Odd {
    async fn start(deeds: Vec<Deed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (asked, opened) = (Arc::clone(&requests), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&asked), deeds.clone()));
            }
        });
        Self { address, requests, connections }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<AtomicUsize>, deeds: Vec<Deed>) {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        head.extend_from_slice(&chunk[..count]);
        let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        head.drain(..end + 4);
        requests.fetch_add(1, Ordering::SeqCst);
        for deed in &deeds {
            if !perform(&mut stream, deed).await {
                return;
            }
        }
    }
}

/// Whether more follows.
async fn perform(stream: &mut TcpStream, deed: &Deed) -> bool {
    match deed {
        Deed::Send(bytes) => stream.write_all(bytes).await.is_ok(),
        Deed::Drip(bytes, pause) => {
            for byte in *bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    return false;
                }
                sleep(*pause).await;
            }
            true
        }
        Deed::Flood(bytes) => {
            while stream.write_all(bytes).await.is_ok() {}
            false
        }
        Deed::Wait(pause) => {
            sleep(*pause).await;
            true
        }
        Deed::Close => false,
        Deed::Reset => {
            stream.set_zero_linger().unwrap();
            false
        }
        Deed::Hang => {
            sleep(Duration::from_mins(1)).await;
            false
        }
    }
}

fn send(bytes: impl AsRef<[u8]>) -> Deed {
    Deed::Send(bytes.as_ref().to_vec())
}

/// A gateway whose route `/odd/…` leads to `odd`, which has to answer within half a second, and a second in all.
async fn before(odd: &Odd) -> World {
    before_with(odd, json!({ "connect_ms": 500, "read_ms": 500, "write_ms": 500, "total_ms": 1_000 })).await
}

async fn before_with(odd: &Odd, timeouts: serde_json::Value) -> World {
    let world = World::start().await;
    let upstream = json!({
        "name": "odd", "targets": [{ "address": odd.address.to_string() }], "timeouts": timeouts, "retries": 2,
        "ejection": null,
    });
    world.app.admin("POST", "/upstreams/").bearer(&world.admin).json(upstream).await.expect(200);
    world.route(json!({ "route": "/odd/{*rest}", "upstream": "odd", "operations": public() })).await;
    world
}

/// The final answer to a request that ends its connection: hints come before it.
async fn asked(world: &World, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "an answer within ten seconds");
    String::from_utf8_lossy(&answer).replace("HTTP/1.1 103 Early Hints\r\n\r\n", "")
}

/// Nothing that can be taken for an answer.
fn useless() -> Vec<(&'static str, u16, Vec<Deed>)> {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Some: thing\r\n".repeat(100_000));
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(4 * 1024 * 1024));
    let slow = Duration::from_millis(20);
    vec![
        ("zeros", 502, vec![send([0; 64]), Deed::Close]),
        ("garbage", 502, vec![send("\u{16}\u{3}\u{1} this is no answer\r\n\r\n"), Deed::Close]),
        ("another protocol", 502, vec![send("SSH-2.0-OpenSSH_9.9\r\n"), Deed::Close]),
        ("nothing", 502, vec![Deed::Close]),
        ("a reset", 502, vec![Deed::Reset]),
        ("half a head", 502, vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Deed::Close]),
        ("half a head, then a reset", 502, vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Deed::Reset]),
        ("100,000 fields", 502, vec![send(many), Deed::Close]),
        ("a long field", 502, vec![send(long), Deed::Close]),
        ("two lengths", 502, vec![send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")]),
        ("a length that is none", 502, vec![send("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nab")]),
        ("silence", 504, vec![Deed::Hang]),
        ("half a head, then silence", 504, vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Deed::Hang]),
        ("a first line byte by byte", 504, vec![send("HTTP/1.1 200 "), Deed::Drip(&[b'x'; 500], slow)]),
        ("a field byte by byte", 504, vec![send("HTTP/1.1 200 OK\r\nX: "), Deed::Drip(&[b'x'; 500], slow)]),
        ("hints without end", 502, vec![Deed::Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n")]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_told_within_the_deadline() {
    for (name, status, deeds) in useless() {
        let odd = Odd::start(deeds).await;
        let world = before(&odd).await;
        let begun = Instant::now();
        let answer = asked(&world, b"GET /odd/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let took = begun.elapsed();
        let shown: String = answer.chars().take(400).collect();
        assert_eq!(raw::status(&answer), status, "{name}: {shown}");
        assert!(answer.contains("\"reason\":\"upstream_"), "{name}: {shown}");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");

        let reached = odd.requests();
        let posted = b"POST /odd/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(raw::status(&asked(&world, posted).await), status, "{name}, POST");
        assert_eq!(odd.requests() - reached, 1, "{name}: what is not idempotent was asked again");
        // The rest of the gateway does not mind.
        world.passes(&get("/open/a", "")).await;
    }
}

/// Answers that begin well, and what the client may see of them.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer_is_not_told_as_a_whole_one() {
    for (name, deeds) in [
        ("closed", vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), Deed::Close]),
        ("reset", vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), Deed::Reset]),
        ("silent", vec![send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), Deed::Hang]),
        (
            "chunks, closed",
            vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), Deed::Close],
        ),
        (
            "chunks, malformed",
            vec![send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"), Deed::Hang],
        ),
    ] {
        let odd = Odd::start(deeds).await;
        let world = before(&odd).await;
        let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
        stream
            .write_all(b"GET /odd/a HTTP/1.1\r\nHost: a\r\n\r\nGET /open/b HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut all = Vec::new();
        let begun = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "{name}: the connection stays open");
        let text = String::from_utf8_lossy(&all);
        // Nothing at all tells as much.
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 200"), "{name}: {text}");
        assert!(text.matches("HTTP/1.1").count() <= 1, "{name}: something follows half an answer: {text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{name}: {text}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{name}");
        // Asked anew, on a connection of its own.
        let connections = odd.connections.load(Ordering::SeqCst);
        exchange(world.app.gateway, &get("/odd/b", "")).await;
        assert_eq!(odd.connections.load(Ordering::SeqCst), connections + 1, "{name}: a broken connection was kept");
    }
}

/// What comes beyond an answer is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_an_answer_reaches_nobody() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    for (name, first) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ] {
        let odd = Odd::start(vec![send(format!("{first}{second}"))]).await;
        let world = before(&odd).await;
        for _ in 0..10 {
            let answer = exchange(world.app.gateway, &get("/odd/a", "Connection: close\r\n")).await;
            assert!(answer.starts_with(&first[..12]) && !answer.contains("stolen"), "{name}: {answer}");
        }
        let head = exchange(world.app.gateway, b"HEAD /odd/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(head.starts_with(&first[..12]) && !head.contains("stolen"), "{name}: {head}");
        assert_eq!(odd.connections.load(Ordering::SeqCst), odd.requests(), "{name}: a connection was used again");
    }
    // What comes a little later, when the connection waits for its next request.
    let late = vec![
        send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        Deed::Drip(b"\0", Duration::from_millis(20)),
        send(second),
    ];
    let odd = Odd::start(late).await;
    let world = before(&odd).await;
    for _ in 0..10 {
        let answer = world.send(&get("/odd/a", "")).await;
        assert!(answer.text.ends_with("ok") && !answer.text.contains("stolen"), "{}", answer.text);
        sleep(Duration::from_millis(60)).await;
    }
}

/// Who may be silent for long within an answer has no longer to begin it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_silence_is_for_what_has_begun() {
    let timeouts = json!({ "connect_ms": 500, "read_ms": 60_000, "write_ms": 500, "total_ms": 400 });
    let silent = Odd::start(vec![Deed::Hang]).await;
    let world = Box::pin(before_with(&silent, timeouts.clone())).await;
    let answer = asked(&world, b"GET /odd/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(raw::status(&answer), 504, "{answer}");

    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let deeds = vec![send(head), Deed::Wait(Duration::from_millis(1_200)), send("3\r\ndef\r\n0\r\n\r\n")];
    let slow = Odd::start(deeds).await;
    let world = Box::pin(before_with(&slow, timeouts)).await;
    let answer = asked(&world, b"GET /odd/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("3\r\ndef\r\n0\r\n\r\n"), "{answer}");
}
