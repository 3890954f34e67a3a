use proptest::prelude::*;

use super::*;

/// Proxies are in `10.0.0.0/8` and `2001:db8:ffff::/48`.
fn proxies(header: ForwardedHeader) -> TrustedProxies {
    let networks: Vec<Network> = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|text| text.parse().unwrap()).to_vec();
    TrustedProxies::new(networks, header)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn from(peer: &str) -> Connection {
    Connection { peer: Some(ip(peer)), tls: false }
}

/// Lines of `Name: value`; one that is no header is left out.
fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
    }
    headers
}

/// Address, scheme and host that a proxy at 10.0.0.1 tells by these lines of its header.
fn told(header: ForwardedHeader, lines: &[&str]) -> (String, &'static str, String) {
    let name = if header == ForwardedHeader::Forwarded { "forwarded" } else { "x-forwarded-for" };
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|line| (name, line.as_bytes())).collect();
    let remote = proxies(header).remote(from("10.0.0.1"), &headers(&lines));
    let host = remote.host.map(|host| host.to_str().unwrap().to_owned()).unwrap_or_default();
    (remote.address.unwrap().to_string(), remote.scheme.as_str(), host)
}

fn x_forwarded_for(lines: &[&str]) -> String {
    told(ForwardedHeader::XForwardedFor, lines).0
}

