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

/// Gives `dev` a secret of its own when none is set: made once, then kept in `<data-dir>/secret_key`, so that
/// sessions survive a restart.
pub(super) fn keep(data_dir: &Path, values: &mut Values) -> Result<(), Error> {
    if !values.text("auth.secret_key").is_empty() {
        return Ok(());
    }
    let path = data_dir.join("secret_key");
    let unusable = |reason| Error::Unreadable { path: path.clone(), reason };
    fs::create_dir_all(data_dir).map_err(unusable)?;
    // `create_new`: of two starts at once, one writes and both read the same.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let secret = STANDARD.encode(rand::random::<[u8; BYTES]>());
            writeln!(file, "{secret}").map_err(unusable)?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(error)),
    }
    let text = fs::read_to_string(&path).map_err(unusable)?;
    values.read_path("auth.secret_key", text.trim_end(), Origin::Generated(path.clone()))
}
