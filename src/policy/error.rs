use std::fmt;

use miette::Diagnostic;

use crate::model::{PolicyName, rules::PolicyText};

/// What is wrong with a hand-written policy; the text is meant for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the policy.
    pub policy: String,
    /// Cedar's own words, mostly.
    pub message: String,
    /// Where it is, if it is at one place.
    pub place: Option<Place>,
    /// Advice, if there is any.
    pub help: Option<String>,
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What the line says.
    pub text: String,
}

impl Place {
    fn of(source: &str, offset: usize) -> Option<Self> {
        let (before, after) = source.split_at_checked(offset)?;
        let head = before.rsplit('\n').next().unwrap_or_default();
        let tail = after.lines().next().unwrap_or_default();
        Some(Self {
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            text: head.chars().chain(tail.chars()).take(LONGEST_LINE).collect(),
        })
    }
}

/// As much of a faulty line as is told, in characters.
const LONGEST_LINE: usize = 200;

impl Fault {
    pub(super) fn new(policy: &PolicyName, message: impl Into<String>) -> Self {
        Self { policy: policy.to_string(), message: message.into(), place: None, help: None }
    }

    /// What Cedar says about a text, with the place that it marks first.
    pub(super) fn of(text: &PolicyText, fault: &dyn Diagnostic) -> Self {
        let label = fault.labels().and_then(|mut labels| labels.next());
        // Where Cedar has no advice, its mark at the place tells what it expected there.
        let mark = || label.as_ref().and_then(|label| label.label()).map(str::to_owned);
        Self {
            policy: text.name.to_string(),
            message: fault.to_string(),
            place: label.as_ref().and_then(|label| Place::of(&text.source, label.offset())),
            help: fault.help().map(|help| help.to_string()).or_else(mark),
        }
    }

    /// The same, at `offset` of the text.
    pub(super) fn at(self, text: &PolicyText, offset: Option<usize>) -> Self {
        Self { place: offset.and_then(|offset| Place::of(&text.source, offset)), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy '{}'", self.policy)?;
        if let Some(Place { line, column, .. }) = &self.place {
            write!(f, " at {line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a set of rules cannot be activated. The text is meant for the administrator who made the change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A hand-written policy does not parse or does not validate.
    #[error("{0}")]
    Policy(Fault),
    /// More policies, or more text of them, than a decision or a change can bear.
    #[error("{0}")]
    TooManyPolicies(String),
    /// A hand-written policy speaks of what would be no more.
    #[error("{what} cannot be removed: the policy '{policy}' speaks of it")]
    Named {
        /// What it is, as Cedar names it.
        what: String,
        /// The policy.
        policy: String,
    },
    /// Two gateway routes match the same requests equally well.
    #[error("route '{route}' matches the same requests as route {other}")]
    RouteConflict {
        /// The path template.
        route: String,
        /// The id of the route that was there first.
        other: String,
    },
    /// A gateway route lies on a path of the admin API.
    #[error("route '{route}' lies on the admin path '{mounted}'")]
    RouteShadowed {
        /// The path template.
        route: String,
        /// The admin service's template.
        mounted: String,
    },
    /// A route cannot be matched, or its operations contradict each other.
    #[error("route '{route}': {message}")]
    Route {
        /// The path template.
        route: String,
        /// What is wrong.
        message: String,
    },
    /// The schema or a generated policy is not what Cedar accepts.
    #[error("{0}")]
    Generated(String),
}

impl CompileError {
    pub(super) fn generated(error: &impl ToString) -> Self {
        Self::Generated(error.to_string())
    }

    pub(super) fn schema(error: impl std::fmt::Display) -> Self {
        Self::Generated(format!("schema: {error}"))
    }
}
