//! How a value becomes a typed one: the coercions clients rely on.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Valid;
use super::issue::{Flaw, Issues, Step};
use super::object::Object;
use crate::model::{
    Avatar, Category, Email, Host, Icon, IssuerId, Label, ModuleId, ModuleName, PathTemplate, PermissionId,
    PermissionName, PersonName, PolicyId, PolicyName, RoleId, RoleName, RouteId, Secret, SigningKeyId, Timestamp,
    UpstreamId, UpstreamName, UserId, Username,
};

/// A value and where in the request it stands.
pub(crate) struct Place<'a> {
    pub(super) value: &'a Value,
    pub(super) loc: Vec<Step>,
    pub(super) issues: &'a mut Issues,
}

impl<'a> Place<'a> {
    /// Records what is wrong here; `None`, so that a reader can end with it.
    pub(crate) fn refuse<T>(self, flaw: Flaw) -> Valid<T> {
        self.issues.push(self.loc, flaw, self.value);
        None
    }

    /// The value as an object whose fields can be read.
    pub(crate) fn object(self) -> Object<'a> {
        Object::new(self)
    }

    fn keep<T: JsonSchema>(self, outcome: Result<T, Flaw>) -> Valid<T> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.takes::<T>(&self.loc);
            return None;
        }
        outcome.map_or_else(|flaw| self.refuse(flaw), Some)
    }
}

/// A type that can be read from a request.
///
/// Handlers implement it for their bodies, which makes them usable in lists and in each other.
pub(crate) trait Read: Sized {
    /// Reads the value at `place`, or records why that is not possible.
    fn read(place: Place<'_>) -> Valid<Self>;
}

impl Read for bool {
    fn read(place: Place<'_>) -> Valid<Self> {
        let outcome = boolean(place.value);
        place.keep(outcome)
    }
}

impl Read for i64 {
    fn read(place: Place<'_>) -> Valid<Self> {
        let outcome = integer(place.value);
        place.keep(outcome)
    }
}

impl Read for Timestamp {
    fn read(place: Place<'_>) -> Valid<Self> {
        let outcome = match place.value.as_str() {
            None => Err(Flaw::new("datetime_type", "Input should be a valid datetime")),
            Some(text) => Self::try_from(text).map_err(|reason| {
                let ctx = serde_json::json!({ "error": reason });
                Flaw::with("datetime_parsing", format!("Input should be a valid datetime, {reason}"), ctx)
            }),
        };
        place.keep(outcome)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(place: Place<'_>) -> Valid<Self> {
        if let Some(sketch) = &mut place.issues.sketch {
            sketch.at(&place.loc).insert("type".to_owned(), "array".into());
            let loc = place.loc.iter().cloned().chain([0.into()]).collect();
            T::read(Place { value: place.value, loc, issues: place.issues });
            return None;
        }
        let Value::Array(items) = place.value else {
            return place.refuse(Flaw::no_list());
        };
        let mut read = Some(Vec::with_capacity(items.len()));
        for (index, value) in items.iter().enumerate() {
            let loc = place.loc.iter().cloned().chain([index.into()]).collect();
            match (T::read(Place { value, loc, issues: place.issues }), &mut read) {
                (Some(item), Some(list)) => list.push(item),
                _ => read = None,
            }
        }
        read
    }
}

/// A value with an order, for bounds.
pub(crate) trait Number {
    /// The number itself.
    fn number(&self) -> i64;
}

impl Number for i64 {
    fn number(&self) -> i64 {
        *self
    }
}

/// A value with a length in characters, for bounds.
pub(crate) trait Text {
    /// The text itself.
    fn text(&self) -> &str;
}

impl Text for String {
    fn text(&self) -> &str {
        self
    }
}

impl Text for Secret<String> {
    fn text(&self) -> &str {
        self.expose()
    }
}

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl Read for $id {
            fn read(place: Place<'_>) -> Valid<Self> {
                i64::read(place).map(Self)
            }
        }

        impl Number for $id {
            fn number(&self) -> i64 {
                self.0
            }
        }
    )*};
}

ids! { UserId RoleId PermissionId ModuleId RouteId UpstreamId PolicyId SigningKeyId IssuerId }

