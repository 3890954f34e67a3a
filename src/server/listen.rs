//! Sockets and the HTTP services of our own on them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::http::Lifecycle;

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

/// Serves `router` on `socket` until told to stop; requests in flight are finished. From the time that the process
/// drains, who keeps a connection is told to come again on another one.
pub(super) fn serve(
    socket: TcpListener,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    lifecycle: Lifecycle,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(socket)?;
    let router = router.layer(map_response(move |mut answer: Response| {
        if lifecycle.is_draining() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(answer)
    }));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(tokio::spawn(async move {
        let stopped = async move {
            let _told_or_gone = stopping.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "a listener failed");
        }
    }))
}
