//! The threads of the data plane: each serves connections of its own and shares only the listening sockets.
//!
//! ## Why
//! Tokio's work stealing moves a connection to wherever there is time, and pays for that with atomics, wake-ups
//! and cold caches on every request. A proxy has many connections and little to do on each, so whoever accepted
//! one keeps it, together with the upstream connections it uses; and nothing the admin service does takes its turn.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::edge::{Edge, Purpose, stopping};

/// How long a thread waits when it cannot accept a connection, most likely because no file descriptor is left.
const BREATH: Duration = Duration::from_millis(100);

/// The running threads; dropping this ends them, whatever they are doing.
#[derive(Debug)]
pub(super) struct Workers {
    stop: watch::Sender<bool>,
    /// Each is answered once its thread has closed the listeners.
    closed: Vec<oneshot::Receiver<()>>,
    /// Dropped, it lets the threads end.
    end: watch::Sender<()>,
}

impl Workers {
    /// Starts `count` threads on listening sockets, each for a purpose.
    pub(super) fn start(
        count: usize,
        listeners: Vec<(TcpListener, Purpose)>,
        edge: impl Fn() -> Edge,
    ) -> io::Result<Self> {
        let (listeners, purposes): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
        let purposes: Arc<[Purpose]> = purposes.into();
        let (stop, stopping) = watch::channel(false);
        let (end, mut ending) = watch::channel(());
        ending.mark_unchanged();
        let mut closed = Vec::new();
        for number in 0..count.max(1) {
            let (tell, told) = oneshot::channel();
            closed.push(told);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let sockets = {
                let _entered = runtime.enter();
                sockets(&listeners)?
            };
            let worker = Worker { edge: Arc::new(edge()), purposes: Arc::clone(&purposes), stop: stopping.clone() };
            run(format!("gateway-{number}"), runtime, worker.serve(sockets, tell, ending.clone()))?;
        }
        Ok(Self { stop, closed, end })
    }

    /// Does something else for as long as the threads run, on one of its own.
    pub(super) fn also(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut ending = self.end.subscribe();
        run("gateway-watch".to_owned(), runtime, async move {
            tokio::select! {
                () = task => {}
                _ = ending.changed() => {}
            }
        })
    }

    pub(super) fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the listeners are closed; false when that took longer than `limit`.
    pub(super) async fn closed(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        for closed in &mut self.closed {
            // An error says that the thread is gone, and its listeners with it.
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

/// A thread's own copies.
fn sockets(listeners: &[TcpListener]) -> io::Result<Vec<tokio::net::TcpListener>> {
    let own = listeners.iter().map(|listener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener.try_clone()?)
    });
    own.collect()
}

fn run(name: String, runtime: Runtime, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(move || {
        runtime.block_on(task);
        // A name that is being looked up must not hold the exit up.
        runtime.shutdown_background();
    })?;
    Ok(())
}

struct Worker {
    edge: Arc<Edge>,
    purposes: Arc<[Purpose]>,
    stop: watch::Receiver<bool>,
}

impl Worker {
    async fn serve(
        self,
        sockets: Vec<tokio::net::TcpListener>,
        closed: oneshot::Sender<()>,
        mut ending: watch::Receiver<()>,
    ) {
        let worker = Arc::new(self);
        let tidying = tokio::spawn({
            let worker = Arc::clone(&worker);
            async move { worker.edge.tidy().await }
        });
        let mut accepting = JoinSet::new();
        for (index, socket) in sockets.into_iter().enumerate() {
            accepting.spawn(Arc::clone(&worker).accept(index, socket));
        }
        accepting.join_all().await;
        worker.edge.cleanup().await;
        // Nobody listening is nobody to tell.
        let _ = closed.send(());
        // Connections go on meanwhile; the error is the signal.
        let _ = ending.changed().await;
        tidying.abort();
    }

    /// Accepts connections until told to stop.
    async fn accept(self: Arc<Self>, index: usize, socket: tokio::net::TcpListener) {
        let mut stopped = std::pin::pin!(stopping(self.stop.clone()));
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((tcp, from)) => {
                    let worker = Arc::clone(&self);
                    tokio::spawn(async move {
                        worker.edge.connection(tcp, from, &worker.purposes[index], worker.stop.clone()).await;
                    });
                }
                // Gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    sleep(BREATH).await;
                }
            }
        }
    }
}
