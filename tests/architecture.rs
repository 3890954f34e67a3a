//! The layers and habits that `src/ARCHITECTURE.md` promises, checked against the text of the sources.
//!
//! The compiler allows any module to name any other; here every path that leads out of a module is resolved
//! (`crate::…`, grouped or not, and `super::…` as far as it climbs) and held against one table.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module, and what it may name beside itself. `main.rs` and `lib.rs` hold nothing but wiring.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("telemetry", &[]),
    ("config", &["model", "telemetry"]),
    ("jwt", &["model", "telemetry"]),
    ("policy", &["model", "telemetry"]),
    ("store", &["model", "telemetry"]),
    ("http", &["model", "telemetry"]),
    ("password", &["model", "telemetry"]),
    ("control", &["model", "telemetry", "policy", "store", "jwt"]),
    ("issuers", &["model", "telemetry", "jwt"]),
    ("explain", &["model", "telemetry", "policy", "http"]),
    ("mail", &["model", "telemetry", "store"]),
    ("gateway", &["model", "telemetry", "jwt", "policy", "http"]),
    ("admin", &["model", "telemetry", "policy", "store", "control", "jwt", "http", "password", "explain", "mail"]),
    ("server", EVERYTHING),
    ("cli", EVERYTHING),
];
const EVERYTHING: &[&str] = &[
    "model",
    "telemetry",
    "config",
    "jwt",
    "policy",
    "store",
    "http",
    "password",
    "control",
    "issuers",
    "explain",
    "mail",
    "gateway",
    "admin",
    "server",
    "cli",
];

/// A file has fewer lines of code than this: neither blank, nor comment, nor under `#[cfg(test)]`.
const MAX_LINES: usize = 400;

/// What may lie at the top of the repository, beside names that begin with a dot and what git ignores.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "Dockerfile",
    "src",
    "policies",
    "migrations",
    "config",
    "tests",
    "benches",
];
/// Of those, what is not there yet.
const LATER: &[&str] = &["Dockerfile", "benches"];

