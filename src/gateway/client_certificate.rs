//! What a client's certificate says.
//!
//! ## Why
//! Policies compare names as text, so the text of a name must be that of one name only: what would mean something else in
//! it is escaped as RFC 4514 says. A certificate that cannot be told in full is not told at all, since a policy might
//! speak of what would have been left out.

use data_encoding::{HEXLOWER, HEXUPPER};
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::{Oid, ToDer as _};
use x509_parser::oid_registry::{
    OID_DOMAIN_COMPONENT, OID_PKCS9_EMAIL_ADDRESS, OID_USERID, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME,
    OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_SERIALNUMBER,
    OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS,
};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, GeneralName, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

use crate::model::{CertificateFields, ClientCertificate};

/// What types of attributes are called: all that RFC 4514 names, and two that certificates often have.
const TYPES: [(Oid<'static>, &str); 11] = [
    (OID_X509_COMMON_NAME, "CN"),
    (OID_X509_LOCALITY_NAME, "L"),
    (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
    (OID_X509_ORGANIZATION_NAME, "O"),
    (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
    (OID_X509_COUNTRY_NAME, "C"),
    (OID_X509_STREET_ADDRESS, "street"),
    (OID_DOMAIN_COMPONENT, "DC"),
    (OID_USERID, "UID"),
    (OID_X509_SERIALNUMBER, "serialNumber"),
    (OID_PKCS9_EMAIL_ADDRESS, "emailAddress"),
];

/// Reads a certificate that the handshake has accepted; `None` for one that is malformed, says more than is taken, or has
/// ended by `now`.
pub(super) fn read(der: &[u8], now: ASN1Time) -> Option<ClientCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    // A session that is resumed brings along the certificate it began with, which nobody looks at again.
    if !rest.is_empty() || !certificate.validity().is_valid_at(now) {
        return None;
    }
    let mut fields = CertificateFields {
        subject: text(certificate.subject())?,
        issuer: text(certificate.issuer())?,
        serial: serial(certificate.raw_serial()),
        fingerprint: HEXLOWER.encode(&Sha256::digest(der)),
        ..CertificateFields::default()
    };
    let alternative = certificate.subject_alternative_name().ok()?;
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => fields.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => fields.uris.push((*uri).to_owned()),
            GeneralName::Invalid(..) => return None,
            _ => {}
        }
    }
    let taken = ClientCertificate::try_from(fields);
    taken.inspect_err(|fault| tracing::debug!(%fault, "a client's certificate is not taken")).ok()
}

/// Without the zero that only says that the number is not negative.
fn serial(bytes: &[u8]) -> String {
    HEXLOWER.encode(match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    })
}

/// A distinguished name as RFC 4514 writes it, last part first.
fn text(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Option<Vec<String>> = part.iter().map(attribute).collect();
        let mut attributes = attributes?;
        attributes.reverse();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let known = TYPES.iter().find(|(oid, _)| oid == attribute.attr_type()).map(|(_, name)| *name);
    if let (Some(name), Ok(value)) = (known, attribute.as_str()) {
        return Some(format!("{name}={}", escaped(value)));
    }
    // RFC 4514 (2.4): what has no text is told by its encoding.
    let encoding = HEXUPPER.encode(&attribute.attr_value().to_der_vec().ok()?);
    let name = known.map_or_else(|| attribute.attr_type().to_id_string(), str::to_owned);
    Some(format!("{name}=#{encoding}"))
}

