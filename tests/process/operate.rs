//! Reloads, upgrades, and what a service manager hands over and is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use serde_json::Value;
use tempfile::TempDir;

use super::{PASSWORD, cedargate, http, http_text, run, text};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is upgraded: whichever process serves is ended with it.
pub(super) struct Site {
    data: TempDir,
    pub(super) child: Child,
    log: Arc<Mutex<String>>,
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Site {
    pub(super) fn start(settings: &str, change: impl FnOnce(&mut Command)) -> Self {
        let data = TempDir::new().unwrap();
        std::fs::create_dir(data.path().join("config")).unwrap();
        std::fs::write(data.path().join("config/cedargate.toml"), settings).unwrap();
        let mut command = cedargate(data.path());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)
            .env("CEDARGATE_LOG__FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        // It keeps a copy of what the child got.
        drop(command);
        let stderr = child.stderr.take().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut site = Self { data, child, log, gateway: nowhere, admin: nowhere };
        let line = site.logged("\"serving\"");
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (site.gateway, site.admin) = (address("gateway"), address("admin"));
        site.eventually("a pid file", || site.pid() == Some(site.child.id()));
        site
    }

    pub(super) fn eventually(&self, what: &str, mut is: impl FnMut() -> bool) {
        let asked = Instant::now();
        while !is() {
            assert!(asked.elapsed() < PATIENCE, "no {what}: {}", self.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first line of the log that has this in it.
    pub(super) fn logged(&self, part: &str) -> String {
        let find = || self.log.lock().unwrap().lines().find(|line| line.contains(part)).map(str::to_owned);
        self.eventually(part, || find().is_some());
        find().unwrap()
    }

    /// The process that serves.
    pub(super) fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.data.path().join("cedargate.pid")).ok()?.lines().next()?.parse().ok()
    }

    fn configure(&self, settings: &str) {
        std::fs::write(self.data.path().join("config/cedargate.toml"), settings).unwrap();
    }

    pub(super) fn ask(&self, command: &str) -> Output {
        run(cedargate(self.data.path()).args([command, "--wait", "20"]))
    }

    fn signal(&self, signal: &str) {
        signal_to(self.pid().unwrap(), signal);
    }

    fn checks(&self) -> Value {
        http(self.admin, "GET", "/health/detailed", "", None).1["checks"].clone()
    }

    pub(super) fn counts(&self, sample: &str) -> bool {
        http_text(self.admin, "GET", "/metrics", "", None).1.lines().any(|line| line == sample)
    }
}

pub(super) fn signal_to(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

impl Drop for Site {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        // What has taken over is nobody's child that could be waited for.
        if let Some(pid) = self.pid().filter(|pid| *pid != self.child.id()) {
            let _gone = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// A kept connection of a client.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The status, and whether the connection goes on; `None` if it was closed without a word.
    fn get(&mut self, path: &str) -> Option<(u16, bool)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut goes_on) = (0, true);
        loop {
            let mut field = String::new();
            self.0.read_line(&mut field).unwrap();
            let field = field.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            goes_on &= field != "connection: close";
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        Some((status, goes_on))
    }
}

#[test]
fn a_reload_is_in_force_for_the_next_request_of_an_open_connection() {
    let site = Site::start("[gateway]\nworkers = 1\n", |_| ());
    let long = format!("/health?{}", "x".repeat(100));
    let mut kept = Kept::open(site.gateway);
    assert_eq!(kept.get(&long), Some((200, true)));
    site.configure("[gateway]\nworkers = 2\nmax_target_bytes = 64\n[admin]\nrequest_timeout_ms = 29999\n");
    let told = site.ask("reload");
    assert!(told.status.success(), "{}", text(&told.stderr));
    assert_eq!(text(&told.stdout).trim(), "reloaded; needs an upgrade: gateway.workers");
    assert_eq!(kept.get(&long).unwrap().0, 414);
    let settings = &site.checks()["settings"];
    assert_eq!((&settings["status"], &settings["needs_upgrade"][0]), (&"healthy".into(), &"gateway.workers".into()));
    let body = serde_json::json!({ "username": "superadmin", "password": PASSWORD });
    let (_, token) = http(site.admin, "POST", "/api/v1/auth/login", "", Some(&body));
    let shown = http(site.admin, "GET", "/api/v1/config", token["access_token"].as_str().unwrap(), None).1;
    assert_eq!((&shown["gateway"]["workers"], &shown["admin"]["request_timeout_ms"]), (&1.into(), &29_999.into()));
    site.logged("some need an upgrade");
    assert!(site.counts("cedargate_reloads_total{outcome=\"succeeded\"} 1"));
}

#[test]
fn broken_settings_leave_those_before_in_force_and_say_where_they_are_broken() {
    let site = Site::start("", |_| ());
    site.configure("[gateway]\nmax_target_bytes = 64\nmax_requests = \"many\"\n");
    let told = site.ask("reload");
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("not reloaded: config/cedargate.toml:3: gateway.max_requests"), "{told:?}");
    let long = format!("/health?{}", "x".repeat(100));
    assert_eq!(Kept::open(site.gateway).get(&long), Some((200, true)));
    let settings = site.checks()["settings"].clone();
    assert_eq!(settings["status"], "unhealthy");
    assert!(settings["error"].as_str().unwrap().starts_with("config/cedargate.toml:3: "), "{settings}");
    assert!(site.logged("settings are not reloaded").contains("config/cedargate.toml:3: "));
    assert!(site.counts("cedargate_reloads_total{outcome=\"failed\"} 1"));
    site.configure("");
    assert!(site.ask("reload").status.success());
    assert_eq!(site.checks()["settings"]["status"], "healthy");
}

/// Clients that ask one after the other on kept connections.
struct Load {
    ends: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr, count: usize) -> Self {
        let (ends, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (ends, asked) = (Arc::clone(&ends), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut lost = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let mut kept = Kept::open(address);
                    let mut is_first = true;
                    loop {
                        match kept.get("/health") {
                            Some((200, true)) if !ends.load(Ordering::Relaxed) => {}
                            Some((200, _)) => break,
                            // Any client asks again when an idle connection turns out to be closed (RFC 9112 9.3.1).
                            None if !is_first => break,
                            other => {
                                lost.push(format!("{other:?}"));
                                break;
                            }
                        }
                        is_first = false;
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                }
                lost
            })
        };
        let clients = (0..count).map(client).collect();
        Self { ends, asked, clients }
    }

