//! Sockets and the HTTP services of our own on them.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Binds a listener; `key` is the setting to blame.
pub(super) fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let socket = TcpListener::bind(address).with_context(|| format!("{key}: cannot listen on {address}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves `router` on `socket` until told to stop; requests in flight are finished.
pub(super) fn serve(
    socket: TcpListener,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(socket)?;
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
