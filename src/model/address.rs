use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` is one of the public internet: not of this machine, a private or a shared network, a cloud's
/// metadata, documentation, multicast or anything else that is reserved (RFC 6890), in whatever notation.
pub fn is_public_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    // This network, loopback, multicast and what lies beyond.
    let reserved = matches!(a, 0 | 127 | 224..)
        // Carriers' shared addresses (RFC 6598), protocol assignments, benchmarks, 6to4 relays.
        || matches!((a, b, c), (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) | (192, 88, 99));
    // Link-local addresses are those of metadata services too: 169.254.169.254.
    !(reserved || v4.is_private() || v4.is_link_local() || v4.is_documentation())
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match parts {
        // ::ffff:a.b.c.d, NAT64 and 6to4 lead to the IPv4 address within.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(embedded(high, low))
        }
        // Teredo and other protocol assignments, and documentation.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
        // Of all the rest only 2000::/3 is given out: no loopback, link-local, unique-local or multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_networks_are_not_public() {
        for reserved in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
        ] {
            assert!(!is_public_address(reserved.parse().unwrap()), "{reserved}");
        }
        for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_public_address(public.parse().unwrap()), "{public}");
        }
    }
}
