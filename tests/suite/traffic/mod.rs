//! Every kind of HTTP traffic passes the gateway unharmed, seen from both of its sides byte by byte.

mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::Backend;
use crate::support::app::App;

/// Who says nothing for so long will not say anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a connection, read part by part.
struct Wire<S = TcpStream>(BufReader<S>);

impl<S: AsyncRead + Unpin> Wire<S> {
    /// The next head; none where the other side has closed.
    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.expect("a head comes").ok()?);
        }
        Some(String::from_utf8(head).unwrap())
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.expect("bytes come").unwrap();
        bytes
    }

    /// The next chunk of a chunked body; empty at its end.
    async fn chunk(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.take(1).await);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
        let mut bytes = self.take(size + 2).await;
        bytes.truncate(size);
        bytes
    }

    /// A body as `head` frames it.
    async fn body(&mut self, head: &str) -> Vec<u8> {
        if let Some(length) = field(head, "content-length") {
            return self.take(length.parse().unwrap()).await;
        }
        let mut body = Vec::new();
        if field(head, "transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        }
        body
    }

    /// Everything until the other side closes.
    async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("the connection ends").unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

impl Wire {
    async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await.expect("bytes are taken").unwrap();
    }

    /// Sends a request without a body, and returns the head of its answer.
    async fn ask(&mut self, line: &str, fields: &str) -> String {
        self.say(format!("{line} HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n")).await;
        self.head().await.expect("an answer")
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

/// Where a back end listens that serves each of its connections by `serve`.
async fn listening<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Leads `/back/…` to the back end, and `/closed/…` for those who are signed in.
async fn lead(app: &App, address: SocketAddr, protocol: &str) {
    let admin = app.token("superadmin").await;
    let upstream = json!({ "name": "back", "protocol": protocol, "targets": [{ "address": address.to_string() }] });
    app.admin("POST", "/upstreams/").bearer(&admin).json(upstream).await.expect(200);
    let for_whom = |access: &str| json!([{ "methods": ["GET", "POST"], "access": access }]);
    app.route_to(&admin, "back", address, "/back/{*rest}", for_whom("public")).await;
    app.route_to(&admin, "back", address, "/closed/{*rest}", for_whom("authenticated")).await;
}

/// A gateway whose `/back/…` leads to a back end that serves each of its connections by `serve`.
async fn gateway_to<F, S>(serve: F) -> App
where
    F: Fn(Wire) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let address = listening(move |stream| serve(Wire(BufReader::new(stream)))).await;
    let app = App::start(Backend::Sqlite).await;
    lead(&app, address, "http1").await;
    app
}

/// A back end that answers every request, after its body, with the same bytes.
async fn always(answer: &'static str) -> App {
    gateway_to(move |mut wire| async move {
        while let Some(head) = wire.head().await {
            wire.body(&head).await;
            wire.say(answer).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_go_on_is_told_so_by_the_back_end() {
    let app = gateway_to(|mut wire| async move {
        while let Some(head) = wire.head().await {
            assert_eq!(field(&head, "expect"), Some("100-continue"), "{head}");
            wire.say("HTTP/1.1 100 Continue\r\n\r\n").await;
            let body = wire.body(&head).await;
            wire.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
            wire.say(body).await;
        }
    })
    .await;
    for (framing, body) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        let mut client = Wire::to(app.gateway).await;
        let waits = format!("Expect: 100-continue\r\n{framing}\r\n");
        let go_on = client.ask("POST /back/x", &waits).await;
        assert_eq!(status(&go_on), "100", "{go_on}");
        client.say(body).await;
        let head = client.head().await.unwrap();
        assert_eq!((status(&head), client.body(&head).await), ("200", b"hello".to_vec()), "{framing}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_go_on_hears_a_refusal_instead() {
    let app = gateway_to(|mut wire| async move {
        if wire.head().await.is_some() {
            wire.say("HTTP/1.1 417 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
        }
    })
    .await;
    for (target, length, expected) in
        [("/back/x", 5, "417"), ("/closed/x", 5, "401"), ("/nowhere", 5, "404"), ("/back/x", 1_u64 << 40, "413")]
    {
        let mut client = Wire::to(app.gateway).await;
        let waits = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        let head = client.ask(&format!("POST {target}"), &waits).await;
        assert_eq!(status(&head), expected, "{target}: {head}");
        let body = client.body(&head).await;
        assert!(!body.is_empty(), "{target}: {head}");
    }
}

/// A back end with an answer of each kind.
async fn all_kinds(mut wire: Wire) {
    while let Some(head) = wire.head().await {
        let answer = match head.split(' ').nth(1).unwrap() {
            "/back/head" => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"a\"\r\n\r\n",
            "/back/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/back/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 12345\r\nETag: \"a\"\r\n\r\n",
            "/back/206" => {
                assert_eq!((field(&head, "range"), field(&head, "if-range")), (Some("bytes=2-4"), Some("\"a\"")));
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234"
            }
            "/back/trailers" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext",
        };
        wire.say(answer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_leave_their_connection_usable() {
    let app = gateway_to(all_kinds).await;
    let mut client = Wire::to(app.gateway).await;
    for (line, expected) in [("HEAD /back/head", "200"), ("GET /back/204", "204"), ("GET /back/304", "304")] {
        let head = client.ask(line, "If-None-Match: \"a\"\r\n").await;
        assert_eq!(status(&head), expected, "{head}");
        if expected == "200" {
            assert_eq!(
                (field(&head, "content-length"), field(&head, "etag")),
                (Some("12345"), Some("\"a\"")),
                "{head}"
            );
        }
        assert_eq!(field(&head, "transfer-encoding"), None, "{head}");
        // The very next byte belongs to the next answer.
        let head = client.ask("GET /back/next", "").await;
        assert_eq!((status(&head), client.body(&head).await), ("200", b"next".to_vec()), "after {line}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_asked_for_and_answered() {
    let app = gateway_to(all_kinds).await;
    let mut client = Wire::to(app.gateway).await;
    let head = client.ask("GET /back/206", "Range: bytes=2-4\r\nIf-Range: \"a\"\r\n").await;
    assert_eq!((status(&head), field(&head, "content-range")), ("206", Some("bytes 2-4/10")), "{head}");
    assert_eq!(client.body(&head).await, b"234");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_chunked_answer_harms_nobody() {
    let app = gateway_to(all_kinds).await;
    let mut client = Wire::to(app.gateway).await;
    for _ in 0..2 {
        let head = client.ask("GET /back/trailers", "TE: trailers\r\nConnection: TE\r\n").await;
        assert_eq!((status(&head), client.body(&head).await), ("200", b"abc".to_vec()), "{head}");
        let head = client.ask("GET /back/next", "").await;
        assert_eq!((status(&head), client.body(&head).await), ("200", b"next".to_vec()), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_http_1_0_are_answered_in_their_way() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    ] {
        let app = always(answer).await;
        let mut client = Wire::to(app.gateway).await;
        client.say("GET /back/x HTTP/1.0\r\nHost: gw.example\r\n\r\n").await;
        let head = client.head().await.unwrap();
        assert_eq!((status(&head), field(&head, "transfer-encoding")), ("200", None), "{head}");
        assert_eq!(client.rest().await, "abcdef", "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_before_the_answer_does_not_take_its_place() {
    let app = always(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let mut client = Wire::to(app.gateway).await;
    for _ in 0..2 {
        let mut head = client.ask("GET /back/x", "").await;
        while status(&head) == "103" {
            head = client.head().await.unwrap();
        }
        assert_eq!((status(&head), client.body(&head).await), ("200", b"ok".to_vec()), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_piece_by_piece_as_it_is_sent() {
    let has_come = Arc::new(Notify::new());
    let goes_on = Arc::clone(&has_come);
    let app = gateway_to(move |mut wire| {
        let goes_on = Arc::clone(&goes_on);
        async move {
            while wire.head().await.is_some() {
                wire.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for piece in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
                    wire.say(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
                    // Nothing more is said before this has arrived.
                    goes_on.notified().await;
                }
                wire.say("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let mut client = Wire::to(app.gateway).await;
    for _ in 0..2 {
        let head = client.ask("GET /back/events", "").await;
        assert_eq!(status(&head), "200");
        for piece in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            let mut come = Vec::new();
            while come.len() < piece.len() {
                come.extend(client.chunk().await);
            }
            assert_eq!(String::from_utf8(come).unwrap(), piece);
            has_come.notify_one();
        }
        assert!(client.chunk().await.is_empty());
    }
}

/// Each half of what is sent comes back before the next is sent: nothing waits for the end of a body.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_flow_at_once() {
    const HALF: usize = 2 * 1024 * 1024;
    let app = gateway_to(|mut wire| async move {
        while let Some(head) = wire.head().await {
            let mut left: usize = field(&head, "content-length").unwrap().parse().unwrap();
            wire.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            let mut buffer = vec![0; 16 * 1024];
            while left > 0 {
                let count = wire.0.read(&mut buffer).await.unwrap();
                left -= count;
                wire.say(format!("{count:x}\r\n")).await;
                wire.say(&buffer[..count]).await;
                wire.say("\r\n").await;
            }
            wire.say("0\r\n\r\n").await;
        }
    })
    .await;
    let (heard, mut said) = TcpStream::connect(app.gateway).await.unwrap().into_split();
    let mut heard = Wire(BufReader::new(heard));
    let pattern: Vec<u8> = (0..HALF).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let head = format!("POST /back/echo HTTP/1.1\r\nHost: gw.example\r\nContent-Length: {}\r\n\r\n", 2 * HALF);
    said.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&heard.head().await.expect("an answer")), "200");
    for half in 0..2 {
        let echo = async {
            let mut come = Vec::new();
            while come.len() < HALF {
                come.extend(heard.chunk().await);
            }
            come
        };
        let (says, come) = tokio::join!(timeout(PATIENCE, said.write_all(&pattern)), echo);
        says.expect("bytes are taken").unwrap();
        assert!(come == pattern, "half {half}");
    }
    assert!(heard.chunk().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_body_arrives() {
    let app = gateway_to(|mut wire| async move {
        if wire.head().await.is_some() {
            // It answers without having read the body.
            wire.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
        }
    })
    .await;
    for _ in 0..5 {
        let mut client = Wire::to(app.gateway).await;
        client.say("POST /back/x HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 200000\r\n\r\n").await;
        let head = client.head().await.expect("an answer");
        assert_eq!((status(&head), client.body(&head).await), ("403", b"no".to_vec()), "{head}");
    }
}
