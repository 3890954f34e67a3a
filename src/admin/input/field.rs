//! One field of a body, or one query parameter, between being found and being used.

use serde_json::{Value, json};

use super::issue::{Flaw, Issues, Step};
use super::read::{Number, Place, Text};
use super::{Change, Valid};

pub(super) static NULL: Value = Value::Null;

/// A field that was looked up. The last call says what absence and `null` mean.
#[must_use = "a field is not checked before `required`, `optional`, `or`, `unless_absent` or `nullable`"]
pub(crate) struct Field<'f, T> {
    pub(super) issues: &'f mut Issues,
    pub(super) loc: Vec<Step>,
    /// What a missing field is missing from.
    pub(super) parent: &'f Value,
    pub(super) read: fn(Place<'_>) -> Valid<T>,
    pub(super) state: State<'f, T>,
}

/// What was found.
pub(super) enum State<'f, T> {
    Absent,
    Null,
    Given(&'f Value, T),
    /// An issue is recorded already.
    Refused,
}

impl<'f, T> Field<'f, T> {
    /// Reads `found`, if there is anything to read.
    pub(super) fn new(
        issues: &'f mut Issues,
        loc: Vec<Step>,
        parent: &'f Value,
        found: Option<&'f Value>,
        read: fn(Place<'_>) -> Valid<T>,
    ) -> Self {
        let state = match found {
            _ if issues.sketch.is_some() => {
                read(Place { value: &NULL, loc: loc.clone(), issues });
                State::Refused
            }
            None => State::Absent,
            Some(Value::Null) => State::Null,
            Some(value) => match read(Place { value, loc: loc.clone(), issues }) {
                Some(typed) => State::Given(value, typed),
                None => State::Refused,
            },
        };
        Self { issues, loc, parent, read, state }
    }

    /// Absent is refused, and so is `null`.
    pub(crate) fn required(self) -> Valid<T> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.require(&self.loc);
        }
        if matches!(self.state, State::Absent) {
            self.issues.push(self.loc, Flaw::missing(), self.parent);
            return None;
        }
        self.unless_absent().flatten()
    }

    /// Absent is `default`; `null` is refused.
    pub(crate) fn or(self, default: T) -> Valid<T> {
        self.unless_absent().map(|given| given.unwrap_or(default))
    }

    /// Absent and `null` are both `None`.
    pub(crate) fn optional(self) -> Valid<Option<T>> {
        self.nullable().map(Option::flatten)
    }

    /// Absent is `None`; `null` is refused.
    pub(crate) fn unless_absent(self) -> Valid<Option<T>> {
        match self.state {
            State::Absent => Some(None),
            State::Null => (self.read)(Place { value: &NULL, loc: self.loc, issues: self.issues }).map(Some),
            State::Given(_, typed) => Some(Some(typed)),
            State::Refused => None,
        }
    }

    /// Absent is `None`, an explicit `null` is `Some(None)`.
    pub(crate) fn nullable(self) -> Valid<Change<Option<T>>> {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.allow_null(&self.loc);
        }
        match self.state {
            State::Absent => Some(None),
            State::Null => Some(Some(None)),
            State::Given(_, typed) => Some(Some(Some(typed))),
            State::Refused => None,
        }
    }

    /// Refuses a value in which `check` finds a flaw.
    pub(crate) fn check(mut self, check: impl FnOnce(&T) -> Result<(), Flaw>) -> Self {
        if let State::Given(value, typed) = &self.state
            && let Err(flaw) = check(typed)
        {
            self.issues.push(self.loc.clone(), flaw, value);
            self.state = State::Refused;
        }
        self
    }

    /// Says which values pass the check that follows.
    pub(crate) fn one_of(self, values: &[&str]) -> Self {
        self.note("enum", json!(values))
    }

    /// Says by `keyword` of JSON Schema what is checked next.
    fn note(self, keyword: &str, value: impl Into<Value>) -> Self {
        if let Some(sketch) = &mut self.issues.sketch {
            sketch.at(&self.loc).insert(keyword.to_owned(), value.into());
        }
        self
    }

    /// Refuses a value that is not `good`, with a `value_error` of this text.
    pub(crate) fn must(self, good: impl FnOnce(&T) -> bool, text: &'static str) -> Self {
        self.check(|value| good(value).then_some(()).ok_or_else(|| Flaw::value(text)))
    }
}

impl<T: Number> Field<'_, T> {
    /// Refuses less than `bound`.
    pub(crate) fn at_least(self, bound: i64) -> Self {
        self.note("minimum", bound).bounded(
            |number| number >= bound,
            || {
                let msg = format!("Input should be greater than or equal to {bound}");
                Flaw::with("greater_than_equal", msg, json!({ "ge": bound }))
            },
        )
    }

    /// Refuses `bound` and less.
    pub(crate) fn greater_than(self, bound: i64) -> Self {
        self.note("exclusiveMinimum", bound).bounded(
            |number| number > bound,
            || Flaw::with("greater_than", format!("Input should be greater than {bound}"), json!({ "gt": bound })),
        )
    }

    /// Refuses more than `bound`.
    pub(crate) fn at_most(self, bound: i64) -> Self {
        self.note("maximum", bound).bounded(
            |number| number <= bound,
            || {
                let msg = format!("Input should be less than or equal to {bound}");
                Flaw::with("less_than_equal", msg, json!({ "le": bound }))
            },
        )
    }

    fn bounded(self, good: impl FnOnce(i64) -> bool, flaw: impl FnOnce() -> Flaw) -> Self {
        self.check(|value| good(value.number()).then_some(()).ok_or_else(flaw))
    }
}

impl<T> Field<'_, Vec<T>> {
    /// Refuses more than `max` items.
    pub(crate) fn max_items(self, max: usize) -> Self {
        let field = self.note("maxItems", max);
        field.check(|list| (list.len() <= max).then_some(()).ok_or_else(|| Flaw::too_many(max, list.len())))
    }
}

impl<T: Text> Field<'_, T> {
    /// Refuses fewer than `min` characters.
    pub(crate) fn min_length(self, min: usize) -> Self {
        self.note("minLength", min).check(|value| match value.text().chars().take(min).count() {
            count if count < min => Err(Flaw::too_short(min)),
            _ => Ok(()),
        })
    }

    /// Refuses more than `max` characters.
    pub(crate) fn max_length(self, max: usize) -> Self {
        self.note("maxLength", max).check(|value| match value.text().chars().nth(max) {
            Some(_) => Err(Flaw::too_long(max)),
            None => Ok(()),
        })
    }
}
