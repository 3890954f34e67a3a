//! Settings and exit codes as an operator meets them: the real program, in an empty directory, with a clean
//! environment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const SECRET: &str = "8f0d5c1be2a94c6793fd0b4b7f5a21c4e6d8a9b0c1d2e3f4";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(file: &str, text: &str) -> Self {
        let place = Self::new();
        place.write(file, text);
        place
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Answer {
        let output = Command::new(env!("CARGO_BIN_EXE_cedargate"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Answer::from(output)
    }

    /// Runs `check-config` with a good secret; it must fail with one line.
    fn refusal(&self, environment: &[(&str, &str)]) -> String {
        self.run(&["check-config"], &[&[("CEDARGATE_AUTH__SECRET_KEY", SECRET)], environment].concat()).refusal()
    }
}

struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Answer {
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// The one line after `cedargate: `.
    fn refusal(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{}", self.stderr);
        let line = self.stderr.strip_prefix("cedargate: ").unwrap().strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{line}");
        line.to_owned()
    }
}

#[test]
fn a_good_secret_is_all_that_serve_needs() {
    let place = Place::new();
    place.run(&["check-config"], &[("SECRET_KEY", SECRET)]).ok();
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "check-config wrote something");
    assert!(place.run(&["check-config"], &[]).refusal().starts_with("auth.secret_key is not set: give SECRET_KEY"));
}

#[test]
fn secrets_are_judged() {
    let refusal = |secret| Place::new().run(&["check-config"], &[("SECRET_KEY", secret)]).refusal();
    assert_eq!(refusal("hunter2"), "environment SECRET_KEY: auth.secret_key has 7 bytes; at least 32 are needed");
    let published = "your-super-secret-key-change-this-in-production";
    let told = refusal(published);
    assert!(told.contains("auth.secret_key is a published") && !told.contains(published), "{told}");
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    let place = Place::with("config/cedargate.toml", "[gateway]\n\nlissten = \"127.0.0.1:1\"\n");
    assert_eq!(
        place.refusal(&[]),
        "config/cedargate.toml:3: unknown key gateway.lissten, did you mean gateway.listen?"
    );
    assert_eq!(
        Place::new().refusal(&[("CEDARGATE_GATEWAY__LISSTEN", "127.0.0.1:1")]),
        "environment CEDARGATE_GATEWAY__LISSTEN: unknown variable, did you mean CEDARGATE_GATEWAY__LISTEN?"
    );
    let place = Place::with(".env", "CEDARGATE_LOG__LEVLE=info\n");
    assert_eq!(place.refusal(&[]), ".env CEDARGATE_LOG__LEVLE: unknown variable, did you mean CEDARGATE_LOG__LEVEL?");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = Place::new();
    let told = place.run(&["check-config", "--config", "none.toml"], &[("SECRET_KEY", SECRET)]).refusal();
    assert_eq!(told, "none.toml: cannot be read: No such file or directory (os error 2)");
    let told = place.run(&["check-config"], &[("SECRET_KEY_FILE", "none")]).refusal();
    assert_eq!(
        told,
        "environment SECRET_KEY_FILE: auth.secret_key cannot be read from none: No such file or directory (os error 2)"
    );
    let tls = [("CEDARGATE_GATEWAY__TLS_CERTIFICATE", "none.pem"), ("CEDARGATE_GATEWAY__TLS_KEY", "none.key")];
    assert!(place.refusal(&tls).contains("gateway.tls_certificate none.pem: cannot be read"));
}

#[test]
fn a_secret_is_read_from_a_file() {
    let place = Place::with("secret", &format!("{SECRET}\n"));
    place.run(&["check-config"], &[("SECRET_KEY_FILE", "secret")]).ok();
    let both = [("CEDARGATE_AUTH__SECRET_KEY_FILE", "secret"), ("CEDARGATE_AUTH__SECRET_KEY", SECRET)];
    let told = place.run(&["check-config"], &both).refusal();
    assert!(told.contains("CEDARGATE_AUTH__SECRET_KEY_FILE are both set"), "{told}");
}

