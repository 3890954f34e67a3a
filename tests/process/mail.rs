//! What was answered is sent by mail, once, though the process is killed in between.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PASSWORD, Server, http};

/// The mail server of others, at a port where nobody was before.
struct Mails {
    child: Child,
    taken: std::sync::mpsc::Receiver<Value>,
}

impl Mails {
    fn start(port: u16) -> Self {
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
        let made = Command::new(format!("{tests}/venv.sh")).arg("smtp").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let python = Path::new(String::from_utf8(made.stdout).unwrap().trim()).join("bin/python");
        let mut child = Command::new(python)
            .arg(format!("{tests}/smtp/server.py"))
            .args(["plain", &port.to_string(), "", ""])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (told, taken) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _test_is_over = told.send(serde_json::from_str(&line).unwrap());
            }
        });
        let first: Value = taken.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(first["port"], json!(port));
        Self { child, taken }
    }
}

impl Drop for Mails {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_mail_is_sent_once_though_the_process_was_killed_before() {
    let data = TempDir::new().unwrap();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let port_text = port.to_string();
    let environment = [
        ("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD),
        ("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on"),
        ("CEDARGATE_SMTP__HOST", "127.0.0.1"),
        ("CEDARGATE_SMTP__PORT", port_text.as_str()),
        ("CEDARGATE_SMTP__SECURITY", "none"),
        ("CEDARGATE_SMTP__TIMEOUT_MS", "2000"),
        ("CEDARGATE_MAIL__FROM", "gate@example.com"),
        ("CEDARGATE_APP__PUBLIC_URL", "https://app.example.com"),
    ];
    let server = Server::start(data.path(), &environment);
    let account = json!({ "username": "annabel", "email": "annabel@example.com", "password": "Long-enough-2026" });
    let (status, made) = http(server.admin, "POST", "/api/v1/auth/register", "", Some(&account));
    assert_eq!(status, 200, "{made}");
    // At once: the answer is all that anybody has of it.
    server.kill();

    let mails = Mails::start(port);
    let server = Server::start(data.path(), &environment);
    let mail = mails.taken.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!(mail["to"], json!(["annabel@example.com"]));
    let text = mail["data"].as_str().unwrap().replace("=\r\n", "").replace("=3D", "=");
    let token = text.split("https://app.example.com/verify-email?token=").nth(1).unwrap();
    let token: String = token.chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
    let (status, verified) =
        http(server.admin, "POST", "/api/v1/auth/verify-email", "", Some(&json!({ "token": token })));
    assert_eq!(status, 200, "{verified}");
    // Killed and started once more: it does not come again.
    let asked = Instant::now();
    server.kill();
    let _server = Server::start(data.path(), &environment);
    let again = mails.taken.recv_timeout(Duration::from_secs(6));
    assert!(again.is_err(), "after {:?}: {again:?}", asked.elapsed());
}
