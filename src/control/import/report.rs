use std::collections::BTreeMap;

use serde::Serialize;

/// Lines kept of each list; the total counts on.
const MOST_LINES: usize = 1_000;
/// Characters shown of a value.
const MOST_CHARACTERS: usize = 60;

/// A list of what was found, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub lines: Vec<String>,
}

impl Listed {
    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        self.total += 1;
        if self.lines.len() < MOST_LINES {
            self.lines.push(line());
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// What an import found, and what it did or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rows of the predecessor, by kind.
    pub read: BTreeMap<&'static str, usize>,
    /// Rows that are new here.
    pub created: Listed,
    /// Rows that are here already and gain grants, roles or bindings.
    pub changed: Listed,
    /// Rows that are here already and stay as they are.
    pub unchanged: usize,
    /// Values that are taken over in another spelling.
    pub adjusted: Listed,
    /// Rows that cannot be taken over.
    pub refused: Listed,
    /// Rows that are other rows here.
    pub conflicts: Listed,
    /// What should be known beside that.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether nothing may be written because of it.
    pub fn forbids(&self) -> bool {
        !self.refused.is_empty() || !self.conflicts.is_empty()
    }
}

/// A value of the predecessor as it may be printed: quoted, escaped and cut.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(MOST_CHARACTERS).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_values_are_harmless() {
        let mut listed = Listed::default();
        for number in 0..MOST_LINES + 5 {
            listed.add(|| number.to_string());
        }
        assert_eq!((listed.total, listed.lines.len()), (MOST_LINES + 5, MOST_LINES));
        assert_eq!(shown("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert_eq!(shown(&"x".repeat(61)), format!("\"{}\"…", "x".repeat(60)));
    }
}
