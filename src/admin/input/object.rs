//! A JSON object while its fields are read.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::field::{Field, NULL, State};
use super::issue::{Flaw, Issues, Step};
use super::read::{Place, Read, structure};
use super::{Change, Valid};

/// An object of the request. Where an object was expected and none was sent, that one issue is recorded and every
/// reader returns `None` without another.
pub(crate) struct Object<'a> {
    value: &'a Value,
    map: Option<&'a Map<String, Value>>,
    loc: Vec<Step>,
    issues: &'a mut Issues,
    asked: Vec<&'static str>,
}

impl<'a> Object<'a> {
    pub(super) fn new(place: Place<'a>) -> Self {
        let Place { value, loc, issues } = place;
        let map = value.as_object();
        if let Some(sketch) = &mut issues.sketch {
            sketch.at(&loc).insert("type".to_owned(), json!("object"));
        } else if map.is_none() {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            issues.push(loc.clone(), Flaw::new("model_attributes_type", msg), value);
        }
        Self { value, map, loc, issues, asked: Vec::new() }
    }

    /// An object about which an issue is recorded already.
    pub(super) fn refused(issues: &'a mut Issues) -> Self {
        Self { value: &NULL, map: None, loc: Vec::new(), issues, asked: Vec::new() }
    }

    /// Looks `name` up.
    pub(crate) fn field<T: Read>(&mut self, name: &'static str) -> Field<'_, T> {
        self.find(name, T::read)
    }

    /// Looks `name` up and reads it as a structure of the model, by its `Deserialize`.
    pub(crate) fn json<T: DeserializeOwned + JsonSchema>(&mut self, name: &'static str) -> Field<'_, T> {
        self.find(name, structure::<T>)
    }

    /// Absent and `null` are refused.
    pub(crate) fn required<T: Read>(&mut self, name: &'static str) -> Valid<T> {
        self.field(name).required()
    }

    /// Absent and `null` are both `None`.
    pub(crate) fn optional<T: Read>(&mut self, name: &'static str) -> Valid<Option<T>> {
        self.field(name).optional()
    }

    /// Absent is `None`; `null` is refused.
    pub(crate) fn unless_absent<T: Read>(&mut self, name: &'static str) -> Valid<Option<T>> {
        self.field(name).unless_absent()
    }

    /// Absent is `None`, an explicit `null` is `Some(None)`.
    pub(crate) fn nullable<T: Read>(&mut self, name: &'static str) -> Valid<Change<Option<T>>> {
        self.field(name).nullable()
    }

    /// A list of at most `max` objects, each read by `read`; absent and `null` are refused.
    pub(crate) fn each<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl Fn(&mut Object<'_>) -> Valid<T>,
    ) -> Valid<Vec<T>> {
        self.asked.push(name);
        let loc: Vec<Step> = self.loc.iter().cloned().chain([name.into()]).collect();
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.at(&loc).extend([("type".to_owned(), json!("array")), ("maxItems".to_owned(), json!(max))]);
            sketch.require(&loc);
            let loc = loc.into_iter().chain([0.into()]).collect();
            return read(&mut Object::new(Place { value: &NULL, loc, issues: self.issues })).map(|_| Vec::new());
        }
        let (flaw, value) = match self.map?.get(name) {
            Some(Value::Array(items)) if items.len() <= max => {
                let object = |(index, value): (usize, &Value)| {
                    let loc = loc.iter().cloned().chain([index.into()]).collect();
                    read(&mut Object::new(Place { value, loc, issues: &mut *self.issues }))
                };
                // All are read before any is missed: every issue is to be told.
                let read: Vec<Valid<T>> = items.iter().enumerate().map(object).collect();
                return read.into_iter().collect();
            }
            Some(value @ Value::Array(items)) => (Flaw::too_many(max, items.len()), value),
            Some(value) => (Flaw::no_list(), value),
            None => (Flaw::missing(), self.value),
        };
        self.issues.push(loc, flaw, value);
        None
    }

    /// Refuses each key that was not looked up before.
    pub(crate) fn refuse_unknown(&mut self) {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.at(&self.loc).insert("additionalProperties".to_owned(), json!(false));
        }
        for (key, value) in self.map.into_iter().flatten() {
            if !self.asked.contains(&key.as_str()) {
                let loc = self.loc.iter().cloned().chain([key.clone().into()]).collect();
                self.issues.push(loc, Flaw::new("extra_forbidden", "Extra inputs are not permitted"), value);
            }
        }
    }

    fn find<T>(&mut self, name: &'static str, read: fn(Place<'_>) -> Valid<T>) -> Field<'_, T> {
        self.asked.push(name);
        let loc = self.loc.iter().cloned().chain([name.into()]).collect();
        match self.map {
            Some(map) => Field::new(self.issues, loc, self.value, map.get(name), read),
            None if self.issues.sketch.is_some() => Field::new(self.issues, loc, self.value, None, read),
            None => Field { issues: self.issues, loc, parent: self.value, read, state: State::Refused },
        }
    }
}
