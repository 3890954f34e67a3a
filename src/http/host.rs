//! The canonical form of a host.

/// A host that is missing, repeated, or not a plain name or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing, repeated or malformed host")]
pub struct BadHost;

/// Brings one `host[:port]` into the form that routes are matched with: lower case, without port and without one final
/// dot.
///
/// # Errors
/// Anything but a DNS name, an address and a port in it.
pub fn canonical(host: &[u8]) -> Result<String, BadHost> {
    name(host).map(str::to_ascii_lowercase)
}

/// The name or address in one `host[:port]`, without one final dot, as it is written.
///
/// # Errors
/// As [`canonical`].
pub fn name(host: &[u8]) -> Result<&str, BadHost> {
    let text = std::str::from_utf8(host).map_err(|_| BadHost)?;
    let (name, port) = split_port(text)?;
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) || port.len() > 5) {
        return Err(BadHost);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if is_address(name) || is_dns(name) { Ok(name) } else { Err(BadHost) }
}

/// A name and its port, as they are written.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), BadHost> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(BadHost)? + 1;
        let (name, rest) = text.split_at(end);
        return match rest {
            "" => Ok((name, None)),
            _ => rest.strip_prefix(':').map(|port| (name, Some(port))).ok_or(BadHost),
        };
    }
    Ok(text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))))
}

fn is_address(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_dns(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63 && label.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one() {
        for (given, host) in [
            ("a.example", "a.example"),
            ("A.Example", "a.example"),
            ("a.example.", "a.example"),
            ("a.example:8000", "a.example"),
            ("A.EXAMPLE.:80", "a.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8000", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(canonical(given.as_bytes()).as_deref(), Ok(host));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            "a..",
            "a/path",
            "a, b",
            "u@a",
            "a b",
            "a:",
            "a:x",
            "a:1:2",
            "[::1",
            "[::1]x",
            "[x]",
            "a:123456",
            "a?b",
            "a#b",
            "a\\b",
            "\u{e9}.example",
            ":80",
        ] {
            assert_eq!(canonical(bad.as_bytes()), Err(BadHost), "{bad}");
        }
    }
}
