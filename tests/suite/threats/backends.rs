//! nginx and `HAProxy` behind the gateway: what they write into their own access logs is what it has authorised.
//!
//! They disagree with each other about what is well formed, about empty and dotted segments, and about bodies that
//! nobody reads; `HAProxy` is told to accept what it would refuse. Each keeps its connections to the gateway open.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::World;
use super::wire::{Slow, get};
use super::world::{bearer, public};
use crate::support::programs::{self, Server};

/// What a back end wrote about a request that it saw.
#[derive(Debug)]
struct Seen {
    method: String,
    target: String,
    request_id: String,
}

fn nginx() -> Server {
    programs::nginx(
        "$request|$http_x_request_id",
        "access_log FOLDER/seen seen;
         ignore_invalid_headers off; underscores_in_headers on; keepalive_timeout 60s;
         location / { return 200 'ok'; }",
    )
}

fn haproxy() -> Server {
    let configure = |address: SocketAddr, _: &Path| {
        format!(
            "global
               log stdout format raw local0
               maxconn 256
             defaults
               mode http
               log global
               timeout client 60s
               timeout http-keep-alive 60s
               option accept-invalid-http-request
               option dontlognull
             frontend front
               bind {address}
               http-request capture req.hdr(x-request-id) len 64
               log-format \"%{{+Q}}r|%[capture.req.hdr(0)]\"
               http-request return status 200 content-type text/plain string ok\n"
        )
    };
    let arguments = |folder: &Path| ["-db", "-f", &format!("{}/config", folder.display())].map(str::to_owned).to_vec();
    Server::start("haproxy", arguments, configure)
}

