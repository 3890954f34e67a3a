use std::net::IpAddr;

use cedargate::http::{Connection, Remote, Scheme, TrustedProxies, host};
use cedargate::model::{ForwardedHeader, Network};
use http::{HeaderMap, HeaderName, HeaderValue};

const HEADERS: [ForwardedHeader; 2] = [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded];
const TRUSTED: [&str; 2] = ["10.0.0.0/8", "2001:db8:ffff::/48"];
const STRANGERS: [&str; 4] = ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::9", "::1"];
const CLIENT: &str = "192.0.2.77";
const ID: &str = "of-a-proxy";

/// Fields of a request, one on each line. From strangers they mean nothing. Sent through trusted proxies they do not
/// change what these say. Said by a trusted proxy, they are read as one list however they are cut into lines, and no other
/// header than the proxies' own is read.
pub(super) fn holds(bytes: &[u8]) {
    let said = fields(bytes);
    for header in HEADERS {
        let networks: Vec<Network> = TRUSTED.map(|network| network.parse().unwrap()).to_vec();
        let proxies = TrustedProxies::new(networks, header);
        for tls in [false, true] {
            let strangers = STRANGERS.iter().map(|peer| Some(peer.parse().unwrap()));
            for peer in strangers.chain([None]) {
                let connection = Connection { peer, tls };
                assert_eq!(proxies.remote(connection, &said), nobody_else(connection), "{said:?}");
            }
            let proxy = Connection { peer: Some("10.0.0.200".parse().unwrap()), tls };
            for hops in 0..3 {
                passed_on(&proxies, header, proxy, &said, hops);
            }
            believed(&proxies, header, proxy, &said);
        }
    }
}

fn fields(bytes: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// What only the connection says.
fn nobody_else(connection: Connection) -> Remote {
    let scheme = if connection.tls { Scheme::Https } else { Scheme::Http };
    Remote { address: connection.peer.map(|peer| peer.to_canonical()), scheme, host: None, request_id: None }
}

/// The first proxy appends to what the client said, on the client's last line and on one of its own; so do the others.
fn passed_on(proxies: &TrustedProxies, header: ForwardedHeader, from: Connection, said: &HeaderMap, hops: usize) {
    let chain = std::iter::once(CLIENT.to_owned()).chain((0..hops).map(|hop| format!("10.0.0.{hop}")));
    let (name, chain): (_, Vec<String>) = match header {
        ForwardedHeader::XForwardedFor => ("x-forwarded-for", chain.collect()),
        ForwardedHeader::Forwarded => {
            let element = |hop| format!(r#"for="{hop}:_a";by="a\",b\\";proto=https;host="a.example:1""#);
            ("forwarded", chain.map(element).collect())
        }
    };
    let chain = chain.join(", ");
    let mut own_line = said.clone();
    own_line.append("x-forwarded-proto", HeaderValue::from_static("https"));
    own_line.append("x-forwarded-host", HeaderValue::from_static("a.example:1"));
    own_line.append("x-request-id", HeaderValue::from_static(ID));
    let mut one_line = own_line.clone();
    own_line.append(name, HeaderValue::try_from(&chain).unwrap());
    append(&mut one_line, name, chain.as_bytes());
    for seen in [own_line, one_line] {
        let remote = proxies.remote(from, &seen);
        assert_eq!(remote.address, Some(CLIENT.parse::<IpAddr>().unwrap()), "{seen:?}");
        assert_eq!(remote.scheme, Scheme::Https, "{seen:?}");
        assert_eq!(remote.host, Some(HeaderValue::from_static("a.example:1")), "{seen:?}");
        // Of two, neither is taken.
        let id = (!said.contains_key("x-request-id")).then(|| ID.to_owned());
        assert_eq!(remote.request_id.map(|id| id.to_string()), id, "{seen:?}");
    }
}

/// Appends to the last line of this name.
fn append(map: &mut HeaderMap, name: &'static str, text: &[u8]) {
    let mut lines: Vec<HeaderValue> = map.get_all(name).iter().cloned().collect();
    let last = lines.pop().map(|last| [last.as_bytes(), b", "].concat()).unwrap_or_default();
    lines.push(HeaderValue::from_bytes(&[&last, text].concat()).unwrap());
    map.remove(name);
    for line in lines {
        map.append(name, line);
    }
}

fn believed(proxies: &TrustedProxies, header: ForwardedHeader, from: Connection, said: &HeaderMap) {
    let remote = proxies.remote(from, said);
    assert!(remote.address.is_some_and(|address| address == address.to_canonical()), "{said:?}");
    assert!(remote.host.as_ref().is_none_or(|name| host::canonical(name.as_bytes()).is_ok()), "{said:?}");
    let (read, others): (&[&'static str], &[&str]) = match header {
        ForwardedHeader::XForwardedFor => {
            (&["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"], &["forwarded"])
        }
        ForwardedHeader::Forwarded => (&["forwarded"], &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]),
    };
    let mut without = said.clone();
    for name in others {
        without.remove(*name);
    }
    assert_eq!(proxies.remote(from, &without), remote, "{said:?}");
    // A quotation mark that is never closed hides commas on its own line only.
    let is_plain = header == ForwardedHeader::XForwardedFor || !said.get_all("forwarded").iter().any(has_quotes);
    let mut joined = said.clone();
    for name in read {
        let lines: Vec<&[u8]> = said.get_all(*name).iter().map(HeaderValue::as_bytes).collect();
        if !lines.is_empty() {
            joined.insert(*name, HeaderValue::from_bytes(&lines.join(&b", "[..])).unwrap());
        }
    }
    assert!(!is_plain || proxies.remote(from, &joined) == remote, "{said:?}");
}

fn has_quotes(value: &HeaderValue) -> bool {
    value.as_bytes().contains(&b'"')
}
