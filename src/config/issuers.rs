//! Trusted issuers in the settings: tables of the file, or JSON in a variable.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::tables::Tables;
use super::{Error, Origin};
use crate::model::{Issuer, IssuerSpec, MOST_ISSUERS};

/// Where they stand.
pub(super) const PATH: &str = "auth.issuers";

/// What a variable says.
pub(super) fn read(text: &str, origin: &Origin) -> Result<Vec<Issuer>, Error> {
    let tables = Tables { path: PATH, origin };
    each(&tables, tables.read(text)?)
}

/// What the file says.
pub(super) fn read_toml(value: &DeValue<'_>, origin: &Origin) -> Result<Vec<Issuer>, Error> {
    let tables = Tables { path: PATH, origin };
    each(&tables, tables.read_toml(value)?)
}

/// As `config show` prints them, and as a variable takes them.
pub(super) fn shown(issuers: &[Issuer]) -> Value {
    issuers.iter().filter_map(|issuer| serde_json::to_value(issuer.spec()).ok()).collect()
}

fn each(tables: &Tables<'_>, items: Vec<Map<String, Value>>) -> Result<Vec<Issuer>, Error> {
    if items.len() > MOST_ISSUERS {
        return Err(tables.refused(format!("has more than {MOST_ISSUERS} issuers")));
    }
    let mut found: Vec<Issuer> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let issuer = IssuerSpec::read(item).and_then(Issuer::configured);
        let issuer = issuer.map_err(|fault| tables.refused(format!("[{index}]: {fault}")))?;
        let (name, iss) = (&issuer.spec().name, &issuer.spec().issuer);
        if found.iter().any(|other| other.spec().name == *name) {
            return Err(tables.refused(format!("[{index}]: name '{name}' stands twice")));
        }
        if found.iter().any(|other| other.spec().issuer == *iss) {
            return Err(tables.refused(format!("[{index}]: issuer '{iss}' stands twice")));
        }
        found.push(issuer);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"name":"corp","issuer":"https://id.example.com","audiences":["api"]}"#;

    fn told(text: &str) -> String {
        read(text, &Origin::Environment("CEDARGATE_AUTH__ISSUERS".to_owned())).unwrap_err().to_string()
    }

    #[test]
    fn variables_and_files_say_the_same() {
        let origin = Origin::Default;
        let from_json = read(&format!("[{ONE}]"), &origin).unwrap();
        let text = "issuers = [{ name = 'corp', issuer = 'https://id.example.com', audiences = ['api'] }]";
        let table = toml::de::DeTable::parse(text).unwrap();
        assert_eq!(read_toml(table.get_ref().get("issuers").unwrap().get_ref(), &origin).unwrap(), from_json);
        assert_eq!(read(&shown(&from_json).to_string(), &origin).unwrap(), from_json);
        assert!(read("", &origin).unwrap().is_empty());
    }

    #[test]
    fn faults_name_the_issuer_and_its_key() {
        let prefix = "environment CEDARGATE_AUTH__ISSUERS: auth.issuers ";
        for (text, reason) in [
            ("{}", "must be a JSON array of objects"),
            ("[1]", "[0] must be a table"),
            (r#"[{"audience":[]}]"#, "[0]: audience is not a key of an issuer, did you mean audiences?"),
            (&format!("[{ONE},{ONE}]"), "[1]: name 'corp' stands twice"),
            (&format!("[{ONE},{}]", ONE.replace("corp", "other")), "[1]: issuer 'https://id.example.com' stands twice"),
        ] {
            assert_eq!(told(text), format!("{prefix}{reason}"));
        }
    }
}
