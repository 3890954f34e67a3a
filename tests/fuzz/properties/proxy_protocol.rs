use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};

use cedargate::gateway::proxy_protocol::{self, Error};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const MAX_V1: usize = 107;
const MAX_V2: usize = 16 + 4096;

/// A header that is accepted, and no other, is one that the protocol's text allows; it says what that text says, whatever
/// follows it is left, and of what is refused no more is read than a header could have.
pub(super) fn holds(bytes: &[u8]) {
    let shown = bytes.escape_ascii();
    let (outcome, rest) = read(bytes);
    let taken = bytes.len() - rest.len();
    assert!(taken <= if bytes.starts_with(SIGNATURE) { MAX_V2 } else { MAX_V1 }, "{taken}: {shown}");
    assert!(!matches!(outcome, Err(Error::Io(_))) || rest.is_empty(), "{shown}");
    let accepted = outcome.ok().map(|source| (taken, source));
    assert_eq!(accepted, meaning(bytes), "{shown}");
    if accepted.is_some() {
        for end in [0, taken / 2, taken - 1] {
            assert!(matches!(read(&bytes[..end]).0, Err(Error::Io(_))), "{end}: {shown}");
        }
    }
}

fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, Error>, &[u8]) {
    let mut rest = bytes;
    let outcome = match pin!(proxy_protocol::read(&mut rest)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a slice has all there is"),
    };
    (outcome, rest)
}

/// How long the header is, and the source that it tells.
fn meaning(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    if bytes.starts_with(SIGNATURE) { binary(bytes) } else { text(bytes) }
}

fn text(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let end = bytes.iter().position(|byte| *byte == b'\n').filter(|end| *end < MAX_V1)? + 1;
    let line = std::str::from_utf8(&bytes[..end]).ok()?.strip_suffix("\r\n")?;
    if line.contains(['\r', '+']) {
        return None;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let source = match *words {
        ["PROXY", "TCP4", from, to, from_port, to_port] => source::<Ipv4Addr>([from, to], [from_port, to_port])?,
        ["PROXY", "TCP6", from, to, from_port, to_port] => source::<Ipv6Addr>([from, to], [from_port, to_port])?,
        // There is no need for more words than the others have.
        ["PROXY", "UNKNOWN", ref ignored @ ..] if ignored.len() <= 4 => return Some((end, None)),
        _ => return None,
    };
    Some((end, Some(source)))
}

fn source<A: FromStr + Into<IpAddr>>(addresses: [&str; 2], ports: [&str; 2]) -> Option<SocketAddr> {
    let [Ok(from), Ok(_)] = addresses.map(str::parse::<A>) else { return None };
    let [Some(port), Some(_)] = ports.map(|text| text.parse::<u16>().ok().filter(|port| port.to_string() == text))
    else {
        return None;
    };
    Some(SocketAddr::new(from.into().to_canonical(), port))
}

fn binary(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let [command, family, high, low] = *bytes.get(12..16)? else { return None };
    let end = 16 + usize::from(high) * 256 + usize::from(low);
    let rest = bytes.get(16..end).filter(|_| end <= MAX_V2)?;
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let source = match (command, family) {
        (0x20, _) | (0x21, 0x00..=0x02) => None,
        (0x21, 0x11 | 0x12) if rest.len() >= 12 => {
            Some((IpAddr::from(<[u8; 4]>::try_from(&rest[..4]).unwrap()), port(8)))
        }
        (0x21, 0x21 | 0x22) if rest.len() >= 36 => {
            Some((IpAddr::from(<[u8; 16]>::try_from(&rest[..16]).unwrap()), port(32)))
        }
        (0x21, 0x30..=0x32) if rest.len() >= 216 => None,
        _ => return None,
    };
    Some((end, source.map(|(address, port)| SocketAddr::new(address.to_canonical(), port))))
}
