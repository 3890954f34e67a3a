//! All claims of a token, as text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use smallvec::SmallVec;

use super::StrictJson;

/// All claims as they stand in a token: a JSON object in which, at any depth, no key stands twice, since two parsers could
/// pick different values.
///
/// ## Why
/// Most claims are never looked at. So they are checked, kept in one piece, and read when somebody asks for one: a map of
/// them would be a score of allocations for each token.
#[derive(Clone, Default, PartialEq)]
pub struct ClaimSet {
    /// Each name, unescaped, and behind it its value in JSON without blanks.
    text: Box<str>,
    places: Box<[Place]>,
}

/// Where in the text a name and its value end; they begin where those before them do.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    name: usize,
    value: usize,
}

/// The value of a claim, which is well formed, but has not been read yet.
#[derive(Clone, Copy)]
pub struct Stated<'c>(&'c str);

impl ClaimSet {
    /// Each name with its value, in the token's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Stated<'_>)> {
        let begins = std::iter::once(0).chain(self.places.iter().map(|place| place.value));
        begins
            .zip(&self.places)
            .map(|(begin, place)| (&self.text[begin..place.name], Stated(&self.text[place.name..place.value])))
    }

    /// The claim of this name.
    pub fn get(&self, name: &str) -> Option<Stated<'_>> {
        self.iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// The claim of this name, if it is text.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name)?.text()
    }

    /// Whether the claim of this name is `true`, and not only something like it.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|stated| stated.0 == "true")
    }

    /// The bytes they take.
    pub fn size(&self) -> usize {
        self.text.len() + size_of_val(&*self.places)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }
}

impl<'c> Stated<'c> {
    /// If it is text, what it says.
    pub fn text(self) -> Option<Cow<'c, str>> {
        let quoted = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if quoted.contains('\\') {
            serde_json::from_str(self.0).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(quoted))
        }
    }

    /// If it is a whole number that was written as one, which.
    pub fn integer(self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// All of it.
    pub fn value(self) -> Value {
        // It was written by ourselves.
        serde_json::from_str(self.0).map(|StrictJson(value)| value).unwrap_or_default()
    }
}

impl fmt::Debug for ClaimSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.0))).finish()
    }
}

impl From<Map<String, Value>> for ClaimSet {
    fn from(map: Map<String, Value>) -> Self {
        let mut text = String::new();
        let mut places = Vec::with_capacity(map.len());
        for (name, value) in map {
            text.push_str(&name);
            let name = text.len();
            text.push_str(&value.to_string());
            places.push(Place { name, value: text.len() });
        }
        Self { text: text.into(), places: places.into() }
    }
}

/// From text or bytes.
impl<'de> Deserialize<'de> for ClaimSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Set)
    }
}

struct Set;

impl<'de> Visitor<'de> for Set {
    type Value = ClaimSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ClaimSet, A::Error> {
        let mut text = String::with_capacity(ORDINARY);
        let mut places: SmallVec<[Place; 16]> = SmallVec::new();
        while access.next_key_seed(Name(&mut text))?.is_some() {
            let name = text.len();
            access.next_value_seed(Transcript(&mut text))?;
            places.push(Place { name, value: text.len() });
        }
        let claims = ClaimSet { text: text.into(), places: places.as_slice().into() };
        if have_twins(claims.names().collect()) { Err(A::Error::custom(TWICE)) } else { Ok(claims) }
    }
}

/// Room for what tokens say as a rule, in bytes.
const ORDINARY: usize = 512;
const TWICE: &str = "a key stands twice";

/// Puts a name behind a text, as it is.
struct Name<'t>(&'t mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.push_str(name);
        Ok(())
    }
}

/// Puts any JSON in which no key stands twice behind a text, each thing in its one shortest form. How deep it may be,
/// `serde_json` bounds.
struct Transcript<'t>(&'t mut String);

