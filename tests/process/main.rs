//! The program as a process: started, killed, started again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod full_disk;
mod mail;
mod operate;
mod rules;
mod shutdown;
mod succession;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const SECRET: &str = "tests-only-tests-only-tests-only-tests-only-4848";
const PASSWORD: &str = "Bootstrap-Password-1";

/// The program, with nothing of this process's environment that it would read.
fn cedargate(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedargate"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(data);
    command.env("SECRET_KEY", SECRET).env("CEDARGATE_AUTH__ARGON2_MEMORY_KIB", "1024");
    command.args(["--data-dir", "."]);
    command
}

struct Server {
    child: Child,
    gateway: SocketAddr,
    admin: SocketAddr,
    /// Everything on standard error until it served.
    told: String,
}

impl Server {
    fn start(data: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_into(Stdio::null(), data, environment)
    }

    /// Starts with this standard output, where the access log goes.
    fn start_into(stdout: Stdio, data: &Path, environment: &[(&str, &str)]) -> Self {
        #[expect(clippy::zombie_processes, reason = "a server that does not start ends by itself, and the test fails")]
        let mut child = cedargate(data)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("CEDARGATE_LOG__FORMAT", "json")
            .envs(environment.iter().copied())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = String::new();
        for line in &mut lines {
            let line = line.unwrap();
            told.push_str(&line);
            told.push('\n');
            let Ok(json) = serde_json::from_str::<Value>(&line) else { continue };
            if json["message"] == "serving" {
                let address = |name: &str| json[name].as_str().unwrap().parse().unwrap();
                let (gateway, admin) = (address("gateway"), address("admin"));
                // Someone must go on reading, or the server would block on a full pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Self { child, gateway, admin, told };
            }
        }
        panic!("the server did not start: {told}");
    }

