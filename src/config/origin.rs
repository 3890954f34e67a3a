use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A preset that the settings name.
    Preset(&'static str),
    /// A line of the settings file.
    File(PathBuf, usize),
    /// A variable in the `.env` file.
    DotEnv(String),
    /// A variable of the process.
    Environment(String),
    /// The command line.
    Flag,
    /// Made at the first start and kept in this file.
    Generated(PathBuf),
}

impl Origin {
    /// `<place>: ` to begin an error with; empty for what nobody wrote.
    pub(super) fn prefix(&self) -> String {
        match self {
            Self::Default | Self::Preset(_) => String::new(),
            Self::File(path, line) => format!("{}:{line}: ", path.display()),
            other => format!("{other}: "),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::File(path, line) => write!(f, "file {}:{line}", path.display()),
            Self::DotEnv(name) => write!(f, ".env {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
            Self::Generated(path) => write!(f, "generated {}", path.display()),
        }
    }
}
