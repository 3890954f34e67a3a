//! What came out, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::case::Expected;
use crate::policy::Explanation;

/// All tests.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) tests: Vec<Outcome>,
}

/// One test.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) passed: bool,
    pub(super) expected: Expected,
    pub(super) got: Got,
}

/// The engine's answer, in brief.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Got {
    decision: &'static str,
    status: u16,
    reason: &'static str,
    /// Ids and names of the determining policies.
    policies: Vec<Named>,
}

/// A policy.
#[derive(Clone, Debug, Serialize)]
struct Named {
    id: String,
    name: String,
}

impl Got {
    pub(super) fn of(told: &Explanation) -> Self {
        let named = told.policies.iter().map(|policy| Named { id: policy.id.clone(), name: policy.name.clone() });
        Self { decision: told.decision, status: told.status, reason: told.reason, policies: named.collect() }
    }
}

impl Report {
    pub(super) fn of(tests: Vec<Outcome>) -> Self {
        let passed = tests.iter().filter(|test| test.passed).count();
        Self { passed, failed: tests.len() - passed, tests }
    }
}

impl fmt::Display for Report {
    /// A line for each test that failed, and one for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for test in self.tests.iter().filter(|test| !test.passed) {
            writeln!(f, "{test}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: expected {}", self.file.display(), self.line, self.name, self.expected)?;
        write!(f, ", got {} {} ({})", self.got.decision, self.got.status, self.got.reason)?;
        if self.got.policies.is_empty() {
            return f.write_str(", by no policy");
        }
        let named: Vec<String> =
            self.got.policies.iter().map(|policy| format!("{} [{}]", policy.name, policy.id)).collect();
        write!(f, ", by {}", named.join(", "))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.decision)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        match self.policies.as_deref() {
            None => Ok(()),
            Some([]) => f.write_str(" by no policy"),
            Some(policies) => write!(f, " by {}", policies.join(", ")),
        }
    }
}
