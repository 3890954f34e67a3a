//! The file of the security log: rotated by size and by day, opened again on request, and never in the way.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rolling_file::{BasicRollingFileAppender, RollingConditionBasic};

use super::logs::Error;

/// Where the security log is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The file; rotated ones get `.1`, `.2`, …
    pub path: PathBuf,
    /// A new file is begun beyond this size.
    pub max_bytes: u64,
    /// A new file is begun every day.
    pub daily: bool,
    /// Rotated files that are kept.
    pub backups: usize,
}

/// An open security log; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SecurityLog(Arc<State>);

#[derive(Debug)]
struct State {
    rotation: Mutex<Rotation>,
    reopen: AtomicBool,
    failures: AtomicUsize,
}

impl SecurityLog {
    /// Makes sure that the file can be written.
    pub(super) fn open(rotation: Rotation) -> Result<Self, Error> {
        rotation.try_out()?;
        let rotation = Mutex::new(rotation);
        Ok(Self(Arc::new(State { rotation, reopen: AtomicBool::new(false), failures: AtomicUsize::new(0) })))
    }

    /// Goes on at another place, or with other bounds, if the file can be written there.
    pub(super) fn change(&self, rotation: Rotation) -> Result<(), Error> {
        rotation.try_out()?;
        *self.0.rotation.lock() = rotation;
        self.reopen();
        Ok(())
    }

    /// What the log's own thread writes to.
    pub(super) fn writer(&self) -> Writer {
        Writer { state: Arc::clone(&self.0), appender: self.0.rotation.lock().appender().ok() }
    }

    pub(super) fn reopen(&self) {
        self.0.reopen.store(true, Ordering::Release);
    }

    /// Lines that could not be written.
    pub(super) fn failures(&self) -> usize {
        self.0.failures.load(Ordering::Relaxed)
    }
}

impl Rotation {
    fn try_out(&self) -> Result<(), Error> {
        match self.appender() {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::File { path: self.path.display().to_string(), source }),
        }
    }

    fn appender(&self) -> io::Result<BasicRollingFileAppender> {
        let Self { path, max_bytes, daily, backups } = self;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        // Names and addresses of people: nobody else's business.
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let condition = RollingConditionBasic::new().max_size(*max_bytes);
        let condition = if *daily { condition.daily() } else { condition };
        BasicRollingFileAppender::new(path, condition, *backups)
    }
}

/// Writes lines; a line that cannot be written is counted, and the file is opened anew for the next one.
#[derive(Debug)]
pub(super) struct Writer {
    state: Arc<State>,
    appender: Option<BasicRollingFileAppender>,
}

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.appender.is_none() || self.state.reopen.swap(false, Ordering::AcqRel) {
            self.appender = self.state.rotation.lock().appender().ok();
        }
        let written = match &mut self.appender {
            // Flushed line by line: a crash must not take what was logged before it along.
            Some(appender) => appender.write_all(line).and_then(|()| appender.flush()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if written.is_err() {
            self.appender = None;
            self.state.failures.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(directory: &std::path::Path, max_bytes: u64) -> SecurityLog {
        let rotation = Rotation { path: directory.join("logs/security.log"), max_bytes, daily: true, backups: 2 };
        SecurityLog::open(rotation).unwrap()
    }

    #[test]
    fn files_are_rotated_by_size_and_bounded_in_number() {
        let directory = tempfile::TempDir::new().unwrap();
        let mut writer = log(directory.path(), 100).writer();
        for number in 0..100 {
            writer.write_all(format!("line {number:>30}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(directory.path().join("logs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["security.log", "security.log.1", "security.log.2"]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let directory = tempfile::TempDir::new().unwrap();
        let log = log(directory.path(), 1_000);
        let mut writer = log.writer();
        let path = directory.path().join("logs/security.log");
        writer.write_all(b"one\n").unwrap();
        std::fs::rename(&path, directory.path().join("old.log")).unwrap();
        log.reopen();
        writer.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("old.log")).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let log = SecurityLog(Arc::new(State {
            // Every write to this device fails with "no space left".
            rotation: Mutex::new(Rotation { path: "/dev/full".into(), max_bytes: u64::MAX, daily: false, backups: 1 }),
            reopen: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
        }));
        let mut writer = log.writer();
        for _ in 0..3 {
            writer.write_all(b"a line\n").unwrap();
        }
        assert_eq!(log.failures(), 3);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused() {
        let rotation =
            Rotation { path: "/proc/nowhere/security.log".into(), max_bytes: 1_000, daily: true, backups: 1 };
        assert!(SecurityLog::open(rotation).unwrap_err().to_string().starts_with("log.file: /proc/nowhere"));
    }
}
