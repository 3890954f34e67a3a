//! Settings of the gateway's listeners.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, UpstreamCertificate, upstream_certificates};
use crate::model::{ForwardedHeader, Network, NetworkError};

/// Each request of a proxy is compared with all of them.
const MOST_NETWORKS: usize = 256;
/// More servers than this are not asked for names.
const MOST_DNS_SERVERS: usize = 8;
use super::resolve::{cores, listen, milliseconds, path};
use super::values::Values;

/// The data plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Threads; resolved, never 0.
    pub workers: usize,
    /// Whether the admin paths are reachable on this listener too.
    pub mount: bool,
    /// Larger request bodies are refused with 413.
    pub max_body_bytes: u64,
    /// Open client connections; 0 is no limit.
    pub max_connections: usize,
    /// Open connections of one client address; 0 is no limit.
    pub max_connections_per_address: usize,
    /// Requests in flight; 0 is no limit.
    pub max_requests: usize,
    /// New work is refused while the process holds more; resolved, `None` where the machine does not tell what it has.
    pub max_memory_bytes: Option<u64>,
    /// Bounds of a request's head.
    pub head: Head,
    /// TLS must be agreed upon within this time.
    pub handshake_timeout: Duration,
    /// A request's head must have arrived within this time.
    pub header_timeout: Duration,
    /// Each part of a request's body must arrive within this time.
    pub body_read_timeout: Duration,
    /// All of a request's body must arrive within this time, and a second for each so many bytes.
    pub body_timeout: Duration,
    /// How many bytes; 0 is no bound of the whole.
    pub body_min_bytes_per_second: u32,
    /// Each part of an answer must be taken by the client within this time.
    pub write_timeout: Duration,
    /// Bounds of an HTTP/2 connection.
    pub http2: Http2,
    /// Idle client connections are closed after this time.
    pub keepalive_timeout: Duration,
    /// Requests in flight have this long at shutdown.
    pub shutdown_timeout: Duration,
    /// A new process must serve within this time at an upgrade.
    pub upgrade_timeout: Duration,
    /// Serve TLS with these.
    pub tls: Option<Tls>,
    /// Sends clients from HTTP to HTTPS.
    pub redirect: Option<Redirect>,
    /// Whose word about clients is believed, on the admin listener too.
    pub trusted_proxies: Vec<Network>,
    /// Where they give it.
    pub forwarded_header: ForwardedHeader,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Capacity of the cache of verified tokens.
    pub token_cache_entries: usize,
    /// Idle connections kept to upstreams.
    pub upstream_pool_size: usize,
    /// Who is asked for the names of upstreams; the system's servers when empty.
    pub dns_servers: Vec<SocketAddr>,
    /// What upstreams may be shown, by name.
    pub upstream_certificates: Vec<UpstreamCertificate>,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How large a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// All of it, in bytes.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
    /// The target, in bytes.
    pub target: usize,
}

/// Bounds of an HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Requests at once.
    pub max_streams: u32,
    /// Cancelled requests within ten seconds.
    pub max_resets: u32,
    /// Frames without content within ten seconds.
    pub max_empty_frames: u32,
}

/// How TLS is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// At least one; the first serves clients that name no host.
    pub certificates: Vec<TlsFiles>,
    /// Whether TLS 1.2 is spoken.
    pub allows_tls12: bool,
    /// Certificates of clients.
    pub client_auth: ClientAuth,
}

/// Whether clients show certificates, of authorities in a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// They may.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// A listener that sends clients from HTTP to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The port they are sent to; `None` is the gateway's own.
    pub port: Option<u16>,
}

pub(super) fn resolve(values: &Values) -> Result<Gateway, Error> {
    Ok(Gateway {
        listen: listen(values, "gateway.listen")?,
        workers: match values.number("gateway.workers")? {
            0 => cores(),
            workers => workers,
        },
        mount: values.switch("gateway.mount"),
        max_body_bytes: values.number("gateway.max_body_bytes")?,
        max_connections: values.number("gateway.max_connections")?,
        max_connections_per_address: values.number("gateway.max_connections_per_address")?,
        max_requests: values.number("gateway.max_requests")?,
        max_memory_bytes: Some(values.number("gateway.max_memory_bytes")?).filter(|bytes| *bytes > 0),
        head: Head {
            bytes: values.number("gateway.max_header_bytes")?,
            fields: values.number("gateway.max_header_fields")?,
            target: values.number("gateway.max_target_bytes")?,
        },
        handshake_timeout: milliseconds(values, "gateway.handshake_timeout_ms")?,
        header_timeout: milliseconds(values, "gateway.header_timeout_ms")?,
        body_read_timeout: milliseconds(values, "gateway.body_read_timeout_ms")?,
        body_timeout: milliseconds(values, "gateway.body_timeout_ms")?,
        body_min_bytes_per_second: values.number("gateway.body_min_bytes_per_second")?,
        write_timeout: milliseconds(values, "gateway.write_timeout_ms")?,
        http2: Http2 {
            max_streams: values.number("gateway.http2_max_streams")?,
            max_resets: values.number("gateway.http2_max_resets")?,
            max_empty_frames: values.number("gateway.http2_max_empty_frames")?,
        },
        keepalive_timeout: milliseconds(values, "gateway.keepalive_timeout_ms")?,
        shutdown_timeout: milliseconds(values, "gateway.shutdown_timeout_ms")?,
        upgrade_timeout: milliseconds(values, "gateway.upgrade_timeout_ms")?,
        tls: tls(values)?,
        redirect: redirect(values)?,
        trusted_proxies: networks(values, "gateway.trusted_proxies")?,
        forwarded_header: match values.text("gateway.forwarded_header") {
            "forwarded" => ForwardedHeader::Forwarded,
            _ => ForwardedHeader::XForwardedFor,
        },
        proxy_protocol: values.switch("gateway.proxy_protocol"),
        token_cache_entries: values.number("gateway.token_cache_entries")?,
        upstream_pool_size: values.number("gateway.upstream_pool_size")?,
        dns_servers: dns_servers(values)?,
        upstream_certificates: values.upstream_certificates(upstream_certificates::PATH),
    })
}

