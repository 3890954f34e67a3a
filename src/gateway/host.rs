//! The canonical host of a request.

use crate::http::host::{BadHost, canonical};

use super::client::Asked;

/// The host routes are matched with: lower case, without port and without one final dot.
///
/// Taken from `:authority` over HTTP/2 and from `Host` otherwise. Empty for HTTP/1.0 without `Host`, which
/// matches only routes that are bound to no host.
///
/// # Errors
/// None over HTTP/1.1, several, or one with anything but a DNS name, an address and a port in it.
pub(super) fn of(request: Asked<'_>) -> Result<String, BadHost> {
    if request.version == http::Version::HTTP_2 {
        return canonical(request.authority.ok_or(BadHost)?.as_bytes());
    }
    let mut hosts = request.headers.get_all(http::header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => canonical(host.as_bytes()),
        (None, _) if request.version < http::Version::HTTP_11 => Ok(String::new()),
        _ => Err(BadHost),
    }
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::*;

    #[test]
    fn exactly_one_host() {
        let request = |hosts: &[&'static str], version| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            request.set_version(version);
            for host in hosts {
                request.append_header("Host", *host).unwrap();
            }
            of((&request).into())
        };
        assert_eq!(request(&["a"], http::Version::HTTP_11).as_deref(), Ok("a"));
        assert_eq!(request(&[], http::Version::HTTP_11), Err(BadHost));
        assert_eq!(request(&[], http::Version::HTTP_10).as_deref(), Ok(""));
        assert_eq!(request(&["a", "a"], http::Version::HTTP_11), Err(BadHost));
    }
}