fn seen(text: &str) -> Vec<Seen> {
    let lines = text.lines().filter_map(|line| line.rsplit_once('|'));
    let parsed = lines.map(|(request, request_id)| {
        let mut words = request.trim_matches('"').splitn(3, ' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Seen { method, target, request_id: request_id.to_owned() }
    });
    parsed.collect()
}

/// Heads and bodies that are read differently somewhere; `TARGET` stands for a target of its own, `SECRET` for a request
/// that nobody may ask.
fn catalogue() -> Vec<String> {
    let mut all = Vec::new();
    for fields in [
        // Two framings, or two readings of one.
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: -1",
        "Content-Length:\u{b}5",
        "Content-Length : 5",
        "Content_Length: 5",
        "Content-Length:\r\n 5",
        "X: y\r\n Content-Length: 5",
        "X: y\nContent-Length: 5",
        "X: y\rContent-Length: 5",
        "Content-Length: 5\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer_Encoding: chunked",
        "\u{0}Transfer-Encoding: chunked",
        "X: y\r\n\r\nTransfer-Encoding: chunked",
        ": x\r\nTransfer-Encoding: chunked",
        "Connection: content-length\r\nContent-Length: 5",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
        // Expectations, upgrades and what is put before them.
        "Expect: 100-continue\r\nContent-Length: 5",
        "Expect: 100-continue\r\nTransfer-Encoding: chunked",
        "Expect: x\r\nContent-Length: 5",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Content-Length: 5",
        "Content-Length: 00005",
        "Transfer-Encoding: chunked",
        "X: y",
    ] {
        for method in ["POST", "GET", "HEAD", "PUT", "OPTIONS"] {
            for body in [
                "0\r\n\r\nSECRET",
                "SECRET",
                "5\r\nabcde\r\n0\r\n\r\nSECRET",
                "abcdeSECRET",
                "5;a=b\r\nabcde\r\n0\r\nX: y\r\n\r\nSECRET",
            ] {
                all.push(format!("{method} TARGET HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n\r\n{body}"));
            }
        }
    }
    for line in [
        "POST TARGET HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
        "POST TARGET HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive",
        "GET TARGET HTTP/1.0",
        "GET http://gw.example/admin/x HTTP/1.1\r\nHost: gw.example",
        "GET http://gw.exampleTARGET HTTP/1.1\r\nHost: gw.example",
        "GET TARGET/../../admin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET/%2e%2e/%2e%2e/admin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET%2f..%2f..%2fadmin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET//admin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET;/../admin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET\\..\\..\\admin\\x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET#/admin/x HTTP/1.1\r\nHost: gw.example",
        "GET TARGET%20HTTP/1.1%0d%0aX:y HTTP/1.1\r\nHost: gw.example",
        "GET TARGET HTTP/1.1 HTTP/1.1\r\nHost: gw.example",
        "GET TARGET\tHTTP/1.1\r\nHost: gw.example",
        "GET TARGET\r\nHost: gw.example",
        "GET TARGET?x=/../admin/x&y=%2e HTTP/1.1\r\nHost: gw.example",
        "GET TARGET/caf%C3%A9/a%20b HTTP/1.1\r\nHost: gw.example",
        "GET TARGET HTTP/1.1\r\nHost: gw.example\r\nHost: other.example",
        "GET TARGET HTTP/1.1\r\nHost: gw.example\r\nX-Request-Id: forged",
    ] {
        all.push(format!("{line}\r\n\r\nSECRET"));
        all.push(format!("{line}\r\n\r\n0\r\n\r\nSECRET"));
    }
    all
}

/// Sends the catalogue, many at a time; returns which targets were answered by the back end.
async fn send_all(world: &World, prefix: &str) -> BTreeSet<String> {
    let secret = format!("GET {prefix}/secret HTTP/1.1\r\nHost: gw.example\r\nX-Request-Id: forged\r\n\r\n");
    let (mut open, mut sent) = (JoinSet::new(), BTreeSet::new());
    for (number, request) in catalogue().into_iter().enumerate() {
        let gateway = world.app.gateway;
        let request = request.replace("TARGET", &format!("{prefix}/{number}")).replace("SECRET", &secret);
        sent.extend(request.split(' ').nth(1).map(str::to_owned));
        open.spawn(async move { Slow::open(gateway).await.say(&request).await });
        if open.len() >= 32 {
            open.join_next().await.unwrap().unwrap();
        }
    }
    open.join_all().await;
    sent
}

/// The recent decision about a request, by its id: whether it was allowed.
async fn allowed(world: &World, request_id: &str) -> bool {
    let asked =
        world.app.admin("POST", "/explain").bearer(&world.admin).json(json!({ "request_id": request_id })).await;
    asked.status == 200 && asked.json()["decision"] == "allow"
}

async fn agrees(back: Server, log: &str) {
    let world = World::start().await;
    world.app.route_to(&world.admin, "real", back.address, "/real/{*rest}", public()).await;
    let reads = json!([{ "methods": ["*"], "access": "permission", "permission": "article:delete" }]);
    world.app.route_to(&world.admin, "real", back.address, "/real/secret", reads).await;
    let sent = send_all(&world, "/real").await;
    // The log is written when the request is done.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let requests = seen(&back.read(log));
    let mut ids = BTreeSet::new();
    for request in &requests {
        assert!(!request.target.contains("secret"), "{request:?}");
        assert!(sent.contains(&request.target), "{request:?}");
        assert!(["POST", "GET", "HEAD", "PUT", "OPTIONS"].contains(&request.method.as_str()), "{request:?}");
        assert!(ids.insert(request.request_id.clone()), "twice: {request:?}");
        assert!(allowed(&world, &request.request_id).await, "{request:?}");
    }
    assert!(requests.len() > 100, "{} of {}", requests.len(), sent.len());
    // Who may ask for it does.
    assert_eq!(world.send(&get("/real/secret", &bearer(&world.admin))).await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen(&back.read(log)).last().map(|request| request.target.clone()).as_deref(), Some("/real/secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_sees_what_was_authorised() {
    agrees(nginx(), "seen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_sees_what_was_authorised() {
    agrees(haproxy(), "output").await;
}