    fn passes(&self, more: usize) {
        let (before, since) = (self.asked.load(Ordering::Relaxed), Instant::now());
        while self.asked.load(Ordering::Relaxed) < before + more {
            assert!(since.elapsed() < PATIENCE, "nothing is answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            assert_eq!(client.join().unwrap(), Vec::<String>::new());
        }
    }
}

#[test]
fn an_upgrade_under_load_loses_no_request() {
    let mut site = Site::start("[gateway]\nworkers = 1\n", |_| ());
    let (gateway, admin) = (Load::start(site.gateway, 3), Load::start(site.admin, 2));
    gateway.passes(20);
    let first = site.child.id();
    // What needs an upgrade comes with it.
    site.configure("[gateway]\nworkers = 2\n");
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{}", text(&told.stderr));
    let second = site.pid().unwrap();
    assert_ne!(first, second);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!("upgraded: version {version} (process {first}) -> version {version} (process {second})");
    assert_eq!(text(&told.stdout).trim(), expected);
    assert!(site.child.wait().unwrap().success());
    gateway.passes(20);
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{}", text(&told.stderr));
    gateway.passes(20);
    gateway.end();
    admin.end();
    let line = site.logged("upgraded: took over");
    assert!(line.contains(&format!("\"from.pid\":{first}")) && line.contains(version), "{line}");
    assert!(site.counts("cedargate_upgrades_total{outcome=\"succeeded\"} 1"));
    let third = site.pid().unwrap();
    site.signal("-TERM");
    // Ended, it gives back what it has held.
    let held = || run(cedargate(site.data.path()).args(["reload"])).stderr;
    site.eventually("end", || text(&held()).contains("no server runs"));
    assert!(![first, second].contains(&third));
}

#[test]
fn a_new_process_that_does_not_serve_leaves_the_old_one_and_its_reason() {
    let site = Site::start("", |_| ());
    let pid = site.pid();
    site.configure("[gateway]\nmax_requests = \"many\"\n");
    let told = site.ask("upgrade");
    assert_eq!(told.status.code(), Some(1));
    let told = text(&told.stderr);
    assert!(
        told.contains("not upgraded: ") && told.contains("config/cedargate.toml:2: gateway.max_requests"),
        "{told}"
    );
    assert_eq!(site.pid(), pid);
    let mut kept = Kept::open(site.gateway);
    assert_eq!(kept.get("/health"), Some((200, true)));
    let upgrade = site.checks()["upgrade"].clone();
    assert_eq!(upgrade["status"], "unhealthy");
    assert!(upgrade["error"].as_str().unwrap().contains("config/cedargate.toml:2"), "{upgrade}");
    assert!(site.logged("the upgrade failed").contains("config/cedargate.toml:2"));
    assert!(site.counts("cedargate_upgrades_total{outcome=\"failed\"} 1"));
    // An address that is taken, by somebody else.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    site.configure(&format!("[metrics]\nlisten = \"{address}\"\n"));
    let told = text(&site.ask("upgrade").stderr);
    assert!(told.contains(&format!("metrics.listen: cannot listen on {address}")), "{told}");
    assert_eq!(kept.get("/health"), Some((200, true)));
    drop(taken);
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{}", text(&told.stderr));
    assert_ne!(site.pid(), pid);
    assert_eq!(http_text(address, "GET", "/metrics", "", None).0, 200);
}

#[test]
fn sockets_of_a_service_manager_are_served_by_name_and_handed_on() {
    let open = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (admin, gateway, metrics) = (open(), open(), open());
    let addresses = [&admin, &gateway, &metrics].map(|socket| socket.local_addr().unwrap());
    let sockets = [admin, gateway, metrics].map(OwnedFd::from);
    // The third has no name that says what it is for; its address does.
    let settings = format!("[metrics]\nlisten = \"{}\"\n", addresses[2]);
    let site = Site::start(&settings, |command| {
        let mappings = sockets.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).unwrap();
        command.env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", "admin:gateway:cedargate.socket");
    });
    assert_eq!([site.admin, site.gateway], [addresses[0], addresses[1]]);
    let serve = || {
        assert_eq!(http(addresses[0], "GET", "/readyz", "", None).0, 200);
        assert_eq!(http(addresses[1], "GET", "/health", "", None).0, 200);
        assert_eq!(http_text(addresses[2], "GET", "/metrics", "", None).0, 200);
    };
    serve();
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{}", text(&told.stderr));
    serve();
}

