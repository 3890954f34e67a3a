//! The `cedargate` program.

use std::process::ExitCode;

/// Requests allocate some hundred times each, and a password hash takes 19 MiB that the C library would keep.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cedargate::cli::run()
}
