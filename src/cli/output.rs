use std::io::{ErrorKind, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints to standard output; a reader that has gone away (`| head`) is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write the output"),
        _ => Ok(()),
    }
}

/// The same as JSON.
pub(super) fn print_json(data: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(data).context("cannot write the output as JSON")?)
}