    /// Ends the process as a crash would.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn login(&self, password: &str) -> (u16, Value) {
        let body = serde_json::json!({ "username": "superadmin", "password": password });
        http(self.admin, "POST", "/api/v1/auth/login", "", Some(&body))
    }

    fn token(&self, password: &str) -> String {
        let (status, body) = self.login(password);
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// One request on a connection of its own; a body that is not JSON is null.
fn http(address: SocketAddr, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
    let (status, text) = http_text(address, method, path, token, body);
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn http_text(address: SocketAddr, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, String) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (status, body.to_owned())
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_first_start_makes_one_administrator_with_a_password_shown_once() {
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[]);
    let line = server.told.lines().find(|line| line.contains("first administrator")).unwrap();
    let password = line.split(" / ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let token = server.token(&password);
    let (status, users) = http(server.admin, "GET", "/api/v1/users/", &token, None);
    assert_eq!((status, users.as_array().unwrap().len()), (200, 1));
    for published in ["superadmin123", "admin123"] {
        assert_eq!(server.login(published).0, 401);
    }
    server.kill();
    let again = Server::start(data.path(), &[]);
    assert!(!again.told.contains("first administrator"), "{}", again.told);
    assert!(!again.told.contains(&password));
    again.token(&password);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let data = TempDir::new().unwrap();
    let environment = [("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)];
    for round in 0..5 {
        let server = Server::start(data.path(), &environment);
        assert!(!server.told.contains(PASSWORD));
        let token = server.token(PASSWORD);
        let (_, roles) = http(server.admin, "GET", "/api/v1/roles/", &token, None);
        let names: Vec<&str> = roles.as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
        for before in 0..round {
            assert!(names.contains(&format!("kept{before}").as_str()), "{names:?}");
        }
        let role = serde_json::json!({ "name": format!("kept{round}") });
        let (status, _) = http(server.admin, "POST", "/api/v1/roles/", &token, Some(&role));
        assert_eq!(status, 200);
        server.kill();
    }
}

#[test]
fn sigterm_ends_the_process_cleanly() {
    let data = TempDir::new().unwrap();
    let mut server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    let (status, _) = http(server.gateway, "GET", "/health", "", None);
    assert_eq!(status, 200);
    let asked = Instant::now();
    server.terminate();
    let ended = server.child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let data = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(cedargate(data.path())
        .args(["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"])
        .env("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)
        .env("CEDARGATE_LOG__LEVEL", "error"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(&format!("gateway.listen: cannot listen on {address}")), "{told}");
}

#[test]
fn a_broken_policy_file_refuses_the_start() {
    let data = TempDir::new().unwrap();
    std::fs::create_dir(data.path().join("policies")).unwrap();
    std::fs::write(data.path().join("policies/office.cedar"), "forbid (principal, action,\n  resourc);").unwrap();
    let output = run(cedargate(data.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("CEDARGATE_POLICY__DIR", "policies")
        .env("CEDARGATE_LOG__LEVEL", "error"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("office.cedar:2:3: "), "{told}");
}

#[test]
fn commands_change_a_running_servers_data() {
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    let made =
        run(cedargate(data.path()).args(["user", "create", "carol", "carol@example.com", "--role", "admin", "--json"]));
    assert!(made.status.success(), "{}", text(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let password = made["password"].as_str().unwrap();
    let body = serde_json::json!({ "username": "carol", "password": password });
    let (status, token) = http(server.admin, "POST", "/api/v1/auth/login", "", Some(&body));
    assert_eq!(status, 200);
    let token = token["access_token"].as_str().unwrap();
    // The feed is polled every second.
    let asked = Instant::now();
    while http(server.admin, "GET", "/api/v1/users/", token, None).0 != 200 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the server did not notice");
        std::thread::sleep(Duration::from_millis(50));
    }
    let reset = run(cedargate(data.path()).args(["user", "reset-password", "carol"]));
    assert!(reset.status.success(), "{}", text(&reset.stderr));
    let asked = Instant::now();
    while http(server.admin, "GET", "/api/v1/users/", token, None).0 != 401 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the old token is still good");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn commands_work_offline_and_exit_as_promised() {
    let data = TempDir::new().unwrap();
    let status = run(cedargate(data.path()).args(["migrate", "status", "--json"]));
    let steps: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(steps.as_array().unwrap().iter().all(|step| step["applied_at"].is_null()), "{steps}");
    for command in [["migrate", "up"], ["migrate", "down"], ["migrate", "up"]] {
        assert!(run(cedargate(data.path()).args(command)).status.success());
    }
    let bob = run(cedargate(data.path()).args(["user", "create", "bob", "bob@example.com"]));
    assert!(bob.status.success(), "{}", text(&bob.stderr));
    assert!(text(&bob.stdout).contains("password: "));
    let twice = run(cedargate(data.path()).args(["user", "create", "bob", "bob@example.com"]));
    assert_eq!(twice.status.code(), Some(1));
    let weak = Command::new("sh")
        .args(["-c", r#"echo weak | "$0" --data-dir "$1" user reset-password bob --password-stdin"#])
        .args([env!("CARGO_BIN_EXE_cedargate")])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(weak.status.code(), Some(1), "{}", text(&weak.stderr));

    let denied = run(cedargate(data.path()).args(["explain", "bob", "GET", "/nowhere", "--json"]));
    assert_eq!(denied.status.code(), Some(3));
    let denied: Value = serde_json::from_slice(&denied.stdout).unwrap();
    assert_eq!(denied["reason"], "unknown_route");
    let unknown = run(cedargate(data.path()).args(["explain", "nobody", "GET", "/"]));
    assert_eq!(unknown.status.code(), Some(1));
    let explain = |arguments: &[&str]| {
        let output = run(cedargate(data.path()).arg("explain").args(arguments));
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, told, _) = explain(&["bob", "GET", "/health"]);
    assert_eq!((code, told.lines().next()), (Some(0), Some("allow 200 (allowed)")), "{told}");
    let (code, told, _) = explain(&["-", "GET", "/api/v1/users", "--context", "client_ip=::1"]);
    assert_eq!((code, told.lines().next()), (Some(3), Some("deny 401 (no_credentials)")), "{told}");
    for (arguments, fault) in [
        (&["bob", "GET", "nowhere"][..], "neither a path that begins with /"),
        (&["bob", "GE T", "/"], "a method has 1 to 32"),
        (&["bob", "GET", "/", "--context", "mfa=maybe"], "--context: mfa: invalid type"),
        (&["-", "GET", "/", "--context", "mfa=true"], "without a user there is no token"),
    ] {
        let (code, _, told) = explain(arguments);
        assert!(code == Some(2) && told.contains(fault), "{code:?} {told}");
    }
    // Using the command line first leaves the first administrator to the first start.
    let server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    server.token(PASSWORD);
    server.kill();
    let shown = text(&run(cedargate(data.path()).args(["policy", "show"])).stdout);
    assert!(shown.contains("@id(\"policy:inactive_users\")"), "{shown}");
    assert!(shown.contains("principal in Role::\"user\""), "{shown}");
    assert_eq!(run(cedargate(data.path()).args(["frobnicate"])).status.code(), Some(2));
}

#[test]
fn the_demo_back_end_runs_alone_until_it_is_told_to_stop() {
    let data = TempDir::new().unwrap();
    // It needs no settings, so a wrong one does not matter.
    let mut child = cedargate(data.path())
        .args(["demo-backend", "--listen", "127.0.0.1:0"])
        .env("SECRET_KEY", "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit_once("http://").unwrap().1.parse().unwrap();
    let (status, body) = http(address, "GET", "/articles/7", "", None);
    assert_eq!((status, &body["article"]["id"]), (200, &Value::from("7")));
    let url = format!("http://{address}/public");
    assert!(run(cedargate(data.path()).args(["healthcheck", "--url", &url])).status.success());
    // A client that keeps its connection does not hold it up.
    let idle = TcpStream::connect(address).unwrap();
    let mut server = Server { child, gateway: address, admin: address, told: line };
    let asked = Instant::now();
    server.terminate();
    assert!(server.child.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(idle);
}

#[test]
fn the_security_log_tells_of_sign_ins_writes_and_rules_and_is_opened_anew() {
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    let token = server.token(PASSWORD);
    assert_eq!(server.login("wrong").0, 401);
    let role = |name: &str| {
        let role = serde_json::json!({ "name": name });
        assert_eq!(http(server.admin, "POST", "/api/v1/roles/", &token, Some(&role)).0, 200);
    };
    role("first");
    let path = data.path().join("logs/security.log");
    let told = |path: &Path, wanted: &[&str]| {
        let asked = Instant::now();
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if wanted.iter().all(|word| text.contains(word)) {
                return text;
            }
            assert!(asked.elapsed() < Duration::from_secs(5), "{text} lacks one of {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let lines = told(&path, &["signed in", "sign-in failed", "rules changed", "admin write", "/api/v1/roles/"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
    for secret in [PASSWORD, token.as_str(), "wrong"] {
        assert!(!lines.contains(secret), "{lines}");
    }
    let moved = data.path().join("logs/yesterday.log");
    std::fs::rename(&path, &moved).unwrap();
    server.signal("-HUP");
    let asked = Instant::now();
    while !path.exists() {
        assert!(asked.elapsed() < Duration::from_secs(5), "the file was not opened anew");
        role(&format!("later{}", asked.elapsed().as_nanos()));
        std::thread::sleep(Duration::from_millis(20));
    }
    told(&path, &["admin write"]);
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    let token = server.token(PASSWORD);
    let level =
        |method: &str, body: Option<&Value>| http(server.admin, method, "/api/v1/system/log-level", &token, body);
    assert_eq!(level("GET", None).1["level"], "info");
    assert_eq!(level("PUT", Some(&serde_json::json!({ "level": "debug" }))).1["level"], "debug");
    assert_eq!(level("GET", None).1["level"], "debug");
    for broken in [serde_json::json!({ "level": "loud" }), serde_json::json!({ "level": 7 }), serde_json::json!({})] {
        assert_eq!(level("PUT", Some(&broken)).0, 422, "{broken}");
    }
    assert_eq!(level("GET", None).1["level"], "debug");
}

#[test]
fn a_security_log_that_cannot_be_written_refuses_the_start() {
    let data = TempDir::new().unwrap();
    let output = run(cedargate(data.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("LOG_FILE", "/proc/nowhere/security.log"));
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.starts_with("cedargate: log.file: /proc/nowhere/security.log"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}
