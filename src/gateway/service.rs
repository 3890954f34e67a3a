//! Starting and stopping the gateway's listener.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;

use crate::http::RequestId;
use crate::jwt::{Errands, Verifier};
use crate::policy::{Decided, SnapshotHandle};
use crate::telemetry::{AccessLog, Metrics, Recent};

use super::Gateway;
use super::direct::Direct;
use super::edge::{Edge, Purpose};
use super::head::Bounds;
use super::live::{self, Streams};
use super::load::Load;
use super::memory;
use super::pace::Pace;
use super::shared::{Current, Mount, Shared, Terms};
use super::stream::frames::Allowances;
use super::tls::{Tls, TlsError, TlsFiles, TlsSettings};
use super::turned::TurnedLog;
use super::upstreams::{self, Upstreams};
use super::workers::Workers;

/// Attempts per request: connections that failed, and pooled ones that turned out to be closed.
const MAX_ATTEMPTS: usize = 16;

/// Bounds of what clients can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes, where an upstream has no bound of its own.
    pub max_body_bytes: u64,
    /// Most open connections; zero is no limit.
    pub max_connections: usize,
    /// Most open connections of one address; zero is no limit.
    pub max_connections_per_address: usize,
    /// Most requests in flight; zero is no limit.
    pub max_requests: usize,
    /// New work is refused while the process holds more bytes than this.
    pub max_memory_bytes: Option<u64>,
    /// How large a request's head may be.
    pub head: Bounds,
    /// For TLS to be agreed upon, from the connection's start.
    pub handshake_timeout: Duration,
    /// For a whole request head, from its first byte.
    pub header_timeout: Duration,
    /// For the next request on a connection.
    pub keepalive_timeout: Duration,
    /// How slowly a request's body may come.
    pub pace: Pace,
    /// For each part of an answer, to be taken by the client.
    pub write_timeout: Duration,
    /// What HTTP/2 adds.
    pub http2: Http2Limits,
    /// Unused connections to upstreams that are kept.
    pub upstream_pool: usize,
}

/// Bounds of one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at once.
    pub streams: u32,
    /// Frames that carry nothing.
    pub allowances: Allowances,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024 * 1024,
            max_connections: 0,
            max_connections_per_address: 0,
            max_requests: 0,
            max_memory_bytes: None,
            head: Bounds::default(),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            keepalive_timeout: Duration::from_mins(1),
            pace: Pace::default(),
            write_timeout: Duration::from_secs(30),
            http2: Http2Limits { streams: 100, allowances: Allowances { resets: 200, empty: 1_000 } },
            upstream_pool: 512,
        }
    }
}

/// A listener that sends clients to the gateway's TLS.
#[derive(Debug)]
pub struct Redirect {
    /// Already bound.
    pub listener: TcpListener,
    /// The port that clients know the gateway by.
    pub port: u16,
}

/// How one gateway is set up.
#[derive(Debug)]
pub struct Settings {
    /// Already bound: nothing listens before the first snapshot exists, and ports may be inherited.
    pub listener: TcpListener,
    /// Serve TLS, with HTTP/2 and HTTP/1.1 by ALPN; plain HTTP/1.1 when absent.
    pub tls: Option<TlsSettings>,
    /// Where clients without TLS are sent on.
    pub redirect: Option<Redirect>,
    /// The admin service, if it is mounted.
    pub mount: Option<Mount>,
    /// Threads that move the bytes of requests; at least one.
    pub workers: usize,
    /// Certificates that upstreams may be shown, by name.
    pub upstream_certificates: Vec<(String, TlsFiles)>,
    /// Who is asked for the names of upstreams; the system's servers when empty.
    pub dns_servers: Vec<SocketAddr>,
    /// What may change while it runs.
    pub terms: Terms,
}

/// What a gateway works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where the current snapshot is found.
    pub snapshots: SnapshotHandle,
    /// Verifies access tokens.
    pub verifier: Verifier,
    /// Has found out what tokens of other issuers need.
    pub errands: Errands,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// One line per request.
    pub access_log: AccessLog,
    /// How recent requests were decided.
    pub recent: Recent<RequestId, Decided>,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listening socket is unusable.
    #[error("the gateway's socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A certificate or key, be it of the gateway or for upstreams, is missing, malformed, or they do not belong together.
    #[error("the gateway's certificate: {0}")]
    Tls(#[from] TlsError),
}

