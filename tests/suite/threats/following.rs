//! What follows a message on its connection: another protocol, an unread body, trailers (rows 29, 31, 35, 38).

use super::World;
use super::origin::{OK, Reads, SECRET, origin};
use super::wire::{Slow, get, post, raw, statuses, with_length};
use super::world::bearer;
use crate::support::raw::exchange;

const WEB_SOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn row_29_what_follows_a_refused_upgrade_is_authorised_anew() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let mut sent = 0;
    for fields in [
        WEB_SOCKET.to_owned(),
        "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: anything\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n".to_owned(),
        "Upgrade: websocket\r\n".to_owned(),
        format!("{WEB_SOCKET}Content-Length: 0\r\n"),
    ] {
        let request = format!("GET /to/x HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n{SECRET}");
        let answers = exchange(world.app.gateway, request.as_bytes()).await;
        let statuses = statuses(&answers);
        sent += usize::from(statuses.first() == Some(&200));
        assert!(matches!(statuses[..], [200 | 400] | [200, 400 | 401]), "{fields}: {answers}");
        assert_eq!(back.requests().len(), sent, "{fields}");
    }
    assert!(sent >= 4, "{sent}");
    // One that is allowed goes on as a request of its own: with its own identity and number, or not at all.
    let token = bearer(&world.user);
    let request = format!("GET /to/x HTTP/1.1\r\nHost: gw.example\r\n{WEB_SOCKET}\r\n{}", "");
    let second = String::from_utf8(get("/for/y", &token)).unwrap();
    exchange(world.app.gateway, format!("{request}{second}").as_bytes()).await;
    for request in back.requests() {
        assert!(!request.head.contains("/admin") && request.body.is_empty(), "{request:?}");
        assert_eq!(request.values("x-request-id").len(), 1, "{request:?}");
        assert_eq!(request.values("x-auth-user-id").len(), usize::from(request.line().contains("/for/y")));
    }
    assert!(exchange(world.app.gateway, &get("/to/x", "")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_nobody_is_switched_who_did_not_ask() {
    let world = World::start().await;
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let back = origin(&world, Reads::Bodies, switching).await;
    for fields in ["", "Upgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"] {
        for first in [get("/to/x", fields), raw(&post("/to/x", &format!("{fields}Content-Length: 3\r\n"), "abc"))] {
            let before = back.requests().len();
            let mut slow = Slow::open(world.app.gateway).await;
            let answer = slow.say(&String::from_utf8(first).unwrap()).await;
            assert!(!answer.starts_with("HTTP/1.1 101"), "{fields}: {answer}");
            slow.say(SECRET).await;
            assert!(back.requests().len() <= before + 1, "{fields}");
        }
    }
    for bytes in back.connections() {
        assert!(!bytes.contains("/admin"), "{bytes}");
    }
    // Who asks is.
    let mut slow = Slow::open(world.app.gateway).await;
    let request = String::from_utf8(get("/to/x", WEB_SOCKET)).unwrap();
    assert!(slow.say(&request).await.starts_with("HTTP/1.1 101"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_nothing_is_answered_from_a_cache() {
    let world = World::start().await;
    let kept = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=3600, immutable\r\nETag: \"a\"\r\n\
                Content-Length: 2\r\n\r\nok";
    let back = origin(&world, Reads::Bodies, kept).await;
    for (host, token) in [("a", &world.user), ("b", &world.user), ("a", &world.admin), ("a", &world.user)] {
        let request = format!("GET /for/x HTTP/1.1\r\nHost: {host}\r\n{}\r\n", bearer(token));
        assert_eq!(world.send(&raw(&request)).await.status, 200);
    }
    world.refuses(401, &get("/for/x", "")).await;
    let requests = back.requests();
    let mut asked: Vec<_> =
        requests.iter().map(|request| (request.values("host")[0], request.values("x-auth-user-id")[0])).collect();
    // By connections, of which each thread has its own.
    asked.sort_unstable();
    assert_eq!(asked, [("a", "1"), ("a", "4"), ("a", "4"), ("b", "4")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_bodies_that_nobody_read_end_their_connections() {
    let world = World::open().await;
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let padded = format!("{smuggled}{}", "x".repeat(200_000));
    // Refused before the body has come; it comes at once, or later, and is no request then either.
    for (target, body) in [("/admin/x", smuggled), ("/admin/x", &padded), ("/open/%2e", smuggled)] {
        let request = with_length(target, body);
        let (head, body) = request.split_at(request.len() - body.len());
        world.back.clear();
        let mut slow = Slow::open(world.app.gateway).await;
        let mut heard = slow.say(head).await;
        heard += &slow.say(body).await;
        heard += &slow.say(smuggled).await;
        heard += &exchange(world.app.gateway, request.as_bytes()).await;
        assert!(statuses(&heard).iter().all(|status| matches!(status, 400 | 401)), "{target}: {heard}");
        assert!(!world.back.received().contains("smuggled"), "{target}");
    }
    // Answered by the back end while the body is on its way: what follows uses another connection.
    let back = origin(&world, Reads::Heads, OK).await;
    for tried in 0..5 {
        let mut slow = Slow::open(world.app.gateway).await;
        slow.say(&post("/to/first", "Content-Length: 100\r\n", "GET /smuggled HTTP/1.1\r\n")).await;
        drop(slow);
        let answer = world.send(&get(&format!("/to/{tried}"), "")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    for bytes in back.connections().iter().filter(|bytes| bytes.contains("/to/first")) {
        assert!(bytes.ends_with("\r\n\r\nGET /smuggled HTTP/1.1\r\n"), "{bytes}");
    }
    let lines = back.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("GET /to/")).count(), 5, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_trailers_are_no_headers() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let trailers = format!(
        "{}X-Auth-User-Id: 1\r\nX-Auth-Roles: superadmin\r\nX-Forwarded-For: 9.9.9.9\r\nHost: evil.example\r\n\
         Content-Length: 50\r\nTransfer-Encoding: chunked\r\nX-Trailer: y\r\n",
        bearer(&world.admin)
    );
    let body = format!("3\r\nabc\r\n0\r\n{trailers}\r\n");
    for announced in ["", "Trailer: Authorization, X-Auth-User-Id\r\nTE: trailers\r\n"] {
        let fields = format!("{announced}Transfer-Encoding: chunked\r\n");
        world.refuses(401, &raw(&post("/admin/x", &fields, &body))).await;
        world.refuses(401, &raw(&post("/for/x", &fields, &body))).await;
        assert_eq!(back.requests().len(), 0);
    }
    let token = bearer(&world.user);
    let answer = world.send(&raw(&post("/for/x", &format!("{token}Transfer-Encoding: chunked\r\n"), &body))).await;
    let requests = back.requests();
    match answer.status {
        // Refused while the body was on its way, or dropped: in no case are they passed on.
        400 => assert!(requests.len() <= 1),
        200 => assert_eq!(requests[0].values("x-auth-user-id"), ["4"]),
        other => panic!("{other}: {}", answer.text),
    }
    for request in &requests {
        let text = format!("{}{}", request.head, request.body);
        for foreign in ["superadmin", "9.9.9.9", "evil.example", "X-Trailer", &world.admin] {
            assert!(!text.contains(foreign), "{foreign}: {text}");
        }
    }
    world.send(&raw(&post("/for/x", &format!("{token}Transfer-Encoding: chunked\r\n"), "3\r\nabc\r\n0\r\n\r\n"))).await;
    assert_eq!(back.requests().last().unwrap().values("x-auth-user-id"), ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_38_nobody_is_upgraded_to_http2() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let settings = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    for fields in [
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}"),
        format!("Upgrade: H2C\r\n{settings}"),
        format!("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n{settings}"),
        format!("Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n{settings}"),
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n".to_owned(),
    ] {
        let before = back.requests().len();
        let answers = exchange(world.app.gateway, &get("/to/x", &fields)).await;
        assert!(answers.starts_with("HTTP/1.1 200") || answers.starts_with("HTTP/1.1 400"), "{fields}: {answers}");
        for request in back.requests().split_off(before) {
            assert!(request.values("upgrade").is_empty(), "{fields}: {request:?}");
            assert!(request.values("http2-settings").is_empty(), "{fields}: {request:?}");
            assert!(!request.values("connection").concat().to_lowercase().contains("upgrade"), "{request:?}");
        }
    }
    assert!(!back.requests().is_empty());
    // With prior knowledge neither.
    world.refuses(400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    world.passes(&get("/open/x", "")).await;
}
