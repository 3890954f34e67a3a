//! The request target: one spelling, matched, authorised and forwarded byte for byte.
//!
//! ## Why
//! Proxies are bypassed where two parsers read one target differently (CVE-2026-33494, CVE-2025-32431,
//! CVE-2021-29492, CVE-2013-4547 and their kin). Normalising picks one reading and hopes that the back end
//! picks the same. So nothing is normalised: a target with a second reading is refused.

use std::borrow::Cow;

use super::bytes;
use crate::model::AmbiguousOwner;

/// The longest accepted target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// A target that two parsers could read differently, or that is no origin-form target at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed or ambiguous request target")]
pub struct BadTarget;

/// An accepted origin-form target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    raw: String,
    path_len: usize,
    /// Absent when the path has no percent-encoding.
    decoded: Option<String>,
}

impl Target {
    /// Accepts `raw` if every parser reads it alike.
    ///
    /// # Errors
    /// Not in origin-form, too long, not visible ASCII, empty or dot segments, parameters (`;`), characters
    /// outside RFC 3986, malformed percent-encoding, and encodings of what need not or must not be encoded.
    pub fn parse(raw: &[u8]) -> Result<Self, BadTarget> {
        if !is_plain(raw) {
            return Err(BadTarget);
        }
        let (path, query) = split(raw);
        if !path[1..].split_inclusive(|b| *b == b'/').all(is_plain_segment) || !triplets_are_formed(query) {
            return Err(BadTarget);
        }
        let decoded = if memchr::memchr(b'%', path).is_some() { Some(decode_path(path)?) } else { None };
        let raw = std::str::from_utf8(raw).map_err(|_| BadTarget)?.to_owned();
        Ok(Self { raw, path_len: path.len(), decoded })
    }

    /// The path as it came; the query is given up.
    pub fn into_raw_path(mut self) -> String {
        self.raw.truncate(self.path_len);
        self.raw
    }

    /// Path and query as they came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path as it came.
    pub fn raw_path(&self) -> &str {
        &self.raw[..self.path_len]
    }

    /// The path as it is matched; decoding cannot have made a separator.
    pub fn decoded_path(&self) -> &str {
        self.decoded.as_deref().unwrap_or_else(|| self.raw_path())
    }

    /// The query without its `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.raw.get(self.path_len + 1..)
    }

    /// What to forward once `prefix` is taken off the path; the remainder keeps its bytes.
    ///
    /// Only whole segments are taken off, and a path that does not begin with the prefix stays as it is
    /// (CVE-2026-48020, CVE-2026-40912).
    pub fn stripped(&self, prefix: &str) -> Cow<'_, str> {
        let Some(rest) = self.after(prefix.trim_end_matches('/')) else {
            return Cow::Borrowed(&self.raw);
        };
        if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) }
    }

    /// What follows `prefix`, path and query, if the path begins with it at a segment boundary.
    fn after(&self, prefix: &str) -> Option<&str> {
        let path = self.raw_path();
        let mut at = 0;
        for expected in prefix.bytes() {
            let (byte, width) = byte_at(path.as_bytes(), at)?;
            if byte != expected {
                return None;
            }
            at += width;
        }
        let boundary = at == path.len() || path.as_bytes()[at] == b'/';
        boundary.then(|| &self.raw[at..])
    }

    /// What the query says about `name`, for decisions that hang on it.
    ///
    /// Parsers differ over `;`, letter case and `name[]`, and PHP reads `user.id` and ` user[id` as `user_id`:
    /// where one of them would find another value, nothing is answered (CVE-2025-54576).
    ///
    /// # Errors
    /// The name occurs more than once, or only some parsers would find it.
    pub fn query_value(&self, name: &str) -> Result<Option<String>, AmbiguousOwner> {
        let Some(query) = self.query() else { return Ok(None) };
        if query.contains(';') {
            return Err(AmbiguousOwner);
        }
        let mut found = None;
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode_form(key).ok_or(AmbiguousOwner)?;
            if !may_mean(&key, name) {
                continue;
            }
            if found.is_some() || key != name {
                return Err(AmbiguousOwner);
            }
            found = Some(decode_form(value).ok_or(AmbiguousOwner)?);
        }
        Ok(found)
    }
}

/// Whether some parser finds `name` where `key` is written.
fn may_mean(key: &str, name: &str) -> bool {
    let letters =
        |text: &str| text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let (whole, base, name): (String, String, String) =
        (letters(key), letters(key.split(['[', '\0']).next().unwrap_or_default()), letters(name));
    whole == name || base == name
}

