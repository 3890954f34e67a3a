//! The OpenAPI document says what the service does, and its pages are served with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cedargate::admin::{Access, operation_list};
use serde_json::{Value, json};

use super::Caller;
use crate::support::{Backend, app::App};

const PREFIX: &str = "/api/v1";

/// Every operation of the document: method, path and what is said.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let of_path = |(path, methods): (&String, _)| {
        let methods: &serde_json::Map<String, Value> = Value::as_object(methods).unwrap();
        methods.iter().map(|(method, said)| (method.to_uppercase(), path.clone(), said)).collect::<Vec<_>>()
    };
    document["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
}

async fn document(app: &App) -> Value {
    app.internal("GET", "/openapi.json").await.expect(200).json()
}

/// The walk of `access.rs` is made from what the program says of its operations; so is the document.
#[tokio::test]
async fn the_document_has_every_operation_and_who_may_call_it() {
    let app = App::start(Backend::Sqlite).await;
    let document = document(&app).await;
    assert_eq!(app.gateway("GET", "/openapi.json").await.expect(200).json(), document);
    let said: BTreeMap<(String, String), &Value> =
        operations(&document).into_iter().map(|(method, path, said)| ((method, path), said)).collect();
    let mut listed: BTreeSet<(String, String)> = [("GET".to_owned(), "/health".to_owned())].into();
    for (method, path, access) in operation_list() {
        let key = (method.to_string(), format!("{PREFIX}{path}"));
        let said = said.get(&key).unwrap_or_else(|| panic!("{key:?} is not described"));
        let (public, text) = match access {
            Access::Public => (true, "Anybody".to_owned()),
            Access::SignedIn => (false, "Every user".to_owned()),
            Access::Needs(permission) => (false, format!("Needs the permission `{permission}`")),
            Access::PublicOr(permission) => (false, format!("needs the permission `{permission}`")),
        };
        assert!(said["description"].as_str().unwrap().contains(&text), "{key:?}: {said}");
        assert_eq!(said["security"] == json!([]), public, "{key:?}");
        assert_eq!(
            said["responses"]["401"].is_null(),
            public && !path.ends_with("login") && !path.ends_with("refresh")
        );
        listed.insert(key);
    }
    assert_eq!(said.keys().cloned().collect::<BTreeSet<_>>(), listed);
}

#[tokio::test]
async fn every_operation_is_told_in_full() {
    let app = App::start(Backend::Sqlite).await;
    let document = document(&app).await;
    let mut identifiers = BTreeSet::new();
    let mut summaries = BTreeSet::new();
    for (method, path, said) in operations(&document) {
        let place = format!("{method} {path}");
        assert!(identifiers.insert(said["operationId"].as_str().unwrap()), "{place}");
        let summary = said["summary"].as_str().unwrap();
        assert!(summary.len() > 5 && summaries.insert(summary), "{place}: {summary}");
        let content = said["responses"]["200"]["content"].as_object().unwrap();
        assert_eq!(content.len(), 1, "{place}");
        let media = if path.ends_with("/policies/schema") { "text/plain" } else { "application/json" };
        let answer = &content[media];
        assert!(!answer["schema"].is_null() && !answer["example"].is_null(), "{place}");
        for content in said["requestBody"]["content"].as_object().into_iter().flatten() {
            assert!(!content.1["example"].is_null(), "{place}");
        }
        let names = |list: &str| -> Vec<&str> {
            let list = said[list].as_array().into_iter().flatten();
            list.filter(|one| one["in"] == "path").filter_map(|one| one["name"].as_str()).collect()
        };
        let in_path: Vec<&str> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        assert_eq!(names("parameters"), in_path, "{place}");
    }
    for (status, answer) in document["components"]["responses"].as_object().unwrap() {
        assert!(!answer["content"]["application/json"]["example"].is_null(), "{status}");
    }
}

