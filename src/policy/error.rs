use miette::Diagnostic;

/// Why a set of rules cannot be activated. The text is meant for the administrator who made the change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A hand-written policy does not parse or does not validate.
    #[error("policy '{policy}'{}: {message}", position(*.line, *.column))]
    Policy {
        /// Its name.
        policy: String,
        /// Cedar's own words.
        message: String,
        /// Line of the fault, from 1.
        line: Option<usize>,
        /// Column of the fault, from 1.
        column: Option<usize>,
        /// Cedar's advice, if it has any.
        help: Option<String>,
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

fn position(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(" at {line}:{column}"),
        _ => String::new(),
    }
}

impl CompileError {
    pub(super) fn generated(error: &impl ToString) -> Self {
        Self::Generated(error.to_string())
    }

    pub(super) fn schema(error: impl std::fmt::Display) -> Self {
        Self::Generated(format!("schema: {error}"))
    }

    pub(super) fn policy(policy: &str, message: &(impl ToString + ?Sized)) -> Self {
        Self::Policy { policy: policy.to_owned(), message: message.to_string(), line: None, column: None, help: None }
    }

    /// What Cedar says about `source`, with the place where its first label points.
    pub(super) fn fault(policy: &str, source: &str, fault: &dyn Diagnostic) -> Self {
        let offset = fault.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        Self::at(policy, source, &fault.to_string(), offset, fault.help().map(|help| help.to_string()))
    }

    /// What is wrong at `offset` of `source`.
    pub(super) fn at(policy: &str, source: &str, message: &str, offset: Option<usize>, help: Option<String>) -> Self {
        let before = offset.and_then(|offset| source.get(..offset));
        Self::Policy {
            policy: policy.to_owned(),
            message: message.to_owned(),
            line: before.map(|text| text.matches('\n').count() + 1),
            column: before.map(|text| text.rsplit('\n').next().unwrap_or_default().chars().count() + 1),
            help,
        }
    }

    /// Line and column of a hand-written policy's fault.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Policy { line, column, .. } => line.zip(*column),
            _ => None,
        }
    }
}
