//! The OpenAPI document: what [`Operation`]s say of themselves, in the words of OpenAPI 3.1.

mod answers;
mod example;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoints::{Access, Operation};
use super::input::Sketch;
use example::Examples;

/// Schemas are looked up there by references.
const SCHEMAS: &str = "/components/schemas";

/// The document of a service of this name, whose API is below `prefix`.
pub(super) fn document(name: &str, prefix: &str, operations: impl Iterator<Item = Operation>) -> Value {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.definitions_path = SCHEMAS.into());
    let mut generator = settings.into_generator();
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for operation in operations {
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
        let path = paths.entry(format!("{prefix}{}", operation.path)).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = describe(&operation, &mut generator);
    }
    paths.insert("/health".to_owned(), json!({ "get": health() }));
    tags.push("Health");
    let mut schemas = generator.take_definitions(true);
    schemas.extend(answers::schemas());
    let examples = Examples::new(&schemas);
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        examples.give(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Users, roles, permissions and routes of an authorization gateway.",
        },
        "servers": [{ "url": "/" }],
        "tags": tags.into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": answers::errors(),
            "headers": answers::headers(),
            "parameters": answers::parameters(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "login": {
                    "type": "oauth2",
                    "flows": { "password": { "tokenUrl": format!("{prefix}/auth/login"), "scopes": {} } },
                },
            },
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let sketch = operation.reads.as_ref().map(|reads| reads()).unwrap_or_default();
    let mut described = json!({
        "operationId": identifier(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": access(operation.access),
        "security": security(operation.access),
        "parameters": parameters(operation, &sketch),
        "responses": answers::responses(operation, &sketch, generator),
    });
    if !sketch.body.is_empty() {
        described["requestBody"] = body(sketch);
    }
    described
}

/// Unique, and as stable as method and path: clients are generated from it.
fn identifier(operation: &Operation) -> String {
    let words = operation.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = operation.method.as_str().to_ascii_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn access(access: Access) -> String {
    match access {
        Access::Public => "Anybody may call it.".to_owned(),
        Access::SignedIn => "Every user may call it.".to_owned(),
        Access::Needs(permission) => format!("Needs the permission `{permission}`."),
        Access::PublicOr(permission) => {
            format!("Anybody may call it; whoever presents a token needs the permission `{permission}`.")
        }
    }
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::SignedIn | Access::Needs(_) => json!([{ "token": [] }, { "login": [] }]),
        Access::PublicOr(_) => json!([{}, { "token": [] }, { "login": [] }]),
    }
}

fn parameters(operation: &Operation, sketch: &Sketch) -> Vec<Value> {
    let named = operation.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let in_path = named.map(|name| {
        let read = sketch.path.get("properties").and_then(|properties| properties.get(name)).cloned();
        let schema = read.unwrap_or_else(|| match name.ends_with("_id") {
            true => json!({ "type": "integer", "format": "int64", "examples": [1] }),
            // An empty one is another path.
            false => json!({ "type": "string", "minLength": 1 }),
        });
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let required = sketch.query.get("required").and_then(Value::as_array);
    let required = |name: &String| required.is_some_and(|names| names.contains(&json!(name)));
    let in_query = sketch.query.get("properties").and_then(Value::as_object).into_iter().flatten().map(
        |(name, schema)| json!({ "name": name, "in": "query", "required": required(name), "schema": not_null(schema) }),
    );
    in_path.chain(in_query).chain(answers::conditions(operation)).collect()
}

/// A query has no `null`; what readers say about it is for bodies.
fn not_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(kind) = schema["type"].get(0).cloned() {
        schema["type"] = kind;
    }
    schema
}

fn body(sketch: Sketch) -> Value {
    let schema = Value::Object(sketch.body);
    let mut content = json!({ "application/json": { "schema": schema } });
    if sketch.takes_form {
        content["application/x-www-form-urlencoded"] = json!({ "schema": schema });
    }
    json!({ "required": !sketch.body_is_optional, "content": content })
}

fn health() -> Value {
    let text = json!({ "type": "string" });
    let schema = json!({
        "type": "object",
        "required": ["status", "version", "environment", "debug"],
        "properties": { "status": text, "version": text, "environment": text, "debug": { "type": "boolean" } },
    });
    json!({
        "operationId": "get_health",
        "tags": ["Health"],
        "summary": "Ask whether the service is up",
        "description": access(Access::Public),
        "security": [],
        "responses": {
            "200": { "description": "It is.", "content": { "application/json": { "schema": schema } } },
            "503": { "$ref": "#/components/responses/503" },
        },
    })
}