#[test]
fn the_environment_beats_env_file_beats_file() {
    let place = Place::with(
        "config/cedargate.toml",
        "[app]\nname = \"file\"\n[log]\nlevel = \"debug\"\n[admin]\nlisten = \"127.0.0.1:1\"\n",
    );
    place.write(".env", "APP_NAME=dotenv\nCEDARGATE_ADMIN__LISTEN=127.0.0.1:2\n");
    let shown = place.run(&["config", "show"], &[("CEDARGATE_ADMIN__LISTEN", "127.0.0.1:3")]).ok();
    for line in [
        ["app.name = dotenv ", "# .env APP_NAME"],
        ["log.level = debug ", "# file config/cedargate.toml:4"],
        ["admin.listen = 127.0.0.1:3 ", "# environment CEDARGATE_ADMIN__LISTEN"],
    ] {
        assert!(shown.lines().any(|shown| shown.starts_with(line[0]) && shown.ends_with(line[1])), "{shown}");
    }
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

#[test]
fn flags_beat_the_environment() {
    let told = Place::new()
        .run(
            &["serve", "--listen", "127.0.0.1:5", "--admin-listen", "127.0.0.1:5"],
            &[("SECRET_KEY", SECRET), ("CEDARGATE_GATEWAY__LISTEN", "127.0.0.1:4")],
        )
        .refusal();
    assert_eq!(told, "flag: admin.listen is 127.0.0.1:5, which gateway.listen (127.0.0.1:5) occupies");
}

#[test]
fn dev_refuses_what_is_not_loopback() {
    let told = Place::new().run(&["dev", "--listen", "0.0.0.0:8000"], &[]).refusal();
    assert!(told.starts_with("flag: gateway.listen is 0.0.0.0:8000, but `dev`"), "{told}");
}

#[test]
fn names_of_the_predecessor_are_read() {
    let given = [
        ("PORT", "9000"),
        ("log_level", "WARNING"),
        ("DATABASE_URL", "postgresql+psycopg2://ann:hunter2@db/auth"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "15"),
        ("SMTP_HOST", "ignored"),
    ];
    let shown = Place::new().run(&["config", "show"], &given).ok();
    for start in [
        "gateway.listen = 0.0.0.0:9000 ",
        "log.level = warn ",
        "database.url = postgresql://ann:***@db/auth ",
        "auth.access_token_minutes = 15 ",
    ] {
        assert!(shown.lines().any(|line| line.starts_with(start)), "{shown}");
    }
}

#[test]
fn no_secret_is_shown() {
    let given = [
        ("SECRET_KEY", SECRET),
        ("CEDARGATE_BOOTSTRAP_PASSWORD", "hunter2hunter2"),
        ("DATABASE_URL", "postgres://ann:hunter2@db/auth"),
    ];
    let place = Place::new();
    let text = place.run(&["config", "show", "--effective"], &given).ok();
    let json = place.run(&["config", "show", "--effective", "--json"], &given).ok();
    for shown in [&text, &json] {
        assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{shown}");
    }
    let entries: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert!(entries.contains(&serde_json::json!(
        {"key": "auth.secret_key", "value": "***", "source": "environment SECRET_KEY"}
    )));
    assert!(entries.contains(&serde_json::json!({"key": "gateway.workers", "value": "0", "source": "default"})));
}

#[test]
fn usage_errors_are_2_and_version_needs_no_settings() {
    let place = Place::with(".env", "CEDARGATE_NONSENSE=1\n");
    assert_eq!(place.run(&["nonsense"], &[]).code, 2);
    assert_eq!(place.run(&["migrate", "down", "--steps", "0"], &[]).code, 2);
    assert_eq!(place.run(&["user", "create", "ann"], &[]).code, 2);
    let version = place.run(&["version"], &[]).ok();
    assert_eq!(version.trim(), format!("cedargate {}", env!("CARGO_PKG_VERSION")));
    let version: serde_json::Value = serde_json::from_str(&place.run(&["version", "--json"], &[]).ok()).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn healthcheck_tells_ready_from_not_ready() {
    for (status, code) in [("200 OK", 0), ("503 Service Unavailable", 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = Place::new().run(&["healthcheck"], &[("CEDARGATE_ADMIN__LISTEN", &address)]);
        assert_eq!(answer.code, code, "{}", answer.stderr);
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1\r\n"));
    }
    let nobody = Place::new().run(&["healthcheck", "--url", "http://127.0.0.1:1/readyz"], &[]).refusal();
    assert!(nobody.starts_with("http://127.0.0.1:1/readyz cannot be asked"), "{nobody}");
}
