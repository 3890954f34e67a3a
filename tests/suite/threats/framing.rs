//! Where a message ends, by its head (rows 30, 32, 33, 34).

use super::World;
use super::origin::{OK, Reads, SECRET, origin};
use super::wire::{get, post, raw};

#[tokio::test(flavor = "multi_thread")]
async fn row_30_one_framing_or_none() {
    let world = World::open().await;
    let body = "5\r\nabcde\r\n0\r\n\r\n";
    for (version, fields) in [
        ("1.0", "Transfer-Encoding: chunked\r\n"),
        ("1.0", "Transfer-Encoding: identity\r\n"),
        ("1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 15\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("1.1", "Transfer-Encoding: chunked, chunked\r\n"),
        ("1.1", "Transfer-Encoding: gzip, chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked;q=1\r\n"),
        ("1.1", "Transfer-Encoding: \"chunked\"\r\n"),
        ("1.1", "Transfer-Encoding: chunked,\r\n"),
        ("1.1", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n"),
        ("1.1", "transfer-encoding: chunked\r\nCONTENT-LENGTH: 0\r\n"),
        ("1.1", "Content-Length: 15\r\nTransfer-Encoding: identity\r\n"),
        ("1.1", "Transfer_Encoding: chunked\r\n"),
    ] {
        let request = format!("POST /open/x HTTP/{version}\r\nHost: a\r\n{fields}\r\n{body}{SECRET}");
        world.refuses(400, &raw(&request)).await;
    }
    let seen = world.passes(&raw(&post("/open/x", "Content-Length: 5\r\n", "abcde"))).await;
    assert!(seen.ends_with("\r\n\r\nabcde"), "{seen}");
    let back = origin(&world, Reads::Bodies, OK).await;
    world.send(&raw(&post("/to/x", "Transfer-Encoding: Chunked\r\n", body))).await;
    assert_eq!(back.requests()[0].values("transfer-encoding").len(), 1);
    assert!(back.requests()[0].body.contains("abcde"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_lengths_are_plain_numbers() {
    let world = World::open().await;
    for length in [
        "+5",
        "-5",
        "5, 5",
        "5,5",
        "5 5",
        "5;5",
        "0x5",
        "5.0",
        "5e0",
        "\"5\"",
        "5\t5",
        "",
        "five",
        "\u{665}",
        "18446744073709551621",
        "99999999999999999",
        "5,",
    ] {
        let request = raw(&post("/open/x", &format!("Content-Length: {length}\r\n"), &format!("abcde{SECRET}")));
        world.refuses(400, &request).await;
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 50\r\n",
        "Content-Length:5\r\nContent_Length: 50\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
    ] {
        world.refuses(400, &raw(&post("/open/x", fields, &format!("abcde{SECRET}")))).await;
    }
    let seen = world.passes(&raw(&post("/open/x", "content-length:5\r\n", "abcde"))).await;
    assert!(seen.ends_with("abcde"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_33_fields_have_names() {
    let world = World::open().await;
    for field in [
        ": x",
        ":",
        ":x: y",
        " : x",
        "\t: x",
        ": Content-Length: 5",
        ":Transfer-Encoding: chunked",
        ":: x",
        "\0: x",
        "x\0y: z",
        "(x): y",
        "x y: z",
        "\u{e9}: x",
        "x",
        ",: x",
        "x@y: z",
        "{x}: y",
    ] {
        for fields in [format!("{field}\r\n"), format!("Accept: a\r\n{field}\r\nContent-Length: 5\r\n")] {
            world.refuses(400, &raw(&post("/open/x", &fields, &format!("abcde{SECRET}")))).await;
        }
    }
    world.refuses(400, format!("GET /open/x HTTP/1.1\r\n: x\r\nHost: a\r\n\r\n{SECRET}").as_bytes()).await;
    let seen = world.passes(&get("/open/x", "!#$%&'*+-.^`|~09aZ: x\r\nempty:\r\n")).await;
    assert!(seen.contains("!#$%&'*+-.^`|~09a") && seen.to_lowercase().contains("\r\nempty:"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_34_lines_end_and_names_stop_in_one_way() {
    let world = World::open().await;
    for head in [
        // Bare line feeds and carriage returns.
        "GET /open/x HTTP/1.1\nHost: a\n\n",
        "GET /open/x HTTP/1.1\r\nHost: a\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nX: y\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\n\n",
        "GET /open/x HTTP/1.1\rHost: a\r\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nX: y\rZ: Content-Length: 5\r\n\r\n",
        "GET /open/x HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "\nGET /open/x HTTP/1.1\r\nHost: a\r\n\r\n",
        // Folded lines.
        "GET /open/x HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nX: y\r\n\tContent-Length: 5\r\n\r\n",
        "GET /open/x HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nabcde",
        "GET /open/x HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
        // Blanks before a colon.
        "GET /open/x HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        "GET /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\u{b}: chunked\r\n\r\n0\r\n\r\n",
    ] {
        world.refuses(400, format!("{head}{SECRET}").as_bytes()).await;
    }
    world.passes(&get("/open/x", "X:y\r\nZ: \t z \t\r\n")).await;
}