macro_rules! texts {
    ($($text:ty => $build:expr;)*) => {$(
        impl Read for $text {
            fn read(place: Place<'_>) -> Valid<Self> {
                let outcome = string(place.value).and_then($build);
                place.keep(outcome)
            }
        }
    )*};
}

texts! {
    String => Ok;
    Secret<String> => |text| Ok(Secret::new(text));
    Email => |text| Email::try_from(text).map_err(|reason| Flaw::email(&reason));
    Username => |text| Ok(Username::try_from(text)?);
    RoleName => |text| Ok(RoleName::try_from(text)?);
    PermissionName => |text| Ok(PermissionName::try_from(text)?);
    Category => |text| Ok(Category::try_from(text)?);
    ModuleName => |text| Ok(ModuleName::try_from(text)?);
    Label => |text| Ok(Label::try_from(text)?);
    Icon => |text| Ok(Icon::try_from(text)?);
    PersonName => |text| Ok(PersonName::try_from(text)?);
    Avatar => |text| Ok(Avatar::try_from(text)?);
    UpstreamName => |text| Ok(UpstreamName::try_from(text)?);
    PolicyName => |text| Ok(PolicyName::try_from(text)?);
    Host => |text| Ok(Host::try_from(text)?);
    PathTemplate => |text| Ok(PathTemplate::try_from(text)?);
}

/// Reads a structure of the model; what serde refuses is said at the place it names.
pub(super) fn structure<T: DeserializeOwned + JsonSchema>(mut place: Place<'_>) -> Valid<T> {
    if let Some(sketch) = &mut place.issues.sketch {
        sketch.takes::<T>(&place.loc);
        return None;
    }
    if has_nul(place.value) {
        return place.refuse(nul());
    }
    serde_path_to_error::deserialize(place.value).map_or_else(
        |error| {
            for segment in error.path() {
                use serde_path_to_error::Segment;
                match segment {
                    Segment::Seq { index } => {
                        place.value = place.value.get(*index).unwrap_or(place.value);
                        place.loc.push((*index).into());
                    }
                    Segment::Map { key } | Segment::Enum { variant: key } => {
                        place.value = place.value.get(key).unwrap_or(place.value);
                        place.loc.push(key.clone().into());
                    }
                    Segment::Unknown => {}
                }
            }
            place.refuse(Flaw::value(error.inner()))
        },
        Some,
    )
}

fn nul() -> Flaw {
    Flaw::value("Null bytes are not allowed")
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn string(value: &Value) -> Result<String, Flaw> {
    match value.as_str() {
        None => Err(Flaw::new("string_type", "Input should be a valid string")),
        Some(text) if text.contains('\0') => Err(nul()),
        Some(text) => Ok(text.to_owned()),
    }
}

fn boolean(value: &Value) -> Result<bool, Flaw> {
    let parsing = || Flaw::new("bool_parsing", "Input should be a valid boolean, unable to interpret input");
    let no_bool = || Flaw::new("bool_type", "Input should be a valid boolean");
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            Some(other) if other.fract() != 0.0 => Err(no_bool()),
            _ => Err(parsing()),
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err(parsing()),
        },
        _ => Err(no_bool()),
    }
}

fn integer(value: &Value) -> Result<i64, Flaw> {
    match value {
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(integer),
            (None, Some(float)) if float.fract() != 0.0 => {
                Err(Flaw::new("int_from_float", "Input should be a valid integer, got a number with a fractional part"))
            }
            // By way of text: a cast would bend what lies beyond 64 bits.
            (None, float) => float.and_then(|float| format!("{float:.0}").parse().ok()).ok_or_else(too_big),
        },
        Value::String(text) => integer_text(text),
        _ => Err(Flaw::new("int_type", "Input should be a valid integer")),
    }
}

fn integer_text(text: &str) -> Result<i64, Flaw> {
    let parsing = || Flaw::new("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
    let whole = match text.split_once('.') {
        None => text,
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return Err(parsing()),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole.strip_prefix('+').unwrap_or(whole)),
    };
    if digits.split('_').any(|group| group.is_empty() || !group.bytes().all(|b| b.is_ascii_digit())) {
        return Err(parsing());
    }
    format!("{sign}{}", digits.replace('_', "")).parse().map_err(|_| too_big())
}

