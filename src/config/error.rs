use std::path::PathBuf;

use super::origin::Origin;

/// Why settings were refused; one line that names the key and where its value came from, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that was named cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// A file is not well-formed.
    #[error("{place}: {reason}")]
    Syntax {
        /// File and line.
        place: String,
        /// What the parser expected.
        reason: String,
    },
    /// The file, or a flag, names a key that does not exist.
    #[error("{}unknown key {key}{}", .origin.prefix(), suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// As written.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A variable begins with `CEDARGATE_` and is none of ours.
    #[error("{origin}: unknown variable{}", suggestion(.nearest.as_deref()))]
    UnknownVariable {
        /// Where.
        origin: Origin,
        /// The variable that was probably meant.
        nearest: Option<String>,
    },
    /// A secret is given both as a variable and as a file.
    #[error("{direct} and {file} are both set; give one of them")]
    Both {
        /// The variable with the value.
        direct: Origin,
        /// The variable with the file's name.
        file: Origin,
    },
    /// A value has the wrong type or is out of range.
    #[error("{}{key} must be {expected}{}", .origin.prefix(), but(.found.as_deref()))]
    Invalid {
        /// Where the value came from.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What would be accepted.
        expected: String,
        /// The value, unless it may be a secret.
        found: Option<String>,
    },
    /// A value is well-formed, but the program must not run with it.
    #[error("{}{key} {reason}", .origin.prefix())]
    Refused {
        /// Where the value came from.
        origin: Origin,
        /// The key, or the variable.
        key: &'static str,
        /// What is wrong with it and what to do.
        reason: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

fn but(found: Option<&str>) -> String {
    found.map(|text| format!(", not {text:?}")).unwrap_or_default()
}
