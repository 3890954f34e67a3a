//! What tells that a file is not the one it was.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device, inode, size, and the times of the last change of content and of anything.
///
/// Size and time of content alone are not enough: files that are exchanged are often of one size, and tools that exchange
/// them set their times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    content: (i64, i64),
    anything: (i64, i64),
}

impl Stamp {
    /// That of the file at `path` as it is now.
    ///
    /// # Errors
    /// The file system does not tell.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let told = path.metadata()?;
        Ok(Self {
            file: (told.dev(), told.ino()),
            size: told.size(),
            content: (told.mtime(), told.mtime_nsec()),
            anything: (told.ctime(), told.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_size_and_time_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("cert.pem"), folder.path().join("other.pem"));
        std::fs::write(&path, "first").unwrap();
        let before = Stamp::of(&path).unwrap();
        assert_eq!(before, Stamp::of(&path).unwrap());
        assert!(Stamp::of(&other).is_err());
        std::fs::write(&other, "other").unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(before, Stamp::of(&path).unwrap());
    }
}
