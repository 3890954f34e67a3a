//! What an upstream must be to work at all.

use std::collections::HashSet;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::admin::error::Error;
use crate::admin::input::{Flaw, Issue};
use crate::http;
use crate::model::{Ejection, HealthCheck, Host, Target, Timeouts, Tls, nearest};

const MOST_TARGETS: usize = 256;
const LONGEST_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1_000;
/// Of the authorities of an upstream, in bytes and certificates: they are part of every answer and audit record.
const LARGEST_CA: usize = 64 * 1024;
const MOST_AUTHORITIES: usize = 100;
const LONGEST_PATH: usize = 1_024;
const MOST_STATUS: usize = 50;

pub(super) fn targets(targets: &[Target]) -> Result<(), Flaw> {
    if targets.is_empty() || targets.len() > MOST_TARGETS {
        return Err(Flaw::value(format!("between 1 and {MOST_TARGETS} targets are needed")));
    }
    let mut seen = HashSet::new();
    for target in targets {
        let (name, port) = target.address.rsplit_once(':').unwrap_or((&target.address, ""));
        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| Flaw::value(format!("'{}' is not address:port or name:port", target.address)))?;
        host(name, "address")?;
        if !(1..=100).contains(&target.weight) {
            return Err(Flaw::value("weight must be between 1 and 100"));
        }
        // Their health and their share are told by their address.
        if !seen.insert((name.to_ascii_lowercase(), port)) {
            return Err(Flaw::value(format!("'{}' stands twice; its weight says how much it gets", target.address)));
        }
    }
    Ok(())
}

fn host(host: &str, what: &str) -> Result<(), Flaw> {
    Host::try_from(host).map(|_| ()).map_err(|_| Flaw::value(format!("{what} '{host}' is not a host")))
}

pub(super) fn host_header(header: &str) -> Result<(), Flaw> {
    let (name, port) = match header.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (header, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(Flaw::value("host_header is not host or host:port"));
    }
    host(name, "host_header")
}

/// A name must be there: the library below would skip verification without one, and without a word.
pub(super) fn tls(tls: &Tls) -> Result<(), Flaw> {
    let name = &tls.server_name;
    if ServerName::try_from(name.as_str()).is_err() || name.ends_with('.') {
        return Err(Flaw::value(format!("server_name '{name}' is no host that a certificate can be for")));
    }
    tls.ca.as_deref().map_or(Ok(()), authorities)
}

/// Each must be one that certificates can be traced to, as they will be.
fn authorities(pem: &str) -> Result<(), Flaw> {
    if pem.len() > LARGEST_CA {
        return Err(Flaw::value(format!("ca has {} bytes; {LARGEST_CA} are the most", pem.len())));
    }
    if pem.contains("PRIVATE KEY-----") {
        return Err(Flaw::value("ca holds a private key; it is for certificates only"));
    }
    let (mut roots, mut count) = (RootCertStore::empty(), 0);
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        count += 1;
        if count > MOST_AUTHORITIES {
            return Err(Flaw::value(format!("ca has more than {MOST_AUTHORITIES} certificates")));
        }
        let added = certificate.map_err(|error| error.to_string());
        added
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
            .map_err(|error| Flaw::value(format!("ca: certificate {count} cannot be used: {error}")))?;
    }
    if count == 0 {
        return Err(Flaw::value("ca holds no certificate (PEM, \"BEGIN CERTIFICATE\")"));
    }
    Ok(())
}

/// The certificate to show must be one of the settings, whose names are `known`.
///
/// # Errors
/// 422, which tells what was probably meant, or which there are.
pub(super) fn client_certificate(tls: Option<&Tls>, known: &[String]) -> Result<(), Error> {
    let Some(name) = tls.and_then(|tls| tls.client_certificate.as_ref()) else { return Ok(()) };
    if known.contains(name) {
        return Ok(());
    }
    let told = match nearest(name, known) {
        Some(near) => format!(", did you mean {near}?"),
        None if known.is_empty() => ", which has none".to_owned(),
        None => format!(", which has {}", known.join(", ")),
    };
    let flaw = Flaw::value(format!("client_certificate '{name}' is not in gateway.upstream_certificates{told}"));
    let loc = ["body", "tls", "client_certificate"].map(Into::into).to_vec();
    Err(Error::Validation(vec![Issue::new(loc, flaw, &name.as_str().into())]))
}

pub(super) fn health(check: &HealthCheck) -> Result<(), Flaw> {
    if let Some(path) = &check.path
        && (path.len() > LONGEST_PATH || http::Target::parse(path.as_bytes()).is_err())
    {
        return Err(Flaw::value(format!("path '{path}' is not a path such as /healthz")));
    }
    if !(100..=LONGEST_TIMEOUT_MS).contains(&check.interval_ms) {
        return Err(Flaw::value(format!("interval_ms must be between 100 and {LONGEST_TIMEOUT_MS}")));
    }
    if !(1..=60_000).contains(&check.timeout_ms) {
        return Err(Flaw::value("timeout_ms must be between 1 and 60000"));
    }
    if ![check.healthy_after, check.unhealthy_after].iter().all(|times| (1..=100).contains(times)) {
        return Err(Flaw::value("healthy_after and unhealthy_after must be between 1 and 100"));
    }
    if check.status.len() > MOST_STATUS || check.status.iter().any(|status| !(200..=599).contains(status)) {
        return Err(Flaw::value(format!("status must name at most {MOST_STATUS} codes between 200 and 599")));
    }
    if check.path.is_none() && !check.status.is_empty() {
        return Err(Flaw::value("status says nothing without a path"));
    }
    Ok(())
}

pub(super) fn ejection(ejection: Ejection) -> Result<(), Flaw> {
    if !(1..=1_000).contains(&ejection.failures) {
        return Err(Flaw::value("failures must be between 1 and 1000"));
    }
    if !(100..=LONGEST_TIMEOUT_MS).contains(&ejection.ms) {
        return Err(Flaw::value(format!("ms must be between 100 and {LONGEST_TIMEOUT_MS}")));
    }
    Ok(())
}

pub(super) fn timeouts(timeouts: Timeouts) -> Result<(), Flaw> {
    let Timeouts { connect_ms, read_ms, write_ms, total_ms, idle_ms } = timeouts;
    let all = [connect_ms, read_ms, write_ms, total_ms, idle_ms];
    if all.iter().all(|ms| (1..=LONGEST_TIMEOUT_MS).contains(ms)) {
        return Ok(());
    }
    Err(Flaw::value(format!("timeouts must be between 1 and {LONGEST_TIMEOUT_MS} milliseconds")))
}
