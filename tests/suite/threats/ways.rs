//! Requests without a body take a shorter way than others: what a back end is told must not hang on that.

use std::collections::BTreeSet;

use super::World;
use super::origin::{OK, Reads, Request, origin};
use super::world::bearer;

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
