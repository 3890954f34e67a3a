//! The header with which a proxy tells, ahead of everything else on a connection, whose connection it passes on
//! (PROXY protocol 1 and 2).
//!
//! ## Why
//! What follows may be a TLS handshake, which is not ours to read here. So no byte beyond the header is taken: version 2
//! tells its length, and version 1, which does not, is read byte by byte, which is cheap on a buffered stream. What was read
//! is then parsed as a whole by `ppp`.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest header of version 1, with its line end.
const MAX_V1: usize = 107;
/// What every header of version 2 begins with: signature, command, family, length.
const V2_FIXED: usize = 16;
/// The most that may follow in version 2: two addresses, and extensions such as a client's certificate, which are skipped.
const MAX_V2_REST: usize = 4 * 1024;
/// Version and command of a connection that the proxy makes for itself, such as to see whether we are well.
const V2_LOCAL: u8 = 0x20;

/// Why a connection does not begin with a header that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed, or ended within the header.
    #[error("the connection ended within the PROXY protocol's header: {0}")]
    Io(#[from] std::io::Error),
    /// It begins with something else.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    /// The header is none that the protocol allows.
    #[error("malformed header of the PROXY protocol")]
    Malformed,
    /// It is longer than any that is of use.
    #[error("the PROXY protocol's header is too long")]
    TooLong,
}

/// Reads the header that `stream` begins with, and not one byte of what follows.
///
/// Returns the source that it tells, IPv4 always as such, whatever the transport between client and proxy. `None` is the
/// peer itself: a connection of the proxy's own (`LOCAL`), or one whose source has no address that is known here
/// (`UNKNOWN`, `AF_UNSPEC`, `AF_UNIX`), as the protocol asks for.
///
/// It waits for as long as the stream does: the deadline is the caller's.
///
/// # Errors
/// The header is missing, malformed or too long; the connection should be closed.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, Error> {
    // No header of either version is shorter than the signature of the second.
    let mut start = [0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut start).await?;
    let source = if start == v2::PROTOCOL_PREFIX {
        read_v2(stream).await?
    } else if start.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_v1(stream, &start).await?
    } else {
        return Err(Error::Missing);
    };
    Ok(source.map(|source| SocketAddr::new(source.ip().to_canonical(), source.port())))
}

