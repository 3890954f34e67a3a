//! Connections of clients, from the first byte to the last.
//!
//! ## Why
//! Pingora's own listener gives every handshake a minute, reads heads without a total deadline, and has no hook that
//! ends a stream. So connections are accepted, encrypted and timed here, and Pingora is handed requests.

pub(super) mod grpc;
mod http1;
mod http2;
mod plain;
mod redirect;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pingora::apps::HttpServerApp as _;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::model::Reason;
use crate::telemetry::Turned;
use crate::telemetry::logs::SECURITY;

use super::Gateway;
use super::context::Context;
use super::direct::Direct;
use super::load::Slot;
use super::peer::Peer;
use super::proxy_protocol;
use super::shared::{Current, Followed, Shared};
use super::stream::{Connection, Transport};
use super::tls::{Tls, is_h2};

/// How long the end of a connection may take.
const LINGER_TIME: Duration = Duration::from_millis(500);
/// How long a connection to an upstream is kept that the upstream has closed.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// What waits in the kernel to be sent, in bytes, before more is taken on.
const UNSENT: u32 = 128 * 1024;
/// What a connection is told that is one too many, where that costs nothing.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nServer: cedargate\r\nRetry-After: 1\r\n\
    Content-Type: text/plain\r\nContent-Length: 11\r\nCache-Control: no-store\r\nConnection: close\r\n\r\noverloaded\n";

/// What a listener is for.
pub(super) enum Purpose {
    /// Requests are decided and forwarded.
    Serve(Option<Arc<Tls>>),
    /// Requests are sent to the same place by HTTPS, at this port.
    Redirect(u16),
}

/// A connection of which nothing is known but where it comes from.
struct Arrival {
    tcp: TcpStream,
    address: IpAddr,
    /// Whether it is passed on by a proxy that does not say for whom.
    is_relay: bool,
}

/// Serves the connections of one thread.
pub(super) struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    direct: Arc<Direct>,
    current: Arc<Current>,
}

impl Edge {
    pub(super) fn new(proxy: HttpProxy<Gateway>, direct: Arc<Direct>, current: Arc<Current>) -> Self {
        Self { proxy: Arc::new(proxy), direct, current }
    }

    /// Lets go of what nobody uses, now and then, for ever.
    pub(super) async fn tidy(&self) {
        loop {
            sleep(TIDY_EVERY).await;
            self.direct.sweep();
        }
    }

    /// What is in force, for as long as a connection lasts.
    fn follow(&self) -> Followed<'_> {
        Followed::new(&self.current)
    }

    /// Serves one connection until it ends.
    pub(super) async fn connection(&self, tcp: TcpStream, from: SocketAddr, purpose: &Purpose, stop: ShutdownWatch) {
        // A small answer is not kept back until the one before is acknowledged; where that fails it is slower.
        let _ = tcp.set_nodelay(true);
        // What a slow client does not take stays with the upstream, not in buffers here that grow to megabytes.
        let _ = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT);
        let shared = self.current.load_full();
        let deadline = Instant::now() + shared.limits.handshake_timeout;
        let mut arrival = Arrival { tcp, address: from.ip().to_canonical(), is_relay: false };
        let _slot = match admit(&shared, &mut arrival, deadline).await {
            Ok(slot) => slot,
            Err(turned) => {
                self.turned(turned, arrival.address);
                if !matches!(purpose, Purpose::Serve(Some(_))) && turned != Turned::ProxyProtocol {
                    // Without waiting: whoever does not take it has had its chance.
                    let _ = arrival.tcp.try_write(BUSY);
                }
                return;
            }
        };
        let plain = |Arrival { tcp, address, is_relay }| {
            let peer = Arc::new(Peer { is_relay, ..Peer::plain(address) });
            Box::new(Connection::new(Transport::Plain(tcp), peer, shared.limits.write_timeout))
        };
        match purpose {
            Purpose::Redirect(port) => redirect::serve(self, plain(arrival), *port, stop).await,
            Purpose::Serve(None) => http1::serve(self, plain(arrival), stop).await,
            Purpose::Serve(Some(tls)) => self.encrypted(arrival, tls, deadline, stop).await,
        }
    }

    /// Tells Pingora that no more requests come.
    pub(super) async fn cleanup(&self) {
        self.proxy.http_cleanup().await;
    }

    async fn encrypted(&self, arrival: Arrival, tls: &Tls, deadline: Instant, stop: ShutdownWatch) {
        let Arrival { tcp, address, is_relay } = arrival;
        let handshake = TlsAcceptor::from(tls.current()).accept(tcp);
        let stream = match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                // Nothing was said at all: a probe, or a browser that opens connections in advance.
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    tracing::debug!(client = %address, %error, "TLS handshake failed");
                    self.turned(Turned::Handshake, address);
                }
                return;
            }
            Err(_) => return self.turned(Turned::HandshakeTimeout, address),
        };
        let session = stream.get_ref().1;
        let is_h2 = is_h2(session.alpn_protocol());
        let Some(peer) = Peer::encrypted(address, session) else {
            tracing::debug!(client = %address, "the client's certificate cannot be read");
            return self.turned(Turned::Handshake, address);
        };
        let peer = Arc::new(Peer { is_relay, ..peer });
        let connection =
            Connection::new(Transport::Tls(Box::new(stream)), peer, self.current.load().limits.write_timeout);
        if is_h2 {
            http2::serve(self, connection, stop).await;
        } else {
            http1::serve(self, Box::new(connection), stop).await;
        }
    }

    /// Counts and logs a connection that ends without an answer.
    fn turned(&self, turned: Turned, client: IpAddr) {
        let shared = self.current.load();
        shared.metrics.connections().turned(turned);
        if let Some(left_out) = shared.turned.tells(turned, std::time::Instant::now()) {
            tracing::info!(target: SECURITY, reason = turned.code(), %client, left_out, "connection refused");
        }
    }

    /// A request that is refused before anything has parsed it; dropped, it is counted and logged.
    fn refusal(&self, peer: &Peer, reason: Reason) -> Context {
        let mut ctx = Context::new(self.current.load_full());
        ctx.snapshot = Some(ctx.shared().snapshots.load());
        // Nothing in such a head is believed.
        ctx.arrived(peer, &HeaderMap::new());
        ctx.refused(reason);
        ctx.status = Some(reason.status());
        ctx
    }
}

/// Takes a connection on, and finds out whose it is.
async fn admit(shared: &Shared, arrival: &mut Arrival, deadline: Instant) -> Result<Slot, Turned> {
    let slot = shared.load.connection(shared.limits.max_connections)?;
    let mut per_address = shared.limits.max_connections_per_address;
    if shared.proxies.trusts(arrival.address) {
        // A proxy's connections are those of many clients.
        per_address = 0;
        if shared.proxy_protocol {
            let header = timeout_at(deadline, proxy_protocol::read(&mut arrival.tcp)).await;
            let source = header.ok().and_then(Result::ok).ok_or(Turned::ProxyProtocol)?;
            match source {
                Some(source) => {
                    arrival.address = source.ip();
                    per_address = shared.limits.max_connections_per_address;
                }
                None => arrival.is_relay = true,
            }
        }
    }
    slot.of(arrival.address, per_address)
}

/// Waits until no more requests are to be taken on.
pub(super) async fn stopping(mut stop: ShutdownWatch) {
    // An error means that the sender is gone, which is a shutdown too.
    let _ = stop.wait_for(|stopping| *stopping).await;
}

async fn close(connection: &mut Connection) {
    // It is over either way.
    let _ = timeout(LINGER_TIME, connection.shutdown()).await;
}
