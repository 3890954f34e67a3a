//! Bytes on sockets: what a client library would not send, and what an upstream really receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An upstream that keeps every byte it receives and answers each request head with 200.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        Self::answering(true).await
    }

    /// One that never answers.
    pub(crate) async fn silent() -> Self {
        Self::answering(false).await
    }

    async fn answering(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&record), answers));
            }
        });
        Self { address, received }
    }

    /// Everything received so far.
    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }

    /// How many request heads were received.
    pub(crate) fn requests(&self) -> usize {
        self.received().matches("\r\n\r\n").count()
    }

    /// Forgets what was received.
    pub(crate) fn clear(&self) {
        self.received.lock().unwrap().clear();
    }
}

async fn answer(mut stream: TcpStream, record: Arc<Mutex<Vec<u8>>>, answers: bool) {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        record.lock().unwrap().extend_from_slice(&chunk[..count]);
        head.extend_from_slice(&chunk[..count]);
        while let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            head.drain(..end + 4);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if answers && stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

/// Sends `bytes` on a connection of its own and returns all that comes back until the other side closes, or says
/// nothing for half a second.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends `bytes`, which ask to close, on a connection of its own and returns all that comes back until the other side does.
pub(crate) async fn until_closed(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    end.expect("the connection ends").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 when there was none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
