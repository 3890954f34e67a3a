//! What several tables' statements need: pages, sets of ids, search patterns.

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

/// As [`contains`], for columns compared as `lower(column)`, which changes ASCII letters only on both databases.
pub(super) fn contains_ascii(needle: Option<&str>) -> Option<String> {
    contains(needle).map(|pattern| pattern.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_literal() {
        assert_eq!(contains(Some(r"5%_\Ä")).unwrap(), r"%5\%\_\\Ä%");
        assert_eq!(contains_ascii(Some("AbÄ")).unwrap(), "%abÄ%");
        assert_eq!(contains(Some("")), None);
        assert_eq!(contains(Some("\0")).unwrap(), "%\u{fffd}%");
    }
}
