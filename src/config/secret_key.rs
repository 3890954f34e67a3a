use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::values::Values;
use super::{Error, Origin};

/// Bytes of a generated secret; a multiple of 3 needs no padding.
const BYTES: usize = 48;

const KEY_ENCRYPTION: (&str, &str) = ("auth.key_encryption_key", "key_encryption_key");
/// Settings, and the files that keep them.
const FILES: [(&str, &str); 2] = [("auth.secret_key", "secret_key"), KEY_ENCRYPTION];

/// Gives `dev` secrets of its own where none are set: made once, then kept in the data directory, so that sessions and
/// kept keys survive a restart.
pub(super) fn keep(data_dir: &Path, values: &mut Values) -> Result<(), Error> {
    for (key, file) in FILES {
        if values.text(key).is_empty() {
            let path = data_dir.join(file);
            make(data_dir, &path).map_err(|reason| Error::Unreadable { path: path.clone(), reason })?;
            read(key, &path, values)?;
        }
    }
    Ok(())
}

/// Lets commands on data open what `dev` keeps beside it.
pub(super) fn find(data_dir: &Path, values: &mut Values) -> Result<(), Error> {
    let path = data_dir.join(KEY_ENCRYPTION.1);
    match values.text(KEY_ENCRYPTION.0).is_empty() && path.exists() {
        true => read(KEY_ENCRYPTION.0, &path, values),
        false => Ok(()),
    }
}

fn make(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(data_dir)?;
    // `create_new`: of two starts at once, one writes and both read the same.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret = STANDARD.encode(rand::random::<[u8; BYTES]>());
            writeln!(file, "{secret}")
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn read(key: &str, path: &Path, values: &mut Values) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(|reason| Error::Unreadable { path: path.to_owned(), reason })?;
    values.read_path(key, text.trim_end(), Origin::Generated(path.to_owned()))
}
