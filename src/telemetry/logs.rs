//! The process's own log on standard error, and the security log in a file of its own.
//!
//! ## Why
//! Neither may ever hold up a request: lines are handed to threads of their own through bounded queues, and what
//! does not fit, or cannot be written because a disk is full, is counted and left out.

use std::io::{self, IsTerminal as _};
use std::str::FromStr as _;
use std::sync::Arc;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::security_log::{Rotation, SecurityLog};
use super::sink::Failures;

/// The target of events that belong into the security log.
pub const SECURITY: &str = "cedargate::security";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The levels that can be set, the least talkative first.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Lines that may wait; more are lost and counted.
const QUEUE: usize = 16 * 1024;
/// Libraries that report every client's mistake as an error; the gateway logs those itself, once.
const QUIET: &str = "pingora_core=off,pingora_proxy=off,h2=off,hyper=warn,rustls=error,sqlx=warn";

/// The logs of one process; cheap to clone.
#[derive(Clone)]
pub struct Logs(Arc<Inner>);

struct Inner {
    filter: reload::Handle<EnvFilter, Registry>,
    security: Option<SecurityLog>,
    lost: Lost,
    /// Dropped last: they wait until everything is written.
    _guards: Vec<WorkerGuard>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("level", &self.level()).finish_non_exhaustive()
    }
}

/// Why logging does not start, or a level is not set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The security log cannot be written.
    #[error("log.file: {path}: {source}")]
    File {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The process logs already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// Not one of the five levels.
    #[error("the level must be one of error, warn, info, debug, trace")]
    Level,
    /// The subscriber is gone.
    #[error("the process does not log")]
    Gone,
}

impl Logs {
    /// Starts logging at `level`, and the security log if it has a place.
    ///
    /// # Errors
    /// The security log cannot be written, or the process logs already.
    pub fn start(level: Level, format: Format, security: Option<Rotation>) -> Result<Self, Error> {
        let failures = Failures::default();
        let (lines, guard) = queue("log", failures.of(io::stderr()));
        let mut lost = lost("process", &lines);
        lost.push(("process", Box::new(move || failures.count())));
        let mut guards = vec![guard];
        let (filter, handle) = reload::Layer::new(directives(level));
        let security = security.map(SecurityLog::open).transpose()?;
        let security_layer = security.as_ref().map(|log| {
            let (lines, guard) = queue("security-log", log.writer());
            lost.extend(self::lost("security", &lines));
            let failed = log.clone();
            lost.push(("security", Box::new(move || failed.failures())));
            guards.push(guard);
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_target(false)
                .with_writer(lines)
                .with_filter(Targets::new().with_target(SECURITY, Level::INFO))
        });
        let layer = tracing_subscriber::fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(lines);
        let layer = match format {
            Format::Text => layer.boxed(),
            Format::Json => layer.json().flatten_event(true).boxed(),
        };
        // The reloadable filter belongs to the process's log only; the security log keeps its own.
        tracing_subscriber::registry().with(layer.with_filter(filter)).with(security_layer).try_init()?;
        Ok(Self(Arc::new(Inner { filter: handle, security, lost, _guards: guards })))
    }

    /// Logs that lead nowhere, for a server within another program.
    pub fn nowhere() -> Self {
        let (_layer, filter) = reload::Layer::new(directives(Level::INFO));
        Self(Arc::new(Inner { filter, security: None, lost: Vec::new(), _guards: Vec::new() }))
    }

    /// The level in force, or `None` when the process does not log.
    pub fn level(&self) -> Option<Level> {
        let text = self.0.filter.with_current(ToString::to_string).ok()?;
        text.split(',').find_map(|directive| Level::from_str(directive).ok())
    }

    /// Changes the level from now on.
    ///
    /// # Errors
    /// `Level` for anything but one of the five levels, `Gone` when the process does not log.
    pub fn set_level(&self, level: &str) -> Result<Level, Error> {
        if !LEVELS.contains(&level) {
            return Err(Error::Level);
        }
        let level = Level::from_str(level).map_err(|_| Error::Level)?;
        self.0.filter.reload(directives(level)).map_err(|_| Error::Gone)?;
        Ok(level)
    }

    /// Keeps the security log, if there is one, at another place or for another time from now on.
    ///
    /// # Errors
    /// It cannot be written there: it stays where it is.
    pub fn move_security(&self, rotation: Rotation) -> Result<(), Error> {
        self.0.security.as_ref().map_or(Ok(()), |security| security.change(rotation))
    }

    /// Opens the security log's file again: somebody moved it away.
    pub fn reopen(&self) {
        if let Some(security) = &self.0.security {
            security.reopen();
        }
    }

    /// How many lines each log has lost.
    pub fn lost(&self) -> Vec<(&'static str, usize)> {
        self.0.lost.iter().map(|(log, count)| (*log, count())).collect()
    }
}

fn queue(name: &str, sink: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).thread_name(name).finish(sink)
}

type Lost = Vec<(&'static str, Box<dyn Fn() -> usize + Send + Sync>)>;

fn lost(log: &'static str, lines: &NonBlocking) -> Lost {
    let counter = lines.error_counter();
    vec![(log, Box::new(move || counter.dropped_lines()))]
}

fn directives(level: Level) -> EnvFilter {
    let level_name = level.as_str().to_lowercase();
    let quiet = if level > Level::INFO { String::new() } else { format!(",{QUIET}") };
    EnvFilter::builder().parse_lossy(format!("{level_name}{quiet}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_five_words() {
        let logs = Logs::nowhere();
        for wrong in ["", "loud", "info,cedargate=trace", "info\n"] {
            assert!(matches!(logs.set_level(wrong), Err(Error::Level)), "{wrong}");
        }
        assert!(matches!(logs.set_level("debug"), Err(Error::Gone)));
    }
}
