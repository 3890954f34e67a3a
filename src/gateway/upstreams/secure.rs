//! What TLS towards an upstream needs, read once for each state of it.

use std::collections::HashMap;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::tls::{self, TlsError, TlsFiles};
use crate::model::{Tls, Upstream};

/// Certificates that can be shown to upstreams, by name.
pub(in crate::gateway) type Certificates = HashMap<String, Arc<CertKey>>;

/// Reads the certificates that can be shown.
pub(in crate::gateway) fn certificates(files: &[(String, TlsFiles)]) -> Result<Certificates, TlsError> {
    files.iter().map(|(name, files)| Ok((name.clone(), Arc::new(tls::to_show(files)?)))).collect()
}

/// Whom to believe and what to show.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Secure {
    pub(in crate::gateway) server_name: String,
    /// Who is believed instead of the system's authorities.
    pub(in crate::gateway) ca: Option<Arc<CaType>>,
    pub(in crate::gateway) certificate: Option<Arc<CertKey>>,
}

/// Why nothing can be sent to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Insecure {
    #[error("the certificates to trust cannot be read")]
    Ca,
    #[error("the certificate to show is not in the settings")]
    Certificate,
    #[error("the name to verify is empty")]
    Name,
}

impl Secure {
    /// What `upstream` asks for, if it is spoken to by TLS.
    pub(super) fn of(upstream: &Upstream, certificates: &Certificates) -> Result<Option<Self>, Insecure> {
        let Some(Tls { server_name, ca, client_certificate }) = &upstream.tls else { return Ok(None) };
        // The library below would skip verification without a word.
        if server_name.is_empty() {
            return Err(Insecure::Name);
        }
        let ca = ca.as_deref().map(authorities).transpose()?;
        let certificate = client_certificate.as_ref().map(|name| certificates.get(name).ok_or(Insecure::Certificate));
        let certificate = certificate.transpose()?.cloned();
        Ok(Some(Self { server_name: server_name.clone(), ca, certificate }))
    }
}

fn authorities(pem: &str) -> Result<Arc<CaType>, Insecure> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = certificate.map_err(|_| Insecure::Ca)?.to_vec();
        // `parse_x509` panics where this fails.
        X509Certificate::from_der(&der).map_err(|_| Insecure::Ca)?;
        found.push(WrappedX509::new(der, parse_x509));
    }
    if found.is_empty() { Err(Insecure::Ca) } else { Ok(found.into()) }
}
