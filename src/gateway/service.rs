//! Starting and stopping the gateway's listener.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{ALPN, L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use pingora::services::listening::Service;

use crate::http::{Cors, GatewayLimits, RequestId, SecurityHeaders, TrustedProxies};
use crate::jwt::{Errands, Verifier};
use crate::policy::{Decided, SnapshotHandle};
use crate::telemetry::{AccessLog, Metrics, Recent};

use super::Gateway;
use super::edge::Edge;
use super::load::Load;
use super::meters::Meters;
use super::shared::{Mount, Shared};
use super::tls;
use super::upstreams::Upstreams;
use super::workers::Workers;

/// Attempts per request: connections that failed, and pooled ones that turned out to be closed.
const MAX_ATTEMPTS: usize = 16;
/// Measured: 10,000 idle connections cost 40 KB each with this, and 100 KB with Pingora's default.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = 4 * 1024;

/// Bounds of what clients can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes, where an upstream has no bound of its own.
    pub max_body_bytes: u64,
    /// Most open connections; zero is no limit.
    pub max_connections: usize,
    /// Most open connections of one address; zero is no limit.
    pub max_connections_per_address: usize,
    /// For a whole request head, from its first byte.
    pub header_timeout: Duration,
    /// For the next request on a connection.
    pub keepalive_timeout: Duration,
    /// For each read of a request's body.
    pub body_read_timeout: Duration,
    /// Unused connections to upstreams that are kept.
    pub upstream_pool: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024 * 1024,
            max_connections: 0,
            max_connections_per_address: 0,
            header_timeout: Duration::from_secs(10),
            keepalive_timeout: Duration::from_mins(1),
            body_read_timeout: Duration::from_secs(30),
            upstream_pool: 512,
        }
    }
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How one gateway is set up.
#[derive(Debug)]
pub struct Settings {
    /// Already bound: nothing listens before the first snapshot exists, and ports may be inherited.
    pub listener: TcpListener,
    /// Serve TLS, with HTTP/2 and HTTP/1.1 by ALPN; plain HTTP/1.1 when absent.
    pub tls: Option<TlsFiles>,
    /// The admin service, if it is mounted.
    pub mount: Option<Mount>,
    /// Threads that move the bytes of requests; at least one.
    pub workers: usize,
    /// Bounds.
    pub limits: Limits,
    /// How preflights are answered.
    pub cors: Cors,
    /// Sent with the gateway's own answers, unless they are turned off; what upstreams answer is theirs.
    pub security_headers: Option<SecurityHeaders>,
    /// How much one client may ask for; none where that is not limited.
    pub rates: Option<GatewayLimits>,
    /// Whose word about clients is believed.
    pub proxies: TrustedProxies,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
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
    /// Certificate or key are missing, malformed, or do not belong together.
    #[error("the gateway's certificate: {0}")]
    Tls(String),
}

/// A gateway that is running; dropping it ends it, and cuts what is in flight.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    load: Arc<Load>,
    certificate: Option<Arc<tls::Certificate>>,
    workers: Workers,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener; requests in flight go on, idle connections are closed.
    pub fn stop_accepting(&self) {
        self.workers.stop_accepting();
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.load.requests()
    }

    /// Waits until everything that was accepted is done; false when that took longer than `limit`.
    pub async fn drained(&mut self, limit: Duration) -> bool {
        let until = tokio::time::Instant::now() + limit;
        // What is in the socket's queue when the listener closes belongs to nobody: wait for the close first.
        self.workers.closed(limit).await
            && self.load.drained(until.saturating_duration_since(tokio::time::Instant::now())).await
    }

    /// Reads certificate and key again; new connections use them.
    ///
    /// # Errors
    /// They are unusable; the ones before stay in use.
    pub fn reload_certificate(&self) -> Result<(), StartError> {
        self.certificate.as_ref().map_or(Ok(()), |certificate| certificate.reload())
    }
}

/// Starts a gateway on threads of its own.
///
/// # Errors
/// The socket or the certificate is unusable.
pub fn start(settings: Settings, parts: Parts) -> Result<Running, StartError> {
    let Settings { listener, tls, mount, workers, limits, cors, security_headers, rates, proxies, .. } = settings;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let load = Arc::new(Load::default());
    let shared = Arc::new(Shared {
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
        limits,
        mount,
        upstreams: Upstreams::default(),
        meters: Meters::default(),
        load: Arc::clone(&load),
    });
    let certificate = tls.map(tls::Certificate::load).transpose()?.map(Arc::new);
    let workers = Workers::start(workers, &listener, address, || {
        let edge = Edge::new(proxy(&shared, workers), Arc::clone(&shared));
        let mut service = Service::new("gateway".to_owned(), edge);
        service.add_listener(endpoint(address, certificate.as_ref())?);
        Ok(service)
    })?;
    Ok(Running { address, load, certificate, workers })
}

/// The proxy of one of `workers` threads.
fn proxy(shared: &Arc<Shared>, workers: usize) -> HttpProxy<Gateway> {
    let conf = ServerConf {
        threads: 1,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        upstream_keepalive_pool_size: shared.limits.upstream_pool.div_ceil(workers.max(1)),
        max_retries: MAX_ATTEMPTS,
        ..ServerConf::default()
    };
    let mut proxy = pingora::proxy::http_proxy(&Arc::new(conf), Gateway::new(Arc::clone(shared)));
    let mut options = HttpServerOptions::default();
    // Answered by the gateway itself, with 405.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(shared.limits.keepalive_timeout);
    proxy.server_options = Some(options);
    proxy
}

fn endpoint(address: SocketAddr, certificate: Option<&Arc<tls::Certificate>>) -> Result<ListenerConfig, StartError> {
    let mut socket = TcpSocketOptions::default();
    socket.tcp_fastopen = None;
    let buffers = L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER);
    let endpoint = ListenerConfig::tcp(address.to_string()).tcp_socket_options(socket).l4_buffer(buffers);
    let Some(certificate) = certificate else { return Ok(endpoint) };
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| StartError::Tls(error.to_string()))?;
    settings.set_cert_resolver(Arc::<tls::Certificate>::clone(certificate));
    settings.set_alpn(ALPN::H2H1);
    Ok(endpoint.tls(settings))
}
