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

/// Why an answer that went on was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its token has expired.
    Expired,
    /// Its token is no longer valid, or its user no longer active.
    Revoked,
    /// The policies no longer permit it.
    Denied,
    /// There is no such route, operation or upstream any more.
    Gone,
    /// The gateway stops.
    Stopping,
}

impl Ended {
    /// Every cause, for metrics that exist from the start.
    pub const ALL: [Self; 5] = [Self::Expired, Self::Revoked, Self::Denied, Self::Gone, Self::Stopping];

    /// The code in metrics and logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Denied => "denied",
            Self::Gone => "gone",
            Self::Stopping => "stopping",
        }
    }
}

/// Counts of connections, and of what goes on over them.
#[derive(Debug)]
pub struct ConnectionState {
    open: IntGauge,
    turned: IntCounterVec,
    shedding: IntGauge,
    streams: IntGauge,
    ended: IntCounterVec,
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
            streams: IntGauge::new(
                "cedargate_open_streams",
                "Answers under way that may go on for long, and are decided anew meanwhile.",
            )?,
            ended: IntCounterVec::new(
                Opts::new("cedargate_streams_closed_total", "Open streams that the gateway has ended."),
                &["cause"],
            )?,
        };
        for ended in Ended::ALL {
            state.ended.with_label_values(&[ended.code()]).inc_by(0);
        }
        for turned in Turned::ALL {
            state.turned.with_label_values(&[turned.code()]).inc_by(0);
        }
        registry.register(Box::new(state.open.clone()))?;
        registry.register(Box::new(state.turned.clone()))?;
        registry.register(Box::new(state.shedding.clone()))?;
        registry.register(Box::new(state.streams.clone()))?;
        registry.register(Box::new(state.ended.clone()))?;
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

    /// Records one more open stream.
    pub fn stream_opened(&self) {
        self.streams.inc();
    }

    /// Records one less.
    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    /// Counts an open stream that was ended.
    pub fn ended(&self, cause: Ended) {
        self.ended.with_label_values(&[cause.code()]).inc();
    }
}
