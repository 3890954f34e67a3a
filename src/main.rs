//! The `cedargate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cedargate::cli::run()
}
