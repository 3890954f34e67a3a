//! The process's own log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::util::TryInitError;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Libraries that report every client's mistake as an error; the gateway logs those itself, once.
const QUIET: &str = "pingora_core=off,pingora_proxy=off,h2=off,hyper=warn,rustls=error,sqlx=warn";

/// Starts logging at `level`, a level or a list of directives as `info,cedargate=debug`.
///
/// # Errors
/// When the process logs already.
pub fn init(level: &str, format: Format) -> Result<(), TryInitError> {
    let verbose = level.contains("debug") || level.contains("trace");
    let directives = if verbose { level.to_owned() } else { format!("{level},{QUIET}") };
    let filter = EnvFilter::builder().parse_lossy(directives);
    let registry = tracing_subscriber::registry().with(filter);
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => registry.with(layer).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    }
}
