use std::net::SocketAddr;

use toml::de::DeValue;

use super::{Error, Origin, UpstreamCertificate, issuers, redact, upstream_certificates};
use crate::model::{Issuer, Secret};

/// One setting: its name, what it accepts, and its default as one would write it in a variable.
pub(super) struct Key {
    /// `section.name`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    /// The default under `cedargate dev`, where it differs.
    pub(super) dev: Option<&'static str>,
}

/// What a key accepts.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Never shown; also read from a file.
    Secret,
    /// Shown without its password; also read from a file.
    Url,
    Switch,
    /// Smallest and largest value.
    Number(u64, u64),
    List,
    Choice(&'static [&'static str]),
    Address,
    OptionalAddress,
    /// Tables of the file, or JSON.
    Issuers,
    /// The same.
    UpstreamCertificates,
}

/// A value of the type its key asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Secret(Secret<String>),
    Number(u64),
    Switch(bool),
    List(Vec<String>),
    Issuers(Vec<Issuer>),
    UpstreamCertificates(Vec<UpstreamCertificate>),
}

impl Key {
    /// `CEDARGATE_<SECTION>__<NAME>`.
    pub(super) fn variable(&self) -> String {
        format!("CEDARGATE_{}", self.path.replacen('.', "__", 1).to_ascii_uppercase())
    }

    /// Whether `<variable>_FILE` exists.
    pub(super) fn has_file(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::Url)
    }

    /// Whether an empty variable means that nobody set it, as compose files write it (`${NAME:-}`).
    pub(super) fn empty_is_unset(&self) -> bool {
        !matches!(self.kind, Kind::Text | Kind::List | Kind::OptionalAddress)
    }

    /// Reads what a variable or a flag says; text keeps whatever looks like a number.
    pub(super) fn read(&self, text: &str, origin: &Origin) -> Result<Value, Error> {
        // U+FFFD stands for bytes that were not UTF-8: a different secret than the one that was set.
        if text.contains('\u{fffd}') {
            return Err(self.invalid(origin, "UTF-8", None));
        }
        let trimmed = text.trim();
        let value = match self.kind {
            Kind::Text => Some(Value::Text(text.to_owned())),
            Kind::Secret | Kind::Url => Some(Value::Secret(Secret::new(text.to_owned()))),
            Kind::Switch => switch(trimmed).map(Value::Switch),
            Kind::Number(least, most) => trimmed.parse().ok().filter(|n| (least..=most).contains(n)).map(Value::Number),
            Kind::List => list(trimmed).map(Value::List),
            Kind::Choice(of) => of.contains(&trimmed).then(|| Value::Text(trimmed.to_owned())),
            Kind::Issuers => return issuers::read(trimmed, origin).map(Value::Issuers),
            Kind::UpstreamCertificates => {
                return upstream_certificates::read(trimmed, origin).map(Value::UpstreamCertificates);
            }
            Kind::OptionalAddress if trimmed.is_empty() => Some(Value::Text(String::new())),
            Kind::Address | Kind::OptionalAddress => address(trimmed).map(|a| Value::Text(a.to_string())),
        };
        value.ok_or_else(|| self.invalid(origin, &self.kind.expected(), Some(text)))
    }

    /// Reads what the file says; types are those of TOML.
    pub(super) fn read_toml(&self, value: &DeValue<'_>, origin: &Origin) -> Result<Value, Error> {
        let wrong = |found: Option<&str>| self.invalid(origin, &self.kind.expected(), found);
        match (self.kind, value) {
            (Kind::Issuers, _) => issuers::read_toml(value, origin).map(Value::Issuers),
            (Kind::UpstreamCertificates, _) => {
                upstream_certificates::read_toml(value, origin).map(Value::UpstreamCertificates)
            }
            (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
            (Kind::Number(..), DeValue::Integer(number)) => {
                let number =
                    i128::from_str_radix(number.as_str(), number.radix()).map_err(|_| wrong(Some(number.as_str())))?;
                self.read(&number.to_string(), origin)
            }
            (Kind::Choice(_), DeValue::Integer(number)) => self.read(number.as_str(), origin),
            (Kind::List, DeValue::Array(items)) => {
                let texts: Option<Vec<String>> =
                    items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
                texts.map(Value::List).ok_or_else(|| wrong(None))
            }
            (Kind::Switch | Kind::Number(..) | Kind::List, DeValue::String(text)) => Err(wrong(Some(text))),
            (_, DeValue::String(text)) => self.read(text, origin),
            _ => Err(wrong(None)),
        }
    }

    /// The error for a value that this key does not accept; what may be a secret is left out.
    pub(super) fn invalid(&self, origin: &Origin, expected: &str, found: Option<&str>) -> Error {
        let found = match self.kind {
            Kind::Secret => None,
            Kind::Url => found.map(redact),
            _ => found.map(str::to_owned),
        };
        Error::Invalid { origin: origin.clone(), key: self.path, expected: expected.to_owned(), found }
    }
}

