//! The listener's certificate, replaceable while connections are served with it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::service::{StartError, TlsFiles};

/// A certificate chain with its key, and where they come from.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    pub(super) fn load(files: TlsFiles) -> Result<Self, StartError> {
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, current })
    }

    pub(super) fn reload(&self) -> Result<(), StartError> {
        self.current.store(Arc::new(read(&self.files)?));
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let chain = CertificateDer::pem_file_iter(&files.certificates).map_err(|error| refused(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refused(&error))?;
    // Checks that they belong together, too.
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(|error| refused(&error))
}
