use std::net::{IpAddr, Ipv6Addr};

/// Whether the address written as `place` is that of the client at `address`.
pub fn is_same_network(place: &str, address: IpAddr) -> bool {
    place.parse::<IpAddr>().is_ok_and(|place| network(place.to_canonical()) == network(address.to_canonical()))
}

/// The client behind an address: one has all addresses of an IPv6 /64 to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
