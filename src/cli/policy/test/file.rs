//! Files of tests, read strictly.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::case::{Case, Expected, Who};
use crate::explain::{self, Context, Part, Question};
use crate::model::{Reason, nearest};

/// More is no file of tests but a mistake.
const MOST_BYTES: u64 = 1024 * 1024;
const MOST_FILES: usize = 1_000;
const MOST_TESTS: usize = 100_000;
const LONGEST_NAME: usize = 200;
const MOST_ROLES: usize = 100;

/// The keys of a test.
const KEYS: [&str; 10] =
    ["name", "user", "roles", "anonymous", "method", "path", "context", "expect", "reason", "policies"];

/// A file that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadFile {
    /// The file.
    pub(super) file: PathBuf,
    /// The line, where it is in one.
    pub(super) line: Option<usize>,
    /// What is wrong.
    pub(super) message: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// Reads all tests of `paths`, or says all that is wrong with them.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Case>, Vec<BadFile>> {
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    let bad = |file: &Path, message: String| BadFile { file: file.to_owned(), line: None, message };
    let mut files = Vec::new();
    for path in paths {
        match listed(path) {
            Ok(found) if found.is_empty() => faults.push(bad(path, "there are no *.toml files".to_owned())),
            Ok(found) => files.extend(found),
            Err(error) => faults.push(bad(path, error.to_string())),
        }
    }
    if files.len() > MOST_FILES {
        faults.push(bad(&files[MOST_FILES], format!("{} files, {MOST_FILES} at most", files.len())));
        files.clear();
    }
    for file in &files {
        match text(file) {
            Ok(text) => parse(file, &text, &mut cases, &mut faults),
            Err(message) => faults.push(bad(file, message)),
        }
        if cases.len() > MOST_TESTS {
            faults.push(bad(file, format!("more than {MOST_TESTS} tests")));
            break;
        }
    }
    if faults.is_empty() { Ok(cases) } else { Err(faults) }
}

/// The file itself, or the files of a directory in the order of their names.
fn listed(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> Result<String, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > MOST_BYTES {
        return Err(format!("{size} bytes, {MOST_BYTES} at most"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// Adds the tests of one file, and what is wrong with it.
pub(super) fn parse(file: &Path, text: &str, cases: &mut Vec<Case>, faults: &mut Vec<BadFile>) {
    let line = |start: usize| 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let mut refuse = |start: usize, message: String| {
        faults.push(BadFile { file: file.to_owned(), line: Some(line(start)), message });
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            return refuse(start, error.message().lines().collect::<Vec<_>>().join(", "));
        }
    };
    for (key, value) in root.get_ref() {
        let start = key.span().start;
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("test", DeValue::Array(tests)) => {
                for test in tests {
                    match case(file, &line, test) {
                        Ok(case) => cases.push(case),
                        Err((start, message)) => refuse(start, message),
                    }
                }
            }
            ("test", _) => refuse(start, "tests begin with [[test]]".to_owned()),
            (other, _) => refuse(start, unknown(other, &["test"])),
        }
    }
}

/// Where something is wrong, and what.
type Fault = (usize, String);

fn case(file: &Path, line: &impl Fn(usize) -> usize, test: &Spanned<DeValue<'_>>) -> Result<Case, Fault> {
    let start = test.span().start;
    let DeValue::Table(table) = test.get_ref() else {
        return Err((start, "a test is a table: [[test]]".to_owned()));
    };
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.get_ref().as_ref())) {
        return Err((key.span().start, unknown(key.get_ref(), &KEYS)));
    }
    let fields = Fields { table, start };
    let name = fields.required("name")?;
    if name.chars().count() > LONGEST_NAME {
        return Err((fields.place("name"), format!("name: {LONGEST_NAME} characters at most")));
    }
    let context = fields.context()?;
    let question = Question::new(fields.required("method")?, fields.required("path")?, context).map_err(|fault| {
        let key = match fault.part {
            Part::Method => "method",
            Part::Url => "path",
            Part::Context => "context",
        };
        (fields.place(key), format!("{key}: {fault}"))
    })?;
    Ok(Case {
        file: file.to_owned(),
        line: line(start),
        name: name.to_owned(),
        who: fields.who()?,
        question,
        expected: fields.expected()?,
    })
}

/// The keys of one test.
struct Fields<'t, 'i> {
    table: &'t DeTable<'i>,
    start: usize,
}

impl<'t, 'i> Fields<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// Where `key` has its value, or the test begins.
    fn place(&self, key: &str) -> usize {
        self.get(key).map_or(self.start, |value| value.span().start)
    }

    fn text(&self, key: &str) -> Result<Option<&'t str>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.get_ref().as_str().map(Some).ok_or_else(|| (value.span().start, format!("{key} must be text")))
    }

    fn required(&self, key: &str) -> Result<&'t str, Fault> {
        self.text(key)?.ok_or_else(|| (self.start, format!("{key} is missing")))
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || (value.span().start, format!("{key} must be a list of texts"));
        let DeValue::Array(items) = value.get_ref() else { return Err(wrong()) };
        let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>().map(Some).ok_or_else(wrong)
    }

    fn who(&self) -> Result<Who, Fault> {
        let anonymous = match self.get("anonymous") {
            None => false,
            Some(value) => match value.get_ref() {
                DeValue::Boolean(true) => true,
                _ => return Err((value.span().start, "anonymous is true or left out".to_owned())),
            },
        };
        match (self.text("user")?, self.texts("roles")?, anonymous) {
            (Some(user), None, false) => Ok(Who::User(user.to_owned())),
            (None, Some(roles), false) if roles.len() <= MOST_ROLES => Ok(Who::Roles(roles)),
            (None, Some(_), false) => Err((self.place("roles"), format!("roles: {MOST_ROLES} at most"))),
            (None, None, true) => Ok(Who::Nobody),
            _ => Err((self.start, "one of user, roles and anonymous is needed, and only one".to_owned())),
        }
    }

    fn context(&self) -> Result<Context, Fault> {
        let Some(value) = self.get("context") else { return Ok(Context::default()) };
        let DeValue::Table(table) = value.get_ref() else {
            return Err((value.span().start, "context must be a table".to_owned()));
        };
        if let Some(key) = table.keys().find(|key| !explain::KEYS.contains(&key.get_ref().as_ref())) {
            return Err((key.span().start, unknown(key.get_ref(), &explain::KEYS)));
        }
        Context::try_from(object(table)).map_err(|fault| (value.span().start, format!("context: {fault}")))
    }

    fn expected(&self) -> Result<Expected, Fault> {
        let expect = self.required("expect")?;
        if !["allow", "deny"].contains(&expect) {
            return Err((self.place("expect"), format!("expect is \"allow\" or \"deny\", not {expect:?}")));
        }
        let reason = self.text("reason")?;
        let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        if let Some(unknown) = reason.filter(|reason| !codes.contains(reason)) {
            let meant = meant(unknown, &codes);
            return Err((self.place("reason"), format!("there is no reason {unknown:?}{meant}")));
        }
        Ok(Expected {
            decision: expect.to_owned(),
            reason: reason.map(str::to_owned),
            policies: self.texts("policies")?,
        })
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    format!("unknown key {key}{}", meant(key, known))
}

/// The one of `known` that was probably meant.
pub(super) fn meant(text: &str, known: &[&str]) -> String {
    nearest(text, known).map(|nearest| format!(", did you mean {nearest}?")).unwrap_or_default()
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
}

/// A number that JSON cannot hold becomes text, which nothing takes for a number.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => number.as_str().into(),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => number.into(),
            Err(_) => number.as_str().into(),
        },
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}
