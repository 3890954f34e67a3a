//! The certificates that are served, and whether their files are sound.

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

/// What is served, and what is wrong with its files.
#[derive(Debug)]
pub struct CertificateState {
    expiry: IntGaugeVec,
    failures: IntCounter,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    served: Vec<ServedCertificate>,
    fault: Option<String>,
}

/// One certificate in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// The file of its chain.
    pub file: String,
    /// The DNS names it is for, in lower case.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
}

impl CertificateState {
    /// # Errors
    /// Never for the names below; the registry refuses duplicates and malformed names.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let state = Self {
            expiry: IntGaugeVec::new(
                Opts::new("cedargate_certificate_expiry_timestamp_seconds", "When a certificate that is served ends."),
                &["file"],
            )?,
            failures: IntCounter::new(
                "cedargate_certificate_reload_failures_total",
                "Certificate files that were unusable; those before stayed in use.",
            )?,
            known: Mutex::default(),
        };
        registry.register(Box::new(state.expiry.clone()))?;
        registry.register(Box::new(state.failures.clone()))?;
        Ok(state)
    }

    /// Notes what is served from now on.
    pub fn note(&self, served: Vec<ServedCertificate>) {
        for certificate in &served {
            self.expiry.with_label_values(&[&*certificate.file]).set(certificate.expires);
        }
        self.known.lock().served = served;
    }

    /// Notes the outcome of a reload.
    pub fn reloaded(&self, fault: Option<String>) {
        if fault.is_some() {
            self.failures.inc();
        }
        self.known.lock().fault = fault;
    }

    /// What is served.
    pub fn served(&self) -> Vec<ServedCertificate> {
        self.known.lock().served.clone()
    }

    /// What is wrong with the files, if those before are still in use.
    pub fn fault(&self) -> Option<String> {
        self.known.lock().fault.clone()
    }
}
