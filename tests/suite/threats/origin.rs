//! A back end that reads requests by their framing alone (RFC 9112 6.3), and remembers which connection each came on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::World;
use super::world::public;

/// The answer that says least.
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// What nobody without a token may ask.
pub(super) const SECRET: &str = "GET /admin/x HTTP/1.1\r\nHost: gw.example\r\n\r\n";

/// When, and for how much, an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Answers what it has read to its end.
    Bodies,
    /// Answers heads, while their bodies are on their way.
    Heads,
    /// Takes what follows a head for the next request, whatever length was announced.
    NoLengths,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: String,
}

impl Request {
    pub(super) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub(super) fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a field, in the order of their lines.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// The back end itself.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Origin {
    /// Answers each request with `answer`, in which `LINE` stands for its request line.
    pub(super) async fn start(reads: Reads, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
        let record = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut all = record.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let record = Arc::clone(&record);
                tokio::spawn(serve(stream, reads, answer, move |bytes| {
                    record.lock().unwrap()[number].extend_from_slice(bytes);
                }));
            }
        });
        Self { address, connections }
    }

    /// Every byte of each connection so far.
    pub(super) fn connections(&self) -> Vec<String> {
        self.connections.lock().unwrap().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// The requests so far. What has not come to its end is told with the body it has.
    pub(super) fn requests(&self) -> Vec<Request> {
        let connections = self.connections.lock().unwrap();
        let mut requests = Vec::new();
        for mut rest in connections.iter().map(Vec::as_slice) {
            while let Some(head) = head_length(rest) {
                let end = message_length(rest, head).unwrap_or(rest.len());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                requests.push(Request { head: text(&rest[..head]), body: text(&rest[head..end]) });
                rest = &rest[end..];
            }
        }
        requests
    }

    /// The request lines so far, without their version.
    pub(super) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.line().trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }
}

/// Makes `/to/…` a public route to a back end of its own, and `/for/…` one for who has a token.
pub(super) async fn origin(world: &World, reads: Reads, answer: &'static str) -> Origin {
    let origin = Origin::start(reads, answer).await;
    let authenticated = json!([{ "methods": ["*"], "access": "authenticated" }]);
    for (path, operations) in [("/to/{*rest}", public()), ("/for/{*rest}", authenticated)] {
        world.app.route_to(&world.admin, "origin", origin.address, path, operations).await;
    }
    origin
}

async fn serve(mut stream: TcpStream, reads: Reads, answer: &str, record: impl Fn(&[u8])) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let mut answered = false;
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        record(&chunk[..count]);
        bytes.extend_from_slice(&chunk[..count]);
        while let Some(head) = head_length(&bytes) {
            let end = if reads == Reads::NoLengths { Some(head) } else { message_length(&bytes, head) };
            if !answered && (end.is_some() || reads == Reads::Heads) {
                let line = String::from_utf8_lossy(&bytes[..head]);
                let answer = answer.replace("LINE", line.split("\r\n").next().unwrap());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            answered = end.is_none() && reads == Reads::Heads;
            let Some(end) = end else { break };
            bytes.drain(..end);
        }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// How long the message is whose head is so long; `None` as long as it is not all there.
fn message_length(bytes: &[u8], head: usize) -> Option<usize> {
    let fields = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let value = |name: &str| fields.split("\r\n").find_map(|line| line.strip_prefix(name)).map(str::trim);
    let end = match (value("transfer-encoding:"), value("content-length:")) {
        (Some(_), _) => return chunked_length(bytes, head),
        (None, Some(length)) => head + length.parse::<usize>().ok()?,
        (None, None) => head,
    };
    (bytes.len() >= end).then_some(end)
}

fn chunked_length(bytes: &[u8], head: usize) -> Option<usize> {
    let line_end = |from: usize| bytes[from..].windows(2).position(|window| window == b"\r\n").map(|at| from + at);
    let mut at = head;
    loop {
        let end = line_end(at)?;
        let size = String::from_utf8_lossy(&bytes[at..end]).into_owned();
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
        bytes.get(..at)?;
    }
    // Trailers, to the blank line.
    loop {
        let end = line_end(at)?;
        if end == at {
            return Some(end + 2);
        }
        at = end + 2;
    }
}