fn networks(values: &Values, key: &str) -> Result<Vec<Network>, Error> {
    let items = values.list(key);
    if items.len() > MOST_NETWORKS {
        return Err(values.refused(key, format!("has {} networks; {MOST_NETWORKS} are the most", items.len())));
    }
    let read =
        |item: &String| item.parse().map_err(|error: NetworkError| values.refused(key, format!("{item:?} {error}")));
    items.iter().map(read).collect()
}

fn dns_servers(values: &Values) -> Result<Vec<SocketAddr>, Error> {
    const KEY: &str = "gateway.dns_servers";
    let items = values.list(KEY);
    if items.len() > MOST_DNS_SERVERS {
        return Err(values.refused(KEY, format!("has {} servers; {MOST_DNS_SERVERS} are the most", items.len())));
    }
    let read = |item: &String| {
        let address = item.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        address.ok_or_else(|| values.refused(KEY, format!("{item:?} is no address:port such as 192.0.2.53:53")))
    };
    items.iter().map(read).collect()
}

fn tls(values: &Values) -> Result<Option<Tls>, Error> {
    let first = match (path(values, "gateway.tls_certificate"), path(values, "gateway.tls_key")) {
        (Some(certificate), Some(key)) => TlsFiles { certificate, key },
        (Some(_), None) => return Err(values.refused("gateway.tls_certificate", "is set without gateway.tls_key")),
        (None, Some(_)) => return Err(values.refused("gateway.tls_key", "is set without gateway.tls_certificate")),
        (None, None) => {
            for dependent in ["gateway.tls_more_certificates", "gateway.tls_more_keys"] {
                if !values.list(dependent).is_empty() {
                    return Err(values.refused(dependent, "is set without gateway.tls_certificate"));
                }
            }
            if values.text("gateway.tls_client_auth") != "off" {
                return Err(values.refused("gateway.tls_client_auth", "is set without gateway.tls_certificate"));
            }
            return Ok(None);
        }
    };
    let more = (values.list("gateway.tls_more_certificates"), values.list("gateway.tls_more_keys"));
    if more.0.len() != more.1.len() {
        let reason = format!("has {} files for {} of gateway.tls_more_certificates", more.1.len(), more.0.len());
        return Err(values.refused("gateway.tls_more_keys", reason));
    }
    let more = more.0.into_iter().zip(more.1);
    let more = more.map(|(certificate, key)| TlsFiles { certificate: certificate.into(), key: key.into() });
    Ok(Some(Tls {
        certificates: std::iter::once(first).chain(more).collect(),
        allows_tls12: values.text("gateway.tls_min_version") == "1.2",
        client_auth: client_auth(values)?,
    }))
}

fn client_auth(values: &Values) -> Result<ClientAuth, Error> {
    let authorities = path(values, "gateway.tls_client_ca");
    match (values.text("gateway.tls_client_auth"), authorities) {
        ("off", None) => Ok(ClientAuth::Off),
        ("off", Some(_)) => Err(values.refused("gateway.tls_client_ca", "is set while gateway.tls_client_auth is off")),
        (_, None) => Err(values.refused("gateway.tls_client_auth", "is set without gateway.tls_client_ca")),
        ("optional", Some(file)) => Ok(ClientAuth::Optional(file)),
        (_, Some(file)) => Ok(ClientAuth::Required(file)),
    }
}

fn redirect(values: &Values) -> Result<Option<Redirect>, Error> {
    let Some(listen) = values.address("gateway.redirect_listen")? else { return Ok(None) };
    if path(values, "gateway.tls_certificate").is_none() {
        return Err(values.refused("gateway.redirect_listen", "is set without gateway.tls_certificate"));
    }
    let port = Some(values.number("gateway.redirect_port")?).filter(|port| *port > 0);
    Ok(Some(Redirect { listen, port }))
}

/// Every file that TLS needs, to clients and to upstreams, with the key that names it.
pub(super) fn files(gateway: &Gateway) -> Vec<(&'static str, &Path)> {
    let mut files = Vec::new();
    for pair in &gateway.upstream_certificates {
        files.extend([&pair.certificate, &pair.key].map(|file| (upstream_certificates::PATH, &**file)));
    }
    let Some(tls) = &gateway.tls else { return files };
    for (index, pair) in tls.certificates.iter().enumerate() {
        let (certificate, key) = match index {
            0 => ("gateway.tls_certificate", "gateway.tls_key"),
            _ => ("gateway.tls_more_certificates", "gateway.tls_more_keys"),
        };
        files.extend([(certificate, &*pair.certificate), (key, &*pair.key)]);
    }
    if let ClientAuth::Optional(file) | ClientAuth::Required(file) = &tls.client_auth {
        files.push(("gateway.tls_client_ca", file));
    }
    files
}