impl Transcript<'_> {
    fn quote(&mut self, text: &str) {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.0.push('"');
            self.0.push_str(text);
            self.0.push('"');
        } else {
            self.0.push_str(&Value::from(text).to_string());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Transcript<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcript<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.push_str(itoa::Buffer::new().format(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.push_str(itoa::Buffer::new().format(value));
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"))?;
        self.0.push_str(&number.to_string());
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.quote(text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        self.0.push('[');
        let begin = self.0.len();
        while access.next_element_seed(Transcript(self.0))?.is_some() {
            self.0.push(',');
        }
        end(self.0, begin, ']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        self.0.push('{');
        let begin = self.0.len();
        let mut names: SmallVec<[(usize, usize); FEW]> = SmallVec::new();
        let mut at = begin;
        while access.next_key_seed(Transcript(self.0))?.is_some() {
            names.push((at, self.0.len()));
            self.0.push(':');
            access.next_value_seed(Transcript(self.0))?;
            self.0.push(',');
            at = self.0.len();
        }
        // Of each name there is one transcript.
        let text = &*self.0;
        if have_twins(names.iter().map(|(begin, end)| &text[*begin..*end]).collect()) {
            return Err(A::Error::custom(TWICE));
        }
        end(self.0, begin, '}');
        Ok(())
    }
}

/// Ends what began at `begin`, in place of the comma behind its last part.
fn end(text: &mut String, begin: usize, sign: char) {
    if text.len() > begin {
        text.pop();
    }
    text.push(sign);
}

/// So many are compared each with each; more are sorted first, since whoever sends them may send very many.
const FEW: usize = 16;

fn have_twins(mut names: SmallVec<[&str; FEW]>) -> bool {
    if names.len() <= FEW {
        return names.iter().enumerate().any(|(place, name)| names[..place].contains(name));
    }
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<ClaimSet, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn claims_are_read_when_they_are_asked_for() {
        let text = r#"{ "sub":"ann\u0065 \"x\"", "exp" : 17, "big":1e3, "up":true, "no":"true",
            "a\u0062c":[1,{"b":"c"}], "plain":"b\u00fc", "none":null }"#;
        let claims = read(text).unwrap();
        assert_eq!(claims.text("sub").as_deref(), Some("anne \"x\""));
        assert_eq!(claims.text("plain").as_deref(), Some("b\u{fc}"));
        let integers = ["exp", "big", "sub", "none"].map(|name| claims.get(name).unwrap().integer());
        assert_eq!(integers, [Some(17), None, None, None]);
        assert_eq!(["up", "no", "exp", "missing"].map(|name| claims.is_true(name)), [true, false, false, false]);
        assert_eq!(claims.get("abc").unwrap().value(), json!([1, { "b": "c" }]));
        assert_eq!(["exp", "none", "missing"].map(|name| claims.text(name)), [None, None, None]);
        let names: Vec<_> = claims.names().collect();
        assert_eq!(names, ["sub", "exp", "big", "up", "no", "abc", "plain", "none"]);
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        let many = |last: &str| {
            let names: Vec<_> = (0..100).map(|n| format!("\"n{n}\":{n}")).collect();
            format!("{{{},{last}:1}}", names.join(","))
        };
        assert_eq!(read(&many("\"n100\"")).unwrap().iter().count(), 101);
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[0,{"a":1,"\u0061":3}]}"#,
            &many("\"n7\""),
            &format!("{{\"x\":{}}}", many("\"n7\"")),
            "[]",
            "1",
            "",
            r#"{"a":1e400}"#,
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            "{1:1}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&deep(100)).is_ok());
        assert!(read(&deep(100_000)).is_err());
    }

    /// `serde_json` gives some names of keys a meaning of its own, where some of its features are on.
    #[test]
    fn no_name_of_a_key_means_more_than_it_says() {
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let inner = r#"{\"a\":1,\"a\":2}"#;
            let claims = read(&format!(r#"{{"aud":{{"{name}":"[\"us\"]"}},"{name}":"{inner}"}}"#)).unwrap();
            let aud = claims.get("aud").unwrap().value();
            assert_eq!(aud.as_object().unwrap().get(name), Some(&Value::from(r#"["us"]"#)));
            assert_eq!(claims.text(name).as_deref(), Some(r#"{"a":1,"a":2}"#));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(|half| Value::from(f64::from(half) / 2.0)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let object = prop::collection::hash_map(any::<String>(), inner.clone(), 0..6);
            prop_oneof![
                prop::collection::vec(inner, 0..6).prop_map(Value::from),
                object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_read_as_serde_json_reads_it(
            fields in prop::collection::hash_map(any::<String>(), any_json(), 0..40),
        ) {
            let map: Map<String, Value> = fields.into_iter().collect();
            let pretty = serde_json::to_string_pretty(&map).unwrap();
            let written = read(&pretty).unwrap();
            let back: Map<String, Value> = written.iter().map(|(name, stated)| (name.to_owned(), stated.value())).collect();
            prop_assert_eq!(&back, &map);
            for (name, value) in &map {
                let stated = written.get(name).unwrap();
                let text = stated.text();
                prop_assert_eq!(text.as_deref(), value.as_str());
                prop_assert_eq!(stated.integer(), value.as_i64());
            }
            let read_again = read(&serde_json::to_string(&back).unwrap()).unwrap();
            prop_assert_eq!(ClaimSet::from(map), read_again);
        }
    }
}
