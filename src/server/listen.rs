//! Sockets and the HTTP services of our own on them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{map_request, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceExt as _;

/// Who has a connection is told for so long that it ends, before it is closed.
const LAST_CALL: Duration = Duration::from_millis(150);

/// Binds a listener; `key` is the setting to blame.
pub(super) fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let socket = TcpListener::bind(address).with_context(|| format!("{key}: cannot listen on {address}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A service that is replaced while it is served.
#[derive(Clone, Debug)]
pub(super) struct Replaceable(Arc<ArcSwap<Router>>);

impl Replaceable {
    pub(super) fn new(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }

    /// Has the next request, of whatever connection, answered by another one.
    pub(super) fn replace(&self, router: Router) {
        self.0.store(Arc::new(router));
    }

    /// What is served.
    pub(super) fn router(&self) -> Router {
        let current = Arc::clone(&self.0);
        Router::new().fallback(move |request: Request| {
            let router = Router::clone(&current.load());
            async move {
                match router.oneshot(request).await {
                    Ok(answer) => answer,
                    Err(never) => never.into_response(),
                }
            }
        })
    }
}

/// A listener that is closed some time before the connections it has accepted.
///
/// ## Why
/// A connection that was accepted and has not brought its request yet is closed as an idle one is. While more are
/// accepted, there is always such a one.
struct Door {
    listener: Option<tokio::net::TcpListener>,
    address: SocketAddr,
    closing: watch::Receiver<bool>,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                accepted = Listener::accept(listener) => return accepted,
                _ = self.closing.wait_for(|close| *close) => {}
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// When a service stops accepting, and when it ends. Each is told of by a sender that says so, or is gone.
#[derive(Clone, Debug)]
pub(super) struct Until {
    pub(super) closing: watch::Receiver<bool>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Until {
    /// Both at once.
    pub(super) fn stopped(stopping: watch::Receiver<bool>) -> Self {
        Self { closing: stopping.clone(), stopping }
    }
}

/// Serves `router` on `socket` until told to stop; requests in flight are finished. Once the listener is closed, who keeps a
/// connection is told to come again on another one.
pub(super) fn serve(socket: TcpListener, router: Router, until: &Until) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(socket)?;
    let Until { closing, mut stopping } = until.clone();
    let door = Door { address: listener.local_addr()?, listener: Some(listener), closing: closing.clone() };
    let router = router.layer(map_request(|mut request: Request| {
        if let Some(ConnectInfo(Peer(address))) = request.extensions().get::<ConnectInfo<Peer>>().copied() {
            request.extensions_mut().insert(ConnectInfo(address));
        }
        std::future::ready(request)
    }));
    let router = router.layer(map_response(move |mut answer: Response| {
        // Nobody reads the rest of a body that is too large, which ends the connection: its client must know.
        if *closing.borrow() || answer.status() == StatusCode::PAYLOAD_TOO_LARGE {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(answer)
    }));
    let service = router.into_make_service_with_connect_info::<Peer>();
    Ok(tokio::spawn(async move {
        let stopped = async move {
            // Told to, or nobody is left to tell; what is returned must not be held.
            let _ = stopping.wait_for(|stop| *stop).await.is_ok();
            sleep(LAST_CALL).await;
        };
        if let Err(error) = axum::serve(door, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "a listener failed");
        }
    }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    async fn ask(connection: &mut TcpStream) -> String {
        connection.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert_ne!(connection.read_buf(&mut answer).await.unwrap(), 0);
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_closed_door_leaves_the_connections_that_it_has_let_in() {
        let socket = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "a").unwrap();
        let address = socket.local_addr().unwrap();
        let ((close, closing), (stop, stopping)) = (watch::channel(false), watch::channel(false));
        let router = Router::new().fallback(|| async { "here" });
        let task = serve(socket, router, &Until { closing, stopping }).unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        assert!(!ask(&mut kept).await.contains("connection: close"));
        close.send_replace(true);
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), closed).await.unwrap();
        assert!(ask(&mut kept).await.contains("connection: close"));
        assert!(!task.is_finished());
        stop.send_replace(true);
        timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
    }
}
