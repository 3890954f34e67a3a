//! TLS towards targets: whom the gateway believes, what it shows, and whose connections are shared.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::World;
use crate::support::certificates::{Authority, authority, signed};

/// A back end with TLS that answers with what it knows of the connection, and counts them.
struct Secure {
    address: SocketAddr,
    connections: Arc<Mutex<usize>>,
}

impl Secure {
    async fn start(own: &Authority, clients: Option<&Authority>, alpn: &[&str]) -> Self {
        let (chain, key) = signed(own, &["fleet.example"]);
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = ServerConfig::builder();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    *count.lock().unwrap() += 1;
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => http2(stream).await,
                        _ => http1(stream).await,
                    }
                });
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn http1(mut stream: TlsStream<TcpStream>) {
    let about = stream.get_ref().1;
    let told = format!("{} {}", about.server_name().unwrap_or("-"), about.peer_certificates().is_some());
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {
        if bytes.ends_with(b"\r\n\r\n") {
            bytes.clear();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn http2(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let answer = http::Response::builder().status(200).body(()).unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data(bytes::Bytes::from(format!("http2 {}", request.uri())), true).unwrap();
    }
}

fn tls(ca: Option<&Authority>, more: &Value) -> Value {
    let mut tls = json!({ "server_name": "fleet.example" });
    if let Some(ca) = ca {
        tls["ca"] = json!(ca.pem());
    }
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "tls": tls })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_vouched_for_is_believed() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let world = World::start().await;
    let back = Secure::start(&ours, None, &[]).await;
    let id = world.fleet(&[back.address], tls(Some(&ours), &json!({}))).await;
    assert_eq!(world.get("/fleet/x").await.expect(200).text, "fleet.example false");
    world.get("/fleet/x").await.expect(200);
    // A connection that was verified by other terms is not used.
    for refused in [
        tls(Some(&theirs), &json!({})),
        tls(None, &json!({})),
        tls(Some(&ours), &json!({ "server_name": "other.example" })),
    ] {
        world.change(id, refused).await;
        world.get("/fleet/x").await.expect(502);
    }
    assert!(world.sum("cedargate_upstream_errors_total", &[("kind", "tls")]).await >= 3);
    world.change(id, tls(Some(&ours), &json!({}))).await;
    assert_eq!(world.get("/fleet/x").await.expect(200).text, "fleet.example false");
    // Checks believe the same.
    let check = json!({ "health_check": { "path": "/health", "interval_ms": 100, "unhealthy_after": 1 } });
    world.change(id, check).await;
    super::until(async || world.sum("cedargate_upstream_health_checks_total", &[("outcome", "passed")]).await > 1)
        .await;
    world.change(id, tls(Some(&theirs), &json!({}))).await;
    world.becomes(id, back.address, false).await;
    assert_eq!(world.target(id, back.address).await["out"]["kind"], "tls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_shown_to_who_asks_for_it() {
    let (ours, clients) = (authority("ours"), authority("clients"));
    let folder = TempDir::with_prefix("cedargate-fleet-").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut certificates = Vec::new();
    for (name, by) in [("known", &clients), ("stranger", &ours)] {
        let (chain, key) = signed(by, &[name]);
        let files = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        std::fs::write(&files.0, chain).unwrap();
        std::fs::write(&files.1, key).unwrap();
        certificates.push(json!({ "name": name, "certificate": files.0, "key": files.1 }));
    }
    let setting = json!(certificates).to_string();
    let world = World::with(&[("CEDARGATE_GATEWAY__UPSTREAM_CERTIFICATES", &setting)]).await;
    let back = Secure::start(&ours, Some(&clients), &[]).await;
    let id = world.fleet(&[back.address], tls(Some(&ours), &json!({ "client_certificate": "known" }))).await;
    assert_eq!(world.get("/fleet/x").await.expect(200).text, "fleet.example true");
    for stranger in [json!({}), json!({ "client_certificate": "stranger" })] {
        world.change(id, tls(Some(&ours), &stranger)).await;
        world.get("/fleet/x").await.expect(502);
    }
    world.change(id, tls(Some(&ours), &json!({ "client_certificate": "known" }))).await;
    world.get("/fleet/x").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_agreed_upon_or_known() {
    let ours = authority("ours");
    let world = World::with(&[("CEDARGATE_GATEWAY__WORKERS", "1")]).await;
    let back = Secure::start(&ours, None, &["h2", "http/1.1"]).await;
    let mut settings = tls(Some(&ours), &json!({}));
    settings["protocol"] = json!("http2");
    settings["host_header"] = json!("inner.example");
    let id = world.fleet(&[back.address], settings).await;
    for _ in 0..3 {
        assert_eq!(world.get("/fleet/x").await.expect(200).text, "http2 https://inner.example/fleet/x");
    }
    assert_eq!(back.connections(), 1);
    world.change(id, json!({ "protocol": "http1" })).await;
    assert_eq!(world.get("/fleet/x").await.expect(200).text, "fleet.example false");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = plain.accept().await {
            tokio::spawn(http2(stream));
        }
    });
    let check = json!({ "path": "/health", "interval_ms": 100, "unhealthy_after": 1 });
    let targets = json!([{ "address": address.to_string() }]);
    let known = json!({ "protocol": "http2", "tls": null, "targets": targets, "health_check": check });
    world.change(id, known).await;
    assert_eq!(world.get("/fleet/x").await.expect(200).text, "http2 http://inner.example/fleet/x");
    super::until(async || world.sum("cedargate_upstream_health_checks_total", &[("outcome", "passed")]).await > 1)
        .await;
    assert!(world.target(id, address).await["is_well"].as_bool().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_not_shared_with_who_believes_others() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let world = World::with(&[("CEDARGATE_GATEWAY__WORKERS", "1")]).await;
    let back = Secure::start(&ours, None, &[]).await;
    world.fleet(&[back.address], tls(Some(&ours), &json!({}))).await;
    let mut other = tls(Some(&theirs), &json!({}));
    other["name"] = json!("other");
    other["targets"] = json!([{ "address": back.address.to_string() }]);
    world.app.admin("POST", "/upstreams/").bearer(&world.admin).json(other).await.expect(200);
    let anybody = json!([{ "methods": ["*"], "access": "public" }]);
    world.app.route_to(&world.admin, "other", back.address, "/other/{*rest}", anybody).await;
    for _ in 0..3 {
        world.get("/fleet/x").await.expect(200);
        world.get("/other/x").await.expect(502);
    }
    assert_eq!(back.connections(), 1);
}
