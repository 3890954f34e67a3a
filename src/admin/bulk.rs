//! What is done to several rows of one resource at once.

use std::collections::HashSet;
use std::hash::Hash;

use serde::Serialize;

use super::error::{Detail, Error};
use super::input::{Input, Object, Place, Read, Valid};

/// The most rows that one request may be about.
const MOST: usize = 1_000;

/// What was done to how many, and to which it was not.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    message: String,
    success: bool,
    affected: usize,
    failed: Vec<Failed>,
}

/// A row to which it was not done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failed {
    id: i64,
    detail: Detail,
}

impl Failed {
    pub(super) fn new(id: i64, detail: impl Into<Detail>) -> Self {
        Self { id, detail: detail.into() }
    }
}

impl Outcome {
    /// Says that `affected` of this kind were, for example, `deleted`.
    pub(super) fn new(affected: usize, kind: &str, done: &str, failed: Vec<Failed>) -> Self {
        let message = format!("{affected} {kind}(s) {done} successfully");
        Self { message, success: true, affected, failed }
    }
}

/// Reads the ids that a request is about, each once.
pub(super) fn ids<T: Read + Copy + Eq + Hash>(body: &mut Object<'_>, name: &'static str) -> Valid<Vec<T>> {
    let ids = body.field::<Vec<T>>(name).max_items(MOST).required()?;
    let mut seen = HashSet::new();
    Some(ids.into_iter().filter(|id| seen.insert(*id)).collect())
}

/// Reads `{"ids", "is_active"}`.
pub(super) fn status<T: Read + Copy + Eq + Hash>(input: &mut Input) -> Valid<(Vec<T>, bool)> {
    let mut body = input.body();
    let ids = ids(&mut body, "ids");
    let is_active = body.required::<bool>("is_active");
    Some((ids?, is_active?))
}

/// What [`status`] does, in the words of [`Outcome`].
pub(super) fn switched(is_active: bool) -> &'static str {
    if is_active { "activated" } else { "deactivated" }
}

/// Refuses a request that is about nothing.
pub(super) fn refuse_none<T>(ids: &[T], kind: &str) -> Result<(), Error> {
    if ids.is_empty() { Err(Error::BadRequest(format!("No {kind} IDs provided").into())) } else { Ok(()) }
}

/// None of the ids is known.
pub(super) fn none_found(kind: &str) -> Error {
    Error::NotFound(format!("No {kind}s found with the provided IDs").into())
}

struct Position<T> {
    id: T,
    priority: i64,
}

impl<T: Read> Read for Position<T> {
    fn read(place: Place<'_>) -> Valid<Self> {
        let mut body = place.object();
        let id = body.required::<T>("id");
        let priority = body.field::<i64>("priority").at_least(0).required();
        Some(Self { id: id?, priority: priority? })
    }
}

/// Reads a body of `[{"id", "priority"}]`.
pub(super) fn places<T: Read + Copy + Eq + Hash>(input: &mut Input) -> Valid<Vec<(T, i64)>> {
    let differ = |places: &Vec<Position<T>>| {
        let mut seen = HashSet::new();
        places.iter().all(|place| seen.insert(place.id))
    };
    let places = input.list::<Position<T>>().max_items(MOST).must(differ, "Each id may stand there only once");
    Some(places.required()?.into_iter().map(|place| (place.id, place.priority)).collect())
}
