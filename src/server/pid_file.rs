//! Which process serves a data directory, and what became of what it was last asked for.
//!
//! ## Why
//! The file is locked for as long as the process lives: a number that nobody has locked is one of the past, whatever
//! process has it by now.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::handover::Process;

const NAME: &str = "cedargate.pid";
/// A number and a namespace have fewer bytes.
const MAX_BYTES: u64 = 128;

/// The process that holds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Whether that is its number here too, as far as can be told: in another container it is another process's.
    pub is_here: bool,
}

/// Within which numbers of processes mean something.
fn namespace() -> Option<String> {
    std::fs::read_link("/proc/self/ns/pid").ok()?.into_os_string().into_string().ok()
}

/// The lock of this process.
#[derive(Debug)]
pub struct PidFile {
    // Closed, it is given back.
    _file: File,
}

impl PidFile {
    /// Writes this process's number and the namespace that it is of, once no other holds the file; `None` if one still does
    /// after `patience`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn take(directory: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let path = directory.join(NAME);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        let until = Instant::now() + patience;
        while file.try_lock().is_err() {
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(Duration::from_millis(10)).await;
        }
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n{}\n", std::process::id(), namespace().unwrap_or_default()).as_bytes())?;
        Ok(Some(Self { _file: file }))
    }

    /// The process that holds the file; `None` if none does.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn holder(directory: &Path) -> io::Result<Option<Holder>> {
        let mut file = match File::open(directory.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if file.try_lock_shared().is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        Read::by_ref(&mut file).take(MAX_BYTES).read_to_string(&mut text)?;
        let mut lines = text.lines();
        let Some(Ok(pid)) = lines.next().map(str::parse) else { return Ok(None) };
        let is_here = lines.next().is_none_or(|there| there.is_empty() || namespace().as_deref() == Some(there));
        Ok(Some(Holder { pid, is_here }))
    }
}

/// What a running server may be asked for by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To read its settings again.
    Reload,
    /// To hand over to a new process.
    Upgrade,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Who was asked.
    pub by: Process,
    /// When, in milliseconds since 1970; tells one from the other.
    pub at: i64,
    /// Who serves now, after an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Process>,
    /// Settings that wait for an upgrade, after a reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_upgrade: Vec<String>,
    /// Why nothing has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Asked {
    fn file(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Reload => "cedargate.reload.json",
            Self::Upgrade => "cedargate.upgrade.json",
        })
    }

    /// Leaves word for whoever has asked.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn answer(self, directory: &Path, outcome: &Outcome) -> io::Result<()> {
        let path = self.file(directory);
        let fresh = path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(outcome)?)?;
        // Whoever reads it finds all of it.
        std::fs::rename(fresh, path)
    }

    /// The last word.
    pub fn last(self, directory: &Path) -> Option<Outcome> {
        serde_json::from_slice(&std::fs::read(self.file(directory)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_that_lives_holds_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(PidFile::holder(path).unwrap(), None);
        let held = PidFile::take(path, Duration::ZERO).await.unwrap().unwrap();
        let here = Holder { pid: std::process::id(), is_here: true };
        assert_eq!(PidFile::holder(path).unwrap(), Some(here));
        assert!(PidFile::take(path, Duration::from_millis(30)).await.unwrap().is_none());
        drop(held);
        assert_eq!(PidFile::holder(path).unwrap(), None);
        assert!(PidFile::take(path, Duration::ZERO).await.unwrap().is_some());
        assert!(PidFile::take(&path.join("nowhere"), Duration::ZERO).await.is_err());
    }

    #[tokio::test]
    async fn a_number_of_another_namespace_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let _held = PidFile::take(directory.path(), Duration::ZERO).await.unwrap().unwrap();
        for (text, holder) in [
            ("7\npid:[1]\n", Some(Holder { pid: 7, is_here: false })),
            ("7\n\n", Some(Holder { pid: 7, is_here: true })),
            ("7\n", Some(Holder { pid: 7, is_here: true })),
            ("", None),
        ] {
            std::fs::write(directory.path().join(NAME), text).unwrap();
            assert_eq!(PidFile::holder(directory.path()).unwrap(), holder, "{text:?}");
        }
    }

    #[test]
    fn word_is_left_and_found() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Asked::Reload.last(directory.path()), None);
        let outcome = Outcome {
            by: Process::this(),
            at: 7,
            successor: None,
            needs_upgrade: vec!["gateway.listen".to_owned()],
            fault: None,
        };
        Asked::Reload.answer(directory.path(), &outcome).unwrap();
        assert_eq!(Asked::Reload.last(directory.path()), Some(outcome));
        assert_eq!(Asked::Upgrade.last(directory.path()), None);
    }
}
