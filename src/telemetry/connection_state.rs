//! Connections of clients: how many there are, and which are turned away.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Why a connection is closed before a request of it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// As many are open as may be.
    Connections,
    /// As many of its address are open as may be.
    Address,
    /// Memory runs short.
    Memory,
    /// It did not begin as a trusted proxy's connection does.
    ProxyProtocol,
    /// TLS could not be agreed upon.
    Handshake,
    /// TLS took too long.
    HandshakeTimeout,
    /// A request's head took too long.
    HeaderTimeout,
    /// Too many frames that carry nothing.
    Flood,
}

impl Turned {
    /// Every cause, for metrics that exist from the start.
    pub const ALL: [Self; 8] = [
        Self::Connections,
        Self::Address,
        Self::Memory,
        Self::ProxyProtocol,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::HeaderTimeout,
        Self::Flood,
    ];

    /// The code in metrics and logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Address => "max_connections_per_address",
            Self::Memory => "memory",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Handshake => "tls_handshake",
            Self::HandshakeTimeout => "tls_handshake_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::Flood => "flood",
        }
    }
}

/// Counts of connections.
#[derive(Debug)]
pub struct ConnectionState {
    open: IntGauge,
    turned: IntCounterVec,
    shedding: IntGauge,
}

impl ConnectionState {
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let state = Self {
            open: IntGauge::new("cedargate_connections", "Open connections of clients.")?,
            turned: IntCounterVec::new(
                Opts::new(
                    "cedargate_connections_refused_total",
                    "Connections that were closed without an answer, or for what they did.",
                ),
                &["cause"],
            )?,
            shedding: IntGauge::new(
                "cedargate_shedding",
                "1 while new work is refused because memory runs short, else 0.",
            )?,
        };
        for turned in Turned::ALL {
            state.turned.with_label_values(&[turned.code()]).inc_by(0);
        }
        registry.register(Box::new(state.open.clone()))?;
        registry.register(Box::new(state.turned.clone()))?;
        registry.register(Box::new(state.shedding.clone()))?;
        Ok(state)
    }

    /// Records how many are open.
    pub fn open(&self, count: usize) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many are open.
    pub fn count(&self) -> i64 {
        self.open.get()
    }

    /// Counts one that was turned away.
    pub fn turned(&self, cause: Turned) {
        self.turned.with_label_values(&[cause.code()]).inc();
    }

    /// Records whether new work is refused.
    pub fn shedding(&self, is_shedding: bool) {
        self.shedding.set(is_shedding.into());
    }

    /// Whether new work is refused.
    pub fn is_shedding(&self) -> bool {
        self.shedding.get() != 0
    }
}