/// Whether `raw` is in origin-form, not too long, and made of characters that nobody escapes or drops.
pub fn is_plain(raw: &[u8]) -> bool {
    let (path, query) = split(raw);
    raw.len() <= MAX_TARGET
        && path.first() == Some(&b'/')
        && bytes::all(path, is_path_byte)
        && bytes::all(query, is_query_byte)
}

/// Path and query, the latter with its `?`.
fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    raw.split_at(memchr::memchr(b'?', raw).unwrap_or(raw.len()))
}

/// `pchar` and `/` of RFC 3986, without `;`, which some servers take as the start of parameters.
fn is_path_byte(byte: u8) -> bool {
    bytes::alphanumeric(byte) | bytes::one_of(byte, b"-._~!$&'()*+,=:@%/")
}

/// Visible ASCII without `#` and what HTTP libraries escape on their own account.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() & !bytes::one_of(byte, b"#<>\"")
}

/// Neither empty (except in last place) nor made of dots nor ending like a parent directory.
fn is_plain_segment(segment: &[u8]) -> bool {
    match segment.strip_suffix(b"/") {
        Some([]) => false,
        Some(name) => is_plain_name(name),
        None => is_plain_name(segment),
    }
}

fn is_plain_name(name: &[u8]) -> bool {
    // `api..` is refused too: `/api../x` leaves a directory that an alias serves under `/api`.
    name != b"." && !name.ends_with(b"..")
}

fn triplets_are_formed(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'%') {
        at += found;
        if byte_at(bytes, at).is_none() {
            return false;
        }
        at += 3;
    }
    true
}

/// The byte at `at`, decoded, and how many bytes spell it; `None` at the end and for a malformed triplet.
fn byte_at(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let first = *bytes.get(at)?;
    if first != b'%' {
        return Some((first, 1));
    }
    let high = char::from(*bytes.get(at + 1)?).to_digit(16)?;
    let low = char::from(*bytes.get(at + 2)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok().map(|byte| (byte, 3))
}

fn decode_path(path: &[u8]) -> Result<String, BadTarget> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let (byte, width) = byte_at(path, at).ok_or(BadTarget)?;
        if width == 3 && (byte.is_ascii_alphanumeric() || b"-._~/\\;?#%".contains(&byte) || byte.is_ascii_control()) {
            return Err(BadTarget);
        }
        decoded.push(byte);
        at += width;
    }
    let decoded = String::from_utf8(decoded).map_err(|_| BadTarget)?;
    if decoded.chars().any(char::is_control) { Err(BadTarget) } else { Ok(decoded) }
}

