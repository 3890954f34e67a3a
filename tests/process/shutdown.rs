//! The end of the process, while an upstream hangs.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PASSWORD, Server, http};

/// A server with a request in flight, which is never answered.
struct Hanging {
    server: Server,
    _client: TcpStream,
    _upstream: TcpStream,
    _data: TempDir,
}

impl Hanging {
    fn start(bound_ms: &str) -> Self {
        let data = TempDir::new().unwrap();
        let environment =
            [("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD), ("CEDARGATE_GATEWAY__SHUTDOWN_TIMEOUT_MS", bound_ms)];
        let server = Server::start(data.path(), &environment);
        let (client, upstream) = hang(server.admin, server.gateway, &server.token(PASSWORD));
        Self { server, _client: client, _upstream: upstream, _data: data }
    }

    /// Asks the process to end, and waits until it has begun to.
    fn terminate(&self) {
        self.server.terminate();
        let asked = Instant::now();
        while http(self.server.admin, "GET", "/readyz", "", None).0 != 503 {
            assert!(asked.elapsed() < Duration::from_secs(5), "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Has a request wait for an upstream that never answers; both ends of it.
pub(super) fn hang(admin: SocketAddr, gateway: SocketAddr, token: &str) -> (TcpStream, TcpStream) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let make = |path: &str, body: Value| {
        let (status, made) = http(admin, "POST", &format!("/api/v1{path}"), token, Some(&body));
        assert_eq!(status, 200, "{made}");
        made["id"].clone()
    };
    make("/upstreams/", json!({ "name": "silent", "targets": [{ "address": target }] }));
    let module = make("/modules/", json!({ "name": "slow", "label": "Slow" }));
    make(
        "/routes/",
        json!({
            "route": "/slow", "label": "Slow", "module_id": module, "upstream": "silent",
            "operations": [{ "methods": ["GET"], "access": "public" }],
        }),
    );
    let mut client = TcpStream::connect(gateway).unwrap();
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (upstream, _) = silent.accept().unwrap();
    (client, upstream)
}

#[test]
fn a_hanging_upstream_holds_up_the_end_for_the_bound_only() {
    let mut hanging = Hanging::start("1500");
    let asked = Instant::now();
    hanging.terminate();
    let ended = hanging.server.child.wait().unwrap();
    let took = asked.elapsed();
    assert!(ended.success(), "{ended}");
    assert!(took >= Duration::from_millis(1_300) && took < Duration::from_millis(2_700), "{took:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut hanging = Hanging::start("60000");
    hanging.terminate();
    let asked = Instant::now();
    hanging.server.terminate();
    let ended = hanging.server.child.wait().unwrap();
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}
