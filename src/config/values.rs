use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::key::{Key, Value};
use super::table::{KEYS, find};
use super::{Entry, Error, Mode, Origin, UpstreamCertificate};
use crate::model::{Issuer, Secret};

/// Every key with its value so far and where that came from; later layers overwrite earlier ones.
pub(super) struct Values(BTreeMap<&'static str, (Value, Origin)>);

impl Values {
    pub(super) fn defaults(mode: Mode) -> Result<Self, Error> {
        let mut values = Self(BTreeMap::new());
        for key in KEYS {
            let text = key.dev.filter(|_| mode == Mode::Dev).unwrap_or(key.default);
            values.read(key, text, Origin::Default)?;
        }
        Ok(values)
    }

    pub(super) fn set(&mut self, key: &'static Key, value: Value, origin: Origin) {
        self.0.insert(key.path, (value, origin));
    }

    /// Reads `text` as a variable would be read, and sets it.
    pub(super) fn read(&mut self, key: &'static Key, text: &str, origin: Origin) -> Result<(), Error> {
        let value = key.read(text, &origin)?;
        self.set(key, value, origin);
        Ok(())
    }

    /// The same for a key that is named in our own code.
    pub(super) fn read_path(&mut self, path: &str, text: &str, origin: Origin) -> Result<(), Error> {
        self.read(known(path), text, origin)
    }

    fn get(&self, path: &str) -> &(Value, Origin) {
        self.0.get(path).expect("defaults has set every key of the table, and only those are asked for")
    }

    pub(super) fn origin(&self, path: &str) -> &Origin {
        &self.get(path).1
    }

    /// Of any key; a list has none.
    pub(super) fn text(&self, path: &str) -> &str {
        match &self.get(path).0 {
            Value::Text(text) => text,
            Value::Secret(secret) => secret.expose(),
            other => unreachable!("{path} is read as text, but is {other:?}"),
        }
    }

    pub(super) fn secret(&self, path: &str) -> Secret<String> {
        Secret::new(self.text(path).to_owned())
    }

    pub(super) fn switch(&self, path: &str) -> bool {
        match &self.get(path).0 {
            Value::Switch(on) => *on,
            other => unreachable!("{path} is read as a switch, but is {other:?}"),
        }
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        match &self.get(path).0 {
            Value::List(items) => items.clone(),
            other => unreachable!("{path} is read as a list, but is {other:?}"),
        }
    }

    pub(super) fn issuers(&self, path: &str) -> Vec<Issuer> {
        match &self.get(path).0 {
            Value::Issuers(issuers) => issuers.clone(),
            other => unreachable!("{path} is read as issuers, but is {other:?}"),
        }
    }

    pub(super) fn upstream_certificates(&self, path: &str) -> Vec<UpstreamCertificate> {
        match &self.get(path).0 {
            Value::UpstreamCertificates(certificates) => certificates.clone(),
            other => unreachable!("{path} is read as certificates, but is {other:?}"),
        }
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, path: &str) -> Result<T, Error> {
        match &self.get(path).0 {
            Value::Number(number) => {
                T::try_from(*number).map_err(|_| self.invalid(path, "a smaller number", &number.to_string()))
            }
            other => unreachable!("{path} is read as a number, but is {other:?}"),
        }
    }

    /// `None` when empty.
    pub(super) fn address(&self, path: &str) -> Result<Option<SocketAddr>, Error> {
        match self.text(path) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.invalid(path, "an address and port", text)),
        }
    }

    pub(super) fn invalid(&self, path: &str, expected: &str, found: &str) -> Error {
        known(path).invalid(self.origin(path), expected, Some(found))
    }

    pub(super) fn refused(&self, path: &str, reason: impl Into<String>) -> Error {
        Error::Refused { origin: self.origin(path).clone(), key: known(path).path, reason: reason.into() }
    }

    /// In the order of the table.
    pub(super) fn entries(&self) -> Vec<Entry> {
        KEYS.iter()
            .map(|key| {
                let (value, origin) = self.get(key.path);
                let (source, json) = (origin.to_string(), value.json(key.kind));
                Entry { key: key.path, value: value.shown(key.kind), source, json }
            })
            .collect()
    }
}

fn known(path: &str) -> &'static Key {
    find(path).expect("our own code names keys of the table only")
}
