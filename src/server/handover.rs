//! From one process to the next: the sockets, and what only the two of them know.
//!
//! ## Why
//! The new process is started as the old one was, with the sockets already open. It says that it serves before the old one
//! stops: so there is always one that does, and a new one that cannot changes nothing. What it prints meanwhile passes
//! through the old one, which can tell why.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use command_fds::{CommandFdExt as _, FdMapping};
use listenfd::ListenFd;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::sockets::{Open, Sockets};
use crate::model::Secret;

/// What the socket that two processes talk over is called among those that are passed on.
const NAME: &str = "handover";
/// The first that is passed on (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;
/// The old process tells at once what it hands over.
const PATIENCE: Duration = Duration::from_secs(10);
/// More is no message of ours.
const MAX_MESSAGE: u64 = 64 * 1024;
/// As much of what a process has printed is kept.
const MAX_TOLD: usize = 4 * 1024;
/// What the program says of itself, and not its log.
const OWN: &str = "cedargate: ";
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process that has closed its end may take to end.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Which process serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

impl Process {
    /// This one.
    pub fn this() -> Self {
        Self { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// The last message, of the new process.
#[derive(Serialize, Deserialize)]
struct Serving {
    #[serde(flatten)]
    by: Process,
    #[serde(default)]
    sockets: Vec<Named>,
}

/// The first message, of the old process.
#[derive(Serialize, Deserialize)]
struct Estate {
    from: Process,
    sockets: Vec<Named>,
    mount_secret: String,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    setting: String,
    asked: SocketAddr,
}

fn named(sockets: &[Open]) -> Vec<Named> {
    sockets.iter().map(|one| Named { setting: one.setting.to_owned(), asked: one.asked }).collect()
}

/// What a process begins with besides its settings.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub(super) sockets: Sockets,
    pub(super) mount_secret: Option<Secret<String>>,
    pub(super) predecessor: Option<Predecessor>,
}

/// The process before this, which serves until it is told.
#[derive(Debug)]
pub(super) struct Predecessor {
    process: Process,
    channel: UnixStream,
}

impl Inheritance {
    /// What another process, or systemd, hands over to this one. To be called before there are threads.
    ///
    /// # Errors
    /// What was announced is not there.
    pub fn receive() -> anyhow::Result<Self> {
        let mut fds = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        if fds.len() == 0 || names.first() != Some(&NAME) {
            return Ok(Self { sockets: Sockets::activated(fds, &names)?, ..Self::default() });
        }
        let (family, kind) = (socket2::Domain::UNIX.into(), socket2::Type::STREAM.into());
        let channel: Option<UnixStream> = fds.take_custom(0, family, kind, NAME).context(NAME)?;
        let channel = channel.context("the process before this says nothing")?;
        channel.set_read_timeout(Some(PATIENCE))?;
        let mut message = String::new();
        BufReader::new(&channel).take(MAX_MESSAGE).read_line(&mut message).context(NAME)?;
        let estate: Estate = serde_json::from_str(&message).context("what the process before this says")?;
        let mut sockets = Sockets::default();
        for (index, Named { setting, asked }) in estate.sockets.into_iter().enumerate() {
            let listener = fds.take_tcp_listener(index + 1).with_context(|| setting.clone())?;
            sockets.add(setting, asked, listener.context("fewer sockets are handed over than announced")?);
        }
        Ok(Self {
            sockets,
            mount_secret: Some(Secret::new(estate.mount_secret)),
            predecessor: Some(Predecessor { process: estate.from, channel }),
        })
    }
}

impl Predecessor {
    /// Tells it that this process serves on `sockets`, which ends it.
    pub(super) fn relieve(mut self, sockets: &[Open]) -> anyhow::Result<Process> {
        // What was standard error until now leads to the old process; where it belongs came as standard input.
        rustix::stdio::dup2_stderr(std::io::stdin().as_fd()).context("standard error")?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?).context("standard input")?;
        let serving = Serving { by: Process::this(), sockets: named(sockets) };
        let told = format!("{}\n", serde_json::to_string(&serving)?);
        if let Err(error) = self.channel.write_all(told.as_bytes()) {
            tracing::warn!(%error, "the process before this is gone");
        }
        Ok(self.process)
    }
}

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The path that this process was started by: whatever lies there later is the next version.
    ///
    /// # Errors
    /// The path cannot be told.
    pub fn this() -> anyhow::Result<Self> {
        let mut arguments = std::env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        let on_path = || {
            let places = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&places).map(|place| place.join(&name)).find(|path| path.is_file())
        };
        let path = if name.components().count() > 1 { Some(name.clone()) } else { on_path() };
        let path = match path {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe().context("the path of this program")?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }
}

/// What a process hands over.
#[derive(Debug)]
pub struct Legacy {
    pub(super) sockets: Vec<Open>,
    pub(super) mount_secret: Secret<String>,
}

/// The process that serves from now on.
#[derive(Debug)]
pub struct Successor {
    /// Which it is.
    pub process: Process,
    /// Whether each socket of this process is one of its own too.
    pub has_sockets: bool,
    child: Child,
}

impl Successor {
    /// Waits until it ends, and tells how.
    ///
    /// # Errors
    /// The system does not tell.
    pub async fn ended(mut self) -> std::io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(LOOK).await;
        }
    }
}

/// A process that does not serve yet; dropped, it is ended.
struct Growing(Option<Child>);

