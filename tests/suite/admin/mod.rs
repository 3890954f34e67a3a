//! The admin API against its contract, on both databases and over real connections.

mod access;
mod accounts;
mod activity;
mod assignments;
mod bad_input;
mod browsers;
mod conditional;
mod escalation;
mod explain;
mod following;
mod gateway_routes;
mod hierarchy;
mod keys;
mod limits;
mod lists;
mod modules;
mod navigation;
mod openapi;
mod outage;
mod permissions;
mod policies;
mod policy_guards;
mod preview;
mod roles;
mod routes;
mod rows;
mod search;
mod sessions;
mod sign_in;
mod upstreams;
mod users;
mod users_bulk;
mod wandering;
mod welcome;

use serde_json::{Value, json};

use crate::support::app::{Answer, App, Call};

/// A password that the default policy accepts.
const PASSWORD: &str = "Str0ng!pass";

/// Requests with one caller's token.
struct Caller<'a> {
    app: &'a App,
    token: String,
}

impl<'a> Caller<'a> {
    /// Signs in one of the demo accounts.
    async fn demo(app: &'a App, name: &str) -> Self {
        Self { app, token: app.token(name).await }
    }

    async fn superadmin(app: &'a App) -> Self {
        Self::demo(app, "superadmin").await
    }

    fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    fn post(&self, path: &str, body: Value) -> Call {
        self.call("POST", path).json(body)
    }

    fn put(&self, path: &str, body: Value) -> Call {
        self.call("PUT", path).json(body)
    }

    fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    fn call(&self, method: &str, path: &str) -> Call {
        self.app.admin(method, path).bearer(&self.token)
    }

    /// What the gateway answers to this caller.
    async fn gateway(&self, method: &str, path: &str) -> u16 {
        self.app.gateway(method, path).bearer(&self.token).await.status
    }

    /// Makes something and returns it.
    async fn made(&self, path: &str, body: Value) -> Value {
        self.post(path, body).await.expect(200).json()
    }

    /// A user of this name with these roles.
    async fn user(&self, name: &str, role_ids: &[i64]) -> i64 {
        let body = json!({
            "username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "role_ids": role_ids,
        });
        let user = id(&self.made("/users/", body).await);
        if role_ids.is_empty() {
            // None at all means the default role.
            self.put(&format!("/users/{user}"), json!({ "role_ids": [] })).await.expect(200);
        }
        user
    }
}

fn id(entity: &Value) -> i64 {
    entity["id"].as_i64().unwrap_or_else(|| panic!("no id: {entity}"))
}

/// The ids of a list, in its order.
fn ids(answer: &Answer) -> Vec<i64> {
    answer.json().as_array().unwrap().iter().map(id).collect()
}

/// The keys of an object, in its order.
fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().map(String::as_str).collect()
}

fn revision(answer: &Answer) -> i64 {
    let header = answer.header("x-policy-revision");
    header.unwrap_or_else(|| panic!("no revision: {}", answer.text)).parse().unwrap()
}

/// Asserts the union body of an error.
#[track_caller]
fn refused(answer: Answer, status: u16, detail: &str) {
    let body = answer.expect(status).json();
    assert_eq!(keys(&body), ["detail", "error", "status_code", "path", "method", "request_id"], "{body}");
    assert_eq!((&body["detail"], &body["error"]), (&json!(detail), &json!(detail)));
    assert_eq!(body["status_code"], status);
}

/// The entries of a 422 as `type loc: msg`.
#[track_caller]
fn issues(answer: Answer) -> Vec<String> {
    let body = answer.expect(422).json();
    assert_eq!(keys(&body), ["detail"]);
    let entry = |entry: &Value| {
        assert_eq!(keys(entry)[..4], ["type", "loc", "msg", "input"]);
        let step = |step: &Value| step.as_str().map_or_else(|| step.to_string(), str::to_owned);
        let loc: Vec<String> = entry["loc"].as_array().unwrap().iter().map(step).collect();
        format!("{} {}: {}", entry["type"].as_str().unwrap(), loc.join("."), entry["msg"].as_str().unwrap())
    };
    body["detail"].as_array().unwrap().iter().map(entry).collect()
}

/// Asserts the contract's form, as `2026-11-22T15:02:48.834466Z`.
#[track_caller]
fn assert_timestamp(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no timestamp: {value}"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
}