impl Kind {
    fn expected(self) -> String {
        match self {
            Self::Text | Self::Secret | Self::Url => "text".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Number(least, most) => format!("a number from {least} to {most}"),
            Self::List => "a list of texts".to_owned(),
            Self::Issuers => "issuers".to_owned(),
            Self::UpstreamCertificates => "certificates".to_owned(),
            Self::Choice(of) => {
                let quoted: Vec<String> = of.iter().map(|one| format!("{one:?}")).collect();
                quoted.join(" or ")
            }
            Self::Address => "an address and port such as 127.0.0.1:8000".to_owned(),
            Self::OptionalAddress => "empty, or an address and port such as 127.0.0.1:8000".to_owned(),
        }
    }
}

impl Value {
    /// As `config show` prints it.
    pub(super) fn shown(&self, kind: Kind) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Secret(secret) if secret.expose().is_empty() => String::new(),
            Self::Secret(secret) if matches!(kind, Kind::Url) => redact(secret.expose()),
            Self::Secret(_) => "***".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(items) => format!("{items:?}"),
            Self::Issuers(issuers) => issuers::shown(issuers).to_string(),
            Self::UpstreamCertificates(certificates) => upstream_certificates::shown(certificates).to_string(),
        }
    }

    /// The value in its own type, if it is no secret.
    pub(super) fn json(&self, kind: Kind) -> Option<serde_json::Value> {
        Some(match self {
            Self::Secret(_) if matches!(kind, Kind::Secret) => return None,
            Self::Secret(_) | Self::Text(_) => self.shown(kind).into(),
            Self::Number(number) => (*number).into(),
            Self::Switch(on) => (*on).into(),
            Self::List(items) => items.clone().into(),
            Self::Issuers(issuers) => issuers::shown(issuers),
            Self::UpstreamCertificates(certificates) => upstream_certificates::shown(certificates),
        })
    }
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Result<Value, String> {
        let key = Key { path: "a.b", kind, default: "", dev: None };
        key.read(text, &Origin::Environment("CEDARGATE_A__B".to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(read(Kind::Text, "true"), Ok(Value::Text("true".to_owned())));
        assert_eq!(read(Kind::Secret, "123456"), Ok(Value::Secret(Secret::new("123456".to_owned()))));
    }

    #[test]
    fn switches_are_read_in_their_usual_spellings() {
        for on in ["true", "1", "YES", "on"] {
            assert_eq!(read(Kind::Switch, on), Ok(Value::Switch(true)));
        }
        for off in ["False", "0", "no", "off"] {
            assert_eq!(read(Kind::Switch, off), Ok(Value::Switch(false)));
        }
    }

    #[test]
    fn lists_are_json_or_commas() {
        let both = Ok(Value::List(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read(Kind::List, r#"["a", "b"]"#), both);
        assert_eq!(read(Kind::List, "a, b,"), both);
        assert_eq!(read(Kind::List, ""), Ok(Value::List(Vec::new())));
        assert!(read(Kind::List, "[1]").is_err());
    }

    #[test]
    fn errors_name_variable_key_and_range() {
        assert_eq!(
            read(Kind::Number(1, 9), "10").unwrap_err(),
            "environment CEDARGATE_A__B: a.b must be a number from 1 to 9, not \"10\""
        );
    }

    #[test]
    fn no_secret_in_an_error() {
        let broken = "hunter2\u{fffd}";
        assert!(!read(Kind::Secret, broken).unwrap_err().contains("hunter2"));
    }

    #[test]
    fn localhost_is_an_address() {
        assert_eq!(read(Kind::Address, "localhost:80"), Ok(Value::Text("127.0.0.1:80".to_owned())));
        assert!(read(Kind::Address, "").is_err());
        assert!(read(Kind::Address, "8000").is_err());
    }
}
