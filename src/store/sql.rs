//! What several tables' statements need: pages, sets of ids, search texts.

use sqlx::{
    Database, Encode, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgTypeInfo, types::Oid},
    sqlite::SqliteTypeInfo,
};

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many rows to leave out at the front; a negative number counts as 0.
    pub skip: i64,
    /// How many rows to return at most; a negative number counts as 0.
    pub limit: i64,
}

impl Page {
    /// The whole list.
    pub const ALL: Self = Self { skip: 0, limit: i64::MAX };

    pub(super) fn offset(self) -> i64 {
        self.skip.max(0)
    }

    pub(super) fn limit(self) -> i64 {
        self.limit.max(0)
    }
}

/// A set of ids in one placeholder: `id IN (SELECT CAST(key AS BIGINT) FROM json_each($1))`.
///
/// `json_each` over an object is the one set-valued function that SQLite and PostgreSQL share, and its argument
/// must be PostgreSQL's `json`, not the `jsonb` that `sqlx::types::Json` binds.
#[derive(Clone, Debug)]
pub(super) struct Ids(String);

impl Ids {
    pub(super) fn new(ids: impl IntoIterator<Item = i64>) -> Self {
        let members: Vec<String> = ids.into_iter().map(|id| format!("\"{id}\":0")).collect();
        Self(format!("{{{}}}", members.join(",")))
    }

    /// Ids with a number each, in one placeholder of one statement:
    /// `SELECT CAST(key AS BIGINT), CAST(CAST(value AS TEXT) AS BIGINT) FROM json_each($1)`.
    pub(super) fn with_numbers(pairs: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let members: Vec<String> = pairs.into_iter().map(|(id, number)| format!("\"{id}\":{number}")).collect();
        Self(format!("{{{}}}", members.join(",")))
    }

    /// A set of names, in the same way: `name IN (SELECT key FROM json_each($1))`.
    pub(super) fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let members: Vec<String> =
            names.into_iter().map(|name| format!("{}:0", serde_json::Value::from(text(name)))).collect();
        Self(format!("{{{}}}", members.join(",")))
    }
}

impl Type<Sqlite> for Ids {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl<'q> Encode<'q, Sqlite> for Ids {
    fn encode_by_ref(&self, buffer: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, Sqlite>>::encode_by_ref(&self.0, buffer)
    }
}

impl Type<Postgres> for Ids {
    fn type_info() -> PgTypeInfo {
        const JSON: Oid = Oid(114);
        PgTypeInfo::with_oid(JSON)
    }
}

impl<'q> Encode<'q, Postgres> for Ids {
    fn encode_by_ref(&self, buffer: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'q, Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

/// Text from a client as a value to compare with.
///
/// PostgreSQL refuses NUL with an error; no stored text contains it, so what takes its place matches nothing either.
pub(super) fn text(given: &str) -> String {
    given.replace('\0', "\u{fffd}")
}

/// A pattern for `LIKE … ESCAPE '\'` that finds `needle` anywhere; `None`, no filter, when it is empty.
pub(super) fn contains(needle: Option<&str>) -> Option<String> {
    let needle = needle.filter(|needle| !needle.is_empty())?;
    let mut pattern = String::from("%");
    for c in text(needle).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    Some(pattern)
}

/// A search text in the two forms that databases take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// For `LIKE … ESCAPE '\'`.
    pub(super) pattern: String,
    /// For `MATCH`: trigrams that every match has; none where the text is too short for one.
    pub(super) trigrams: Option<String>,
}

impl Search {
    /// For columns that hold lower case beyond ASCII; `None`, no filter, when there is no text.
    pub(super) fn unicode(needle: Option<&str>) -> Option<Self> {
        Self::of(needle, str::to_lowercase)
    }

    /// For columns compared as `lower(column)`, which changes ASCII letters only on both databases.
    pub(super) fn ascii(needle: Option<&str>) -> Option<Self> {
        Self::of(needle, str::to_ascii_lowercase)
    }

    fn of(needle: Option<&str>, fold: fn(&str) -> String) -> Option<Self> {
        Some(Self { pattern: fold(&contains(needle)?), trigrams: trigrams(&fold(&text(needle?))) })
    }
}

/// More make a query long and no narrower.
const MOST_TRIGRAMS: usize = 16;

/// Each is a text in quotation marks, in which a quotation mark is doubled and nothing else has a meaning; side by side
/// they must all be there.
fn trigrams(needle: &str) -> Option<String> {
    let chars: Vec<char> = needle.chars().collect();
    let mut found: Vec<String> = Vec::new();
    for three in chars.windows(3) {
        let quoted = format!("\"{}\"", three.iter().collect::<String>().replace('"', "\"\""));
        if !found.contains(&quoted) && found.len() < MOST_TRIGRAMS {
            found.push(quoted);
        }
    }
    (!found.is_empty()).then(|| found.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_literal() {
        assert_eq!(contains(Some(r"5%_\Ä")).unwrap(), r"%5\%\_\\Ä%");
        assert_eq!(contains(Some("")), None);
        assert_eq!(contains(Some("\0")).unwrap(), "%\u{fffd}%");
    }

    #[test]
    fn searches_fold_case_and_know_their_trigrams() {
        assert_eq!(Search::ascii(Some("AbÄ")).unwrap().pattern, "%abÄ%");
        assert_eq!(Search::unicode(Some("AbÄ")).unwrap().pattern, "%abä%");
        let trigrams = |needle: &str| Search::unicode(Some(needle)).and_then(|search| search.trigrams);
        assert_eq!(trigrams(""), None);
        assert_eq!(trigrams("äb"), None);
        assert_eq!(trigrams("ÄBC").unwrap(), r#""äbc""#);
        assert_eq!(trigrams("a\" OR *").unwrap(), r#""a"" " """ o" " or" "or " "r *""#);
        assert_eq!(trigrams("aaaaaa").unwrap(), r#""aaa""#);
        let long: String = ('a'..='z').collect();
        assert_eq!(trigrams(&long).unwrap().split(' ').count(), MOST_TRIGRAMS);
    }
}
