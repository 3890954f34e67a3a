//! Other issuers: one that signs by itself, a real provider, and servers that answer as no issuer should.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::block_in_place;

/// Whom tokens of these issuers are for.
pub(crate) const AUDIENCE: &str = "cedargate";

/// Signs with a key of its own.
pub(crate) struct Signer {
    pub(crate) iss: String,
    kid: String,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    pub(crate) fn new(iss: &str, kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let point = pair.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let public =
            json!({ "kty": "EC", "crv": "P-256", "x": part(1..33), "y": part(33..65), "kid": kid, "use": "sig" });
        Self { iss: iss.to_owned(), kid: kid.to_owned(), key, public }
    }

    /// The set with its public key alone.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// Claims that are valid for a while, with `more` over them; null takes one away.
    pub(crate) fn claims(&self, subject: &str, more: Value) -> Value {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({ "iss": self.iss, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 300 });
        let Value::Object(more) = more else { panic!("claims are an object") };
        for (name, value) in more {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
                value => claims[name] = value,
            }
        }
        claims
    }

    /// A token with these.
    pub(crate) fn token(&self, subject: &str, more: Value) -> String {
        self.signed(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.kid }), &self.claims(subject, more))
    }

    /// Whatever header and claims, with a good signature.
    pub(crate) fn signed(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Header::new(Algorithm::ES256).alg);
        format!("{message}.{}", signature.unwrap())
    }

    /// Writes the public key where a JWKS file is looked for.
    pub(crate) fn publish(&self, path: &Path) {
        std::fs::write(path, self.jwks().to_string()).unwrap();
    }
}

/// One issuer, as the variable of the settings takes it.
pub(crate) fn issuers(all: &[Value]) -> String {
    Value::from(all.to_vec()).to_string()
}

/// The npm package `oidc-provider`, in a process of its own.
pub(crate) struct Provider {
    pub(crate) iss: String,
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Provider {
    /// With these clients, and what their tokens say beside themselves.
    pub(crate) fn start(claims: &Value) -> Self {
        let made = block_in_place(|| Command::new("tests/npm.sh").arg("oidc").output()).unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = String::from_utf8(made.stdout).unwrap();
        let mut process = Command::new("node")
            .arg("provider.mjs")
            .arg(claims.to_string())
            .current_dir(folder.trim())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = block_in_place(|| output.next()).expect("the provider starts").unwrap();
            // It says other things too.
            if let Ok(port) = line.parse::<u16>() {
                break port;
            }
        };
        Self { iss: format!("http://127.0.0.1:{port}"), process, input, output }
    }

    /// From now on it signs with another key, and knows the old one no more.
    pub(crate) fn rotate(&mut self) {
        block_in_place(|| {
            self.input.write_all(b"\n").unwrap();
            while self.output.next().expect("the provider goes on").unwrap() != "rotated" {}
        });
    }

    /// An access token for a client.
    pub(crate) async fn token(&self, client: &str) -> String {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http
            .post(format!("{}/token", self.iss))
            .basic_auth(client, Some("secret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=api")
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// It answers no more; when it is dropped, too.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _gone = (self.process.kill(), self.process.wait());
    }
}

/// A server that answers every request with the same bytes, and counts.
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Canned {
    /// `answer` is sent, `repeat` of its tail for ever if there is one, and then the connection is closed.
    pub(crate) async fn start(answer: impl Into<Vec<u8>>, endless: Option<&'static [u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (answer.into(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4_096];
                    let _read = stream.read(&mut head).await;
                    let _sent = stream.write_all(&answer).await;
                    while let Some(more) = endless {
                        if stream.write_all(more).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Answers with this JSON.
    pub(crate) async fn json(value: &Value) -> Self {
        let body = value.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        Self::start(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()), None).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// Connections so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