async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S, start: &[u8]) -> Result<Option<SocketAddr>, Error> {
    let mut line = Vec::with_capacity(MAX_V1);
    line.extend_from_slice(start);
    while !line.ends_with(b"\n") {
        if line.len() == MAX_V1 {
            return Err(Error::TooLong);
        }
        line.push(stream.read_u8().await?);
    }
    // The parser takes more for a line end than the protocol does, and stops at the first; and a number may have a sign.
    if !line.ends_with(b"\r\n") || line.contains(&b'+') {
        return Err(Error::Malformed);
    }
    let header = v1::Header::try_from(&*line).map_err(|_| Error::Malformed)?;
    if header.header.len() != line.len() {
        return Err(Error::Malformed);
    }
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ip) => Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)),
        v1::Addresses::Tcp6(ip) => Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)),
        v1::Addresses::Unknown => None,
    })
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, Error> {
    let mut header = Vec::with_capacity(V2_FIXED + 256);
    header.extend_from_slice(v2::PROTOCOL_PREFIX);
    header.resize(V2_FIXED, 0);
    stream.read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..]).await?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if rest > MAX_V2_REST {
        return Err(Error::TooLong);
    }
    header.resize(V2_FIXED + rest, 0);
    stream.read_exact(&mut header[V2_FIXED..]).await?;
    // Whatever else it says means nothing then, be it well formed or not.
    if header[12] == V2_LOCAL {
        return Ok(None);
    }
    let header = v2::Header::try_from(&*header).map_err(|_| Error::Malformed)?;
    match header.addresses {
        v2::Addresses::IPv4(_) | v2::Addresses::IPv6(_) if header.protocol == v2::Protocol::Unspecified => {
            Err(Error::Malformed)
        }
        v2::Addresses::IPv4(ip) => Ok(Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port))),
        v2::Addresses::IPv6(ip) => Ok(Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port))),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: &[u8] = b"GET / HTTP/1.1\r\n";

    /// Reads from `bytes`, and tells what is left of them.
    fn run(bytes: &[u8]) -> (Result<Option<SocketAddr>, Error>, usize) {
        let mut left = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(read(&mut left));
        (outcome, left.len())
    }

    /// What a header tells, of which nothing more is read.
    #[track_caller]
    fn source(header: &[u8]) -> Option<SocketAddr> {
        let (outcome, left) = run(&[header, REST].concat());
        assert_eq!(left, REST.len(), "{}", header.escape_ascii());
        outcome.unwrap_or_else(|error| panic!("{}: {error}", header.escape_ascii()))
    }

    fn error(bytes: &[u8]) -> String {
        match run(bytes).0 {
            Err(Error::Io(error)) => error.kind().to_string(),
            Err(error) => format!("{error:?}"),
            Ok(source) => panic!("{}: {source:?}", bytes.escape_ascii()),
        }
    }

    fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn version_1() {
        assert_eq!(source(b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"), Some(socket("192.0.2.1:56324")));
        assert_eq!(source(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), Some(socket("[2001:db8::1]:1")));
        assert_eq!(source(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), Some(socket("192.0.2.1:1")));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        let ffff = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {ffff} {ffff} 65535 65535\r\n");
        assert_eq!(longest.len(), MAX_V1);
        assert_eq!(source(longest.as_bytes()), None);
    }

    #[test]
    fn version_2() {
        let ipv4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 4, 1, 187];
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        ipv6[15] = 1;
        ipv6[33] = 7;
        let extension = [4, 0, 3, 1, 2, 3];
        for family in [0x11, 0x12] {
            assert_eq!(source(&v2_header(0x21, family, &ipv4)), Some(socket("192.0.2.1:56324")));
            assert_eq!(
                source(&v2_header(0x21, family, &[&ipv4[..], &extension].concat())),
                Some(socket("192.0.2.1:56324"))
            );
            assert_eq!(source(&v2_header(0x21, family + 0x10, &ipv6)), Some(socket("[2001:db8::1]:7")));
        }
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1], &[0; 20]].concat();
        assert_eq!(source(&v2_header(0x21, 0x21, &mapped)), Some(socket("192.0.2.1:0")));
        let largest = [&ipv4[..], &vec![0xff; MAX_V2_REST - ipv4.len()]].concat();
        assert_eq!(source(&v2_header(0x21, 0x11, &largest)), Some(socket("192.0.2.1:56324")));
    }

    #[test]
    fn the_peer_itself() {
        for header in [
            v2_header(0x20, 0x00, &[]),
            v2_header(0x20, 0x11, &[1; 12]),
            v2_header(0x20, 0xff, &[1, 2, 3]),
            v2_header(0x21, 0x00, &[]),
            v2_header(0x21, 0x00, &[1; 40]),
            v2_header(0x21, 0x31, &[b'/'; 216]),
        ] {
            assert_eq!(source(&header), None, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"proxy UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIX\n\x20\0\0\0",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0\0",
        ] {
            assert_eq!(error(bad), "Missing", "{}", bad.escape_ascii());
        }
        for bad in [
            &b"PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n"[..],
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
            b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 +2\r\n",
            b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1\r\n",
            b"PROXY\rTCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY UNKNOWN \n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY TCP4 \xff.1.1.1 2.2.2.2 1 2\r\n",
        ] {
            assert_eq!(error(bad), "Malformed", "{}", bad.escape_ascii());
        }
        for (command, family, rest) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 12]),
            (0x21, 0x41, &[0; 12]),
            (0x21, 0x13, &[0; 12]),
            (0x21, 0x10, &[0; 12]),
            (0x21, 0x31, &[0; 215]),
        ] {
            assert_eq!(error(&v2_header(command, family, rest)), "Malformed", "{command:x} {family:x}");
        }
    }

    #[test]
    fn length_is_bounded() {
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        let (outcome, left) = run(&endless);
        assert!(matches!(outcome, Err(Error::TooLong)) && left == endless.len() - MAX_V1);
        for command in [0x20, 0x21] {
            let long = v2_header(command, 0x11, &vec![0; MAX_V2_REST + 1]);
            let (outcome, left) = run(&long);
            assert!(matches!(outcome, Err(Error::TooLong)) && left == long.len() - V2_FIXED);
        }
        for cut in [&b""[..], b"PROXY", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
            assert_eq!(error(cut), std::io::ErrorKind::UnexpectedEof.to_string(), "{}", cut.escape_ascii());
        }
        assert_eq!(error(&v2_header(0x21, 0x11, &[0; 12])[..27]), std::io::ErrorKind::UnexpectedEof.to_string());
    }

    proptest! {
        #[test]
        fn addresses_come_back(source_address: SocketAddr, destination: SocketAddr, extension in prop::collection::vec(any::<u8>(), 0..300)) {
            let destination = match (source_address, destination) {
                (SocketAddr::V4(_), SocketAddr::V6(_)) => "10.0.0.1:1".parse().unwrap(),
                (SocketAddr::V6(_), SocketAddr::V4(_)) => "[::1]:1".parse().unwrap(),
                (_, destination) => destination,
            };
            let expected = SocketAddr::new(source_address.ip().to_canonical(), source_address.port());
            let family = if source_address.is_ipv4() { "TCP4" } else { "TCP6" };
            let (source_ip, destination_ip) = (source_address.ip(), destination.ip());
            let line = format!("PROXY {family} {source_ip} {destination_ip} {} {}\r\n", source_address.port(), destination.port());
            prop_assert_eq!(source(line.as_bytes()), Some(expected));
            let binary = v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, (source_address, destination));
            let binary = binary.write_tlv(v2::Type::NoOp, &extension).unwrap().build().unwrap();
            prop_assert_eq!(source(&binary), Some(expected));
        }

        /// Whatever comes, no more is read than a header can have.
        #[test]
        fn any_bytes_do(
            start in prop_oneof![
                Just(Vec::new()), Just(b"PROXY ".to_vec()), Just(b"PROXY TCP4 ".to_vec()), Just(v2::PROTOCOL_PREFIX.to_vec()),
                (0x1f_u8..0x23, any::<u8>(), 0_u8..20, any::<u8>()).prop_map(|(command, family, high, low)| {
                    [v2::PROTOCOL_PREFIX, &[command, family, high, low]].concat()
                }),
            ],
            rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'.')], 0..6_000),
        ) {
            let bytes = [start, rest].concat();
            let (outcome, left) = run(&bytes);
            let read = bytes.len() - left;
            prop_assert!(read <= V2_FIXED + MAX_V2_REST);
            if bytes.starts_with(b"PROXY") {
                prop_assert!(read <= MAX_V1);
            }
            if outcome.is_ok() {
                prop_assert!(read >= b"PROXY UNKNOWN\r\n".len());
            }
        }
    }
}
