//! A private PostgreSQL server per test process.
//!
//! Started by the first test that asks for a database. A shell script owns it and waits on a pipe that this process
//! holds open: however the process ends, the pipe closes, and the script stops the server and removes its files.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const SCRIPT: &str = include_str!("postgres.sh");

struct Server {
    port: u16,
    /// Holds the pipe open; never waited for.
    _script: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The address of a new, empty database.
///
/// # Panics
/// When PostgreSQL is not installed.
pub(crate) async fn database() -> String {
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await.unwrap();
    let base = format!("postgresql://postgres@127.0.0.1:{}", server.port);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&format!("{base}/postgres")).await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
    connection.close().await.unwrap();
    format!("{base}/{name}")
}

fn start() -> Server {
    let binaries = binaries().expect("PostgreSQL is not installed: run tests/run.sh");
    for _ in 0..5 {
        // Free now; another process may take it before the server does, hence the attempts.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut script = command()
            .args(["sh", "-c", SCRIPT, "postgres.sh"])
            .arg(&binaries)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // An interrupt from the terminal must not reach the script before the pipe closes.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() == "ready" {
            return Server { port, _script: script };
        }
        script.wait().unwrap();
    }
    panic!("PostgreSQL did not start; its log is above");
}

/// PostgreSQL refuses to run as root.
fn command() -> Command {
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = Command::new(if root { "runuser" } else { "env" });
    if root {
        command.args(["-u", "postgres", "--"]);
    }
    command
}

/// The directory of the server's programs: of the `initdb` in PATH, or else Debian's newest.
fn binaries() -> Option<PathBuf> {
    let complete =
        |directory: &Path| ["initdb", "postgres", "pg_isready"].iter().all(|name| directory.join(name).exists());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = |directory: PathBuf| Some(directory.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    if let Some(found) = std::env::split_paths(&path).filter_map(real).find(|directory| complete(directory)) {
        return Some(found);
    }
    let version = |directory: &PathBuf| directory.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = installed.filter(|directory| complete(&directory.join("bin"))).max_by_key(version)?;
    Some(newest.join("bin"))
}