#[test]
fn systemd_activates() {
    let program = Path::new("/usr/bin/systemd-socket-activate");
    if !program.exists() {
        return;
    }
    let data = TempDir::new().unwrap();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gateway, admin) = (free(), free());
    let plain = cedargate(data.path());
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(data.path());
    command
        .args(["-l", &gateway.to_string(), "-l", &admin.to_string(), "--fdname=gateway:admin"])
        .args(["-E", "SECRET_KEY", "-E", "CEDARGATE_AUTH__ARGON2_MEMORY_KIB"])
        .arg(plain.get_program())
        .args(["--data-dir", ".", "serve", "--listen", "127.0.0.1:1", "--admin-listen", "127.0.0.1:2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let asked = Instant::now();
    while TcpStream::connect(gateway).is_err() {
        assert!(asked.elapsed() < PATIENCE, "nothing listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answers = [gateway, admin].map(|address| http(address, "GET", "/health", "", None).0);
    let _gone = child.kill();
    let _reaped = child.wait();
    assert_eq!(answers, [200, 200]);
}

#[test]
fn a_service_manager_is_told() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The next message that has this in it.
    let next = |part: &str| loop {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("no {part}: {error}"));
        let message = text(&message[..length]);
        if message.lines().any(|line| line.starts_with(part)) {
            return message;
        }
    };
    let site = Site::start("", |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    });
    let first = site.pid().unwrap();
    let ready = next("READY=1");
    assert!(ready.contains(&format!("MAINPID={first}")) && ready.contains("STATUS=version"), "{ready}");
    next("WATCHDOG=1");
    site.signal("-HUP");
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    let told = site.ask("upgrade");
    assert!(told.status.success(), "{}", text(&told.stderr));
    let second = site.pid().unwrap();
    // Both say so, in whatever order.
    next(&format!("MAINPID={second}"));
    next("WATCHDOG=1");
    site.signal("-TERM");
    let last = next("STOPPING=1");
    assert!(!last.contains("MAINPID"), "{last}");
}
