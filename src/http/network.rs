use std::net::{IpAddr, Ipv6Addr};

/// The client behind an address: one has all addresses of an IPv6 /64 to itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
