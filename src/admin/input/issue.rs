//! One entry of a 422, and what it may show.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::sketch::Sketch;
use crate::model::NameError;

/// More are counted but not listed: each may echo the whole body, so an answer could outgrow its request without bound.
const MOST_LISTED: usize = 100;

/// A value of more bytes is not repeated: the client has it, and every entry of a 422 may name the whole body.
const MOST_SHOWN: usize = 2_000;

const MISSING: &str = "missing";

/// Stands in for a value that must not be shown.
const HIDDEN: &str = "***";

/// Stands in for a value that is too large to be shown.
const LARGE: &str = "…";

/// One step of the way to the offending value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// A key, or the part of the request the way begins with.
    Key(Cow<'static, str>),
    /// A place in a list.
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(Cow::Borrowed(key))
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(Cow::Owned(key))
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// What is wrong with a value: `type`, `msg` and `ctx` of its entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flaw {
    kind: &'static str,
    msg: Cow<'static, str>,
    ctx: Option<Value>,
}

impl Flaw {
    /// An entry without `ctx`.
    pub(crate) fn new(kind: &'static str, msg: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, msg: msg.into(), ctx: None }
    }

    /// An entry with `ctx`.
    pub(crate) fn with(kind: &'static str, msg: impl Into<Cow<'static, str>>, ctx: Value) -> Self {
        Self { kind, msg: msg.into(), ctx: Some(ctx) }
    }

    /// What a validator of the predecessor said: `Value error, <text>`.
    pub(crate) fn value(text: impl std::fmt::Display) -> Self {
        Self::with("value_error", format!("Value error, {text}"), json!({"error": {}}))
    }

    /// A field, or the whole body, that is not there.
    pub(super) fn missing() -> Self {
        Self::new(MISSING, "Field required")
    }

    /// A mail address that is none.
    pub(crate) fn email(reason: &str) -> Self {
        let msg = format!("value is not a valid email address: {reason}");
        Self::with("value_error", msg, json!({ "reason": reason }))
    }

    /// A text with fewer than `min` characters.
    pub(crate) fn too_short(min: usize) -> Self {
        Self::with("string_too_short", NameError::TooShort { min }.to_string(), json!({ "min_length": min }))
    }

    /// A text with more than `max` characters.
    pub(crate) fn too_long(max: usize) -> Self {
        Self::with("string_too_long", NameError::TooLong { max }.to_string(), json!({ "max_length": max }))
    }

    /// A list with more than `max` entries, namely `given`.
    pub(crate) fn too_many(max: usize, given: usize) -> Self {
        let msg = format!("List should have at most {max} items after validation, not {given}");
        let ctx = json!({ "field_type": "List", "max_length": max, "actual_length": given });
        Self::with("too_long", msg, ctx)
    }
}

impl Flaw {
    /// What is no list.
    pub(crate) fn no_list() -> Self {
        Self::new("list_type", "Input should be a valid list")
    }

    /// What is none of some words, said as `'add' or 'remove'`.
    pub(crate) fn literal(expected: &str) -> Self {
        Self::with("literal_error", format!("Input should be {expected}"), json!({ "expected": expected }))
    }
}

impl From<NameError> for Flaw {
    fn from(error: NameError) -> Self {
        match error {
            NameError::TooShort { min } => Self::too_short(min),
            NameError::TooLong { max } => Self::too_long(max),
            NameError::Form(text) => Self::value(text),
            NameError::Assertion(text) => {
                Self::with("assertion_error", format!("Assertion failed, {text}"), json!({"error": {}}))
            }
        }
    }
}

/// One entry of a 422. Its `input` never holds a password or token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Issue {
    #[serde(rename = "type")]
    kind: &'static str,
    loc: Vec<Step>,
    msg: Cow<'static, str>,
    input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctx: Option<Value>,
}

impl Issue {
    /// Says what is wrong with `input`, found at `loc`.
    pub(crate) fn new(loc: Vec<Step>, flaw: Flaw, input: &Value) -> Self {
        // What a missing field is missing from is not itself the value of that field.
        let own = if flaw.kind == MISSING { loc.split_last().map_or(&[][..], |(_, parent)| parent) } else { &loc[..] };
        let secret = own.iter().any(|step| matches!(step, Step::Key(key) if is_secret(key)));
        // A body that is one text has no keys to tell by: it may be a form, or JSON encoded twice.
        let opaque = loc.len() == 1 && input.is_string();
        let input = match input {
            Value::Null => Value::Null,
            _ if secret || opaque => Value::from(HIDDEN),
            large if size(large) > MOST_SHOWN => Value::from(LARGE),
            input => shown(input),
        };
        Self { kind: flaw.kind, loc, msg: flaw.msg, input, ctx: flaw.ctx }
    }

