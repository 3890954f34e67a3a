/// How alike two names must be, from 0 to 1.
const NEAR: f64 = 0.6;

/// Comparing takes time by the product of lengths; no name of ours is longer.
const LONGEST: usize = 256;

/// The one of `names` that is most like `name`, if any is near at all: what somebody may have meant.
pub fn nearest<N: AsRef<str>>(name: &str, names: impl IntoIterator<Item = N>) -> Option<N> {
    let names = names.into_iter().filter(|_| name.len() <= LONGEST);
    nearest_by(names, |other| strsim::normalized_damerau_levenshtein(name, other))
}

/// The one that scores best, from 0 to 1, if any is near at all.
pub fn nearest_by<N: AsRef<str>>(names: impl IntoIterator<Item = N>, score: impl Fn(&str) -> f64) -> Option<N> {
    let scored = names.into_iter().map(|other| (score(other.as_ref()), other));
    scored.filter(|(score, _)| *score >= NEAR).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}