fn decode_form(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let (byte, width) = byte_at(text.as_bytes(), at)?;
        decoded.push(if width == 1 && byte == b'+' { b' ' } else { byte });
        at += width;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(raw: &str) -> Target {
        Target::parse(raw.as_bytes()).unwrap_or_else(|_| panic!("{raw}"))
    }

    #[test]
    fn every_second_reading_is_refused() {
        for bad in [
            "",
            "*",
            "a:80",
            "http://a/x",
            "x",
            "?x",
            // dot segments, CVE-2026-33494, CVE-2019-9901
            "/public/../admin",
            "/info/./../private",
            "/..",
            "/.",
            "/a/.",
            "/...",
            "/svc/%2e%2e/admin",
            "/svc/%2E/admin",
            "/svc/%252e%252e/admin",
            // encoded separators, CVE-2025-66490, CVE-2021-29492
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/a%3bb",
            "/a%3fb",
            "/a%23b",
            "/a%25b",
            "/pub%2Fadmin",
            // prefix desynchronisation, CVE-2026-48020
            "/api%2e/admin",
            "/api../admin",
            // empty segments, CVE-2021-43557
            "//admin/x",
            "/a//b",
            "/a//",
            // fragments, CVE-2021-32779
            "/a#b",
            "/a?b#c",
            // encoded unreserved characters, CVE-2026-27587
            "/%41dmin",
            "/%7euser",
            // parameters, backslash
            "/admin;x/y",
            "/..;/admin",
            "/a\\b",
            // raw bytes, CVE-2013-4547
            "/a b",
            "/a\tb",
            "/a\0b",
            "/\u{e9}",
            "/a?b c",
            "/a\"",
            "/a<b>",
            "/a|b",
            "/{a}",
            "/a^b",
            "/a`b",
            "/[a]",
            // malformed encodings and what is not UTF-8
            "/a%",
            "/a%2",
            "/a%zz",
            "/a?b=%zz",
            "/a?b=%",
            "/%ff",
            "/%c0%af",
            "/%7f",
            "/%0d%0a",
            "/%c2%85",
        ] {
            assert_eq!(Target::parse(bad.as_bytes()), Err(BadTarget), "{bad:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        assert_eq!(Target::parse(long.as_bytes()), Err(BadTarget));
    }

    #[test]
    fn plain_targets_pass_unchanged() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/ADMIN",
            "/a.b/..c/.well-known",
            "/a:b@c!$&'()*+,=",
            "/caf%C3%A9",
            "/a%20b",
            "/compare/main...dev",
            "/a?x=//b/../c;d\\e|{}[]",
            "/a?",
            "/a?x=%2e%2F",
            "/admin?x=/public",
        ] {
            assert_eq!(target(good).raw(), good);
        }
        assert_eq!(target("/caf%C3%A9").decoded_path(), "/caf\u{e9}");
        assert_eq!(target("/a%20b?c").decoded_path(), "/a b");
        assert_eq!(target("/a?b?c").query(), Some("b?c"));
        assert_eq!(target("/a").query(), None);
        assert_eq!(target("/a?").query(), Some(""));
    }

    #[test]
    fn prefixes_come_off_at_segment_boundaries() {
        for (raw, prefix, forwarded) in [
            ("/demo/a?q=1", "/demo", "/a?q=1"),
            ("/demo/a", "/demo/", "/a"),
            ("/demo", "/demo", "/"),
            ("/demo?q", "/demo", "/?q"),
            ("/demo/", "/demo", "/"),
            ("/demox/a", "/demo", "/demox/a"),
            ("/other", "/demo", "/other"),
            ("/dem", "/demo", "/dem"),
            ("/a", "/", "/a"),
            ("/a", "", "/a"),
            ("/caf%C3%A9/x%20y", "/caf\u{e9}", "/x%20y"),
        ] {
            assert_eq!(target(raw).stripped(prefix), forwarded, "{raw} {prefix}");
        }
    }

    #[test]
    fn query_values_are_found_once_or_not_at_all() {
        let one = |text: &str| Ok(Some(text.to_owned()));
        for (raw, expected) in [
            ("/a", Ok(None)),
            ("/a?", Ok(None)),
            ("/a?x=1", Ok(None)),
            ("/a?id=1", one("1")),
            ("/a?x=2&id=1%2B&y", one("1+")),
            ("/a?id", one("")),
            ("/a?%69d=1", one("1")),
            ("/a?id=1+2", one("1 2")),
            ("/a?id=1&id=1", Err(AmbiguousOwner)),
            ("/a?id=1&ID=2", Err(AmbiguousOwner)),
            ("/a?id=1&id[]=2", Err(AmbiguousOwner)),
            ("/a?id[]=2", Err(AmbiguousOwner)),
            ("/a?x=1;id=2", Err(AmbiguousOwner)),
            ("/a?id=%ff", Err(AmbiguousOwner)),
            ("/a?%ff=1", Err(AmbiguousOwner)),
            ("/a?id=1&+id=2", Err(AmbiguousOwner)),
            ("/a?id=1&id%00x=2", Err(AmbiguousOwner)),
            ("/a?id=1&i.d=2", Err(AmbiguousOwner)),
            ("/a?id=1&i[d=2", Err(AmbiguousOwner)),
            ("/a?id=1&idx=2", one("1")),
        ] {
            assert_eq!(target(raw).query_value("id"), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Target::parse(&bytes);
        }

        #[test]
        fn accepted_targets_have_one_reading(raw in "(/([a-zA-Z0-9.~;%\\\\ !é?#=&-]|%[0-9a-fA-F]{2}|\\.\\.|%2[eEfF]){0,6}){0,5}\\??[ -~]{0,8}") {
            let Ok(target) = Target::parse(raw.as_bytes()) else { return Ok(()) };
            prop_assert_eq!(target.raw(), &raw);
            let path = target.raw_path();
            for taboo in ["//", "\\", ";", "#", "?", " ", "/./", "/../"] {
                prop_assert!(!path.contains(taboo), "{}", path);
            }
            let decoded = target.decoded_path();
            prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
            prop_assert!(!decoded.contains(['%', '\\', ';', '?', '#']));
            prop_assert!(!decoded.chars().any(char::is_control));
            prop_assert_eq!(normalised(path), path);
            let stripped = target.stripped("/a");
            prop_assert!(Target::parse(stripped.as_bytes()).is_ok(), "{}", stripped);
        }
    }

    /// RFC 3986 6.2.2: decodes unreserved characters, then removes dot segments.
    fn normalised(path: &str) -> String {
        let mut text = String::new();
        let mut rest = path;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            let triplet = &rest[at..at + 3];
            let byte = u8::from_str_radix(&triplet[1..], 16).unwrap();
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(triplet);
            }
            rest = &rest[at + 3..];
        }
        text.push_str(rest);
        let mut kept: Vec<&str> = Vec::new();
        for segment in text.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(kept.pop()),
                other => kept.push(other),
            }
        }
        format!("/{}", kept.join("/"))
    }
}
