//! One gateway, one back end that shows what reached it, real sockets.

mod connections;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http::{Cors, SecurityHeaders, TrustedProxies};
use crate::jwt::{Errands, Kind, Minter, NewToken, Own, Verifier};
use crate::model::rules::{Assignment, GrantRule, ModuleRule, PermissionRule, Revisions, RoleRule, Rules, UserState};
use crate::model::{
    Balance, ForwardedHeader, HashOn, HeaderRules, ModuleId, Operation, PermissionId, Protocol, RoleId, Route, RouteId,
    Secret, Target, Timeouts, Timestamp, Upstream, UpstreamId, UserId,
};
use crate::policy::{Compiled, Fixed, MountedPath, Snapshot, SnapshotHandle};
use crate::telemetry::{AccessLog, Metrics, Recent};

/// An address whose word about clients is believed.
const PROXY: &str = "127.0.0.9";

struct World {
    gateway: Running,
    metrics: Arc<Metrics>,
    seen: Arc<AtomicUsize>,
    token: String,
    log: Log,
    _guard: crate::telemetry::Flush,
}

#[derive(Clone, Default)]
struct Log(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Answers each request with the head it saw as body; `/slow` waits, `/hang` never answers.
async fn back_end(name: &'static str, seen: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    seen.fetch_add(1, Ordering::SeqCst);
                    let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
                    let length = head
                        .to_lowercase()
                        .split("content-length: ")
                        .nth(1)
                        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
                    while bytes.len() < length {
                        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    bytes.drain(..length);
                    if head.to_lowercase().contains("upgrade: websocket") {
                        let switch =
                            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
                        stream.write_all(switch.as_bytes()).await.unwrap();
                        let (mut read, mut write) = stream.split();
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                        return;
                    }
                    if head.contains("/hang") {
                        std::future::pending::<()>().await;
                    }
                    if head.contains("/slow") {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                    }
                    let body = if head.starts_with("HEAD") { "" } else { &*format!("{name}\n{head}") };
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nServer: own\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn route(id: i64, path: &str, upstream: &str, strip: Option<&str>, operations: &str) -> Route {
    Route {
        id: RouteId(id),
        route: path.to_owned().try_into().unwrap(),
        label: "r".try_into().unwrap(),
        icon: None,
        is_active: true,
        is_sidebar: false,
        module_id: ModuleId(1),
        parent_id: None,
        priority: 0,
        created_at: Timestamp::now(),
        updated_at: None,
        host: None,
        upstream: Some(upstream.try_into().unwrap()),
        strip_prefix: strip.map(str::to_owned),
        forward_authorization: id != 4,
        rate_limit: None,
        max_body_bytes: None,
        headers: HeaderRules::default(),
        operations: serde_json::from_str::<Vec<Operation>>(operations).unwrap(),
    }
}

fn upstream(id: i64, name: &str, addresses: &[SocketAddr], retries: i64) -> Upstream {
    Upstream {
        id: UpstreamId(id),
        name: name.try_into().unwrap(),
        is_active: true,
        protocol: Protocol::Http1,
        targets: addresses.iter().map(|address| Target { address: address.to_string(), weight: 1 }).collect(),
        balance: Balance::RoundRobin,
        tls: None,
        host_header: None,
        timeouts: Timeouts { read_ms: 700, ..Timeouts::default() },
        retries,
        hash_on: HashOn::default(),
        retry_budget_percent: Upstream::RETRY_BUDGET_PERCENT,
        health_check: None,
        ejection: None,
        max_body_bytes: Some(16),
    }
}

fn token_of(minter: &Minter, user: &UserState, now: Timestamp) -> String {
    let token = NewToken {
        kind: Kind::Access,
        user: (user.id, &user.username),
        epoch: 0,
        session: "s1",
        id: "t1",
        issued_at: now,
        expires_at: now.plus(Duration::from_mins(1)),
    };
    minter.mint(&token).unwrap().expose().clone()
}

fn settings(tls: Option<TlsFiles>, admin: SocketAddr) -> Settings {
    Settings {
        listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        tls: tls.map(|files| TlsSettings {
            certificates: vec![files],
            client_auth: ClientAuth::Off,
            allows_tls12: true,
        }),
        redirect: None,
        mount: Some(Mount { address: admin, secret: Secret::new("mount-secret".to_owned()) }),
        workers: 2,
        terms: Terms {
            limits: Limits {
                header_timeout: Duration::from_millis(500),
                max_connections_per_address: 50,
                ..Limits::default()
            },
            cors: Cors::default(),
            security_headers: Some(SecurityHeaders::new(Duration::from_mins(1))),
            rates: None,
            proxies: TrustedProxies::new([PROXY.parse().unwrap()], ForwardedHeader::default()),
            proxy_protocol: false,
        },
        upstream_certificates: Vec::new(),
        dns_servers: Vec::new(),
    }
}

async fn world(tls: Option<TlsFiles>) -> World {
    let seen = Arc::new(AtomicUsize::new(0));
    let back = back_end("back", Arc::clone(&seen)).await;
    let admin = back_end("admin", Arc::clone(&seen)).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let read = r#"[{"methods":["GET"],"access":"permission","permission":"article:read"},
                   {"methods":["DELETE"],"access":"permission","permission":"article:delete"},
                   {"methods":["POST"],"access":"authenticated"}]"#;
    let public = r#"[{"methods":["*"],"access":"public"}]"#;
    let own = r#"[{"methods":["GET"],"access":"permission","permission":"order:read","owner":"query.user_id"}]"#;
    let permission =
        |id: i64, name: &str| PermissionRule { id: PermissionId(id), name: name.try_into().unwrap(), is_active: true };
    let rules = Rules {
        roles: vec![RoleRule {
            is_system_role: false,
            id: RoleId(1),
            name: "reader é".try_into().unwrap(),
            is_active: true,
            parents: vec![],
        }],
        permissions: vec![
            permission(1, "article:read"),
            permission(2, "article:delete"),
            permission(3, "order:read"),
            permission(4, "order:read:own"),
        ],
        grants: [1, 4].map(|id| GrantRule { role_id: RoleId(1), permission_id: PermissionId(id) }).to_vec(),
        modules: vec![ModuleRule { id: ModuleId(1), name: "m".try_into().unwrap(), is_active: true }],
        routes: vec![
            route(1, "/demo/{*rest}", "back", Some("/demo"), read),
            route(2, "/public/{*rest}", "back", None, public),
            route(3, "/dead", "dead", None, public),
            route(4, "/orders", "back", None, own),
            route(5, "/second", "second", None, public),
            route(6, "/unknown", "unknown", None, public),
            Route { max_body_bytes: Some(20), ..route(7, "/more", "back", None, public) },
            Route { max_body_bytes: Some(4), ..route(8, "/less", "back", None, public) },
        ],
        upstreams: vec![
            upstream(1, "back", &[back], 0),
            upstream(2, "dead", &[dead], 0),
            upstream(3, "second", &[dead, back], 1),
            Upstream {
                targets: vec![Target { address: "no-such-name.invalid:80".to_owned(), weight: 1 }],
                ..upstream(4, "unknown", &[], 0)
            },
        ],
        ..Rules::default()
    };
    let fixed = Fixed {
        mounts: vec![Arc::new(MountedPath {
            template: "/api/v1/users/{id}".to_owned().try_into().unwrap(),
            operations: Vec::new(),
        })],
        ..Fixed::default()
    };
    let now = Timestamp::now();
    let user = UserState {
        id: UserId(42),
        username: "alice".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: vec![Assignment { role_id: RoleId(1), expires_at: None }],
    };
    let secret = Secret::new("s".repeat(32));
    let verifier = Verifier::new(Own::secret(&secret), Duration::ZERO, 16);
    let minter = Minter::new(&verifier, Duration::from_mins(1), Duration::from_mins(1));
    let token = token_of(&minter, &user, now);
    let compiled = Compiled::new(rules, &fixed, None).unwrap();
    let revisions = Revisions { revision: 9, policy_revision: 7 };
    let metrics = Arc::new(Metrics::new("test").unwrap());
    let log = Log::default();
    let (access_log, guard) = AccessLog::to(log.clone());
    let parts = Parts {
        snapshots: SnapshotHandle::new(Snapshot::new(revisions, compiled, [user], [], now)),
        verifier,
        errands: Errands::new().0,
        metrics: Arc::clone(&metrics),
        access_log,
        recent: Recent::new(0),
    };
    let settings = settings(tls, admin);
    let gateway = start(settings, parts).unwrap();
    World { gateway, metrics, seen, token, log, _guard: guard }
}

impl World {
    /// Sends raw bytes and returns all that comes back until the connection closes or falls silent.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.gateway.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(900), stream.read_buf(&mut answer)).await {
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the log has that many lines.
    async fn lines(&self, count: usize) {
        for _ in 0..500 {
            if self.log.0.lock().split(|byte| *byte == b'\n').count() > count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fewer than {count} lines");
    }

    async fn get(&self, path: &str, extra: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: Gw.Example:80\r\n{extra}\r\n").as_bytes()).await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}