    /// The same, found within what stands at `place`.
    pub(crate) fn within(self, place: impl IntoIterator<Item = Step>) -> Self {
        Self { loc: place.into_iter().chain(self.loc).collect(), ..self }
    }

    /// Where the entry stands in the answer: path before query before body.
    fn rank(&self) -> u8 {
        match self.loc.first() {
            Some(Step::Key(part)) if part == "path" => 0,
            Some(Step::Key(part)) if part == "query" => 1,
            _ => 2,
        }
    }
}

/// What reading has brought to light so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Issues {
    found: Vec<Issue>,
    /// There when it is asked what would be read: then nothing is given, and nothing is an issue.
    pub(super) sketch: Option<Box<Sketch>>,
}

impl Issues {
    /// Adds one.
    pub(super) fn push(&mut self, loc: Vec<Step>, flaw: Flaw, input: &Value) {
        if self.sketch.is_none() && self.found.len() < MOST_LISTED {
            self.found.push(Issue::new(loc, flaw, input));
        }
    }

    /// All, in the order of the answer.
    pub(super) fn sorted(mut self) -> Vec<Issue> {
        self.found.sort_by_key(Issue::rank);
        self.found
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("password") || key.contains("secret") || key.ends_with("token")
}

/// About how many bytes of JSON a value is.
fn size(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value) + 4).sum(),
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum(),
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
    }
}

fn shown(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let hide = |key: &str, value: &Value| is_secret(key) && !value.is_null();
            let entry = |(key, value): (&String, &Value)| {
                (key.clone(), if hide(key, value) { Value::from(HIDDEN) } else { shown(value) })
            };
            Value::Object(map.iter().map(entry).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(shown).collect()),
        // PEM, where a certificate was asked for.
        Value::String(text) if text.contains("PRIVATE KEY-----") => Value::from(HIDDEN),
        // JSON encoded twice, or a form, inside a text.
        Value::String(text) if text.contains(['"', '=']) && is_secret_text(text) => Value::from(HIDDEN),
        other => other.clone(),
    }
}

fn is_secret_text(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("password") || text.contains("secret") || text.contains("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let input = json!({
            "username": "ann",
            "password": "s3cret-value",
            "nested": [{"new_password": ["s3cret-value"], "refresh_token": {"a": "s3cret-value"}}],
            "text": "{\"password\":\"s3cret-value\"}",
            "old_password": null
        });
        let issue = Issue::new(vec!["body".into(), "email".into()], Flaw::missing(), &input);
        insta::assert_json_snapshot!(issue, @r#"
        {
          "type": "missing",
          "loc": [
            "body",
            "email"
          ],
          "msg": "Field required",
          "input": {
            "username": "ann",
            "password": "***",
            "nested": [
              {
                "new_password": "***",
                "refresh_token": "***"
              }
            ],
            "text": "***",
            "old_password": null
          }
        }
        "#);
    }

    #[test]
    fn a_secret_field_is_hidden_with_all_it_holds() {
        for input in [json!(12), json!("abc"), json!(["a", {"b": 1}])] {
            let loc = vec!["body".into(), "password".into(), 0.into()];
            assert_eq!(Issue::new(loc, Flaw::value("x"), &input).input, json!("***"));
        }
    }

    #[test]
    fn a_private_key_is_hidden_wherever_it_stands() {
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n";
        let issue = Issue::new(vec!["body".into(), "tls".into()], Flaw::value("x"), &json!({ "ca": key }));
        assert_eq!(issue.input, json!({ "ca": "***" }));
        assert_eq!(Issue::new(vec!["body".into(), "ca".into()], Flaw::value("x"), &json!(key)).input, json!("***"));
    }

    #[test]
    fn large_values_are_not_repeated() {
        let text = "x".repeat(MOST_SHOWN);
        let issue = |input: &Value| Issue::new(vec!["body".into(), "name".into()], Flaw::missing(), input).input;
        assert_eq!(issue(&json!(text)), json!(text));
        for large in [json!(text.clone() + "x"), json!([text, 1]), json!({ "a": [{ "b": text }] })] {
            assert_eq!(issue(&large), json!("…"));
        }
    }

    #[test]
    fn listed_issues_are_bounded_and_ordered() {
        let mut issues = Issues::default();
        for part in ["body", "query", "path"].into_iter().cycle().take(1_000) {
            issues.push(vec![part.into()], Flaw::value("x"), &Value::Null);
        }
        let sorted = issues.sorted();
        assert_eq!(sorted.len(), MOST_LISTED);
        assert!(sorted.is_sorted_by_key(Issue::rank));
    }
}
