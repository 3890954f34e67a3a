//! The `cedargate` program.

fn main() -> std::process::ExitCode {
    cedargate::cli::run()
}
