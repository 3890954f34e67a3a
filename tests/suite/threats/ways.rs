//! Requests without a body take a shorter way than others: what a back end is told, and what its client, must not hang on
//! that.

use std::collections::BTreeSet;

use super::World;
use super::origin::{OK, Reads, Request, origin};
use super::world::bearer;
use crate::support::raw::exchange;

/// Fields as clients send them, be it by mistake or on purpose.
const SETS: &[&str] = &[
    "",
    "Accept: a\r\nX-CuStOm: b\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Empty:\r\n",
    "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n",
    "TE: trailers\r\nTrailer: X-Sum\r\nProxy-Authorization: Basic YTpi\r\nProxy-Authenticate: Basic\r\n",
    "HTTP2-Settings: AAMAAABk\r\nX-Real-IP: 9.9.9.9\r\nProxy: http://evil\r\n",
    "X-Auth-User-Id: 1\r\nx-auth-roles: admin\r\nX-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\n",
    "X-Request-Id: mine\r\nX-Original-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nClient-Cert: x\r\n",
    "Connection: X-Secret, Keep-Alive\r\nX-Secret: a\r\nX-Open: b\r\n",
    "Connection: X-Auth-User-Id, X-Auth-Roles\r\nX-Open: b\r\n",
    "Upgrade: h2c\r\nX-Open: b\r\n",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n",
];
/// Cookies go without a token: beside one, the console's is refused.
const COOKIES: &[&str] = &[
    "Cookie: a=b; cedargate_session=c; d=e\r\n",
    "Cookie: cedargate_session=c\r\n",
    "Cookie: a=b\r\nCookie: d=e\r\n",
    "Cookie: a=b\r\nCookie: Cedargate_Session=c\r\n",
];

/// Answers of back ends, whose connections stay open.
const ANSWERS: &[&str] = &[
    OK,
    "HTTP/1.1 200 Fine\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive\r\nX-CuStOm: a\r\nX-Custom: b\r\n\
     Content-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Sum: 1\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
];

/// All that a back end is told, but for what is different with every request.
fn told(request: &Request) -> BTreeSet<(String, String)> {
    let fields = request.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    fields.filter(|(name, _)| !["x-request-id", "content-length"].contains(&name.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_tell_back_ends_the_same() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    let with_token = SETS.iter().map(|set| ("for", format!("{}{set}", bearer(&world.user))));
    let without = SETS.iter().chain(COOKIES).map(|set| ("to", (*set).to_owned()));
    for (number, (path, fields)) in with_token.chain(without).enumerate() {
        for (way, body) in [("short", ""), ("long", "x")] {
            let target = format!("/{path}/{number}/{way}?q=%41");
            let length = body.len();
            let request =
                format!("POST {target} HTTP/1.1\r\nHost: gw.example\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
            let answer = world.send(request.as_bytes()).await;
            assert_eq!(answer.status, 200, "{request:?}: {}", answer.text);
        }
        let seen = back.requests();
        let of = |way: &str| {
            let path = format!("/{path}/{number}/{way}?q=%41");
            let found: Vec<_> = seen.iter().filter(|request| request.target() == path).collect();
            assert_eq!(found.len(), 1, "{fields:?}: {seen:#?}");
            assert_eq!(found[0].values("host"), ["gw.example"], "{fields:?}");
            assert_eq!(found[0].values("x-request-id").len(), 1, "{fields:?}");
            told(found[0])
        };
        assert_eq!(of("short"), of("long"), "{fields:?}");
        let told = of("short");
        let ids = told.iter().filter(|(name, _)| name == "x-auth-user-id").count();
        assert_eq!(ids, usize::from(path == "for"), "{fields:?}: {told:?}");
        for private in ["cedargate_session", "9.9.9.9", "Cedargate_Session", "evil", "Basic"] {
            assert!(!told.iter().any(|(_, value)| value.contains(private)), "{fields:?}: {told:?}");
        }
    }
}

/// What a client is told, but for what is different with every answer; the content of chunks, however it was cut.
fn answered(text: &str) -> (Vec<String>, BTreeSet<String>, String) {
    let last = text.rfind("HTTP/1.1 ").expect("an answer");
    let end = last + text[last..].find("\r\n\r\n").expect("the end of a head");
    let (heads, body) = (&text[..end], &text[end + 4..]);
    let lines = || heads.split("\r\n").filter(|line| !line.is_empty());
    let status = lines().filter(|line| line.starts_with("HTTP/1.1 ")).map(str::to_owned).collect();
    let varies = |line: &str| ["x-request-id:", "date:"].iter().any(|name| line.to_lowercase().starts_with(name));
    let fields = lines().filter(|line| !line.starts_with("HTTP/1.1 ") && !varies(line)).map(str::to_owned).collect();
    let is_chunked = heads.to_lowercase().contains("transfer-encoding: chunked") && !body.is_empty();
    let body = match is_chunked {
        true => {
            assert!(body.ends_with("0\r\n\r\n"), "{text:?}");
            body.split("\r\n").skip(1).step_by(2).collect()
        }
        false => body.to_owned(),
    };
    (status, fields, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_tell_clients_the_same() {
    for answer in ANSWERS {
        let world = World::start().await;
        let _back = origin(&world, Reads::Bodies, answer).await;
        let has_body = answer.contains("\r\n\r\nok") || answer.contains("chunked");
        // Back ends that send a body to HEAD are another matter.
        for method in if has_body { &["GET"][..] } else { &["GET", "HEAD"] } {
            for connection in ["", "Connection: close\r\n", "Connection: keep-alive\r\n"] {
                // Who asks for another protocol, and does not say so of the connection, gets an ordinary answer.
                let told = async |more: &str| {
                    let head = format!("{method} /to/a HTTP/1.1\r\nHost: gw.example\r\n{connection}{more}\r\n");
                    exchange(world.app.gateway, head.as_bytes()).await
                };
                let (short, long) = (told("").await, told("Upgrade: x\r\n").await);
                assert_eq!(answered(&short), answered(&long), "{method} {connection:?} {answer:?}: {short}\n{long}");
                let expected =
                    if connection.contains("close") { "Connection: close" } else { "Connection: keep-alive" };
                assert!(answered(&short).1.contains(expected), "{short}");
                assert_eq!(short.matches("Date: ").count(), 1, "{short}");
                assert!(!short.contains("1970"), "{short}");
            }
        }
    }
}
