//! Certificates that the gateway shows to upstreams: tables of the file, or JSON in a variable. Their files are read at the
//! start only.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::tables::Tables;
use super::{Error, Origin};
use crate::model::nearest;

/// Where they stand.
pub(super) const PATH: &str = "gateway.upstream_certificates";

/// More is a mistake.
const MOST: usize = 256;
const FIELDS: [&str; 3] = ["name", "certificate", "key"];

/// A certificate chain and its key, both PEM, by a name that upstreams give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCertificate {
    /// Unique among them: `[a-z0-9][a-z0-9_-]{0,62}`.
    pub name: String,
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What a variable says.
pub(super) fn read(text: &str, origin: &Origin) -> Result<Vec<UpstreamCertificate>, Error> {
    let tables = Tables { path: PATH, origin };
    each(&tables, &tables.read(text)?)
}

/// What the file says.
pub(super) fn read_toml(value: &DeValue<'_>, origin: &Origin) -> Result<Vec<UpstreamCertificate>, Error> {
    let tables = Tables { path: PATH, origin };
    each(&tables, &tables.read_toml(value)?)
}

/// As `config show` prints them, and as a variable takes them.
pub(super) fn shown(certificates: &[UpstreamCertificate]) -> Value {
    let one = |of: &UpstreamCertificate| json!({ "name": of.name, "certificate": of.certificate, "key": of.key });
    certificates.iter().map(one).collect()
}

fn each(tables: &Tables<'_>, items: &[Map<String, Value>]) -> Result<Vec<UpstreamCertificate>, Error> {
    if items.len() > MOST {
        return Err(tables.refused(format!("has more than {MOST} certificates")));
    }
    let mut found: Vec<UpstreamCertificate> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let certificate = one(item).map_err(|fault| tables.refused(format!("[{index}]: {fault}")))?;
        if found.iter().any(|other| other.name == certificate.name) {
            return Err(tables.refused(format!("[{index}]: name '{}' stands twice", certificate.name)));
        }
        found.push(certificate);
    }
    Ok(found)
}

fn one(item: &Map<String, Value>) -> Result<UpstreamCertificate, String> {
    if let Some(unknown) = item.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let near = nearest(unknown, FIELDS).map(|name| format!(", did you mean {name}?"));
        return Err(format!("{unknown} is not a key of a certificate{}", near.unwrap_or_default()));
    }
    let text = |key: &str| match item.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("{key} must be text")),
        None => Err(format!("{key} is missing")),
    };
    let name = text("name")?;
    if !is_name(&name) {
        return Err(format!("name '{name}' must match [a-z0-9][a-z0-9_-]{{0,62}}"));
    }
    Ok(UpstreamCertificate { name, certificate: text("certificate")?.into(), key: text("key")?.into() })
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = name.bytes().next().is_some_and(plain);
    first && name.len() <= 63 && name.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"name":"fleet","certificate":"/etc/fleet.pem","key":"/etc/fleet.key"}"#;

    fn told(text: &str) -> String {
        read(text, &Origin::Default).unwrap_err().to_string()
    }

    #[test]
    fn variables_and_files_say_the_same() {
        let origin = Origin::Default;
        let from_json = read(&format!("[{ONE}]"), &origin).unwrap();
        let text = "all = [{ name = 'fleet', certificate = '/etc/fleet.pem', key = '/etc/fleet.key' }]";
        let table = toml::de::DeTable::parse(text).unwrap();
        assert_eq!(read_toml(table.get_ref().get("all").unwrap().get_ref(), &origin).unwrap(), from_json);
        assert_eq!(read(&shown(&from_json).to_string(), &origin).unwrap(), from_json);
        assert!(read("", &origin).unwrap().is_empty());
    }

    #[test]
    fn faults_name_the_certificate_and_its_key() {
        let without = |key: &str| ONE.replace(key, "");
        for (text, reason) in [
            ("fleet.pem", "must be a JSON array of objects: expected ident at line 1 column 2"),
            ("[1]", "[0] must be a table"),
            (r#"[{"cert":"a"}]"#, "[0]: cert is not a key of a certificate"),
            (r#"[{"certificates":"a"}]"#, "[0]: certificates is not a key of a certificate, did you mean certificate?"),
            (r#"[{"name":"fleet","certificate":"a"}]"#, "[0]: key is missing"),
            (&format!("[{}]", without("/etc/fleet.key")), "[0]: key must be text"),
            (r#"[{"name":7}]"#, "[0]: name must be text"),
            (
                &format!("[{}]", ONE.replace("\"fleet", "\"Fleet")),
                "[0]: name 'Fleet' must match [a-z0-9][a-z0-9_-]{0,62}",
            ),
            (&format!("[{ONE},{ONE}]"), "[1]: name 'fleet' stands twice"),
        ] {
            assert_eq!(told(text), format!("{PATH} {reason}"));
        }
    }
}
