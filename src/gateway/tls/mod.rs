//! TLS towards clients: certificates that are replaced while connections are served with them.
//!
//! ## Why
//! A whole configuration is made anew and swapped, not only a certificate: with what remembers sessions, so that nobody
//! resumes a session that a former list of authorities let in.

mod certificates;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::telemetry::{Metrics, ServedCertificate};

pub(super) use self::certificates::to_show;
use self::certificates::{Certificates, contents};

/// HTTP/2 before HTTP/1.1, as ALPN names them (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [H2, b"http/1.1"];
const H2: &[u8] = b"h2";

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificates: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whether clients show certificates, and the file of the authorities that these must come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    Off,
    /// One that is shown must be sound.
    Optional(PathBuf),
    /// There is no connection without.
    Required(PathBuf),
}

impl ClientAuth {
    fn authorities(&self) -> Option<&Path> {
        match self {
            Self::Off => None,
            Self::Optional(file) | Self::Required(file) => Some(file),
        }
    }
}

/// How a listener serves TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// At least one; the first serves clients that name no host, or one that no certificate is for.
    pub certificates: Vec<TlsFiles>,
    /// Certificates of clients.
    pub client_auth: ClientAuth,
    /// Whether clients that know TLS 1.2 only are served.
    pub allows_tls12: bool,
}

impl TlsSettings {
    /// All files that they name.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter().flat_map(|files| [&files.certificates, &files.key]);
        pairs.map(PathBuf::as_path).chain(self.client_auth.authorities()).map(Path::to_owned).collect()
    }
}

/// A file that TLS cannot be served with.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct TlsError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub fault: String,
}

impl TlsError {
    fn new(file: &Path, fault: impl std::fmt::Display) -> Self {
        Self { file: file.to_owned(), fault: fault.to_string() }
    }
}

/// What new connections can be served with.
#[derive(Debug)]
struct Configured {
    config: ServerConfig,
    certificates: Vec<ServedCertificate>,
}

impl Configured {
    fn noted(self, metrics: &Metrics) -> Arc<ServerConfig> {
        metrics.certificates().note(self.certificates);
        Arc::new(self.config)
    }
}

/// Settings whose files were read, and are of use.
#[derive(Debug)]
pub struct Prepared {
    settings: TlsSettings,
    configured: Configured,
}

/// The configuration in force.
#[derive(Debug)]
pub struct Tls {
    settings: ArcSwap<TlsSettings>,
    current: ArcSwap<ServerConfig>,
    metrics: Arc<Metrics>,
}

impl Tls {
    pub(super) fn load(settings: TlsSettings, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let current = ArcSwap::new(configure(&settings)?.noted(&metrics));
        Ok(Self { settings: ArcSwap::from_pointee(settings), current, metrics })
    }

    /// Reads all files again; new connections are served with them.
    ///
    /// # Errors
    /// One is unusable: those before stay in use, and health says so until a reload succeeds.
    pub fn reload(&self) -> Result<(), TlsError> {
        let configured = configure(&self.settings.load());
        self.metrics.certificates().reloaded(configured.as_ref().err().map(ToString::to_string));
        self.current.store(configured?.noted(&self.metrics));
        Ok(())
    }

    /// Reads other files, or for other settings; nothing is served with them yet.
    ///
    /// # Errors
    /// A file is unusable.
    pub fn prepare(&self, settings: TlsSettings) -> Result<Prepared, TlsError> {
        Ok(Prepared { configured: configure(&settings)?, settings })
    }

    /// Serves new connections with what was prepared.
    pub fn put(&self, prepared: Prepared) {
        let Prepared { settings, configured } = prepared;
        self.settings.store(Arc::new(settings));
        self.metrics.certificates().reloaded(None);
        self.current.store(configured.noted(&self.metrics));
    }

    /// The files it is made from.
    pub fn files(&self) -> Vec<PathBuf> {
        self.settings.load().files()
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

/// Whether HTTP/2 was agreed upon.
pub(super) fn is_h2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(H2)
}

fn configure(settings: &TlsSettings) -> Result<Configured, TlsError> {
    let certificates = Certificates::read(&settings.certificates)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[_] = match settings.allows_tls12 {
        true => &[&rustls::version::TLS13, &rustls::version::TLS12],
        false => &[&rustls::version::TLS13],
    };
    let first = settings.certificates.first().map_or(Path::new(""), |files| &files.certificates);
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::new(first, error))?;
    let builder = match client_verifier(&settings.client_auth)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let told = certificates.told();
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| TlsError::new(first, error))?;
    Ok(Configured { config, certificates: told })
}

fn client_verifier(auth: &ClientAuth) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(file) = auth.authorities() else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&contents(file)?) {
        let certificate = certificate.map_err(|error| TlsError::new(file, error))?;
        roots.add(certificate).map_err(|error| TlsError::new(file, error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth {
        ClientAuth::Optional(_) => builder.allow_unauthenticated(),
        ClientAuth::Off | ClientAuth::Required(_) => builder,
    };
    builder.build().map(Some).map_err(|error| TlsError::new(file, error))
}
