//! Getting what an issuer publishes, and nothing else from nowhere else.
//!
//! ## Why
//! Whoever may name an address that the server asks can make it ask its own network. So a name is resolved here, its
//! addresses are looked at, and the connection goes to one of those: resolving it again could give another (CVE-2026-26998
//! is about answers without an end, which are cut as well). Nothing is followed to anywhere else.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use url::{Host, Url};

use crate::model::{Issuer, KeySource, is_public_address};

/// An attempt, discovery and keys together, takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More is nobody's set of keys (CVE-2026-26998).
const MAX_BYTES: usize = 256 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("it took longer than {} seconds", PATIENCE.as_secs())]
    Timeout,
    #[error("{0} cannot be resolved: {1}")]
    Unresolved(String, std::io::Error),
    #[error("{0} has private addresses only, which allow_private_addresses would allow")]
    Private(String),
    #[error("{0} has a public address, from which keys are fetched over TLS only")]
    Plain(String),
    #[error("{0} is no address that keys are fetched from")]
    Address(String),
    #[error("no answer: {0}")]
    Connection(String),
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("discovery is of another issuer")]
    OtherIssuer,
    #[error("{0}")]
    Malformed(String),
    #[error("the file cannot be read: {0}")]
    File(std::io::Error),
}

impl Error {
    /// What the metrics call it.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unresolved(..) => "unresolved",
            Self::Private(_) | Self::Plain(_) | Self::Address(_) => "refused_address",
            Self::Connection(_) => "connection",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::OtherIssuer => "other_issuer",
            Self::Malformed(_) => "malformed",
            Self::File(_) => "file",
        }
    }
}

/// The set of keys of `issuer`, as it stands there.
pub(super) async fn keys(issuer: &Issuer) -> Result<Vec<u8>, Error> {
    tokio::time::timeout(PATIENCE, find(issuer)).await.unwrap_or(Err(Error::Timeout))
}

async fn find(issuer: &Issuer) -> Result<Vec<u8>, Error> {
    match issuer.keys() {
        KeySource::File(path) => file(path).await,
        KeySource::Url(url) => get(issuer, url).await,
        KeySource::Discovery => {
            let name = &issuer.spec().issuer;
            let text = get(issuer, &format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'))).await?;
            let told: Discovery = serde_json::from_slice(&text)
                .map_err(|error| Error::Malformed(format!("discovery is not what it should be: {error}")))?;
            // Or one issuer could speak for another (OpenID Connect Discovery 4.3).
            if told.issuer != *name {
                return Err(Error::OtherIssuer);
            }
            get(issuer, &told.jwks_uri).await
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

async fn file(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(Error::File)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await.map_err(Error::File)?;
    if bytes.len() > MAX_BYTES { Err(Error::TooLarge) } else { Ok(bytes) }
}

async fn get(issuer: &Issuer, address: &str) -> Result<Vec<u8>, Error> {
    let refused = || Error::Address(shown(address));
    let url = Url::parse(address).map_err(|_| refused())?;
    let is_plain = match url.scheme() {
        "https" => false,
        "http" if issuer.spec().allow_http => true,
        _ => return Err(refused()),
    };
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(refused()) };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused());
    }
    let name = host.to_string();
    let addresses = allowed(&name, resolve(&host, port).await?, issuer.spec().allow_private_addresses, is_plain)?;
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .https_only(!is_plain)
        .timeout(PATIENCE)
        .pool_max_idle_per_host(0)
        .resolve_to_addrs(&name, &addresses)
        .user_agent(concat!("cedargate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(&error))?;
    let mut answer =
        client.get(url).header("accept", "application/json").send().await.map_err(|error| failed(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(Error::Status(answer.status()));
    }
    if answer.content_length().is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(Error::TooLarge);
    }
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| failed(&error))? {
        if bytes.len() + part.len() > MAX_BYTES {
            return Err(Error::TooLarge);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

async fn resolve(host: &Host<&str>, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let fixed = |ip: IpAddr| Ok(vec![SocketAddr::new(ip, port)]);
    match host {
        Host::Ipv4(v4) => fixed((*v4).into()),
        Host::Ipv6(v6) => fixed((*v6).into()),
        Host::Domain(name) => {
            let found = tokio::net::lookup_host((*name, port)).await;
            found.map(Iterator::collect).map_err(|error| Error::Unresolved((*name).to_owned(), error))
        }
    }
}

/// Those of `addresses` that may be connected to.
fn allowed(
    name: &str,
    mut addresses: Vec<SocketAddr>,
    private: bool,
    is_plain: bool,
) -> Result<Vec<SocketAddr>, Error> {
    if !private {
        addresses.retain(|address| is_public_address(address.ip()));
        if addresses.is_empty() {
            return Err(Error::Private(name.to_owned()));
        }
    }
    if is_plain {
        addresses.retain(|address| !is_public_address(address.ip()));
        if addresses.is_empty() {
            return Err(Error::Plain(name.to_owned()));
        }
    }
    Ok(addresses)
}

/// With its causes, which say more than the error itself, and without the address, which may hold a secret.
fn failed(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::Timeout;
    }
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    Error::Connection(causes.join(": "))
}

/// As much of an address as a line of a log has room for, without its query.
fn shown(address: &str) -> String {
    address.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_need_leave_and_plain_http_goes_nowhere_else() {
        let all: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap(), "1.1.1.1:1".parse().unwrap()];
        let ips = |private, plain| {
            let found = allowed("a", all.clone(), private, plain);
            found.map(|found| found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(ips(false, false).unwrap(), ["1.1.1.1"]);
        assert_eq!(ips(true, false).unwrap(), ["127.0.0.1", "1.1.1.1"]);
        assert_eq!(ips(true, true).unwrap(), ["127.0.0.1"]);
        assert!(matches!(allowed("a", all[..1].to_vec(), false, false), Err(Error::Private(_))));
        assert!(matches!(allowed("a", all[1..].to_vec(), true, true), Err(Error::Plain(_))));
    }
}
