//! How deeply a policy may be nested.
//!
//! ## Why
//! What parses, validates and prints Cedar calls itself for each level of an expression, and a stack that overflows ends
//! the process: fewer than two hundred parentheses do, on a thread of ordinary size. So depth is bounded before anything
//! is parsed, and what is within the bound is worked on with a stack that is large enough. Evaluation looks after its
//! stack by itself.

/// As deep as an expression may be: levels of brackets, operators in a row, and calls in a row count alike.
pub(super) const DEEPEST: usize = 256;

/// Room for work on the deepest expression, in bytes; used as far as it is needed only.
const STACK: usize = 32 * 1024 * 1024;

/// Runs `work` on a stack that is large enough for any policy within the bound.
pub(super) fn with_room<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK / 2, STACK, work)
}

/// One level of brackets.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Operators since the last comma or the beginning.
    operators: usize,
    /// The longest of what commas separate.
    longest: usize,
    /// Calls and attributes in a row, and the most of them.
    run: usize,
    longest_run: usize,
    /// The deepest of the levels within.
    deepest: usize,
}

impl Level {
    fn called(&mut self) {
        self.run += 1;
        self.longest_run = self.longest_run.max(self.run);
    }

    fn depth(self) -> usize {
        self.longest.max(self.operators) + self.longest_run.max(self.run) + self.deepest
    }
}

/// The bytes where `source` becomes deeper than is allowed, if it does.
pub(super) fn excess(source: &str) -> Option<usize> {
    let mut levels = vec![Level::default()];
    let mut before = "";
    for (start, token) in (Tokens { source, at: 0 }) {
        let innermost = levels.len() - 1;
        let is_outermost = innermost == 0;
        let level = &mut levels[innermost];
        match token {
            "(" | "[" | "{" => {
                // An index, which is one call more on what stands before it.
                if token == "[" && (before.starts_with(is_word) || matches!(before, ")" | "]" | "}" | "\"")) {
                    level.called();
                }
                levels.push(Level::default());
            }
            ")" | "]" | "}" => {
                let depth = level.depth() + 1;
                if levels.len() > 1 {
                    levels.pop();
                }
                if let Some(outer) = levels.last_mut() {
                    outer.deepest = outer.deepest.max(depth);
                }
            }
            // Within brackets it ends nothing.
            ";" if is_outermost => levels = vec![Level::default()],
            "," => {
                level.longest = level.longest.max(level.operators);
                level.operators = 0;
                level.run = 0;
            }
            "." => level.called(),
            "&" | "|" | "!" | "+" | "-" | "*" | "<" | ">" | "=" | "if" | "has" | "in" | "like" | "is" | "when"
            | "unless" => {
                level.operators += 1;
                level.run = 0;
            }
            _ => {}
        }
        if levels.iter().map(|level| level.operators + level.longest_run + 1).sum::<usize>() > DEEPEST
            || levels.last().is_some_and(|level| level.depth() > DEEPEST)
        {
            return Some(start);
        }
        before = token;
    }
    None
}

/// Words, signs and texts, of which the quotation mark is told; a sign that is repeated, as `&&`, is one. Comments end as
/// Cedar's own end: with a carriage return, too.
struct Tokens<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Iterator for Tokens<'s> {
    type Item = (usize, &'s str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.source.get(self.at..)?;
            let first = rest.chars().next()?;
            let start = self.at;
            if rest.starts_with("//") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                continue;
            }
            let length = match first {
                '"' => text_length(rest),
                _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                '&' | '|' | '<' | '>' | '=' => rest.find(|c| c != first && c != '=').unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            self.at += length;
            if !first.is_whitespace() {
                let token = &rest[..length];
                let is_cut = matches!(first, '"' | '&' | '|' | '<' | '>' | '=');
                return Some((start, if is_cut { &token[..1] } else { token }));
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The bytes of a text with its quotation marks.
fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> String {
        format!("permit (principal, action, resource) when {{ {text} }};")
    }

    #[test]
    fn what_people_write_is_not_too_deep() {
        for text in [
            "context.mfa".to_owned(),
            format!("[{}].contains(context.method)", "\"(((a\", ".repeat(2_000)),
            vec!["context.method == \"GET\""; 100].join(" || "),
            format!("context.path like \"{}\"", "*".repeat(1_000)),
        ] {
            assert_eq!(excess(&condition(&text)), None, "{text}");
        }
        // Each policy is looked at by itself, and comments are not.
        assert_eq!(excess(&condition("context.mfa && context.mfa").repeat(1_000)), None);
        assert_eq!(excess(&format!("// {}\n{}", "(".repeat(1_000), condition("true"))), None);
    }

    #[test]
    fn what_would_exhaust_the_stack_is() {
        let times = DEEPEST + 1;
        for text in [
            format!("{}true{}", "(".repeat(times), ")".repeat(times)),
            format!("{}1{}", "[".repeat(times), "]".repeat(times)),
            format!("{}1{}", "{a:".repeat(times), "}".repeat(times)),
            format!("true{}", " && true".repeat(times)),
            format!("true{}", "||true".repeat(times)),
            format!("1{}", " + 1".repeat(times)),
            format!("{}true", "!".repeat(times)),
            format!("{}true", "!-".repeat(times)),
            format!("{}true", "if true then false else ".repeat(times)),
            format!("context{}", ".a".repeat(times)),
            format!("context{}", ".a()".repeat(times)),
            format!("context{}", "[\"a\"]".repeat(times)),
            format!("context.a(){}", "[\"a\"]".repeat(times)),
            format!("//\r{}true{}", "(".repeat(times), ")".repeat(times)),
            format!("// \"\n{}true{}", "(".repeat(times), ")".repeat(times)),
            "if ; then ".repeat(times),
            // Little of each, much in all.
            format!("{}true{}", "(true && true || ".repeat(times / 3), ")".repeat(times / 3)),
            format!("(true{}){}", " && true".repeat(times / 2), ".a".repeat(times / 2 + 1)),
        ] {
            let source = condition(&text);
            assert!(excess(&source).is_some_and(|at| at < source.len()), "{text}");
            // Where brackets and texts are not closed, too.
            assert!(excess(source.trim_end_matches(" };")).is_some(), "{text}");
        }
    }
}
