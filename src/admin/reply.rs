//! What handlers answer with. The status is always 200, for creation and deletion too.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::error::Error;
use crate::control;
use crate::store::Total;

/// What was done, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Message {
    message: Cow<'static, str>,
    success: bool,
}

impl Message {
    /// Says that `message` is so.
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), success: true }
    }
}

/// The answer to a write: the value, and in `X-Policy-Revision` the revision of the rules it led to.
#[derive(Clone, Debug)]
pub(crate) struct Written<T> {
    /// What is answered.
    pub(crate) value: T,
    /// The revision from which on the write has effect.
    pub(crate) policy_revision: i64,
}

impl<T> From<control::Written<T>> for Written<T> {
    fn from(written: control::Written<T>) -> Self {
        Self { value: written.value, policy_revision: written.policy_revision }
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.value).into_response();
        let revision = HeaderValue::from(self.policy_revision);
        response.headers_mut().insert(HeaderName::from_static("x-policy-revision"), revision);
        response
    }
}

/// A part of a list, and in `X-Total-Count` how many entries there are under the same filters. Beyond
/// [`MOST_COUNTED`](crate::store::MOST_COUNTED) it may be that number, and `X-Total-Count-Capped` says so.
#[derive(Clone, Debug)]
pub(crate) struct Listed<T> {
    /// What is answered.
    pub(crate) rows: Vec<T>,
    /// How many there are.
    pub(crate) total: Total,
}

impl<T> Listed<T> {
    /// The rows as they are shown.
    pub(crate) fn map<U>(self, shown: impl FnMut(T) -> U) -> Listed<U> {
        Listed { rows: self.rows.into_iter().map(shown).collect(), total: self.total }
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.rows).into_response();
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-total-count"), HeaderValue::from(self.total.count));
        if self.total.is_capped {
            headers.insert(HeaderName::from_static("x-total-count-capped"), HeaderValue::from_static("true"));
        }
        response
    }
}

/// Text for people and tools.
#[derive(Clone, Debug)]
pub(crate) struct Plain(pub(crate) String);

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// Says how many entries a list has.
pub(crate) const TOTAL_COUNT: &str = "X-Total-Count";
/// Says that it has more.
pub(crate) const TOTAL_COUNT_CAPPED: &str = "X-Total-Count-Capped";
/// Says what a write led to.
pub(crate) const POLICY_REVISION: &str = "X-Policy-Revision";

/// What nearly all answers are.
pub(crate) const JSON: &str = "application/json";

/// What a handler answers with when all goes well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The media type of the body.
    pub(crate) media: &'static str,
    /// The schema of the body.
    pub(crate) body: fn(&mut SchemaGenerator) -> Schema,
    /// Headers that tell more.
    pub(crate) headers: &'static [&'static str],
}

/// A type that handlers return.
pub(crate) trait Reply {
    /// What clients get of it.
    const ANSWER: Answer;
}

impl<T: JsonSchema> Reply for Json<T> {
    const ANSWER: Answer = Answer { media: JSON, body: SchemaGenerator::subschema_for::<T>, headers: &[] };
}

impl Reply for Plain {
    const ANSWER: Answer = Answer { media: "text/plain", body: SchemaGenerator::subschema_for::<String>, headers: &[] };
}

impl<T: JsonSchema> Reply for Listed<T> {
    const ANSWER: Answer = Answer {
        media: JSON,
        body: SchemaGenerator::subschema_for::<Vec<T>>,
        headers: &[TOTAL_COUNT, TOTAL_COUNT_CAPPED],
    };
}

impl<T: JsonSchema> Reply for Written<T> {
    const ANSWER: Answer =
        Answer { media: JSON, body: SchemaGenerator::subschema_for::<T>, headers: &[POLICY_REVISION] };
}

impl<R: Reply> Reply for Result<R, Error> {
    const ANSWER: Answer = R::ANSWER;
}

/// A handler, told by its `Arguments` from others: its own type says what it answers with.
pub(crate) trait Answers<Arguments> {
    /// What it answers with.
    fn answer() -> Answer;
}

macro_rules! handlers {
    (one ($($argument:ident),*)) => {
        impl<F, W, R, $($argument),*> Answers<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> W,
            W: Future<Output = R>,
            R: Reply,
        {
            fn answer() -> Answer {
                R::ANSWER
            }
        }
    };
    ($($arguments:tt)*) => {$(handlers! { one $arguments })*};
}

handlers! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) }

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> String {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_write_names_its_revision() {
        let value = Message::new("User deleted successfully");
        let response = Written { value, policy_revision: 7 }.into_response();
        assert_eq!(response.headers()["x-policy-revision"], "7");
        assert_eq!(body(response).await, r#"{"message":"User deleted successfully","success":true}"#);
    }

    #[tokio::test]
    async fn a_list_says_how_many_there_are() {
        for (is_capped, expected) in [(false, None), (true, Some("true"))] {
            let total = Total { count: 20_000, is_capped };
            let response = Listed { rows: vec![1, 2], total }.map(|row| row + 1).into_response();
            assert_eq!(response.headers()["x-total-count"], "20000");
            let capped = response.headers().get("x-total-count-capped").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(capped.as_deref(), expected);
            assert_eq!(body(response).await, "[2,3]");
        }
    }
}
