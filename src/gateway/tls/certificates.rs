//! Which certificate is shown to whom.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use pingora::utils::tls::CertKey;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::telemetry::ServedCertificate;

use super::{TlsError, TlsFiles};

/// More bytes are no certificate but a mistake.
const MAX_FILE: u64 = 1024 * 1024;

/// All certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    first: Arc<CertifiedKey>,
    /// By the names they are for, in lower case; `*.` covers one label (RFC 6125 6.4.3).
    by_name: HashMap<String, Arc<CertifiedKey>>,
    told: Vec<ServedCertificate>,
}

impl Certificates {
    pub(super) fn read(files: &[TlsFiles]) -> Result<Self, TlsError> {
        let (mut first, mut by_name, mut told) = (None, HashMap::new(), Vec::new());
        for pair in files {
            let key = Arc::new(read(pair)?);
            let leaf = key.end_entity_cert().map_err(|error| TlsError::new(&pair.certificates, error))?;
            let (names, expires) =
                describe(leaf).ok_or_else(|| TlsError::new(&pair.certificates, "no X.509 certificate"))?;
            for name in &names {
                // The first certificate for a name serves it.
                by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&key));
            }
            told.push(ServedCertificate { file: pair.certificates.display().to_string(), names, expires });
            first.get_or_insert(key);
        }
        let first = first.ok_or_else(|| TlsError::new(Path::new(""), "no certificate is configured"))?;
        Ok(Self { first, by_name, told })
    }

    pub(super) fn told(&self) -> Vec<ServedCertificate> {
        self.told.clone()
    }

    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let name = name.trim_end_matches('.');
        let wild = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(name).or_else(wild).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(hello.server_name().map_or(&self.first, |name| self.find(name))))
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let (chain, key) = pair(files)?;
    // Checks that they belong together, too.
    let certified = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider());
    certified.map_err(|error| TlsError::new(&files.certificates, format!("{error} (key: {})", files.key.display())))
}

/// A pair of its own, for who shows it to servers.
pub(in crate::gateway) fn to_show(files: &TlsFiles) -> Result<CertKey, TlsError> {
    read(files)?;
    let (chain, key) = pair(files)?;
    let chain: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    if let Some(error) = chain.iter().find_map(|certificate| X509Certificate::from_der(certificate).err()) {
        return Err(TlsError::new(&files.certificates, error));
    }
    Ok(CertKey::new(chain, key.secret_der().to_vec()))
}

fn pair(files: &TlsFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = contents(&files.certificates)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|error| TlsError::new(&files.certificates, told(&error)))?;
    if chain.is_empty() {
        return Err(TlsError::new(&files.certificates, "holds no certificate (PEM, \"BEGIN CERTIFICATE\")"));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents(&files.key)?);
    let key = key.map_err(|error| TlsError::new(&files.key, told(&error)))?;
    Ok((chain, key))
}

pub(super) fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    let size = path.metadata().map_err(|error| TlsError::new(path, error))?.len();
    if size > MAX_FILE {
        return Err(TlsError::new(path, format!("{size} bytes, at most {MAX_FILE}")));
    }
    std::fs::read(path).map_err(|error| TlsError::new(path, error))
}

fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "holds no private key (PEM, \"BEGIN PRIVATE KEY\")".to_owned(),
        other => other.to_string(),
    }
}

/// The DNS names and addresses a certificate is for, in lower case, and when it ends, in seconds since 1970.
fn describe(leaf: &CertificateDer<'_>) -> Option<(Vec<String>, i64)> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let general = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = general.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Some((names.collect(), leaf.validity().not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(folder: &Path, stem: &str, names: &[&str]) -> TlsFiles {
        let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let made = made.unwrap();
        let files =
            TlsFiles { certificates: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        std::fs::write(&files.certificates, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn names_choose() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            pair(folder.path(), "first", &["a.example"]),
            pair(folder.path(), "wild", &["*.B.example", "b.example"]),
            pair(folder.path(), "again", &["a.example", "x.b.example"]),
        ];
        let certificates = Certificates::read(&files).unwrap();
        let chosen = |name: &str| certificates.find(name).cert[0].clone();
        let leaf = |index: usize| read(&files[index]).unwrap().cert[0].clone();
        for (name, index) in [
            ("a.example", 0),
            ("A.Example.", 0),
            ("b.example", 1),
            ("y.b.example", 1),
            ("x.b.example", 2),
            ("y.y.b.example", 0),
            ("none.example", 0),
            ("localhost", 0),
            ("", 0),
        ] {
            assert_eq!(chosen(name), leaf(index), "{name}");
        }
        assert_eq!(certificates.told()[1].names, ["*.b.example", "b.example"]);
        assert!(certificates.told()[1].expires > 1_700_000_000);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let good = pair(folder.path(), "good", &["a.example"]);
        let other = pair(folder.path(), "other", &["a.example"]);
        let written = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let cut = std::fs::read_to_string(&good.certificates).unwrap()[..200].to_owned();
        let fault = |certificates: &Path, key: &Path| {
            let files = TlsFiles { certificates: certificates.to_owned(), key: key.to_owned() };
            Certificates::read(&[files]).unwrap_err().to_string()
        };
        let missing = folder.path().join("missing.pem");
        assert!(fault(&missing, &good.key).contains("missing.pem: No such file"));
        assert!(fault(&good.certificates, &missing).contains("missing.pem: No such file"));
        assert!(fault(&written("empty.pem", ""), &good.key).contains("empty.pem: holds no certificate"));
        assert!(fault(&written("cut.pem", &cut), &good.key).contains("cut.pem: "));
        assert!(fault(&good.certificates, &written("empty.key", "")).contains("empty.key: holds no private key"));
        assert!(fault(&good.certificates, &other.key).contains("other.key"));
        let large = "x".repeat(usize::try_from(MAX_FILE).unwrap() + 1);
        assert!(fault(&written("large.pem", &large), &good.key).contains("large.pem: 1048577 bytes"));
        assert!(Certificates::read(&[]).is_err());
    }
}