fn too_big() -> Flaw {
    Flaw::new("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn kind<T>(outcome: &Result<T, Flaw>) -> String {
        outcome.as_ref().err().map(|flaw| format!("{flaw:?}")).unwrap_or_default()
    }

    #[test]
    fn booleans() {
        for given in [json!(true), json!(1), json!(1.0), json!("yes"), json!("ON"), json!("t"), json!("Y"), json!("1")]
        {
            assert_eq!(boolean(&given), Ok(true), "{given}");
        }
        for given in [json!(false), json!(0), json!(0.0), json!("No"), json!("off"), json!("F"), json!("n")] {
            assert_eq!(boolean(&given), Ok(false), "{given}");
        }
        for (given, refused) in [
            (json!(2), "bool_parsing"),
            (json!(-1), "bool_parsing"),
            (json!("maybe"), "bool_parsing"),
            (json!(" true"), "bool_parsing"),
            (json!(""), "bool_parsing"),
            (json!("1.0"), "bool_parsing"),
            (json!(1.5), "bool_type"),
            (json!(null), "bool_type"),
            (json!([]), "bool_type"),
        ] {
            assert!(kind(&boolean(&given)).contains(&format!("{refused:?}")), "{given}");
        }
    }

    #[test]
    fn integers() {
        for (given, integer_value) in [
            (json!(7), 7),
            (json!(-7), -7),
            (json!(7.0), 7),
            (json!(-0.0), 0),
            (json!(true), 1),
            (json!("1"), 1),
            (json!("01"), 1),
            (json!("1.0"), 1),
            (json!("1_0"), 10),
            (json!("-3"), -3),
            (json!("+3"), 3),
            (json!("9223372036854775807"), i64::MAX),
            (json!("-9223372036854775808"), i64::MIN),
        ] {
            assert_eq!(integer(&given), Ok(integer_value), "{given}");
        }
        for (given, refused) in [
            (json!("1e1"), "int_parsing"),
            (json!(" 1"), "int_parsing"),
            (json!("1 "), "int_parsing"),
            (json!("1.5"), "int_parsing"),
            (json!("1."), "int_parsing"),
            (json!("1__0"), "int_parsing"),
            (json!("_1"), "int_parsing"),
            (json!(""), "int_parsing"),
            (json!("-"), "int_parsing"),
            (json!("٣"), "int_parsing"),
            (json!(1.5), "int_from_float"),
            (json!(1e300), "int_parsing_size"),
            (json!(u64::MAX), "int_parsing_size"),
            (json!("9223372036854775808"), "int_parsing_size"),
            (json!(null), "int_type"),
            (json!({}), "int_type"),
        ] {
            assert!(kind(&integer(&given)).contains(&format!("{refused:?}")), "{given}");
        }
    }

    #[test]
    fn strings_are_strict() {
        assert_eq!(string(&json!("a")), Ok("a".to_owned()));
        assert!(kind(&string(&json!(1))).contains("string_type"));
        assert!(kind(&string(&json!("a\0"))).contains("Null bytes"));
    }

    const WORDS: [(&str, bool); 12] = [
        ("true", true),
        ("t", true),
        ("yes", true),
        ("y", true),
        ("on", true),
        ("1", true),
        ("false", false),
        ("f", false),
        ("no", false),
        ("n", false),
        ("off", false),
        ("0", false),
    ];

    proptest! {
        #[test]
        fn a_word_means_the_same_in_any_case(
            (word, meaning) in prop::sample::select(WORDS.to_vec()),
            upper: [bool; 5],
        ) {
            let cased: String = word.chars().zip(upper).map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
            prop_assert_eq!(boolean(&json!(cased)), Ok(meaning));
        }

        #[test]
        fn an_integer_is_read_from_number_and_text(number: i64) {
            prop_assert_eq!(integer(&json!(number)), Ok(number));
            prop_assert_eq!(integer(&json!(number.to_string())), Ok(number));
            let padded = format!("{number}.00");
            prop_assert_eq!(integer(&json!(padded)), Ok(number));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (integer(&json!(text)), boolean(&json!(text)));
        }
    }
}
