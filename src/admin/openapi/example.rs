//! Examples of bodies, made from their schemas.

use serde_json::{Map, Value, json};

/// Lists and alternatives within this many others are left empty: routes show modules, which show routes.
const DEEPEST: usize = 3;

/// Fields whose type does not say what they look like.
const KNOWN: [(&str, &str); 11] = [
    ("access_token", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"),
    ("refresh_token", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl"),
    ("token_type", "bearer"),
    ("description", "What it is for"),
    ("message", "Successfully done"),
    ("reason", "no_grant"),
    ("route", "/reports"),
    ("address", "127.0.0.1:9000"),
    ("level", "info"),
    ("status", "healthy"),
    ("environment", "production"),
];

pub(super) struct Examples<'a> {
    schemas: &'a Map<String, Value>,
}

impl<'a> Examples<'a> {
    pub(super) fn new(schemas: &'a Map<String, Value>) -> Self {
        Self { schemas }
    }

    /// Gives an operation's request and answer their examples.
    pub(super) fn give(&self, operation: &mut Value) {
        for (body, is_request) in [("/requestBody/content", true), ("/responses/200/content", false)] {
            for content in
                operation.pointer_mut(body).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
            {
                content["example"] = self.of(&content["schema"], is_request, 0);
            }
        }
    }

    /// An example of what `schema` describes. Of a request it has what is required, or all if nothing is.
    fn of(&self, schema: &Value, is_request: bool, depth: usize) -> Value {
        if let Some(example) = schema["examples"].get(0).or_else(|| schema["enum"].get(0)).or(schema.get("const")) {
            return example.clone();
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            return self.schemas.get(name).map_or(Value::Null, |schema| self.of(schema, is_request, depth));
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(first) = schema[alternatives].get(0) {
                let is_deep =
                    depth >= DEEPEST && schema[alternatives].as_array().is_some_and(|all| all.iter().any(is_null));
                let mut example = if is_deep { Value::Null } else { self.of(first, is_request, depth + 1) };
                if let (Some(example), Value::Object(rest)) =
                    (example.as_object_mut(), self.object(schema, is_request, depth))
                {
                    example.extend(rest);
                }
                return example;
            }
        }
        match schema["type"].as_str().or_else(|| schema["type"][0].as_str()) {
            Some("object") => self.object(schema, is_request, depth),
            Some("array") if depth >= DEEPEST => json!([]),
            Some("array") => json!([self.of(&schema["items"], is_request, depth + 1)]),
            Some("integer" | "number") => {
                schema.get("minimum").filter(|least| **least != json!(0)).cloned().unwrap_or(json!(1))
            }
            Some("boolean") => json!(true),
            Some("string") if schema["format"] == "password" => json!("Str0ng!pass"),
            Some("string") => json!("text"),
            _ => Value::Null,
        }
    }

    fn object(&self, schema: &Value, is_request: bool, depth: usize) -> Value {
        let required = schema["required"].as_array().filter(|names| is_request && !names.is_empty());
        let shown = |name: &String| required.is_none_or(|names| names.contains(&json!(name)));
        let example = |(name, schema): (&String, &Value)| {
            let of_type = self.of(schema, is_request, depth + 1);
            let known =
                KNOWN.iter().find(|(known, _)| known == name).filter(|_| of_type == "text" || of_type == "Str0ng!pass");
            (name.clone(), known.map_or(of_type, |(_, example)| json!(example)))
        };
        let properties = schema["properties"].as_object().into_iter().flatten();
        Value::Object(properties.filter(|(name, _)| shown(name)).map(example).collect())
    }
}

fn is_null(schema: &Value) -> bool {
    schema["type"] == "null"
}