#[test]
fn modules_name_only_what_lies_below_them() {
    let table: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for source in sources() {
        let Some(module) = source.modules.first() else { continue };
        seen.insert(module.clone());
        let Some(allowed) = table.get(module.as_str()) else {
            faults.push(format!("{}: module `{module}` is not in the table", source.path));
            continue;
        };
        for (line, named) in named_modules(&source.tokens, &source.modules) {
            if named != *module && !allowed.contains(&named.as_str()) {
                faults.push(format!("{}:{line}: `{module}` may not name `{named}`", source.path));
            }
        }
    }
    faults.extend(table.keys().filter(|module| !seen.contains(**module)).map(|module| format!("no module `{module}`")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_table_itself_has_layers() {
    let table: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    for (module, below) in MAY_NAME {
        let is_top = ["server", "cli"].contains(module);
        assert!(!below.contains(&"config") || is_top, "`{module}` may not read settings");
        if is_top {
            continue;
        }
        for lower in *below {
            assert!(!table[lower].contains(module), "`{module}` and `{lower}` may name each other");
        }
    }
    for module in ["gateway", "policy"] {
        assert!(!table[module].contains(&"store"), "`{module}` must know no database");
    }
}

#[test]
fn decisions_know_no_database() {
    let mut faults = Vec::new();
    for source in sources().into_iter().filter(|source| source.is_in(&["gateway", "policy", "jwt", "http"])) {
        for token in source.tokens.iter().filter(|token| token.text == "sqlx") {
            faults.push(format!("{}:{}: `sqlx`", source.path, token.line));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().map(|source| (lines_of_code(&source.tokens), source.path));
    let long: Vec<_> = long.filter(|(lines, _)| *lines >= MAX_LINES).collect();
    assert!(long.is_empty(), "fewer than {MAX_LINES} lines of code, please: {long:?}");
}

#[test]
fn nothing_is_unsafe_or_unfinished() {
    let mut faults = Vec::new();
    for source in sources() {
        faults.extend(unwelcome(&source.tokens).iter().map(|(line, what)| format!("{}:{line}: {what}", source.path)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_engine_makes_permits() {
    let engine = "src/policy/engine.rs";
    let makers: BTreeSet<String> =
        sources().into_iter().filter(|source| constructs(&source.tokens, "Permit")).map(|source| source.path).collect();
    assert_eq!(makers, BTreeSet::from([engine.to_owned()]));
    // The compiler keeps everybody else from it as long as the fields are private and nothing lies below.
    let tokens = tokens(&fs::read_to_string(engine).unwrap());
    let start = tokens.windows(2).position(|pair| pair[0].text == "struct" && pair[1].text == "Permit").unwrap();
    let fields = tokens[start..].iter().take_while(|token| token.text != "}");
    assert!(fields.clone().any(|token| token.text == "destination") && fields.clone().all(|token| token.text != "pub"));
    assert!(!Path::new("src/policy/engine").exists() && !tokens.iter().any(|token| token.text == "mod"));
}

/// Writes of nobody in particular are held to nothing; endpoints have two, of people who act on themselves alone: signing
/// up, which gives the default role, and signing out.
#[test]
fn admin_writes_say_who_asks() {
    let anonymous = |tokens: &[Token]| {
        let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        texts.windows(4).any(|window| window == ["control", ".", "write", "("])
    };
    let admin = sources().into_iter().filter(|source| source.path.starts_with("src/admin/"));
    let found: BTreeSet<String> = admin.filter(|source| anonymous(&source.tokens)).map(|source| source.path).collect();
    let known = ["src/admin/auth/session.rs", "src/admin/users/account.rs"];
    assert_eq!(found, known.map(str::to_owned).into());
}

#[test]
fn the_repository_is_tidy() {
    let ignored = fs::read_to_string(".gitignore").unwrap();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let names = fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> =
        names.filter(|name| !name.starts_with('.') && !ignored.contains(&name.as_str())).collect();
    let strangers: Vec<_> = names.iter().filter(|name| !TOP.contains(&name.as_str())).collect();
    assert!(strangers.is_empty(), "what is {strangers:?} doing at the top?");
    let missing: Vec<_> = TOP.iter().filter(|name| !LATER.contains(name) && !names.contains(**name)).collect();
    assert!(missing.is_empty(), "where are {missing:?}?");
}

/// A file of `src` that is not mere wiring.
struct Source {
    path: String,
    /// The module that the file is, from the crate's root.
    modules: Vec<String>,
    tokens: Vec<Token>,
}

impl Source {
    fn is_in(&self, modules: &[&str]) -> bool {
        self.modules.first().is_some_and(|module| modules.contains(&module.as_str()))
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(Path::new("src"), &mut found);
    assert!(found.len() > 50, "is this the repository's top?");
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path.strip_prefix("src").unwrap().with_extension("");
            let mut modules: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            modules.retain(|part| part != "mod");
            if modules == ["main"] || modules == ["lib"] {
                modules.clear();
            }
            let tokens = tokens(&fs::read_to_string(&path).unwrap());
            found.push(Source { path: path.to_str().unwrap().to_owned(), modules, tokens });
        }
    }
}

/// A word, a literal (as `"`), `::`, `->` or a sign; comments are none.
#[derive(Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
    last_line: usize,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, kept) = next(rest, first);
        let (taken, left) = rest.split_at(length);
        let last_line = line + taken.matches('\n').count();
        if let Some(kept) = kept {
            found.push(Token { text: kept, line, last_line });
        }
        (rest, line) = (left, last_line);
    }
    found
}

/// Length of what `rest` begins with, and what is kept of it.
fn next(rest: &str, first: char) -> (usize, Option<String>) {
    let literal = |length| (length, Some("\"".to_owned()));
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = raw_string(rest) {
        return literal(length);
    }
    if let Some(opening) = ["\"", "b\"", "c\""].into_iter().find(|opening| rest.starts_with(opening)) {
        return literal(opening.len() + quoted(&rest[opening.len()..], '"'));
    }
    if let Some(rest) = rest.strip_prefix('\'') {
        // A character, unless it is a lifetime.
        let mut after = rest.chars();
        let is_character = after.next() == Some('\\') || after.next() == Some('\'');
        return if is_character { literal(1 + quoted(rest, '\'')) } else { (1, None) };
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if !word.is_empty() {
        return (word.len(), Some(word));
    }
    for sign in ["::", "->"] {
        if rest.starts_with(sign) {
            return (sign.len(), Some(sign.to_owned()));
        }
    }
    (first.len_utf8(), Some(first.to_string()))
}

/// Length up to and with the closing quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = rest[prefix.len()..].chars().take_while(|c| *c == '#').count();
    let opening = prefix.len() + hashes + 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(rest[opening..].find(&closing).map_or(rest.len(), |end| opening + end + closing.len()))
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let (length, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += length;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            break;
        }
    }
    at
}

/// The modules at the crate's root that a file names, with lines. The file is the module `file`.
fn named_modules(tokens: &[Token], file: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // What each open brace belongs to: an inline module, or nothing of interest.
    let mut open: Vec<Option<String>> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        match token.text.as_str() {
            "{" => {
                let is_module = at >= 2 && text(at - 2) == "mod";
                open.push(is_module.then(|| text(at - 1).to_owned()));
            }
            "}" => drop(open.pop()),
            "crate" if text(at + 1) == "as" => found.push((token.line, "crate as …".to_owned())),
            "crate" | "super" | "self" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "::") => {
                let here = file.iter().chain(open.iter().flatten()).cloned().collect();
                resolve(tokens, at, here, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Follows the path that begins at `at` from module `here` until it is past the crate's root.
fn resolve(tokens: &[Token], mut at: usize, mut here: Vec<String>, found: &mut Vec<(usize, String)>) {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => drop(here.pop()),
            "{" => {
                for item in items(tokens, at) {
                    resolve(tokens, item, here.clone(), found);
                }
                return;
            }
            name => {
                if here.is_empty() {
                    found.push((token.line, name.to_owned()));
                }
                return;
            }
        }
        if tokens.get(at + 1).is_none_or(|token| token.text != "::") {
            return;
        }
        at += 2;
    }
}

/// Where the items of the group that opens at `open` begin.
fn items(tokens: &[Token], open: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        if depth == 1 && token.text != "}" && (at == open + 1 || before == ",") {
            found.push(at);
        }
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Lines with a token on them, without what stands under `#[cfg(test)]`.
fn lines_of_code(tokens: &[Token]) -> usize {
    let mut lines = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = ["#", "[", "cfg", "(", "test", ")", "]"];
        if tokens[at..].iter().map(|token| token.text.as_str()).take(is_test.len()).eq(is_test) {
            at = end_of_item(tokens, at + is_test.len());
            continue;
        }
        lines.extend(tokens[at].line..=tokens[at].last_line);
        at += 1;
    }
    lines.len()
}

/// Past the item that begins at `at`: its last brace, or its semicolon.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + offset + 1,
            _ => continue,
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    tokens.len()
}

fn unwelcome(tokens: &[Token]) -> Vec<(usize, &str)> {
    let found = tokens.iter().enumerate().filter_map(|(at, token)| {
        let is_macro = tokens.get(at + 1).is_some_and(|token| token.text == "!");
        let bad = match token.text.as_str() {
            "unsafe" => true,
            "todo" | "unimplemented" | "dbg" => is_macro,
            _ => false,
        };
        bad.then_some((token.line, token.text.as_str()))
    });
    found.collect()
}

/// Whether a value of the struct `name` is written out: its name before a brace, and no declaration.
fn constructs(tokens: &[Token], name: &str) -> bool {
    tokens.windows(2).enumerate().any(|(at, pair)| {
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        let declares = ["struct", "impl", "for", "->", "&"].contains(&before);
        // Cedar has an `Effect` of that name.
        let is_effect = before == "::" && at >= 2 && tokens[at - 2].text == "Effect";
        pair[0].text == name && pair[1].text == "{" && !declares && !is_effect
    })
}

/// The checks above are worth something only if they can fail.
mod parser {
    use super::*;

    fn named(file: &str, text: &str) -> Vec<String> {
        let file: Vec<String> = file.split('/').map(str::to_owned).collect();
        named_modules(&tokens(text), &file).into_iter().map(|(_, module)| module).collect()
    }

    #[test]
    fn single_paths_are_found_wherever_they_stand() {
        assert_eq!(named("gateway", "use crate::store::Db;"), ["store"]);
        assert_eq!(named("gateway", "fn f(db: &crate::store::Db) { crate :: config :: load() }"), ["store", "config"]);
        assert_eq!(
            named("gateway", "pub(crate) use crate::gateway::x; pub(in crate::admin) struct A;"),
            ["gateway", "admin"]
        );
    }

    #[test]
    fn groups_are_resolved() {
        assert_eq!(
            named("control", "use crate::{model::{A, b::{C, D}}, store,\n    policy::E as F,\n};"),
            ["model", "store", "policy"]
        );
        assert_eq!(named("admin", "use crate::{self as all, *};"), ["*"]);
        assert_eq!(named("admin", "use crate as root;"), ["crate as …"]);
    }

    #[test]
    fn climbing_is_followed_to_the_root_and_no_further() {
        assert_eq!(named("gateway/head", "use super::super::store::Db; use super::host;"), ["store"]);
        assert_eq!(named("gateway", "use super::{store, policy::Permit};"), ["store", "policy"]);
        assert_eq!(named("gateway/head", "use super::{super::store, host};"), ["store"]);
        let inline =
            "use super::host; mod tests { use super::*; use super::super::host; use super::super::super::cli; }";
        assert_eq!(named("gateway/head", inline), ["cli"]);
        assert_eq!(named("gateway", "mod tests { use super::store; } use super::config;"), ["config"]);
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        let text = r##"
            // use crate::store;
            /* crate::store /* nested */ crate::store */
            /// [`Db`](crate::store::Db)
            const A: &str = "crate::store \" crate::store";
            const B: &str = r#"crate::store " crate::store"#;
            const C: [char; 3] = ['"', '\'', '{'];
            fn f<'a>(x: &'a str) { crate::config::g(x) }
        "##;
        assert_eq!(named("gateway", text), ["config"]);
    }

    #[test]
    fn only_lines_of_code_count() {
        let count = |text| lines_of_code(&tokens(text));
        assert_eq!(count("//! Doc.\n\nuse a;\n\n// Why.\nfn f() {\n    g(); // here\n}\n"), 4);
        assert_eq!(count("const SQL: &str = \"SELECT\n 1\";\n"), 2);
        assert_eq!(count("fn f() {}\n#[cfg(test)]\nmod tests {\n    fn t() { if a {} }\n}\nfn g() {}\n"), 2);
        assert_eq!(count("#[cfg(test)]\nmod tests;\n\nfn f() {}\n"), 1);
    }

    #[test]
    fn what_is_unwelcome_is_seen() {
        assert_eq!(unwelcome(&tokens("fn f() {\n    todo!()\n}\nunsafe fn g() {}")), [(2, "todo"), (4, "unsafe")]);
        assert_eq!(unwelcome(&tokens("// todo!()\nlet dbg = todo; \"unsafe\"; dbg!(dbg);")), [(2, "dbg")]);
    }

    #[test]
    fn permits_are_told_from_their_declaration() {
        let makes = |text| constructs(&tokens(text), "Permit");
        assert!(makes("fn f() -> Permit { Permit { revision: 1 } }"));
        assert!(makes("let p = policy::Permit { revision };"));
        assert!(!makes("pub struct Permit { a: i64 } impl Permit { fn f(&self) -> Permit { g() } }"));
        assert!(!makes("if policy.effect() == Effect::Permit { a } else { b }"));
    }
}
