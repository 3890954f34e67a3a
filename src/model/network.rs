use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A network of addresses in CIDR notation (RFC 4632, RFC 4291 2.3), or a single address; never all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// A text that is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a network.
    #[error("is no network such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
    Malformed,
    /// One may have meant the network, or the address.
    #[error("has host bits set: {0} is the network, {1} the address")]
    HostBits(IpNet, IpAddr),
    /// It has every address there is.
    #[error("is everybody")]
    Everybody,
}

impl Network {
    /// Whether `address` belongs to it, an IPv4 address in either notation.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let written = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError::Malformed)?,
        };
        let network = canonical(written);
        if network.addr() != network.network() {
            return Err(NetworkError::HostBits(network.trunc(), network.addr()));
        }
        if network.prefix_len() == 0 { Err(NetworkError::Everybody) } else { Ok(Self(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network of IPv4-mapped addresses as one of IPv4 (RFC 4291 2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let mapped = match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(prefix)) if network.addr().is_ipv6() => Ipv4Net::new(address, prefix).ok(),
        _ => None,
    };
    mapped.map_or(network, IpNet::from)
}

/// The header in which trusted proxies say whom a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and beside it `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, NetworkError> {
        text.parse()
    }

    #[test]
    fn networks_and_addresses() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", "11.0.0.1"),
            ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "127.0.0.1"),
            ("::/8", "::1", "0.0.0.1"),
        ] {
            let network = network(text).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn what_is_no_network() {
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "::1/129", "[::1]", "host", "10.0.0.1:80"]
        {
            assert_eq!(network(text), Err(NetworkError::Malformed), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert_eq!(network(text), Err(NetworkError::Everybody), "{text}");
        }
        let meant = network("10.0.0.1/8").unwrap_err().to_string();
        assert!(meant.contains("10.0.0.0/8 is the network, 10.0.0.1 the address"), "{meant}");
    }
}
