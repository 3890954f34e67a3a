//! What a reader reads, found out by letting it run without a request.
//!
//! ## Why
//! Readers are procedures: a description of a body that stood beside one would drift away from it. In a sketch nothing is
//! given, every field says what it would take, and every reader returns `None`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::issue::Step;

/// JSON Schemas of what a reader takes from a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sketch {
    /// Parameters of the path, by name.
    pub(crate) path: Map<String, Value>,
    /// Parameters of the query, as the properties of an object.
    pub(crate) query: Map<String, Value>,
    /// The body, if one is read.
    pub(crate) body: Map<String, Value>,
    /// Whether the body may be left out.
    pub(crate) body_is_optional: bool,
    /// Whether the body may be an HTML form.
    pub(crate) takes_form: bool,
}

impl Sketch {
    /// The schema of what stands at `loc`.
    pub(super) fn at(&mut self, loc: &[Step]) -> &mut Map<String, Value> {
        let (part, rest) = match loc.split_first() {
            Some((Step::Key(part), rest)) => (part.as_ref(), rest),
            _ => ("body", loc),
        };
        let mut schema = match part {
            "path" => &mut self.path,
            "query" => &mut self.query,
            _ => &mut self.body,
        };
        for step in rest {
            schema = match step {
                Step::Key(key) => object(object(schema, "properties"), key),
                Step::Index(_) => object(schema, "items"),
            };
        }
        schema
    }

    /// Notes of what type that is.
    pub(super) fn takes<T: JsonSchema>(&mut self, loc: &[Step]) {
        let settings =
            SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
        let schema: Schema = settings.into_generator().subschema_for::<T>();
        if let Value::Object(schema) = schema.into() {
            self.at(loc).extend(schema);
        }
    }

    /// Notes that it may not be left out.
    pub(super) fn require(&mut self, loc: &[Step]) {
        if let Some((Step::Key(name), parent)) = loc.split_last() {
            let names = self.at(parent).entry("required").or_insert_with(|| json!([]));
            if let Value::Array(names) = names {
                names.push(json!(name));
            }
        }
    }

    /// Notes that `null` may stand there.
    pub(super) fn allow_null(&mut self, loc: &[Step]) {
        let schema = self.at(loc);
        match schema.remove("type") {
            Some(kind) => {
                schema.insert("type".to_owned(), json!([kind, "null"]));
            }
            None => {
                let other = Value::Object(std::mem::take(schema));
                schema.insert("anyOf".to_owned(), json!([other, { "type": "null" }]));
            }
        }
    }
}

/// The object below `key`, made if it is not there.
fn object<'m>(map: &'m mut Map<String, Value>, key: &str) -> &'m mut Map<String, Value> {
    let value = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made one above")
}
