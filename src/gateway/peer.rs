//! What is known of a connection, and how it reaches the hooks of a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::proxy::Session;
use rustls::{ProtocolVersion, ServerConnection};
use tokio::time::sleep_until;
use x509_parser::time::ASN1Time;

use crate::model::ClientCertificate;

use super::client_certificate;

/// The other side of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Whoever opened the connection, or whom a trusted proxy names as such.
    pub(super) address: IpAddr,
    /// The version of TLS, such as `TLSv1.3`; absent for plain connections.
    pub(super) tls: Option<&'static str>,
    /// What its certificate says, if it showed one.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// Whether it is a proxy that passes on somebody else's connection without saying whose: what the requests say about
    /// that is not the proxy's word.
    pub(super) is_relay: bool,
    pub(super) switch: Switch,
}

/// What the connection speaks, and how it shall end: told by whoever knows to whom moves its bytes.
#[derive(Debug, Default)]
pub(super) struct Switch {
    protocol: AtomicU8,
    /// The code of the close frame that ends it; zero for as long as it goes on.
    part: AtomicU16,
    reset: AtomicBool,
    overdue: AtomicBool,
}

const OTHER: u8 = 1;
const WEB_SOCKET: u8 = 2;

/// The version of TLS that `session` agreed upon.
fn tls_version(session: &ServerConnection) -> &'static str {
    match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLS",
    }
}

impl Peer {
    /// One whose connection is not encrypted.
    pub(super) fn plain(address: IpAddr) -> Self {
        Self { address, tls: None, certificate: None, is_relay: false, switch: Switch::default() }
    }

    /// One that has agreed upon TLS; `None` if it has shown a certificate that cannot be read whole. To go on as if there
    /// were none would get it past policies about certificates.
    pub(super) fn encrypted(address: IpAddr, session: &ServerConnection) -> Option<Self> {
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = match shown {
            Some(shown) => Some(Arc::new(client_certificate::read(shown, ASN1Time::now())?)),
            None => None,
        };
        Some(Self { address, tls: Some(tls_version(session)), certificate, is_relay: false, switch: Switch::default() })
    }

    /// Notes that the connection speaks another protocol from now on.
    pub(super) fn upgrade(&self, is_web_socket: bool) {
        self.switch.protocol.store(if is_web_socket { WEB_SOCKET } else { OTHER }, Ordering::Release);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.switch.protocol.load(Ordering::Acquire) != 0
    }

    pub(super) fn is_web_socket(&self) -> bool {
        self.switch.protocol.load(Ordering::Acquire) == WEB_SOCKET
    }

    /// Has the WebSocket closed with this code, between two frames.
    pub(super) fn part(&self, code: u16) {
        self.switch.part.store(code, Ordering::Release);
    }

    /// The code that the WebSocket shall be closed with, if it shall.
    pub(super) fn parting(&self) -> Option<u16> {
        Some(self.switch.part.load(Ordering::Acquire)).filter(|code| *code != 0)
    }

    /// Has what waits for an answer fail: the upstream takes too long.
    pub(super) fn overdue(&self) {
        self.switch.overdue.store(true, Ordering::Release);
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.switch.overdue.load(Ordering::Acquire)
    }

    /// Has the connection end so that nobody takes that for the end of an answer.
    pub(super) fn reset(&self) {
        self.switch.reset.store(true, Ordering::Release);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.switch.reset.load(Ordering::Acquire)
    }
}

/// One request's side of a connection.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) peer: Arc<Peer>,
    /// Where Pingora does not time the request's body.
    pub(super) body: Option<Arc<BodyClock>>,
}

impl Exchange {
    pub(super) fn of(peer: Arc<Peer>) -> Self {
        Self { peer, body: None }
    }

    /// In the form in which Pingora carries it. It is the one place of a digest for data of others.
    pub(super) fn digest(self) -> Arc<ProxyDigest> {
        let response = ResponseHeader::build(200, Some(0)).expect("200 is a status");
        Arc::new(ProxyDigest::new(Box::new(response), Some(Box::new(self))))
    }

    /// What `session` was started with.
    pub(super) fn find(session: &Session) -> Option<&Self> {
        session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
    }
}

/// Until when more of a body must have come, where nothing else watches over it.
#[derive(Debug)]
pub(super) struct BodyClock {
    start: Instant,
    /// Milliseconds since `start`; `u64::MAX` once nothing is waited for.
    until: AtomicU64,
}

impl BodyClock {
    pub(super) fn new(patience: Duration) -> Self {
        let clock = Self { start: Instant::now(), until: AtomicU64::new(0) };
        clock.extend(patience);
        clock
    }

    /// More is waited for, for so long from now.
    pub(super) fn extend(&self, patience: Duration) {
        let until = u64::try_from((self.start.elapsed() + patience).as_millis()).unwrap_or(u64::MAX);
        let still = |known: u64| (known != u64::MAX).then_some(until);
        // Once nothing is waited for, nothing is again.
        let _ = self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, still);
    }

    /// Nothing is waited for any more.
    pub(super) fn stop(&self) {
        self.until.store(u64::MAX, Ordering::Relaxed);
    }

    /// Whether it is too late.
    pub(super) fn is_over(&self) -> bool {
        self.start.elapsed().as_millis() >= u128::from(self.until.load(Ordering::Relaxed))
    }

    /// Waits until it is too late; for ever once nothing is waited for.
    pub(super) async fn expired(&self) {
        loop {
            let until = self.until.load(Ordering::Relaxed);
            if until == u64::MAX {
                return std::future::pending().await;
            }
            let deadline = self.start + Duration::from_millis(until);
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_can_be_put_forward_and_stopped() {
        let short = Duration::from_millis(30);
        let clock = Arc::new(BodyClock::new(short));
        clock.extend(short * 3);
        let waited = Instant::now();
        clock.expired().await;
        assert!(clock.is_over());
        assert!(waited.elapsed() >= short * 2);
        clock.extend(short);
        clock.stop();
        clock.extend(Duration::ZERO);
        assert!(!clock.is_over());
        assert!(tokio::time::timeout(short * 2, clock.expired()).await.is_err());
    }
}
