//! Who makes a request: the peer of its connection, or whoever trusted proxies say.
//!
//! ## Why
//! Each proxy appends to such a header what it knows, behind what the client itself may have sent. So a header is read
//! from its end, and only for as long as whoever wrote an entry is trusted: what a client sends in front is never looked
//! at, well formed or not. Libraries read from the front, where a client could put a quotation mark that is never closed.
//! Only the one header that the proxies are known to write is read, since the others they pass on as they came.

mod element;

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use self::element::{Element, Node};
use super::{RequestId, host};
use crate::model::{ForwardedHeader, Network};

/// The most proxies that are followed.
const MAX_HOPS: usize = 32;
/// No host that is passed on is longer: a DNS name, its final dot and a port.
const MAX_HOST: usize = 260;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How a client speaks to the server that it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As URLs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// That of WebSocket counts as that of HTTP which it begins as (RFC 6455 3).
    fn read(text: &[u8]) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("https") || is("wss") => Some(Self::Https),
            () if is("http") || is("ws") => Some(Self::Http),
            () => None,
        }
    }
}

/// The connection a request came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who is at its other end, as far as that has an address.
    pub peer: Option<IpAddr>,
    /// Whether it is one of TLS.
    pub tls: bool,
}

/// Who makes a request, and what they see of us.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// The client's address, IPv4 always as such.
    pub address: Option<IpAddr>,
    /// How the client speaks to whom it sees.
    pub scheme: Scheme,
    /// The host it asked for, if a trusted proxy says so; otherwise that is the request's own.
    pub host: Option<HeaderValue>,
    /// The request's id, if a trusted proxy gave it one.
    pub request_id: Option<RequestId>,
}

/// Who is believed about clients.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Box<[Network]>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Proxies in `networks`, which say it in `header`.
    pub fn new(networks: impl Into<Box<[Network]>>, header: ForwardedHeader) -> Self {
        Self { networks: networks.into(), header }
    }

    /// Whether `address` is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Who makes the request with these headers.
    ///
    /// It is the address nearest to us that is no trusted proxy's. Where that cannot be told, because an entry is
    /// malformed or hides it, or the chain is too long, it is the last proxy that could be followed to.
    pub fn remote(&self, connection: Connection, headers: &HeaderMap) -> Remote {
        let peer = connection.peer.map(|peer| peer.to_canonical());
        let scheme = if connection.tls { Scheme::Https } else { Scheme::Http };
        let mut remote = Remote { address: peer, scheme, host: None, request_id: None };
        if peer.is_some_and(|peer| self.trusts(peer)) {
            remote.request_id = request_id(headers);
            match self.header {
                ForwardedHeader::XForwardedFor => self.by_x_forwarded(headers, &mut remote),
                ForwardedHeader::Forwarded => self.by_forwarded(headers, &mut remote),
            }
        }
        remote
    }

    fn by_x_forwarded(&self, headers: &HeaderMap, remote: &mut Remote) {
        for entry in entries(headers, &X_FORWARDED_FOR).take(MAX_HOPS) {
            let Some(address) = read_address(entry) else { break };
            remote.address = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        // Not every proxy appends to these: only the last entry is certainly one of ours.
        let scheme = entries(headers, &X_FORWARDED_PROTO).next().and_then(Scheme::read);
        remote.scheme = scheme.unwrap_or(remote.scheme);
        remote.host = entries(headers, &X_FORWARDED_HOST).next().and_then(read_host);
    }

    fn by_forwarded(&self, headers: &HeaderMap, remote: &mut Remote) {
        let lines = headers.get_all(header::FORWARDED).iter().rev();
        for text in lines.flat_map(|line| element::from_the_end(line.as_bytes())).take(MAX_HOPS) {
            let Some(Element { client, proto, host }) = Element::parse(text) else { break };
            remote.scheme = proto.and_then(|proto| Scheme::read(&proto)).unwrap_or(remote.scheme);
            remote.host = host.and_then(|host| read_host(&host)).or(remote.host.take());
            let Some(Node::Address(address)) = client else { break };
            remote.address = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
    }
}

/// The entries of a list, the last first.
fn entries<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// An address as proxies write it: IPv6 with or without brackets, and some add a port.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bracketed).or_else(with_port);
    address.map(|address| address.to_canonical())
}

fn read_host(text: &[u8]) -> Option<HeaderValue> {
    let is_host = text.len() <= MAX_HOST && host::name(text).is_ok();
    is_host.then(|| HeaderValue::from_bytes(text).ok()).flatten()
}

fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let mut ids = headers.get_all(X_REQUEST_ID).iter();
    let id = RequestId::given(ids.next()?.as_bytes());
    // Of two, one may be the client's.
    id.filter(|_| ids.next().is_none())
}

#[cfg(test)]
mod tests;
