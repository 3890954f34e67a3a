//! Frames that cost more than they carry.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::secure::{BEGINNING, Secure, block, frame};

/// More frames than any allowance.
const FRAMES: usize = 20_000;
const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Sends frames until the connection ends; the code of the GOAWAY, if one came, and how many were sent.
async fn flood(mut stream: TlsStream<TcpStream>, frames: impl Fn(u32) -> Vec<u8>) -> (Option<u32>, usize) {
    let mut bytes = BEGINNING.to_vec();
    let (mut sent, mut received) = (0, Vec::new());
    let mut chunk = vec![0; 16 * 1024];
    while sent < FRAMES {
        for _ in 0..50 {
            bytes.extend_from_slice(&frames(u32::try_from(sent).unwrap()));
            sent += 1;
        }
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        bytes.clear();
        // What comes back is read, or neither side could go on.
        while let Ok(Ok(count @ 1..)) = timeout(Duration::from_millis(1), stream.read(&mut chunk)).await {
            received.extend_from_slice(&chunk[..count]);
        }
    }
    let rest = async {
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            received.extend_from_slice(&chunk[..count]);
        }
    };
    timeout(Duration::from_secs(5), rest).await.expect("the connection ends");
    (goaway(&received), sent)
}

/// The code of the last GOAWAY.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    let mut code = None;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = rest.get(..length)?;
        if *kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = &rest[length..];
    }
    code
}

fn one(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, flags, stream, payload);
    bytes
}

/// The number of the client's n-th stream.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn row_37_floods_end_their_connection_and_nothing_else() {
    let secure = Secure::start().await;
    let fields = |method| {
        block(&[(":method", method), (":scheme", "https"), (":authority", "gw.example"), (":path", "/open/x")])
    };
    let (get, post) = (fields("GET"), fields("POST"));
    // One stream that stays open, then frames on it.
    let on_one = |kind: u8, payload: Vec<u8>| {
        let post = post.clone();
        move |number: u32| match number {
            0 => one(HEADERS, END_HEADERS, 1, &post),
            _ => one(kind, 0, 1, &payload),
        }
    };
    // CVE-2023-44487: requests that are cancelled at once.
    let resets = |number: u32| {
        let mut bytes = one(HEADERS, END_HEADERS | END_STREAM, stream(number), &get);
        bytes.extend_from_slice(&one(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes()));
        bytes
    };
    // CVE-2025-8671: requests that we have to cancel, since a window of nothing is opened on them.
    let made_us_reset = |number: u32| {
        let mut bytes = one(HEADERS, END_HEADERS, stream(number), &post);
        bytes.extend_from_slice(&one(0x8, 0, stream(number), &0_u32.to_be_bytes()));
        bytes
    };
    // RUSTSEC-2024-0332: header fields without end.
    let continuations = |number: u32| match number {
        0 => one(HEADERS, 0, 1, &get),
        _ => one(CONTINUATION, 0, 1, b"\0\x01a\x01b"),
    };
    let none = |number: u32| match number {
        0 => one(HEADERS, 0, 1, &get),
        _ => one(CONTINUATION, 0, 1, &[]),
    };
    // Bounded by nothing but what they cost (CVE-2019-9512, CVE-2019-9515, CVE-2019-9511).
    let pings = |_| one(0x6, 0, 0, &[0; 8]);
    let settings = |_| one(0x4, 0, 0, &[]);
    let updates = |_| one(0x8, 0, 0, &1_u32.to_be_bytes());
    let priorities = |_| one(0x2, 0, 3, &[0; 5]);
    let unknown = |_| one(0xbe, 0, 0, &[]);
    let crumbs = on_one(DATA, b"a".to_vec());
    let empty = on_one(DATA, Vec::new());

    for (name, (code, sent)) in [
        ("resets", flood(secure.connect().await, resets).await),
        ("resets of ours", flood(secure.connect().await, made_us_reset).await),
        ("continuations", flood(secure.connect().await, continuations).await),
        ("empty continuations", flood(secure.connect().await, none).await),
        ("pings", flood(secure.connect().await, pings).await),
        ("settings", flood(secure.connect().await, settings).await),
        ("window updates", flood(secure.connect().await, updates).await),
        ("priorities", flood(secure.connect().await, priorities).await),
        ("unknown frames", flood(secure.connect().await, unknown).await),
        ("crumbs", flood(secure.connect().await, crumbs).await),
        ("empty data", flood(secure.connect().await, empty).await),
    ] {
        assert!(sent < FRAMES, "{name}: {sent} frames");
        // A window of nothing is an error of the connection to some (RFC 9113 6.9).
        assert!(code.is_none_or(|code| [PROTOCOL_ERROR, ENHANCE_YOUR_CALM].contains(&code)), "{name}: {code:?}");
        // Everybody else is served.
        secure.world.back.clear();
        assert_eq!(secure.request("GET", "gw.example", "/open/x", &[]).await, 200, "{name}");
    }
    let metrics = secure.world.app.internal("GET", "/metrics").await.expect(200).text;
    let floods =
        metrics.lines().find_map(|line| line.strip_prefix("cedargate_connections_refused_total{cause=\"flood\"} "));
    assert!(floods.unwrap().parse::<u32>().unwrap() >= 9, "{floods:?}");
}

/// What is expected of an ordinary client is far below what ends a connection.
#[tokio::test(flavor = "multi_thread")]
async fn busy_clients_are_no_flood() {
    let secure = Secure::start().await;
    let (client, connection) = h2::client::handshake(secure.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    for round in 0..20 {
        let mut answers = Vec::new();
        for number in 0..50 {
            let mut client = client.clone().ready().await.unwrap();
            let request = http::Request::get("https://gw.example/open/x").body(()).unwrap();
            let (answer, stream) = client.send_request(request, true).unwrap();
            if number % 10 == 0 {
                // A tab that was closed, a search that was typed on.
                drop((answer, stream));
            } else {
                answers.push(answer);
            }
        }
        for answer in answers {
            let answer = timeout(Duration::from_secs(5), answer).await.unwrap().unwrap();
            assert_eq!(answer.status(), 200, "{round}");
            // A body that is given up is a stream that is cancelled.
            let mut body = answer.into_body();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data.unwrap().len()).unwrap();
            }
        }
    }
    connection.abort();
}
