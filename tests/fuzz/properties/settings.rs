use std::path::PathBuf;
use std::sync::LazyLock;

use cedargate::config::{Mode, Settings, Sources};
use tempfile::TempDir;

const SECRET: &str = "fuzzing-only-fuzzing-only-fuzzing-only-fuzzing-48";

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| TempDir::with_prefix("cedargate-fuzz-").unwrap());

/// A file is accepted or refused, always in the same way; what is told of either is bounded and has no secret in it, and
/// every setting has a value and a source.
pub(super) fn holds(bytes: &[u8]) {
    let path: PathBuf = FOLDER.path().join("cedargate.toml");
    std::fs::write(&path, bytes).unwrap();
    let sources = Sources {
        config_file: Some(path),
        data_dir: FOLDER.path().join("data"),
        mode: Mode::Serve,
        environment: vec![("CEDARGATE_AUTH__SECRET_KEY".to_owned(), SECRET.to_owned())],
        dotenv: None,
        flags: Vec::new(),
    };
    match (Settings::load(&sources), Settings::load(&sources)) {
        (Ok(settings), Ok(again)) => {
            assert_eq!(settings.effective(), again.effective());
            let shown = format!("{settings:?} {:?}", settings.shown());
            assert!(!shown.contains(SECRET), "{shown}");
            for entry in settings.effective() {
                assert!(!entry.source.is_empty() && !entry.value.contains(SECRET), "{entry:?}");
            }
        }
        (Err(error), Err(again)) => {
            let told = error.to_string();
            assert_eq!(told, again.to_string());
            assert!(!told.is_empty() && !told.contains(SECRET), "{told}");
            assert!(told.len() <= 1024 + 4 * bytes.len(), "{told}");
        }
        (one, other) => panic!("{} and {}", one.is_ok(), other.is_ok()),
    }
}
