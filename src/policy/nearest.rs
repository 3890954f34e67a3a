//! What somebody may have meant.

/// How alike two names must be, from 0 to 1.
const NEAR: f64 = 0.6;

/// The one of `names` that is most like `name`, if any is near at all.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
