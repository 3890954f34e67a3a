//! Answers, their headers and errors, and the headers with which requests set conditions.

use axum::http::Method;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use crate::admin::endpoints::{Access, Operation};
use crate::admin::input::Sketch;

/// Every error there is: its status, what it means, and a detail as an example.
const ERRORS: [(u16, &str, &str); 9] = [
    (400, "A rule forbids it, or the request contradicts itself.", "Username or email already exists"),
    (401, "No token is presented, or one that is not valid.", "Not authenticated"),
    (403, "The caller may not do this.", "Permission 'user:read' required for this action"),
    (404, "What the request names does not exist.", "User not found"),
    (412, "The entity or the rules are not those that the client has seen.", "Precondition failed"),
    (413, "The body is too large.", "Request body too large"),
    (422, "The request does not say what it must; each entry tells where.", ""),
    (
        429,
        "Too many requests; `Retry-After` says when to try again.",
        "Rate limit exceeded. Max 5 requests per 900 seconds.",
    ),
    (503, "Something needed is not there at present.", "Service temporarily unavailable"),
];

/// Headers of answers.
const HEADERS: [(&str, &str, &str); 7] = [
    ("ETag", "string", "The state of what is answered, for `If-None-Match` and `If-Match`."),
    ("Retry-After", "integer", "Seconds to wait."),
    ("WWW-Authenticate", "string", "How to authenticate."),
    ("X-Policy-Revision", "integer", "The revision of the rules from which on the write has effect."),
    ("X-Request-Id", "string", "The request's id, as logs have it."),
    ("X-Total-Count", "integer", "How many entries there are under the same filters."),
    ("X-Total-Count-Capped", "boolean", "There are more than `X-Total-Count` says; absent where it is exact."),
];

/// Headers of requests.
const CONDITIONS: [(&str, &str, &str); 3] = [
    ("If-Match", "string", "Entity tags: the write is refused when the entity is in another state."),
    ("If-None-Match", "string", "Entity tags: what the client has already is not sent again."),
    ("X-If-Policy-Revision", "integer", "The write is refused when the rules have moved on from this revision."),
];

/// The conditions that may be set for an operation.
pub(super) fn conditions(operation: &Operation) -> impl Iterator<Item = Value> {
    let names: &[&str] = match operation.method {
        Method::GET => &["If-None-Match"],
        _ if !operation.is_guarded_write() => &[],
        Method::POST => &["X-If-Policy-Revision"],
        _ => &["If-Match", "X-If-Policy-Revision"],
    };
    names.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
}

/// What the operation answers.
pub(super) fn responses(operation: &Operation, sketch: &Sketch, generator: &mut SchemaGenerator) -> Value {
    let mut names = vec!["X-Request-Id"];
    if operation.method == Method::GET {
        names.push("ETag");
    }
    names.extend(operation.answer.headers);
    let mut responses = Map::new();
    let schema = (operation.answer.body)(generator);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "It is done.",
            "headers": references(&names),
            "content": { operation.answer.media: { "schema": schema } },
        }),
    );
    if operation.method == Method::GET {
        let headers = references(&["ETag", "X-Request-Id"]);
        responses.insert("304".to_owned(), json!({ "description": "The client has it already.", "headers": headers }));
    }
    for (status, ..) in ERRORS {
        if may_fail(operation, sketch, status) {
            responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{status}") }));
        }
    }
    Value::Object(responses)
}

fn may_fail(operation: &Operation, sketch: &Sketch, status: u16) -> bool {
    let has_body = matches!(operation.method, Method::POST | Method::PUT | Method::PATCH);
    let names_something = operation.path.contains('{');
    let is_public = operation.access == Access::Public;
    operation.fails.contains(&status)
        || match status {
            400 | 429 | 503 => true,
            401 => !is_public,
            403 => !matches!(operation.access, Access::Public | Access::SignedIn) || operation.is_guarded_write(),
            404 => names_something || (operation.is_guarded_write() && !sketch.body.is_empty()),
            412 => operation.is_guarded_write(),
            413 => has_body,
            422 => has_body || names_something || !sketch.query.is_empty(),
            _ => false,
        }
}

fn references(headers: &[&str]) -> Value {
    let reference = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    Value::Object(headers.iter().map(reference).collect())
}

/// Answers that operations have in common, by status.
pub(super) fn errors() -> Value {
    let answer = |(status, meaning, detail): (u16, &str, &str)| {
        let headers = match status {
            401 => references(&["WWW-Authenticate", "X-Request-Id"]),
            429 => references(&["Retry-After", "X-Request-Id"]),
            _ => references(&["X-Request-Id"]),
        };
        let (schema, example) = match status {
            422 => ("Issues", json!({ "detail": [issue()] })),
            _ => ("Error", error(status, detail)),
        };
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let content = json!({ "application/json": { "schema": schema, "example": example } });
        (status.to_string(), json!({ "description": meaning, "headers": headers, "content": content }))
    };
    Value::Object(ERRORS.into_iter().map(answer).collect())
}

fn error(status: u16, detail: &str) -> Value {
    json!({
        "detail": detail,
        "error": detail,
        "status_code": status,
        "path": "/api/v1/users/42",
        "method": "GET",
        "request_id": "019ab0c4-5d1f-7a3e-9a58-2f6c1e9d7b40",
    })
}

fn issue() -> Value {
    json!({ "type": "missing", "loc": ["body", "username"], "msg": "Field required", "input": {} })
}

pub(super) fn schemas() -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let error = json!({
        "type": "object",
        "description": "Why a request was not served. `error` repeats `detail`: clients read either.",
        "required": ["detail", "request_id"],
        "properties": {
            "detail": text, "error": text, "status_code": { "type": "integer" }, "path": text, "method": text,
            "request_id": text,
        },
    });
    let step = json!({ "type": ["string", "integer"] });
    let issue = json!({
        "type": "object",
        "required": ["type", "loc", "msg", "input"],
        "properties": {
            "type": text,
            "loc": { "type": "array", "items": step },
            "msg": text,
            "input": {},
            "ctx": { "type": "object" },
        },
    });
    let issues = json!({
        "type": "object",
        "description": "What is wrong with a request.",
        "required": ["detail"],
        "properties": { "detail": { "type": "array", "items": issue } },
    });
    [("Error".to_owned(), error), ("Issues".to_owned(), issues)].into_iter().collect()
}

pub(super) fn headers() -> Value {
    let header = |(name, kind, description): (&str, &str, &str)| {
        (name.to_owned(), json!({ "description": description, "schema": { "type": kind } }))
    };
    Value::Object(HEADERS.into_iter().map(header).collect())
}

pub(super) fn parameters() -> Value {
    let parameter = |(name, kind, description): (&str, &str, &str)| {
        let schema = json!({ "type": kind });
        (name.to_owned(), json!({ "name": name, "in": "header", "description": description, "schema": schema }))
    };
    Value::Object(CONDITIONS.into_iter().map(parameter).collect())
}