/// Every field that the document has is refused when it is a NUL, which nothing may contain; every one that it calls
/// required is missed.
#[tokio::test]
async fn what_is_described_is_read() {
    let app = App::start(Backend::Sqlite).await;
    let admin = Caller::superadmin(&app).await;
    let document = document(&app).await;
    let mut seen = 0;
    for (method, path, said) in operations(&document) {
        let body = &said["requestBody"]["content"]["application/json"]["schema"];
        let parameters = said["parameters"].as_array().into_iter().flatten();
        let in_query: Vec<&str> =
            parameters.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()).collect();
        let fields: Vec<&String> = body["properties"].as_object().into_iter().flat_map(|all| all.keys()).collect();
        let mut expected: BTreeSet<String> = in_query.iter().map(|name| format!("query {name}")).collect();
        expected.extend(fields.iter().map(|name| format!("body {name}")));
        if body["type"] == "array" {
            // What is sent is no list at all.
            expected.insert("body ".to_owned());
        }
        let in_path = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        expected.extend(in_path.map(|name| format!("path {name}")));
        if expected.is_empty() {
            continue;
        }
        seen += expected.len();
        let query: Vec<String> = in_query.iter().map(|name| format!("{name}=%00")).collect();
        let fill = |segment: &str| if segment.starts_with('{') { "%00".to_owned() } else { segment.to_owned() };
        let target = path.split('/').map(fill).collect::<Vec<_>>().join("/");
        let call = |body: Value| {
            let call = app.internal(&method, &format!("{target}?{}", query.join("&"))).bearer(&admin.token);
            if method == "GET" || method == "DELETE" { call } else { call.json(body) }
        };
        let refused = |answer: Value, missing: bool| -> BTreeSet<String> {
            let entries = answer["detail"].as_array().unwrap_or_else(|| panic!("{method} {path}: {answer}")).clone();
            let of_interest = entries.iter().filter(|entry| !missing || entry["type"] == "missing");
            of_interest
                .map(|entry| {
                    format!("{} {}", entry["loc"][0].as_str().unwrap(), entry["loc"][1].as_str().unwrap_or_default())
                })
                .collect()
        };
        let nuls: Value =
            fields.iter().map(|name| ((*name).clone(), json!("\0"))).collect::<serde_json::Map<_, _>>().into();
        assert_eq!(refused(call(nuls).await.expect(422).json(), false), expected, "{method} {path}");
        if body["type"] == "object" && !expected.iter().any(|name| name.starts_with("query")) {
            let required: BTreeSet<String> = body["required"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| format!("body {}", name.as_str().unwrap()))
                .collect();
            let answer = call(json!({}));
            let missed = if required.is_empty() && !path.contains('{') {
                BTreeSet::new()
            } else {
                refused(answer.await.expect(422).json(), true)
            };
            assert_eq!(missed, required, "{method} {path}");
        }
    }
    assert!(seen > 200, "{seen}");
}

/// A handler that reads its request on the spot reads what the document cannot know of.
#[test]
fn what_is_read_is_described() {
    let mut open = vec![Path::new("src/admin").to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for body in text.split("mut input) = call.").skip(1).map(|rest| rest.split("\n}\n").next().unwrap()) {
            if ["input.query", "input.body", "input.optional_body", "input.list"].iter().any(|read| body.contains(read))
            {
                found.push(format!("{}: {}", path.display(), body.lines().next().unwrap()));
            }
        }
    }
    assert!(found.is_empty(), "read by a function that `reads` names: {found:#?}");
}

#[tokio::test]
async fn pages_are_served_from_here_alone() {
    let app = App::start(Backend::Sqlite).await;
    for page in ["/docs", "/redoc"] {
        let answer = app.gateway("GET", page).await.expect(200);
        let policy = answer.header("content-security-policy").unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(!answer.text.contains("<script>") && !answer.text.contains("style="), "{}", answer.text);
        let files = answer.text.split('"').filter(|text| text.starts_with('/')).map(str::to_owned);
        for file in files.chain(["/openapi.json".to_owned()]) {
            for direct in [true, false] {
                let call = |headers: &[(&str, &str)]| {
                    let call = if direct { app.internal("GET", &file) } else { app.gateway("GET", &file) };
                    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
                };
                let plain = call(&[]).await.expect(200);
                let tag = plain.header("etag").unwrap().to_owned();
                assert!(plain.header("content-encoding").is_none() && !plain.text.is_empty(), "{file}");
                let packed = call(&[("accept-encoding", "br, gzip")]).await.expect(200);
                assert_eq!((packed.header("content-encoding"), packed.header("etag")), (Some("gzip"), Some(&*tag)));
                assert_eq!(call(&[("if-none-match", &tag)]).await.expect(304).text, "", "{file}");
            }
        }
    }
}

#[tokio::test]
async fn pages_can_be_taken_away() {
    let app = App::start_with(Backend::Sqlite, &[("DOCS_ENABLED", "false")]).await;
    for path in ["/openapi.json", "/docs", "/docs/start.js", "/redoc", "/redoc/redoc.js"] {
        app.internal("GET", path).await.expect(404);
        app.gateway("GET", path).await.expect(404);
    }
    app.internal("GET", "/health").await.expect(200);
}