/// RFC 4514 (2.4), and control characters by their encoding, so that a name is one line wherever it is shown.
fn escaped(value: &str) -> String {
    let last = value.char_indices().next_back().map_or(0, |(at, _)| at);
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', c]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    text.push('\\');
                    text.push_str(&HEXUPPER.encode(&[byte]));
                }
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType};
    use x509_parser::asn1_rs::{Any, Tag};
    use x509_parser::prelude::RelativeDistinguishedName;

    use super::*;

    fn read(der: &[u8]) -> Option<ClientCertificate> {
        super::read(der, ASN1Time::now())
    }

    fn certificate(names: &[(DnType, DnValue)], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn named(name: &str) -> Vec<u8> {
        certificate(&[(DnType::CommonName, name.into())], |_| {})
    }

    fn subject(names: &[(DnType, DnValue)]) -> Option<String> {
        Some(read(&certificate(names, |_| {}))?.subject.clone())
    }

    #[test]
    fn one_that_has_ended_is_not_told() {
        let der = certificate(&[(DnType::CommonName, "device".into())], |params| {
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        });
        let at = |seconds| ASN1Time::from_timestamp(seconds).unwrap();
        assert!(super::read(&der, at(1_800_000_000)).is_some());
        assert!(super::read(&der, at(1_900_000_000)).is_none());
    }

    #[test]
    fn all_that_policies_ask_for_is_told() {
        let names = [
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
            (DnType::OrganizationName, "Example".into()),
            (DnType::CommonName, "alice".into()),
        ];
        let der = certificate(&names, |params| {
            params.serial_number = Some(vec![0xca, 0xfe].into());
            params.subject_alt_names = vec![
                SanType::URI("spiffe://example/alice".try_into().unwrap()),
                SanType::DnsName("Alice.example".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
                SanType::Rfc822Name("alice@example".try_into().unwrap()),
            ];
        });
        let read = read(&der).unwrap();
        let wanted = CertificateFields {
            subject: "CN=alice,O=Example,C=DE".to_owned(),
            issuer: "CN=alice,O=Example,C=DE".to_owned(),
            serial: "cafe".to_owned(),
            fingerprint: HEXLOWER.encode(&Sha256::digest(&der)),
            dns_names: vec!["alice.example".to_owned()],
            uris: vec!["spiffe://example/alice".to_owned()],
        };
        assert_eq!(*read, wanted);
    }

    #[test]
    fn no_name_is_written_like_another() {
        let common = |name: &str| subject(&[(DnType::CommonName, name.into())]).unwrap();
        assert_eq!(common("a,O=Example"), r"CN=a\,O=Example");
        assert_eq!(common("a+O=b;c\"<>\\"), r#"CN=a\+O=b\;c\"\<\>\\"#);
        assert_eq!(common(" a b "), r"CN=\ a b\ ");
        assert_eq!(common(" "), r"CN=\ ");
        assert_eq!(common("#04"), r"CN=\#04");
        assert_eq!(common("a#b"), "CN=a#b");
        assert_eq!(common("a\0b\r\n\u{7f}\u{85}"), r"CN=a\00b\0D\0A\7F\C2\85");
        assert_eq!(common("Zo\u{eb}"), "CN=Zo\u{eb}");
        assert_eq!(common(""), "CN=");
        assert_eq!(subject(&[]).unwrap(), "");
        let unknown = DnType::CustomDnType(vec![1, 2, 3, 4]);
        assert_eq!(subject(&[(unknown, "a".into())]).unwrap(), "1.2.3.4=#0C0161");
        let wide = DnValue::BmpString("a".try_into().unwrap());
        assert_eq!(subject(&[(DnType::CommonName, wide)]).unwrap(), "CN=#1E020061");
    }

    #[test]
    fn several_values_of_one_part_are_told_together() {
        let value = |oid: &Oid<'static>, text: &'static str| {
            AttributeTypeAndValue::new(oid.clone(), Any::from_tag_and_data(Tag::Utf8String, text.as_bytes()))
        };
        let organization = RelativeDistinguishedName::new(vec![value(&OID_X509_ORGANIZATION_NAME, "Example")]);
        let both = vec![value(&OID_X509_COMMON_NAME, "a+UID=2"), value(&OID_USERID, "1")];
        let name = X509Name::new(vec![organization, RelativeDistinguishedName::new(both)], &[]);
        assert_eq!(text(&name).unwrap(), r"UID=1+CN=a\+UID=2,O=Example");
    }

    #[test]
    fn what_cannot_be_told_in_full_is_not_told() {
        assert!(read(&named(&"a".repeat(1_000))).is_some());
        assert!(read(&named(&"a".repeat(2_000))).is_none());
        // Within the bound only before it is escaped.
        assert!(read(&named(&"\n".repeat(500))).is_none());
        let uris = |texts: Vec<String>| {
            let names = texts.iter().map(|text| SanType::URI(text.as_str().try_into().unwrap()));
            read(&certificate(&[], |params| params.subject_alt_names = names.collect()))
        };
        assert!(uris(vec!["a:b".to_owned(); 64]).is_some());
        assert!(uris(vec!["a:b".to_owned(); 65]).is_none());
        assert!(uris(vec!["u".repeat(2_049)]).is_none());
        assert!(uris(vec!["a:\0b".to_owned()]).is_none());
        assert!(uris(vec!["a b".to_owned()]).is_none());
    }

    #[test]
    fn malformed_certificates_are_not_read() {
        let der = named("alice");
        assert!(read(&[]).is_none());
        assert!(read(&[&der[..], b"\0"].concat()).is_none());
        for end in 0..der.len() {
            assert!(read(&der[..end]).is_none(), "{end}");
        }
        let alternative = |content: &[u8]| {
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
            read(&certificate(&[], |params| params.custom_extensions = vec![extension]))
        };
        assert!(alternative(&[0x30, 0x03, 0x82, 0x01, b'a']).is_some());
        assert!(alternative(&[0x30, 0x03, 0x82, 0x01, 0xff]).is_none());
        assert!(alternative(&[0x04, 0x01, b'a']).is_none());
        let twice = read(&certificate(&[], |params| {
            params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
            let second = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x03, 0x82, 0x01, b'b']);
            params.custom_extensions = vec![second];
        }));
        assert!(twice.is_none());
    }

    #[test]
    fn changed_bytes_neither_panic_nor_take_long() {
        let der = certificate(&[(DnType::CommonName, "alice".into())], |params| {
            params.subject_alt_names = vec![SanType::URI("spiffe://example/alice".try_into().unwrap())];
        });
        let before = Instant::now();
        for at in 0..der.len() {
            for value in [0, 1, 0x30, 0x7f, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                if let Some(certificate) = read(&changed) {
                    assert!(!certificate.subject.contains(char::is_control));
                }
            }
        }
        assert!(before.elapsed().as_secs() < 20);
    }
}
