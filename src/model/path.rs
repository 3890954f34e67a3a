use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::{NameError, bounded};

/// One segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself, byte for byte after percent-decoding.
    Literal(String),
    /// `{name}`: one segment that is not empty.
    Param(String),
    /// `{*name}`: the rest of the path, at least one character; only in last place.
    Rest(String),
}

/// A route's path: `/articles/{id}`, `/files/{*rest}`.
///
/// The text is kept as the contract writes it: a leading `/` added, `//` collapsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, sqlx::Type)]
#[schemars(inline, example = "/articles/{id}", extend("minLength" = 1, "maxLength" = 255))]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct PathTemplate(String);

impl PathTemplate {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments after the leading `/`; `/` alone has one empty literal, and so has a final `/`.
    pub fn segments(&self) -> Vec<Segment> {
        self.0[1..].split('/').map(segment).collect()
    }

    /// The names of the parameters, in the order of the path.
    pub fn params(&self) -> Vec<String> {
        let named = |segment| match segment {
            Segment::Literal(_) => None,
            Segment::Param(name) | Segment::Rest(name) => Some(name),
        };
        self.segments().into_iter().filter_map(named).collect()
    }

    /// Says why this template cannot be matched by the gateway, if so.
    ///
    /// A route that is navigation only may hold any text (front ends keep their own routes there).
    ///
    /// # Errors
    /// Malformed or repeated parameters, `{*rest}` before the end, dot segments, and characters which no
    /// accepted request target can contain.
    pub fn check_matchable(&self) -> Result<(), NameError> {
        let segments = self.segments();
        let last = segments.len() - 1;
        let mut seen = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Literal(text) if text == "." || text == ".." => {
                    return Err(form("Route must not contain dot segments"));
                }
                Segment::Literal(text) if text.is_empty() && index != last => {
                    return Err(form("Route must not contain empty segments"));
                }
                Segment::Literal(text)
                    if text
                        .chars()
                        .any(|c| c.is_control() || matches!(c, '{' | '}' | '\\' | ';' | '?' | '#' | '%')) =>
                {
                    return Err(form("Route segments must be literal text, {name} or, in last place, {*name}"));
                }
                Segment::Literal(_) => {}
                Segment::Param(name) | Segment::Rest(name) => {
                    let head = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
                    if !head || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                        return Err(form("Parameter names must match [A-Za-z_][A-Za-z0-9_]*"));
                    }
                    if seen.contains(&name) {
                        return Err(form("Parameter names must differ within a route"));
                    }
                    if matches!(segment, Segment::Rest(_)) && index != last {
                        return Err(form("{*name} must be the last segment"));
                    }
                    seen.push(name);
                }
            }
        }
        Ok(())
    }
}

fn form(text: &str) -> NameError {
    NameError::Form(text.to_owned())
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => match name.strip_prefix('*') {
            Some(rest) => Segment::Rest(rest.to_owned()),
            None => Segment::Param(name.to_owned()),
        },
        None => Segment::Literal(text.to_owned()),
    }
}

impl TryFrom<String> for PathTemplate {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        bounded(&text, 1, 255)?;
        let mut path = String::with_capacity(text.len() + 1);
        path.push('/');
        for c in text.trim().chars() {
            if !(c == '/' && path.ends_with('/')) {
                path.push(c);
            }
        }
        bounded(&path, 1, 255)?;
        Ok(Self(path))
    }
}

impl From<PathTemplate> for String {
    fn from(path: PathTemplate) -> String {
        path.0
    }
}

impl std::fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathTemplate {
        PathTemplate::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn slashes_are_normalised() {
        assert_eq!(path("a//b/").as_str(), "/a/b/");
        assert_eq!(path("/").segments(), vec![Segment::Literal(String::new())]);
    }

    #[test]
    fn parameters() {
        assert_eq!(path("/a/{id}/{*rest}").params(), ["id", "rest"]);
        assert!(path("/a/{id}/{*rest}").check_matchable().is_ok());
        for bad in ["/{*rest}/a", "/{a}/{a}", "/{}", "/a{b}", "/../x", "/a;b", "/{a-b}"] {
            assert!(path(bad).check_matchable().is_err(), "{bad}");
        }
    }
}
