//! One HTTP/1 exchange after another on a socket, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    /// Whether the other side said that it closes.
    pub(super) closes: bool,
}

/// A connection that is kept open.
pub(super) struct Wire(TcpStream);

impl Wire {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// The same from another address of this machine.
    pub(super) async fn open_from(from: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        Self(socket.connect(address).await.unwrap())
    }

    /// Sends `request` and reads one answer; status 0 when the connection closed instead.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Answer {
        // The other side may have seen enough and closed: its answer tells.
        let _ = self.0.write_all(request).await;
        let mut bytes = Vec::new();
        let read = async {
            while !is_complete(&bytes) {
                if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer within ten seconds");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let closes = text.is_empty() || text.to_lowercase().contains("\r\nconnection: close");
        Answer { status, text, closes }
    }
}

fn is_complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// A connection on which pieces are sent with pauses.
pub(super) struct Slow(TcpStream);

impl Slow {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends `piece`; returns all that comes back until there is silence.
    pub(super) async fn say(&mut self, piece: &str) -> String {
        // The other side may have closed: what it said before is still there.
        let _ = self.0.write_all(piece.as_bytes()).await;
        let mut heard = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_millis(300), self.0.read(&mut chunk)).await
        {
            heard.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// The statuses of the answers in `text`.
pub(super) fn statuses(text: &str) -> Vec<u16> {
    text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().unwrap()).collect()
}

/// A request without body.
pub(super) fn get(target: &str, fields: &str) -> Vec<u8> {
    raw(&format!("GET {target} HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n"))
}

pub(super) fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

pub(super) fn post(target: &str, fields: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n{body}")
}

pub(super) fn with_length(target: &str, body: &str) -> String {
    post(target, &format!("Content-Length: {}\r\n", body.len()), body)
}
