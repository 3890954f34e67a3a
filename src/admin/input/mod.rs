//! What a handler reads from a request: path, query and body, with the coercions and the 422 entries of the contract.
//!
//! ```ignore
//! async fn update(State(users): State<Users>, mut input: Input) -> Result<Json<User>, Error> {
//!     let id = input.path::<UserId>("user_id");
//!     let mut body = input.body();
//!     let username = body.optional::<Username>("username");
//!     let is_active = body.optional::<bool>("is_active");
//!     let (id, patch) = input.finish(|| Some((id?, UserPatch { username: username?, is_active: is_active? })))?;
//!     users.change(id, patch).await
//! }
//! ```
//!
//! Where that is a function of its own, [`Input::read`] calls it, and [`Input::sketch`] finds out what it reads: that is
//! how the OpenAPI document knows.
//!
//! ## Why
//! Readers record what is wrong and go on, since clients get all entries in one answer. Each returns `None` only if it
//! recorded an issue, and the closure given to [`Input::finish`] runs only if there is none: `?` inside it never fails.

mod field;
mod issue;
mod json;
mod object;
mod read;
mod sketch;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::{Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

pub(crate) use field::Field;
pub(crate) use issue::{Flaw, Issue, Step};
pub(crate) use json::{Body, parse};
pub(crate) use object::Object;
pub(crate) use read::{Place, Read};
pub(crate) use sketch::Sketch;

use super::error::Error;
use issue::Issues;

static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));

/// A value that was read; `None` only if an issue was recorded.
pub(crate) type Valid<T> = Option<T>;

/// A change to a stored value; `None` leaves it as it is.
pub(crate) type Change<T> = Option<T>;

/// A request's path parameters, query and body while they are read.
///
/// As an extractor it refuses what is not JSON, and nothing else. It goes before authentication: the contract answers
/// malformed JSON with 422 whoever asks.
#[derive(Debug)]
pub(crate) struct Input {
    path: Vec<(String, Value)>,
    query: Vec<(String, Value)>,
    body: Body,
    value: Value,
    issues: Issues,
}

impl Input {
    /// Gathers the parts; `query` is the raw query string.
    pub(crate) fn new(path: Vec<(String, String)>, query: &str, body: Body) -> Self {
        let path = path.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let query = decode_form(query).into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let (body, value) = match body {
            Body::Json(value) => (Body::Json(Value::Null), value),
            Body::Empty => (Body::Empty, Value::Null),
            other => (other, Value::from("***")),
        };
        Self { path, query, body, value, issues: Issues::default() }
    }

    /// What `read` would read.
    pub(crate) fn sketch<T>(read: impl FnOnce(&mut Self) -> Valid<T>) -> Sketch {
        let mut input = Self::new(Vec::new(), "", Body::Empty);
        input.issues.sketch = Some(Box::default());
        read(&mut input);
        input.issues.sketch.map(|sketch| *sketch).unwrap_or_default()
    }

    /// A parameter of the path.
    pub(crate) fn path<T: Read>(&mut self, name: &'static str) -> Valid<T> {
        let found = self.path.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        Field::new(&mut self.issues, vec!["path".into(), name.into()], &field::NULL, found, T::read).required()
    }

    /// A parameter of the query; the last of several with one name counts.
    pub(crate) fn query<T: Read>(&mut self, name: &'static str) -> Field<'_, T> {
        let found = self.query.iter().rfind(|(key, _)| key == name).map(|(_, value)| value);
        Field::new(&mut self.issues, vec!["query".into(), name.into()], &field::NULL, found, T::read)
    }

    /// How many parameters of the query have this name.
    pub(crate) fn query_count(&self, name: &str) -> usize {
        self.query.iter().filter(|(key, _)| key == name).count()
    }

    /// The body, which must be an object.
    pub(crate) fn body(&mut self) -> Object<'_> {
        if self.issues.sketch.is_none() && self.refuse_missing() {
            return Object::refused(&mut self.issues);
        }
        self.place().object()
    }

    /// The body, if there is one, which must be an object then.
    pub(crate) fn body_if_any(&mut self) -> Option<Object<'_>> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.body_is_optional = true;
        } else if self.value.is_null() {
            return None;
        }
        Some(self.place().object())
    }

    /// The body, which may be left out: then it is an object without fields.
    pub(crate) fn optional_body(&mut self) -> Object<'_> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.body_is_optional = true;
        } else if self.value.is_null() {
            return Place { value: &EMPTY, loc: vec!["body".into()], issues: &mut self.issues }.object();
        }
        self.place().object()
    }

    /// The body, which must be a list.
    pub(crate) fn list<T: Read>(&mut self) -> Field<'_, Vec<T>> {
        let found = Some(&self.value).filter(|value| !value.is_null());
        Field::new(&mut self.issues, vec!["body".into()], &field::NULL, found, Vec::read)
    }

    /// The body, which must be an object or an HTML form: tools send it to sign in (RFC 6749, 4.3.2).
    pub(crate) fn body_or_form(&mut self) -> Object<'_> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.takes_form = true;
        }
        if let Body::Form(bytes) = &self.body {
            let pairs = decode_form(&String::from_utf8_lossy(bytes));
            self.value = Value::Object(pairs.into_iter().map(|(name, value)| (name, value.into())).collect());
        }
        self.body()
    }

    /// Builds the value, unless anything was refused. `build` returns `None` for a value that was not read.
    ///
    /// # Errors
    /// [`Error::Validation`] with all issues: path, then query, then body, each in the order of reading.
    pub(crate) fn finish<T>(self, build: impl FnOnce() -> Option<T>) -> Result<T, Error> {
        let issues = self.issues.sorted();
        if !issues.is_empty() {
            return Err(Error::Validation(issues));
        }
        build().ok_or_else(|| Error::internal("a value was not read, but no issue was recorded"))
    }

    /// Reads with `read`, and finishes.
    ///
    /// # Errors
    /// As [`Input::finish`].
    pub(crate) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Valid<T>) -> Result<T, Error> {
        let read = read(&mut self);
        self.finish(|| read)
    }

    fn place(&mut self) -> Place<'_> {
        Place { value: &self.value, loc: vec!["body".into()], issues: &mut self.issues }
    }

    fn refuse_missing(&mut self) -> bool {
        let missing = self.value.is_null();
        if missing {
            self.issues.push(vec!["body".into()], Flaw::missing(), &Value::Null);
        }
        missing
    }
}

impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let path = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map_err(|_| Error::BadRequest("The path is not valid UTF-8".into()))?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        // The predecessor never looked at the body of these.
        if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
            return Ok(Self::new(path, &query, Body::Empty));
        }
        let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("").to_owned());
        let bytes =
            Bytes::from_request(Request::from_parts(parts, body), state).await.map_err(|rejection| match rejection
                .status()
            {
                StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
                _ => Error::BadRequest("There was an error parsing the body".into()),
            })?;
        Ok(Self::new(path, &query, parse(content_type.as_deref(), &bytes)?))
    }
}

fn decode_form(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

#[cfg(test)]
mod tests;
