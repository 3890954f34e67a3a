//! The operator's own policy files.

use std::path::Path;

use anyhow::Context;

use crate::{control, model::rules::PolicyRule, policy::CompileError};

/// More is no policy but a mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads every `*.cedar` file of the directory, in the order of their names.
pub(super) fn read(directory: Option<&Path>) -> anyhow::Result<Vec<PolicyRule>> {
    let Some(directory) = directory else {
        return Ok(Vec::new());
    };
    let entries = std::fs::read_dir(directory).with_context(|| format!("policy.dir: {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(file(&path).with_context(|| path.display().to_string())?);
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn file(path: &Path) -> anyhow::Result<PolicyRule> {
    let size = path.metadata()?.len();
    anyhow::ensure!(size <= MAX_FILE_BYTES, "{size} bytes, at most {MAX_FILE_BYTES}");
    let name = path.file_stem().and_then(|stem| stem.to_str()).context("its name is not Unicode")?;
    Ok(PolicyRule { name: name.to_owned(), source: std::fs::read_to_string(path)? })
}

/// Why the rules do not compile, with the file's path, line and column where a file is at fault.
pub(super) fn blame(directory: Option<&Path>, files: &[PolicyRule], error: control::Error) -> anyhow::Error {
    let control::Error::Rejected(CompileError::Policy { policy, message, line, column, help }) = &error else {
        return anyhow::Error::new(error).context("the rules in the database");
    };
    match directory.filter(|_| files.iter().any(|file| file.name == *policy)) {
        None => anyhow::Error::new(error).context("the rules in the database"),
        Some(directory) => {
            let place = line.zip(*column).map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            let help = help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            anyhow::anyhow!("{}{place}: {message}{help}", directory.join(format!("{policy}.cedar")).display())
        }
    }
}
