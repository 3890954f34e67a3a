use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As much of a distinguished name as is taken, in bytes of its text.
const LONGEST_NAME: usize = 1_024;
/// RFC 5280 (4.1.2.2) allows 20 octets, and asks for patience with more.
const LONGEST_SERIAL: usize = 64;
const FINGERPRINT: usize = 64;
/// RFC 1035 (2.3.4), without the last dot.
const LONGEST_DNS_NAME: usize = 253;
/// What a SPIFFE id may have.
const LONGEST_URI: usize = 2_048;
const MOST_NAMES: usize = 64;
/// Of all alternative names together: they become part of decisions, and of the memory of recent ones.
const MOST_NAME_BYTES: usize = 8 * 1_024;

/// What a TLS client's certificate says of the client; everything in it is bounded.
///
/// Of a connection there is one only after the handshake has verified its chain, and that the client holds its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "CertificateFields")]
pub struct ClientCertificate(CertificateFields);

/// The fields of a certificate, not looked at yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateFields {
    /// The subject's distinguished name (RFC 4514), most specific part first: `CN=alice,O=Example`.
    pub subject: String,
    /// The distinguished name of the authority that signed it.
    pub issuer: String,
    /// The authority's number of it, in lower-case hexadecimal digits.
    pub serial: String,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The alternative names that are DNS names, in lower case.
    pub dns_names: Vec<String>,
    /// The alternative names that are URIs, as SPIFFE ids are.
    pub uris: Vec<String>,
}

/// What of a certificate cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {wanted}")]
pub struct CertificateFault {
    /// The field.
    pub field: &'static str,
    /// What would be taken.
    pub wanted: &'static str,
}

impl Deref for ClientCertificate {
    type Target = CertificateFields;

    fn deref(&self) -> &CertificateFields {
        &self.0
    }
}

impl TryFrom<CertificateFields> for ClientCertificate {
    type Error = CertificateFault;

    fn try_from(mut fields: CertificateFields) -> Result<Self, CertificateFault> {
        let check = |field, wanted, holds: bool| if holds { Ok(()) } else { Err(CertificateFault { field, wanted }) };
        check("subject", "1024 bytes at most, without control characters", is_name(&fields.subject))?;
        check("issuer", "1024 bytes at most, without control characters", is_name(&fields.issuer))?;
        let is_serial = fields.serial.len() <= LONGEST_SERIAL && is_hexadecimal(&fields.serial);
        check("serial", "64 lower-case hexadecimal digits at most", is_serial)?;
        // Who asks about a request that might be made need not know the certificate's own digest.
        let is_fingerprint = matches!(fields.fingerprint.len(), 0 | FINGERPRINT) && is_hexadecimal(&fields.fingerprint);
        check("fingerprint", "64 lower-case hexadecimal digits", is_fingerprint)?;
        let are_names = |names: &[String], longest| {
            names.len() <= MOST_NAMES && names.iter().all(|name| is_alternative_name(name, longest))
        };
        let are_dns_names = are_names(&fields.dns_names, LONGEST_DNS_NAME);
        check("dns_names", "64 at most, of 1 to 253 visible ASCII characters", are_dns_names)?;
        check("uris", "64 at most, of 1 to 2048 visible ASCII characters", are_names(&fields.uris, LONGEST_URI))?;
        let bytes: usize = fields.dns_names.iter().chain(&fields.uris).map(String::len).sum();
        check("uris", "8192 bytes at most, with dns_names", bytes <= MOST_NAME_BYTES)?;
        // The one kind of name in which case means nothing (RFC 4343).
        fields.dns_names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        Ok(Self(fields))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is in the characters that such names have (RFC 5280 4.2.1.6): a NUL has made others read half of one.
fn is_alternative_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> CertificateFields {
        CertificateFields {
            subject: "CN=alice,O=Example".to_owned(),
            issuer: "CN=Example CA".to_owned(),
            serial: "0a1b".to_owned(),
            fingerprint: "0f".repeat(32),
            dns_names: vec!["Alice.example".to_owned()],
            uris: vec!["spiffe://example/alice".to_owned()],
        }
    }

    #[test]
    fn what_is_taken_is_as_it_was_but_for_the_case_of_dns_names() {
        let taken = ClientCertificate::try_from(fields()).unwrap();
        assert_eq!(*taken, CertificateFields { dns_names: vec!["alice.example".to_owned()], ..fields() });
        assert!(ClientCertificate::try_from(CertificateFields::default()).is_ok());
        let read: ClientCertificate = serde_json::from_str(r#"{"subject":"CN=alice"}"#).unwrap();
        assert_eq!((read.subject.as_str(), read.fingerprint.as_str()), ("CN=alice", ""));
        let told = serde_json::to_value(&taken).unwrap();
        assert_eq!(serde_json::from_value::<ClientCertificate>(told).unwrap(), taken);
    }

    #[test]
    fn what_is_too_much_or_malformed_is_refused() {
        let wrong = |field: &str, change: &dyn Fn(&mut CertificateFields)| {
            let mut fields = fields();
            change(&mut fields);
            assert_eq!(ClientCertificate::try_from(fields).unwrap_err().field, field);
        };
        wrong("subject", &|fields| fields.subject = "a".repeat(LONGEST_NAME + 1));
        wrong("subject", &|fields| fields.subject = "CN=a\nb".to_owned());
        wrong("issuer", &|fields| fields.issuer = "CN=\u{85}".to_owned());
        wrong("serial", &|fields| fields.serial = "0A".to_owned());
        wrong("serial", &|fields| fields.serial = "0".repeat(LONGEST_SERIAL + 1));
        wrong("fingerprint", &|fields| fields.fingerprint = "0f".to_owned());
        wrong("fingerprint", &|fields| fields.fingerprint = "0F".repeat(32));
        wrong("dns_names", &|fields| fields.dns_names = vec!["a".to_owned(); MOST_NAMES + 1]);
        wrong("dns_names", &|fields| fields.dns_names = vec!["a\0b".to_owned()]);
        wrong("dns_names", &|fields| fields.dns_names = vec![String::new()]);
        wrong("dns_names", &|fields| fields.dns_names = vec!["a".repeat(LONGEST_DNS_NAME + 1)]);
        wrong("uris", &|fields| fields.uris = vec!["b\u{fc}cher:a".to_owned()]);
        wrong("uris", &|fields| fields.uris = vec!["u".repeat(LONGEST_URI); 4]);
        assert!(serde_json::from_str::<ClientCertificate>(r#"{"subject":"CN=a\n"}"#).is_err());
        assert!(serde_json::from_str::<ClientCertificate>(r#"{"name":"CN=a"}"#).is_err());
    }
}