#[test]
fn the_client_is_the_last_who_is_no_proxy() {
    for (lines, client) in [
        (&[][..], "10.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (&["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
        (&["203.0.113.9, 192.0.2.1, 10.0.0.7", "10.0.0.8,2001:db8:ffff::1"], "192.0.2.1"),
        (&["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:80"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1 ,\t::ffff:10.0.0.9"], "192.0.2.1"),
    ] {
        assert_eq!(x_forwarded_for(lines), client, "{lines:?}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_chain() {
    for bad in [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:65536",
        "[2001:db8::1",
        "2001:db8::1]",
        "[192.0.2.1]",
        "fe80::1%eth0",
        "\"192.0.2.1\"",
        "192.0.2.1 192.0.2.2",
        "for=192.0.2.1",
        "0300.0.2.1",
        "3221225985",
        "192.0.2.1;",
    ] {
        assert_eq!(x_forwarded_for(&[bad]), "10.0.0.1", "{bad:?}");
        assert_eq!(x_forwarded_for(&[&format!("192.0.2.9, {bad}, 10.0.0.7")]), "10.0.0.7", "{bad:?}");
        assert_eq!(x_forwarded_for(&[&format!("{bad}, 192.0.2.9")]), "192.0.2.9", "{bad:?}");
    }
    let long = |hops| x_forwarded_for(&[&format!("192.0.2.1{}", ", 10.0.0.9".repeat(hops))]);
    assert_eq!(long(MAX_HOPS - 1), "192.0.2.1");
    assert_eq!(long(MAX_HOPS), "10.0.0.9");
    assert_eq!(long(10_000), "10.0.0.9");
}

#[test]
fn elements_of_forwarded() {
    for (lines, expected) in [
        (&[][..], ("10.0.0.1", "http", "")),
        (&["for=192.0.2.1"], ("192.0.2.1", "http", "")),
        (&["For=192.0.2.1;Proto=HTTPS;HOST=a.example"], ("192.0.2.1", "https", "a.example")),
        (
            &["by=_x;host=\"a.example:8443\";secret=\"a, b;c\\\"\";for=\"192.0.2.1:_port\""],
            ("192.0.2.1", "http", "a.example:8443"),
        ),
        (&["for=\"[2001:db8::1]\""], ("2001:db8::1", "http", "")),
        (&["for=\"[2001:db8::1]:80\";;proto=https;"], ("2001:db8::1", "https", "")),
        (&["for=\"[::ffff:192.0.2.1]\""], ("192.0.2.1", "http", "")),
        (&["for=\"192.\\0.2.1\";host=\"\\a.example\""], ("192.0.2.1", "http", "a.example")),
        (&["for=203.0.113.9, for=192.0.2.1"], ("192.0.2.1", "http", "")),
        // What the first proxy saw counts, and what a further one saw where that said nothing.
        (
            &["for=192.0.2.1;proto=https;host=a.example", "for=10.0.0.7;proto=http;host=inside"],
            ("192.0.2.1", "https", "a.example"),
        ),
        (&["for=192.0.2.1;proto=wss, for=10.0.0.7;host=inside"], ("192.0.2.1", "https", "inside")),
        // Its proxy tells how it came, and not who it is.
        (&["for=192.0.2.9, for=unknown;proto=https"], ("10.0.0.1", "https", "")),
        (&["for=192.0.2.9, for=_hidden, for=10.0.0.7"], ("10.0.0.7", "http", "")),
        (&["for=192.0.2.9, proto=https;host=a.example"], ("10.0.0.1", "https", "a.example")),
        (&["for=192.0.2.1;proto=ftp;host=\"a/b\""], ("192.0.2.1", "http", "")),
    ] {
        let (address, scheme, host) = told(ForwardedHeader::Forwarded, lines);
        assert_eq!((&*address, scheme, &*host), expected, "{lines:?}");
    }
}

#[test]
fn what_the_grammar_has_not_ends_the_chain() {
    for bad in [
        "",
        " ",
        "for",
        "for=",
        "=192.0.2.1",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "192.0.2.1",
        "for=192.0.2.1:80",
        "for=192.0.2.256",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=\"[2001:db8::1\"",
        "for=[2001:db8::1]",
        "for=\"192.0.2.1:\"",
        "for=\"192.0.2.1:123456\"",
        "for=\"192.0.2.1\"x",
        "for=\"192.0.2.1",
        "for=192.0.2.1\"",
        "for=\"192.0.2.1\\\"",
        "for=192.0.2.1;for=192.0.2.1",
        "for=192.0.2.1;proto=http;Proto=https",
        "for=_",
        "for=192.0.2.1 ;proto=http",
        "for=192.0.2.1; proto=http",
        "for=host",
        "for=\"\"",
        "for=192.0.2.1/32",
    ] {
        assert_eq!(told(ForwardedHeader::Forwarded, &[bad]).0, "10.0.0.1", "{bad}");
        let between = told(ForwardedHeader::Forwarded, &["for=192.0.2.9", bad, "for=10.0.0.7;proto=https"]);
        assert_eq!((&*between.0, between.1), ("10.0.0.7", "https"), "{bad}");
        let before = told(ForwardedHeader::Forwarded, &[&format!("{bad}, for=192.0.2.9;proto=https")]);
        assert_eq!((&*before.0, before.1), ("192.0.2.9", "https"), "{bad}");
    }
}

#[test]
fn the_last_scheme_and_host_are_those_of_the_proxy() {
    let remote =
        |lines: &[(&str, &[u8])]| proxies(ForwardedHeader::XForwardedFor).remote(from("10.0.0.1"), &headers(lines));
    let stated = remote(&[
        ("x-forwarded-proto", b"http"),
        ("x-forwarded-proto", b"ftp, https"),
        ("x-forwarded-host", b"evil.example, A.example:8443"),
    ]);
    assert_eq!((stated.scheme, stated.host), (Scheme::Https, Some(HeaderValue::from_static("A.example:8443"))));
    for (proto, host) in [("", ""), ("https, ftp", "a.example, b/c"), ("https,", "a.example,"), ("https;", "a b")] {
        let none = remote(&[("x-forwarded-proto", proto.as_bytes()), ("x-forwarded-host", host.as_bytes())]);
        assert_eq!((none.scheme, none.host), (Scheme::Http, None), "{proto} {host}");
    }
    let over_tls = Connection { tls: true, ..from("10.0.0.1") };
    assert_eq!(proxies(ForwardedHeader::XForwardedFor).remote(over_tls, &HeaderMap::new()).scheme, Scheme::Https);
}

#[test]
fn one_request_id_that_is_well_formed() {
    let id = |lines: &[(&str, &[u8])]| {
        let remote = proxies(ForwardedHeader::XForwardedFor).remote(from("10.0.0.1"), &headers(lines));
        remote.request_id.map(|id| id.to_string())
    };
    assert_eq!(id(&[("x-request-id", b"a-1.B_c")]).as_deref(), Some("a-1.B_c"));
    assert_eq!(id(&[]), None);
    assert_eq!(id(&[("x-request-id", b"a b")]), None);
    assert_eq!(id(&[("x-request-id", b"a"), ("x-request-id", b"a")]), None);
}

#[test]
fn only_one_header_is_read() {
    let both = headers(&[("x-forwarded-for", b"192.0.2.1"), ("forwarded", b"for=192.0.2.2;proto=https;host=b")]);
    let x_forwarded = proxies(ForwardedHeader::XForwardedFor).remote(from("10.0.0.1"), &both);
    assert_eq!(
        (x_forwarded.address, x_forwarded.scheme, x_forwarded.host),
        (Some(ip("192.0.2.1")), Scheme::Http, None)
    );
    let both =
        headers(&[("x-forwarded-for", b"192.0.2.1"), ("x-forwarded-proto", b"https"), ("x-forwarded-host", b"a")]);
    let forwarded = proxies(ForwardedHeader::Forwarded).remote(from("10.0.0.1"), &both);
    assert_eq!((forwarded.address, forwarded.scheme, forwarded.host), (Some(ip("10.0.0.1")), Scheme::Http, None));
}

#[test]
fn without_an_address_nobody_is_trusted() {
    let unknown = Connection { peer: None, tls: true };
    let lines = headers(&[("x-forwarded-for", b"192.0.2.1"), ("x-request-id", b"a")]);
    let expected = Remote { address: None, scheme: Scheme::Https, host: None, request_id: None };
    assert_eq!(proxies(ForwardedHeader::XForwardedFor).remote(unknown, &lines), expected);
    let mapped = proxies(ForwardedHeader::XForwardedFor).remote(from("::ffff:10.0.0.1"), &lines);
    assert_eq!(mapped.address, Some(ip("192.0.2.1")));
    let stranger = TrustedProxies::default().remote(from("::ffff:192.0.2.9"), &lines);
    assert_eq!((stranger.address, stranger.request_id), (Some(ip("192.0.2.9")), None));
}

const NAMES: [&str; 5] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"];

/// Lines of any of the headers, some of bytes and some nearly well formed.
fn lines() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        r#"((for|proto|host|by)=)?("?(10\.0\.0\.[0-9]|192\.0\.2\.[0-9]|\[::[0-9a-f]\]|https|_x|unknown)(:[0-9_]{1,3})?"?|[,;=" \\]){0,6}"#
            .prop_map(String::into_bytes),
    ];
    prop::collection::vec((0..NAMES.len(), value), 0..5)
}

fn as_headers(lines: &[(usize, Vec<u8>)]) -> HeaderMap {
    headers(&lines.iter().map(|(name, value)| (NAMES[*name], &**value)).collect::<Vec<_>>())
}

fn header() -> impl Strategy<Value = ForwardedHeader> {
    prop_oneof![Just(ForwardedHeader::XForwardedFor), Just(ForwardedHeader::Forwarded)]
}

proptest! {
    #[test]
    fn strangers_change_nothing(lines in lines(), header in header(), peer: u32, tls: bool) {
        let peer = IpAddr::from(peer.to_be_bytes());
        prop_assume!(!proxies(header).trusts(peer));
        let connection = Connection { peer: Some(peer), tls };
        let remote = proxies(header).remote(connection, &as_headers(&lines));
        prop_assert_eq!(remote, proxies(header).remote(connection, &HeaderMap::new()));
    }

    /// On lines of its own, or in front on the line that the first proxy appends to.
    #[test]
    fn what_a_client_puts_in_front_changes_nothing(
        lines in lines(), front in prop::collection::vec(any::<u8>(), 0..40), header in header(), hops in 0..4_usize, one_line: bool
    ) {
        let inner = (0..hops).map(|hop| format!("10.0.0.{hop}"));
        let chain: Vec<String> = std::iter::once("192.0.2.77".to_owned()).chain(inner).collect();
        let (name, chain) = match header {
            ForwardedHeader::XForwardedFor => ("x-forwarded-for", chain),
            ForwardedHeader::Forwarded => {
                let element = |hop: &String| format!(r#"for="{hop}:_a";by="a\",b\\";proto=https;host="a.example:1""#);
                ("forwarded", chain.iter().map(element).collect())
            }
        };
        let mut map = as_headers(&lines);
        for other in ["x-forwarded-proto", "x-forwarded-host"] {
            map.append(other, HeaderValue::from_static(if other.ends_with("host") { "a.example:1" } else { "https" }));
        }
        map.remove("x-request-id");
        let front = if one_line && HeaderValue::from_bytes(&front).is_ok() { front } else { Vec::new() };
        let mut line = front;
        if !line.is_empty() {
            line.extend(b", ");
        }
        line.extend(chain.join(", ").as_bytes());
        map.append(name, HeaderValue::from_bytes(&line).unwrap());
        let remote = proxies(header).remote(from("10.0.0.200"), &map);
        let expected = Remote {
            address: Some(ip("192.0.2.77")),
            scheme: Scheme::Https,
            host: Some(HeaderValue::from_static("a.example:1")),
            request_id: None,
        };
        prop_assert_eq!(remote, expected);
    }

    #[test]
    fn a_proxy_may_say_anything(lines in lines(), header in header(), tls: bool) {
        let headers = as_headers(&lines);
        let remote = proxies(header).remote(Connection { peer: Some(ip("10.0.0.1")), tls }, &headers);
        prop_assert!(remote.address.is_some_and(|address| address == address.to_canonical()));
        prop_assert!(remote.host.is_none_or(|host| host::canonical(host.as_bytes()).is_ok()));
    }

    #[test]
    fn elements_are_a_line_s_parts(line in prop::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\\'), any::<u8>()], 0..60)) {
        let mut parts: Vec<&[u8]> = element::from_the_end(&line).collect();
        for part in &parts {
            let _either = Element::parse(part);
        }
        parts.reverse();
        prop_assert_eq!(parts.join(&b','), line);
    }
}
