//! Settings that are lists of tables: tables of the file, or JSON in a variable.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::{Error, Origin};

/// The list at one place.
pub(super) struct Tables<'a> {
    /// The setting.
    pub(super) path: &'static str,
    pub(super) origin: &'a Origin,
}

impl Tables<'_> {
    /// What a variable says: a JSON array.
    pub(super) fn read(&self, text: &str) -> Result<Vec<Map<String, Value>>, Error> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        match serde_json::from_str(text) {
            Ok(Value::Array(items)) => self.each(items),
            Ok(_) => Err(self.refused("must be a JSON array of objects")),
            Err(error) => Err(self.refused(format!("must be a JSON array of objects: {error}"))),
        }
    }

    /// What the file says: `[[section.name]]`, as often as there are tables.
    pub(super) fn read_toml(&self, value: &DeValue<'_>) -> Result<Vec<Map<String, Value>>, Error> {
        let wrong = || self.refused(format!("must be tables: [[{}]]", self.path));
        let DeValue::Array(items) = value else { return Err(wrong()) };
        let items: Option<Vec<Value>> = items.iter().map(|item| json(item.get_ref())).collect();
        self.each(items.ok_or_else(wrong)?)
    }

    fn each(&self, items: Vec<Value>) -> Result<Vec<Map<String, Value>>, Error> {
        let table = |(index, item)| match item {
            Value::Object(table) => Ok(table),
            _ => Err(self.refused(format!("[{index}] must be a table"))),
        };
        items.into_iter().enumerate().map(table).collect()
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Refused { origin: self.origin.clone(), key: self.path, reason: reason.into() }
    }
}

/// Texts, whole numbers, switches, lists and tables; dates and fractions mean nothing here.
fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(on) => (*on).into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?,
        DeValue::Table(table) => {
            let pairs = table.iter().map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(pairs.collect::<Option<Map<_, _>>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) => return None,
    })
}
