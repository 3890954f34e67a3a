//! A back end that does as it is told, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// How it takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// 200, with its name as body.
    Well,
    /// The same, but 500 for `/health`.
    Unwell,
    /// It reads the request and says nothing.
    Silent,
    /// It reads the request and closes the connection.
    Closing,
    /// It answers what is no HTTP.
    Babbling,
    /// It answers half of what it announces.
    Half,
    /// It closes the connection between two requests, without a word.
    Forgetful,
}

struct State {
    name: &'static str,
    mood: Mutex<Mood>,
    seen: Mutex<Vec<String>>,
}

pub(super) struct Back {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    task: Mutex<Option<AbortHandle>>,
}

impl Back {
    pub(super) async fn start(name: &'static str) -> Self {
        Self::at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(super) async fn at(name: &'static str, address: SocketAddr) -> Self {
        let state = Arc::new(State { name, mood: Mutex::new(Mood::Well), seen: Mutex::default() });
        let mut back = Self { address, state, task: Mutex::default() };
        back.listen().await;
        back
    }

    async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let state = Arc::clone(&self.state);
        let task = tokio::spawn(async move {
            // Connections end with the task.
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&state)));
            }
        });
        *self.task.lock().unwrap() = Some(task.abort_handle());
    }

    /// Refuses connections, and closes those there are.
    pub(super) async fn stop(&self) {
        let task = self.task.lock().unwrap().take();
        task.inspect(AbortHandle::abort);
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn start_again(&mut self) {
        self.listen().await;
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// What it was asked, but for its health: heads with bodies.
    pub(super) fn seen(&self) -> Vec<String> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|request| !request.starts_with("GET /health ")).cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.seen().len()
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.task.lock().unwrap().take().inspect(AbortHandle::abort);
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let whole = end + length.map_or(0, |length| length.parse::<usize>().unwrap());
        while bytes.len() < whole {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let request: Vec<u8> = bytes.drain(..whole).collect();
        let request = String::from_utf8_lossy(&request).into_owned();
        let asks_health = request.starts_with("GET /health ");
        state.seen.lock().unwrap().push(request);
        let mood = *state.mood.lock().unwrap();
        let name = state.name;
        let fine =
            format!("HTTP/1.1 200 OK\r\nServer: own\r\nX-Back: {name}\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        let answer = match mood {
            Mood::Unwell if asks_health => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Mood::Well | Mood::Unwell | Mood::Forgetful => fine,
            Mood::Silent => return std::future::pending().await,
            Mood::Closing => return,
            Mood::Babbling => "what a fine day it is\r\n\r\n".to_owned(),
            Mood::Half => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || matches!(mood, Mood::Half | Mood::Babbling) {
            return;
        }
        if mood == Mood::Forgetful {
            // It looks open until something is sent.
            if stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
                state.seen.lock().unwrap().push("STALE ".to_owned() + &String::from_utf8_lossy(&bytes));
            }
            return;
        }
    }
}
