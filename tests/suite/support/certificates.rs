//! Certificates made for a test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

/// One that signs others.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A chain and its key in PEM.
pub(crate) fn signed(authority: &Authority, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// A gateway's certificate for `localhost`, signed by itself, in files.
pub(crate) struct Localhost {
    /// In PEM, to be trusted.
    pub(crate) pem: String,
    certificate: String,
    key: String,
    _files: TempDir,
}

impl Localhost {
    pub(crate) fn new() -> Self {
        let files = TempDir::with_prefix("cedargate-tls-").unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = |name: &str| files.path().join(name).display().to_string();
        let (certificate, key) = (path("certificate.pem"), path("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { pem: made.cert.pem(), certificate, key, _files: files }
    }

    /// With which the gateway serves it.
    pub(crate) fn settings(&self) -> [(&str, &str); 2] {
        [("CEDARGATE_GATEWAY__TLS_CERTIFICATE", &*self.certificate), ("CEDARGATE_GATEWAY__TLS_KEY", &*self.key)]
    }

    /// For clients of HTTP/2 that trust nothing else.
    pub(crate) fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}
