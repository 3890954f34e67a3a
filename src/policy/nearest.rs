//! What somebody may have meant.

/// How alike two names must be, from 0 to 1.
const NEAR: f64 = 0.6;

/// Comparing takes time by the product of lengths; no name of ours is longer.
const LONGEST: usize = 256;

/// The one of `names` that is most like `name`, if any is near at all.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > LONGEST {
        return None;
    }
    let scored = names.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
