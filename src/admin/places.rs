//! Bodies that put rows in order: `[{"id", "priority"}]`.

use std::collections::HashSet;
use std::hash::Hash;

use super::bulk::MOST;
use super::input::{Input, Place, Read, Valid};

struct Position<I> {
    id: I,
    priority: i64,
}

impl<I: Read> Read for Position<I> {
    fn read(place: Place<'_>) -> Valid<Self> {
        let mut body = place.object();
        let id = body.required::<I>("id");
        let priority = body.field::<i64>("priority").at_least(0).required();
        Some(Self { id: id?, priority: priority? })
    }
}

/// Reads which row comes where; each row may be named once.
pub(super) fn read<I: Read + Copy + Eq + Hash>(input: &mut Input) -> Valid<Vec<(I, i64)>> {
    let differ = |positions: &Vec<Position<I>>| {
        let mut seen = HashSet::new();
        positions.iter().all(|position| seen.insert(position.id))
    };
    let positions = input.list::<Position<I>>().max_items(MOST).must(differ, "Each id may stand there only once");
    Some(positions.required()?.into_iter().map(|position| (position.id, position.priority)).collect())
}
