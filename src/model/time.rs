use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, Timelike, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment in UTC with microseconds, written as `2026-11-22T15:02:48.834466Z`.
///
/// Truncated on construction: PostgreSQL keeps microseconds, and an answer must equal what is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, sqlx::Type)]
#[schemars(inline, with = "String", example = "2026-11-22T15:02:48.834466Z", extend("format" = "date-time"))]
#[sqlx(transparent)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Nothing that is stored is older.
    pub const FIRST: Self = Self(DateTime::UNIX_EPOCH);
    /// The last second that every database compares rightly, in the year 9999.
    pub const LAST: Self = match DateTime::from_timestamp(253_402_300_799, 0) {
        Some(time) => Self(time),
        None => Self::FIRST,
    };

    /// The present moment.
    pub fn now() -> Self {
        Self::from(Utc::now())
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(self) -> i64 {
        self.0.timestamp()
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// As Cedar's `datetime` reads it: milliseconds and `Z`.
    pub fn cedar_text(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// This moment earlier by `span`; stays in place where that would leave the calendar.
    #[must_use]
    pub fn minus(self, span: std::time::Duration) -> Self {
        self.plus_seconds(i64::try_from(span.as_secs()).map_or(0, i64::wrapping_neg))
    }

    /// This moment later by `span`; stays in place where that would leave the calendar.
    #[must_use]
    pub fn plus(self, span: std::time::Duration) -> Self {
        let delta = chrono::TimeDelta::from_std(span).ok();
        delta.and_then(|delta| self.0.checked_add_signed(delta)).map_or(self, Self::from)
    }

    /// The time that has passed since `earlier`; none if that is still to come.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        (self.0 - earlier.0).to_std().unwrap_or_default()
    }

    /// This moment moved by `seconds`; stays in place where that would leave the calendar.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        let moved = chrono::TimeDelta::try_seconds(seconds).and_then(|delta| self.0.checked_add_signed(delta));
        moved.map_or(self, Self)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.trunc_subsecs(6))
    }
}

impl TryFrom<&str> for Timestamp {
    /// Why it is none.
    type Error = &'static str;

    /// Reads RFC 3339, such as `2030-01-01T00:00:00Z`.
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let time =
            DateTime::parse_from_rfc3339(text).map_err(|_| "RFC 3339 is expected, as in 2030-01-01T00:00:00Z")?;
        let time = time.to_utc();
        // Databases compare as text what has four digits, and know no second of 61.
        let is_plain = (1..=9999).contains(&time.year()) && time.nanosecond() < 1_000_000_000;
        is_plain.then(|| Self::from(time)).ok_or("it is out of range")
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text.as_str()).map_err(D::Error::custom)
    }
}