impl Growing {
    /// Waits until it has ended by itself, but not for long.
    async fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + LAST_BREATH;
        while Instant::now() < until {
            if let Some(status) = self.0.as_mut()?.try_wait().ok()? {
                return Some(status);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Legacy {
    /// Starts `program` with it, and waits until that serves, for `patience` at most.
    ///
    /// # Errors
    /// It does not: it is ended by then, and everything is as before.
    pub async fn hand_over(self, program: Program, patience: Duration) -> anyhow::Result<Successor> {
        let (ours, theirs) = UnixStream::pair()?;
        let mount_secret = self.mount_secret.expose().clone();
        let estate = Estate { from: Process::this(), sockets: named(&self.sockets), mount_secret };
        let message = format!("{}\n", serde_json::to_string(&estate)?);
        let shown = program.path.display().to_string();
        let spawned = tokio::task::spawn_blocking(move || spawn(&program, theirs, self.sockets)).await?;
        let mut child = spawned.with_context(|| format!("{shown}: cannot be started"))?;
        let told = Told::default();
        let silent = child.stderr.take().map(|stderr| told.listen(stderr)).transpose()?;
        let mut growing = Growing(Some(child));
        ours.set_nonblocking(true)?;
        let channel = tokio::net::UnixStream::from_std(ours)?;
        let fault = match timeout(patience, converse(channel, &message)).await {
            Ok(Ok(serving)) => {
                if let Some(child) = growing.0.take() {
                    let has_sockets = estate.sockets.iter().all(|one| serving.sockets.contains(one));
                    return Ok(Successor { process: serving.by, has_sockets, child });
                }
                anyhow!("it is gone")
            }
            Ok(Err(error)) => match growing.ended().await {
                Some(status) => anyhow!("it ended before it served ({status})"),
                None => error,
            },
            Err(_) => anyhow!("it did not serve within {} s (gateway.upgrade_timeout_ms)", patience.as_secs_f64()),
        };
        drop(growing);
        if let Some(silent) = silent {
            // Who has inherited its standard error may keep it open.
            let _ = timeout(LAST_BREATH, silent).await;
        }
        bail!("{shown}: {fault:#}{}", told.tail())
    }
}

async fn converse(mut channel: tokio::net::UnixStream, message: &str) -> anyhow::Result<Serving> {
    channel.write_all(message.as_bytes()).await.context("it does not listen")?;
    let mut answer = String::new();
    let reader = tokio::io::BufReader::new(channel.take(MAX_MESSAGE)).read_line(&mut answer).await;
    reader.context("it says nothing")?;
    serde_json::from_str(&answer).context("it does not say that it serves")
}

fn spawn(program: &Program, channel: UnixStream, sockets: Vec<Open>) -> anyhow::Result<Child> {
    let names: Vec<&str> = std::iter::once(NAME).chain(sockets.iter().map(|one| one.setting)).collect();
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        // These name this process, or what was passed on to it.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS_FIRST_FD")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned()?))
        .stderr(Stdio::piped());
    let fds = std::iter::once(OwnedFd::from(channel)).chain(sockets.into_iter().map(|one| one.listener.into()));
    let mappings = fds.zip(FIRST_FD..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect())?;
    Ok(command.spawn()?)
}

/// What a process prints: passed on, and its end kept.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// Passes on what it prints; what is returned tells that there is no more.
    fn listen(&self, mut stderr: ChildStderr) -> anyhow::Result<oneshot::Receiver<()>> {
        let (tell, ended) = oneshot::channel();
        let told = self.clone();
        std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                // It is a log: what cannot be written is lost.
                let _ = std::io::stderr().write_all(&chunk[..length]);
                let mut kept = told.0.lock();
                kept.extend_from_slice(&chunk[..length]);
                let excess = kept.len().saturating_sub(MAX_TOLD);
                kept.drain(..excess);
            }
            let _ = tell.send(());
        })?;
        Ok(ended)
    }

    /// What it said of itself at its end, after a colon. Its log is not for whoever asks for health.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        let own = text.lines().rev().find_map(|line| line.trim().strip_prefix(OWN));
        // A password is shown once, and not here.
        let own = own.filter(|own| !own.starts_with("first administrator"));
        own.map(|own| format!(": {own}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        Told(Arc::new(Mutex::new(text.as_bytes().to_vec()))).tail()
    }

    #[test]
    fn what_is_told_is_what_the_program_says_of_itself_and_nothing_of_its_log() {
        assert_eq!(told(""), "");
        assert_eq!(told("{\"message\":\"a\"}\ncedargate: x.toml:3: bad\n{\"message\":\"b\"}\n"), ": x.toml:3: bad");
        assert_eq!(told("1\n2\n\n3\n"), "");
        assert_eq!(told("cedargate: first administrator: superadmin / secret (shown once, change it)\n"), "");
    }

    async fn refusal(path: &str, arguments: &[&str], patience: Duration) -> String {
        let program = Program { path: path.into(), arguments: arguments.iter().map(OsString::from).collect() };
        let legacy = Legacy { sockets: Vec::new(), mount_secret: Secret::new("x".to_owned()) };
        format!("{:#}", legacy.hand_over(program, patience).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_program_that_does_not_serve_is_ended_and_told_of() {
        let long = Duration::from_secs(30);
        assert!(refusal("/nowhere/x", &[], long).await.starts_with("/nowhere/x: cannot be started: "));
        let told = refusal("/bin/sh", &["-c", "echo log >&2; echo cedargate: why >&2; exit 7"], long).await;
        assert_eq!(told, "/bin/sh: it ended before it served (exit status: 7): why");
        let told = refusal("/bin/sh", &["-c", "echo slow >&2; exec sleep 60"], Duration::from_millis(500)).await;
        assert_eq!(told, "/bin/sh: it did not serve within 0.5 s (gateway.upgrade_timeout_ms)");
    }

    #[tokio::test]
    async fn the_end_of_a_successor_is_noticed() {
        let child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
        let successor = Successor { process: Process::this(), has_sockets: true, child };
        assert_eq!(successor.ended().await.unwrap().code(), Some(7));
    }
}