/// A gateway that is running; dropping it ends it, and cuts what is in flight.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    redirect: Option<SocketAddr>,
    load: Arc<Load>,
    streams: Arc<Streams>,
    tls: Option<Arc<Tls>>,
    current: Arc<Current>,
    workers: Workers,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients are sent on to TLS.
    pub fn redirect(&self) -> Option<SocketAddr> {
        self.redirect
    }

    /// Serves the next request of each connection, and new connections, on other terms.
    pub fn change(&self, terms: Terms) {
        let changed = self.current.load().on(terms);
        self.current.store(Arc::new(changed));
    }

    /// Closes the listeners; requests in flight go on, idle connections are closed.
    pub fn stop_accepting(&self) {
        self.workers.stop_accepting();
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.load.requests()
    }

    /// Waits until everything that was accepted is done; false when that took longer than `limit`. WebSocket connections, which do
    /// not end by themselves, are closed within the first half of it.
    pub async fn drained(&mut self, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        let streams = Arc::clone(&self.streams);
        let rest = async {
            // What is in the socket's queue when the listener closes belongs to nobody: wait for the close first.
            self.workers.closed(limit).await
                && self.load.drained(until.saturating_duration_since(tokio::time::Instant::now())).await
        };
        tokio::select! {
            drained = rest => drained,
            () = streams.close_web_sockets(limit / 2) => false,
        }
    }

    /// The certificates, which can be loaded again.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }
}

/// Starts a gateway on threads of its own.
///
/// # Errors
/// The socket or the certificate is unusable.
pub fn start(settings: Settings, parts: Parts) -> Result<Running, StartError> {
    let Settings { listener, tls, redirect, mount, workers, upstream_certificates, dns_servers, terms } = settings;
    let Terms { limits, cors, security_headers, rates, proxies, proxy_protocol } = terms;
    let certificates = upstreams::certificates(&upstream_certificates)?;
    let tls = tls.map(|tls| Tls::load(tls, Arc::clone(&parts.metrics))).transpose()?.map(Arc::new);
    let load = Arc::new(Load::default());
    let metrics = Arc::clone(&parts.metrics);
    let streams = Streams::new(Arc::clone(&metrics));
    let current: Arc<Current> = Arc::new(ArcSwap::from_pointee(Shared {
        decisions: Shared::counters(&parts.metrics),
        snapshots: parts.snapshots,
        verifier: parts.verifier,
        errands: parts.errands,
        metrics: parts.metrics,
        access_log: parts.access_log,
        recent: parts.recent,
        cors,
        security_headers,
        rates,
        proxies,
        proxy_protocol,
        limits,
        mount,
        upstreams: Arc::new(Upstreams::new(dns_servers, certificates, Arc::clone(&metrics))),
        load: Arc::clone(&load),
        streams: Arc::clone(&streams),
        turned: Arc::<TurnedLog>::default(),
    }));
    let address = listener.local_addr()?;
    let redirected = redirect.as_ref().map(|redirect| redirect.listener.local_addr()).transpose()?;
    let mut listeners = vec![(listener, Purpose::Serve(tls.clone()))];
    listeners.extend(redirect.map(|redirect| (redirect.listener, Purpose::Redirect(redirect.port))));
    let edge = || {
        let (proxy, direct) = proxy(&current, limits.upstream_pool, workers);
        Edge::new(proxy, direct, Arc::clone(&current))
    };
    let workers = Workers::start(workers, listeners, edge)?;
    // What these two look at is the same on whatever terms.
    workers.also(upstreams::keep(current.load_full()))?;
    workers.also(live::watch(current.load_full()))?;
    let watched = Arc::clone(&current);
    let bound = move || watched.load().limits.max_memory_bytes;
    workers.also(memory::watch(Arc::clone(&load), metrics, bound))?;
    Ok(Running { address, redirect: redirected, load, streams, tls, current, workers })
}

/// The proxy of one of `workers` threads, and what it does without Pingora.
fn proxy(current: &Arc<Current>, pool: usize, workers: usize) -> (HttpProxy<Gateway>, Arc<Direct>) {
    let conf = ServerConf {
        threads: 1,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        upstream_keepalive_pool_size: pool.div_ceil(workers.max(1)),
        max_retries: MAX_ATTEMPTS,
        ..ServerConf::default()
    };
    let direct = Arc::new(Direct::new(&conf));
    let gateway = Gateway::new(Arc::clone(current), Arc::clone(&direct));
    let mut proxy = pingora::proxy::http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    // Answered by the gateway itself, with 405.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    (proxy, direct)
}
