//! A mail server of others, from a package, and what it was given.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    StartTls,
    Tls,
    Plain,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::Plain => "plain",
        }
    }
}

/// A certificate of an authority of its own.
pub(crate) struct Papers {
    directory: TempDir,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("cedargate-mail-").unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let own =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        for (name, pem) in [("ca.pem", authority_pem), ("cert.pem", own.pem()), ("key.pem", key.serialize_pem())] {
            std::fs::write(directory.path().join(name), pem).unwrap();
        }
        Self { directory }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A mail as the server took it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) to: String,
    pub(crate) secure: bool,
    pub(crate) user: Option<String>,
    /// Head and body as they came.
    pub(crate) data: String,
}

impl Taken {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.data.split("\r\n\r\n").next().unwrap();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The plain text.
    pub(crate) fn text(&self) -> String {
        let part = self.data.split("text/plain").nth(1).unwrap_or_else(|| panic!("{}", self.data));
        let part = part.split_once("\r\n\r\n").unwrap().1;
        // Quoted-printable, as far as links and English have anything quoted.
        part.split("\r\n--").next().unwrap().replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n")
    }

    /// The token of its link, which begins with `page`.
    pub(crate) fn token(&self, page: &str) -> String {
        let text = self.text();
        let start = format!("{page}?token=");
        let found = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
        found.unwrap_or_else(|| panic!("no {start} in {text}")).to_owned()
    }
}

/// A mail server that runs until this is dropped.
pub(crate) struct MailServer {
    child: Child,
    _stdin: ChildStdin,
    pub(crate) port: u16,
    papers: Arc<Papers>,
    way: Way,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl MailServer {
    pub(crate) fn start(way: Way) -> Self {
        Self::start_at(way, 0, Arc::new(Papers::new()))
    }

    /// Starts at a port of before, with the papers of before.
    pub(crate) fn start_at(way: Way, port: u16, papers: Arc<Papers>) -> Self {
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp/server.py"))
            .args([way.word(), &port.to_string(), &papers.file("cert.pem"), &papers.file("key.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let port = u16::try_from(first["port"].as_u64().unwrap()).unwrap();
        let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
        let into = Arc::clone(&taken);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mail: Value = serde_json::from_str(&line).unwrap();
                let text = |name: &str| mail[name].as_str().map(str::to_owned);
                assert_eq!(mail["to"].as_array().unwrap().len(), 1, "{mail}");
                into.lock().unwrap().push(Taken {
                    to: mail["to"][0].as_str().unwrap().to_owned(),
                    secure: mail["secure"].as_bool().unwrap(),
                    user: text("user"),
                    data: text("data").unwrap(),
                });
            }
        });
        Self { child, _stdin: stdin, port, papers, way, taken }
    }

    pub(crate) fn papers(&self) -> Arc<Papers> {
        Arc::clone(&self.papers)
    }

    /// The settings that lead to it.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        settings(self.way, self.port, &self.papers)
    }

    /// Everything that it was given.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until it has `count` mails to `to`, and returns them.
    pub(crate) async fn wait(&self, to: &str, count: usize) -> Vec<Taken> {
        let started = Instant::now();
        loop {
            let found: Vec<Taken> = self.taken().into_iter().filter(|mail| mail.to == to).collect();
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:?}");
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{} of {count} mails to {to} came", found.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The settings that lead to a mail server at `port` of this machine.
pub(crate) fn settings(way: Way, port: u16, papers: &Papers) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("SMTP_HOST", "localhost".to_owned()),
        ("SMTP_PORT", port.to_string()),
        ("CEDARGATE_SMTP__SECURITY", if way == Way::Plain { "none" } else { way.word() }.to_owned()),
        ("CEDARGATE_SMTP__TIMEOUT_MS", "3000".to_owned()),
        ("EMAIL_FROM", "Gate <gate@example.com>".to_owned()),
        ("CEDARGATE_APP__PUBLIC_URL", "https://app.example.com/x/".to_owned()),
    ];
    if way != Way::Plain {
        settings.push(("CEDARGATE_SMTP__CA_FILE", papers.file("ca.pem")));
        settings.push(("SMTP_USERNAME", "gate".to_owned()));
        settings.push(("SMTP_PASSWORD", "mail-password".to_owned()));
    }
    settings
}

/// A port where nobody listens.
pub(crate) fn silent_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listener.local_addr().unwrap().port()
}

/// Python with the mail server's package.
fn python() -> &'static Path {
    static PYTHON: OnceLock<std::path::PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/venv.sh")).arg("smtp").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Path::new(String::from_utf8(made.stdout).unwrap().trim()).join("bin/python")
    })
}
