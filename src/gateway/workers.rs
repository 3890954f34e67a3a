//! The threads of the data plane: each serves connections of its own and shares only the listening socket.
//!
//! ## Why
//! Tokio's work stealing moves a connection to wherever there is time, and pays for that with atomics, wake-ups
//! and cold caches on every request. A proxy has many connections and little to do on each, so whoever accepted
//! one keeps it, together with the upstream connections it uses; and nothing the admin service does takes its turn.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds};
use pingora::services::Service as _;
use pingora::services::listening::Service;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::edge::Edge;

/// The running threads; dropping this ends them, whatever they are doing.
#[derive(Debug)]
pub(super) struct Workers {
    stop: watch::Sender<bool>,
    /// Each is answered once its thread has closed the listener.
    closed: Vec<oneshot::Receiver<()>>,
    /// Dropped, it lets the threads end.
    _end: watch::Sender<()>,
}

impl Workers {
    /// Starts `count` threads on `listener`, which is known as `address`.
    pub(super) fn start(
        count: usize,
        listener: &TcpListener,
        address: SocketAddr,
        mut service: impl FnMut() -> Result<Service<Edge>, super::StartError>,
    ) -> Result<Self, super::StartError> {
        let (stop, stopping) = watch::channel(false);
        let (end, ending) = watch::channel(());
        let mut closed = Vec::new();
        for number in 0..count.max(1) {
            let mut fds = Fds::new();
            fds.add(address.to_string(), listener.try_clone()?.into_raw_fd());
            let (tell, told) = oneshot::channel();
            closed.push(told);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let worker = serve(service()?, Arc::new(Mutex::new(fds)), stopping.clone(), tell, ending.clone());
            std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
                runtime.block_on(worker);
                // A name that is being looked up must not hold the exit up.
                runtime.shutdown_background();
            })?;
        }
        Ok(Self { stop, closed, _end: end })
    }

    pub(super) fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the listener is closed; false when that took longer than `limit`.
    pub(super) async fn closed(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        for closed in &mut self.closed {
            // An error says that the thread is gone, and its listener with it.
            if timeout_at(until, closed).await.is_err() {
                return false;
            }
        }
        self.closed.clear();
        true
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

async fn serve(
    mut service: Service<Edge>,
    fds: ListenFds,
    stopping: watch::Receiver<bool>,
    closed: oneshot::Sender<()>,
    mut ending: watch::Receiver<()>,
) {
    service.start_service(Some(fds), stopping, 1).await;
    // Nobody listening is nobody to tell.
    let _ = closed.send(());
    // Connections go on meanwhile; the error is the signal.
    let _ = ending.changed().await;
}
