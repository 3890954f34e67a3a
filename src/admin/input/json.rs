//! Bodies, before anything is known about what they should hold.

use serde_json::{Value, json};

use super::issue::{Flaw, Issue};
use crate::admin::error::Error;
use crate::model::StrictJson;

/// What came after the head of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// An HTML form, not decoded.
    Form(Vec<u8>),
    /// Anything else; never looked at.
    Other,
}

/// Reads a body as its content type says; a body without one is taken for JSON, as the predecessor did.
///
/// # Errors
/// `json_invalid` for what is not JSON, is nested more than 127 deep, repeats a key in an object, is not UTF-8
/// or has a number no `f64` can hold.
pub(crate) fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Body, Error> {
    if bytes.is_empty() {
        return Ok(Body::Empty);
    }
    let full = content_type.unwrap_or("application/json");
    let essence = full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/x-www-form-urlencoded" {
        return Ok(Body::Form(bytes.to_vec()));
    }
    let is_json = |subtype: &str| subtype == "json" || subtype.ends_with("+json");
    if !essence.strip_prefix("application/").is_some_and(is_json) {
        return Ok(Body::Other);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        invalid(valid.chars().count(), "Invalid UTF-8")
    })?;
    match serde_json::from_str::<StrictJson>(text) {
        Ok(StrictJson(value)) => Ok(Body::Json(value)),
        Err(error) => {
            let offset = position(text, &error);
            Err(invalid(offset, reason(&error, text.chars().nth(offset))))
        }
    }
}

fn invalid(offset: usize, reason: &str) -> Error {
    let flaw = Flaw::with("json_invalid", "JSON decode error", json!({ "error": reason }));
    Error::Validation(vec![Issue::new(vec!["body".into(), offset.into()], flaw, &json!({}))])
}

/// The offset in characters, as Python counts.
fn position(text: &str, error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let lines: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let at = lines + if error.is_eof() { error.column() } else { error.column().saturating_sub(1) };
    text.char_indices().take_while(|(index, _)| *index < at).count()
}

/// The words of Python's decoder, which clients have seen so far; `at` is the character it stopped at.
fn reason(error: &serde_json::Error, at: Option<char>) -> &'static str {
    let text = error.to_string();
    let starts = |prefix: &str| text.starts_with(prefix);
    match () {
        () if starts(StrictJson::DUPLICATE) => StrictJson::DUPLICATE,
        () if starts("recursion limit") => "Too deeply nested",
        () if starts("number out of range") => "Number out of range",
        () if starts("trailing characters") => "Extra data",
        () if starts("expected `:`") => "Expecting ':' delimiter",
        () if starts("expected `,`") => "Expecting ',' delimiter",
        () if starts("EOF while parsing an object") || starts("EOF while parsing a list") => "Expecting ',' delimiter",
        () if starts("key must be") || starts("trailing comma") && at == Some('}') => {
            "Expecting property name enclosed in double quotes"
        }
        () if starts("EOF while parsing a string") => "Unterminated string",
        () if starts("control character") => "Invalid control character at",
        () if starts("invalid escape") || starts("unexpected end of hex") || starts("lone leading") => {
            "Invalid \\escape"
        }
        () => "Expecting value",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(bytes: &[u8]) -> Value {
        match parse(Some("application/json"), bytes) {
            Err(Error::Validation(issues)) => serde_json::to_value(&issues[0]).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn content_types() {
        let json = Body::Json(json!({"a": 1}));
        for (content_type, body) in [
            (None, json.clone()),
            (Some("application/json"), json.clone()),
            (Some("Application/JSON; charset=utf-8"), json.clone()),
            (Some("application/merge-patch+json"), json),
            (Some("text/json"), Body::Other),
            (Some("text/plain"), Body::Other),
            (Some(""), Body::Other),
            (Some("application/x-www-form-urlencoded"), Body::Form(br#"{"a":1}"#.to_vec())),
        ] {
            assert_eq!(parse(content_type, br#"{"a":1}"#).unwrap(), body, "{content_type:?}");
            assert_eq!(parse(content_type, b"").unwrap(), Body::Empty);
        }
    }

    #[test]
    fn reasons_and_offsets() {
        let deep = "[".repeat(200);
        for (text, offset, reason) in [
            (r#"{"a":}"#, 5, "Expecting value"),
            (r#"{"a" 1}"#, 5, "Expecting ':' delimiter"),
            (r#"{"a":1 "b":2}"#, 7, "Expecting ',' delimiter"),
            (r#"{"é":"ü",}"#, 9, "Expecting property name enclosed in double quotes"),
            ("{\n \"a\": x}", 8, "Expecting value"),
            ("{} x", 3, "Extra data"),
            (r"{'a':1}", 1, "Expecting property name enclosed in double quotes"),
            (r#"{"a"#, 3, "Unterminated string"),
            ("[1,]", 3, "Expecting value"),
            (" ", 1, "Expecting value"),
            ("[1e400]", 5, "Number out of range"),
            ("[NaN]", 1, "Expecting value"),
            (r#"{"a":1,"a":2}"#, 9, "Duplicate key"),
            (r#"[{"x":{"a":1,"a":2}}]"#, 15, "Duplicate key"),
            (deep.as_str(), 127, "Too deeply nested"),
        ] {
            let issue = refused(text.as_bytes());
            assert_eq!(issue["ctx"]["error"], reason, "{text}");
            assert_eq!(issue["loc"], json!(["body", offset]), "{text}");
        }
        assert_eq!(refused(b"[\"\xc3\xa9\xff\"]")["loc"], json!(["body", 3]));
    }

    #[test]
    fn depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(None, nested(127).as_bytes()).is_ok());
        assert!(parse(None, nested(128).as_bytes()).is_err());
    }

    #[test]
    fn body() {
        insta::assert_snapshot!(refused(br#"{"username": "ann""#).to_string(), @r#"{"type":"json_invalid","loc":["body",18],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting ',' delimiter"}}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(None, &bytes);
        }

        #[test]
        fn near_json_is_read_or_refused(text in r#"[\[\]{}",:0-9eE.\-+a\\u\n é]{0,60}"#) {
            match (parse(None, text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(Body::Json(ours)), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Ok(Body::Json(_)), Err(error)) => return Err(TestCaseError::fail(error.to_string())),
                _ => {}
            }
        }
    }
}
