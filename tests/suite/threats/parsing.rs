//! Heads that are read differently by different servers (rows 25, 40, and what a bare Pingora forwards).

use super::World;
use super::wire::{get, raw};

#[tokio::test(flavor = "multi_thread")]
async fn row_25_control_characters_in_values_are_refused() {
    let world = World::start().await;
    for value in
        ["a\0b", "a\rb", "a\nb", "a\r", "\0", "a\u{1}", "a\u{7f}b", "a\u{b}", "a\r\n b", "a\nX-Auth-User-Id: 1"]
    {
        world.refuses(400, &get("/open/x", &format!("X-Field: {value}\r\n"))).await;
    }
    world.refuses(400, b"GET /open/x HTTP/1.1\r\nHost: a\0\r\n\r\n").await;
    let seen = world.passes(&get("/open/x", "X-Field: a\tb \u{e9}\r\n")).await;
    assert!(seen.contains("a\tb \u{e9}"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_40_connect_is_not_allowed() {
    let world = World::open().await;
    let back = world.back.address;
    for line in [format!("CONNECT {back}"), "CONNECT gw.example:443".to_owned(), "CONNECT /open/x".to_owned()] {
        for fields in ["", "Content-Length: 0\r\n", "Upgrade: websocket\r\nConnection: upgrade\r\n"] {
            let request = raw(&format!("{line} HTTP/1.1\r\nHost: gw.example\r\n{fields}\r\n"));
            world.refuses(405, &request).await;
        }
    }
    world.refuses(405, b"TRACE /open/x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    world.refuses(400, b"connect gw.example:443 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    world.passes(&get("/open/x", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused() {
    let world = World::open().await;
    for fields in [
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length: 5;",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length : 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\n , identity",
        ": x",
    ] {
        world.refuses(400, &raw(&format!("POST /open/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nabcde"))).await;
    }
    world.refuses(400, b"POST /open/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    let seen = world.passes(b"POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde").await;
    assert!(seen.contains("Content-Length: 5\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_lines_have_one_form() {
    let world = World::open().await;
    for line in [
        "GET  /admin HTTP/1.1",
        " GET /open/x HTTP/1.1",
        "GET\t/open/x HTTP/1.1",
        "GET /open/x  HTTP/1.1",
        "GET /open/x HTTP/1.1 ",
        "GET /open/x\tHTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET http://gw.example/open/x HTTP/1.1",
        "GET http:/open/x HTTP/1.1",
        "GET HTTP://evil.example HTTP/1.1",
        "GET open/x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET @evil.example HTTP/1.1",
        "GET /open/x",
        "GET /open/x HTTP/1.1, HTTP/1.1",
        "GET /open/x HTTP/2.0",
        "GET /open/x HTTP/0.9",
        "GET /open/x http/1.1",
        "GET /open/x HTTP/1.10",
        "get /open/x HTTP/1.1",
        "GeT /open/x HTTP/1.1",
        "G=T /open/x HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        world.refuses(400, &raw(&format!("{line}\r\nHost: gw.example\r\n\r\n"))).await;
    }
    world.refuses(400, b"GET /open/x HTTP/1.1\nHost: a\n\n").await;
    world.refuses(400, b"GET /open/x HTTP/1.1\r\nHost: a\n\r\n").await;
    world.passes(b"\r\nGET /open/x HTTP/1.1\r\nHost: gw.example\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_plain_host_is_demanded() {
    let world = World::open().await;
    for host in [
        "Host:",
        "Host: ",
        "Host: a/path",
        "Host: a, b",
        "Host: a b",
        "Host: u@a",
        "Host: a:",
        "Host: a:b",
        "Host: a:80:80",
        "Host: a?b",
        "Host: a#b",
        "Host: a\\b",
        "Host: [::1",
        "Host: a%2eb",
        "Host: .",
        "Host: a..b",
        "Host: -\u{e9}",
        "Host : a",
        " Host: a",
        "Host: a\r\nHost: a",
        "Host: a\r\nhost: b",
        "X-Host: a",
    ] {
        world.refuses(400, &raw(&format!("GET /open/x HTTP/1.1\r\n{host}\r\n\r\n"))).await;
    }
    for host in ["a", "a_b.example:8000", "[::1]:80", "127.0.0.1"] {
        let seen = world.passes(&raw(&format!("GET /open/x HTTP/1.1\r\nHost: {host}\r\n\r\n"))).await;
        assert!(seen.contains(&format!("\r\nHost: {host}\r\n")), "{seen}");
    }
}
