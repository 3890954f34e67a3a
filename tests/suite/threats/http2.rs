//! The same over HTTP/2: from a client library, and in frames that no library would send.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::origin::{OK, Reads, Request, origin};
use super::secure::{BEGINNING, Fields, Secure, block, ended, frame};
use super::world::needs;

const TO: (&str, &str) = (":authority", "gw.example");

/// A request's fields: a GET of `path`, and some more.
fn get<'f>(path: &'f str, more: Fields<'f>) -> Vec<(&'f str, &'f str)> {
    [&[(":method", "GET"), (":scheme", "https"), TO, (":path", path)], more].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_promised_and_ones_own_page_is_known() {
    let secure = Secure::start_with(&[("CORS_ORIGINS", "https://front.example")]).await;
    for target in ["/health", "/api/v1/auth/me", "/api/v1/nothing%2e"] {
        let answer = secure.answer("GET", "localhost", target, &[]).await;
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000", "{target}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{target}");
    }
    // What a back end says is its own.
    let answer = secure.answer("GET", "localhost", "/open/x", &[]).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("strict-transport-security")), (200, None));
    // There is no `Host` in HTTP/2.
    for (origin, status) in
        [("https://localhost:8443", 422), ("https://front.example", 422), ("https://localhost", 403)]
    {
        let target = "/api/v1/auth/login";
        let answer = secure.answer("POST", "localhost:8443", target, &[("origin", origin)]).await;
        assert_eq!(answer.status().as_u16(), status, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_02_dot_segments_are_refused() {
    let secure = Secure::start().await;
    for target in
        ["/public/../admin", "/..", "/svc/%2e%2e/admin", "/pub%2Fadmin", "//admin/x", "/admin;x/y", "/%41dmin"]
    {
        secure.world.back.clear();
        assert_eq!(secure.request("GET", "gw.example", target, &[]).await, 400, "{target}");
        secure.refuses(&get(target, &[]), None).await;
        assert_eq!(secure.world.back.received(), "");
    }
    assert_eq!(secure.request("GET", "gw.example", "/open/x?y", &[]).await, 200);
    assert!(secure.world.back.received().starts_with("GET /open/x?y HTTP/1.1\r\n"));
    assert_eq!(secure.request("GET", "gw.example", "/admin/x", &[]).await, 401);
    let token = format!("Bearer {}", secure.world.user);
    assert_eq!(secure.request("GET", "gw.example", "/admin/x", &[("authorization", &token)]).await, 403);
    let token = format!("Bearer {}", secure.world.admin);
    assert_eq!(secure.request("GET", "gw.example", "/admin/x", &[("authorization", &token)]).await, 200);
}

/// The parser of HTTP/2 below us drops `#` and what follows before we see it, so that there is nothing left to refuse:
/// what is decided is what is forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn row_09_what_precedes_a_fragment_is_decided_and_forwarded() {
    let secure = Secure::start().await;
    for (path, decided) in [("/open/x#/admin", "/open/x"), ("/open/x?y#z", "/open/x?y")] {
        secure.world.back.clear();
        match secure.raw(&get(path, &[]), None).await {
            0 | 400 => assert_eq!(secure.world.back.received(), ""),
            200 => assert!(secure.world.back.received().starts_with(&format!("GET {decided} HTTP/1.1\r\n"))),
            other => panic!("{other} for {path}"),
        }
    }
    secure.world.back.clear();
    assert!(matches!(secure.raw(&get("/admin#/open/x", &[]), None).await, 0 | 400 | 401));
    assert_eq!(secure.world.back.received(), "");
    secure.passes(&get("/open/x", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_raw_characters_that_need_escaping_are_refused() {
    let secure = Secure::start().await;
    let paths = [
        "/a b",
        "/a\tb",
        "/a\0b",
        "/\u{e9}",
        "/a\"b",
        "/<a>",
        "/{a}",
        "/a\\b",
        "*",
        "",
        "x",
        "http://a/x",
        "a:80",
        "/a\r\nX: y",
    ];
    for path in paths {
        secure.refuses(&get(path, &[]), None).await;
    }
    secure.passes(&get("/a-b~c", &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_authority_is_the_host() {
    let secure = Secure::start().await;
    let route =
        serde_json::json!({ "route": "/open/{*rest}", "host": "a.b.example", "operations": needs("article:delete") });
    secure.world.route(route).await;
    for authority in ["a.b.example", "A.B.EXAMPLE", "a.b.example.", "a.B.example.:443"] {
        assert_eq!(secure.request("GET", authority, "/open/x", &[]).await, 401, "{authority}");
    }
    let with =
        |more: Fields<'static>| [&[(":method", "GET"), (":scheme", "https"), (":path", "/open/x")], more].concat();
    for authority in ["", "a/path", "a, b", "u@a", "a b", "a:", "a#b", "a..b", "a\0"] {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/open/x")];
        secure.refuses(&fields, None).await;
    }
    secure.refuses(&with(&[]), None).await;
    secure.refuses(&with(&[("host", "a.b.example")]), None).await;
    secure.refuses(&with(&[(":authority", "c.example"), ("host", "a.b.example")]), None).await;
    secure.refuses(&with(&[(":authority", "c.example"), (":authority", "a.b.example")]), None).await;
    secure.refuses(&with(&[TO, ("host", "gw.example"), ("host", "gw.example")]), None).await;
    let seen = secure.passes(&with(&[TO])).await;
    assert!(seen.to_lowercase().contains("\r\nhost: gw.example\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_underscores_do_not_make_identity() {
    let secure = Secure::start().await;
    for name in ["x_auth_user", "x-auth_user-id", "x_forwarded_for", "content_length"] {
        secure.refuses(&get("/open/x", &[(name, "1")]), None).await;
    }
    for name in ["X-Auth-User-Id", "x auth", "x\0", "", ":x", "connection", "transfer-encoding", "upgrade"] {
        secure.refuses(&get("/open/x", &[(name, "x-auth-user-id")]), None).await;
    }
    let token = format!("Bearer {}", secure.world.user);
    let fields = [
        ("x-auth-user-id", "1"),
        ("authorization", &token),
        ("x-auth-roles", "superadmin"),
        ("x-forwarded-for", "10.9.8.7"),
    ];
    let seen = secure.passes(&get("/wide/x", &fields)).await.to_lowercase();
    assert!(seen.contains("\r\nx-auth-user-id: 4\r\n") && !seen.contains("superadmin"), "{seen}");
    assert!(seen.contains("\r\nx-forwarded-proto: https\r\n") && !seen.contains("10.9.8.7"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_24_two_claims_to_an_identity_are_refused() {
    let secure = Secure::start().await;
    let (user, admin) = (format!("Bearer {}", secure.world.user), format!("Bearer {}", secure.world.admin));
    for target in ["/wide/x", "/open/x"] {
        secure.refuses(&get(target, &[("authorization", &user), ("authorization", &admin)]), None).await;
        // Cookies may come in pieces (RFC 9113 8.2.3).
        let fields = [("authorization", user.as_str()), ("cookie", "a=b"), ("cookie", "cedargate_session=x")];
        secure.refuses(&get(target, &fields), None).await;
    }
    secure.passes(&get("/wide/x", &[("authorization", &user)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_control_characters_in_values_are_refused() {
    let secure = Secure::start().await;
    for value in ["a\0b", "a\rb", "a\nb", "a\r\nx-auth-user-id: 1", "a\u{1}b", "a\u{7f}"] {
        secure.refuses(&get("/open/x", &[("x-field", value)]), None).await;
    }
    let seen = secure.passes(&get("/open/x", &[("x-field", "a\tb")])).await;
    assert!(seen.contains("a\tb"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_40_connect_is_not_allowed() {
    let secure = Secure::start().await;
    let back = secure.world.back.address.to_string();
    let extended = [&get("/open/x", &[(":protocol", "websocket")])[..]].concat();
    let extended: Vec<_> = extended
        .into_iter()
        .map(|(name, value)| if name == ":method" { (name, "CONNECT") } else { (name, value) })
        .collect();
    for fields in [
        vec![(":method", "CONNECT"), (":authority", &back)],
        vec![(":method", "CONNECT"), (":authority", "gw.example:443")],
        extended,
    ] {
        secure.world.back.clear();
        let status = secure.raw(&fields, None).await;
        assert!(matches!(status, 405 | 400 | 0), "{status} for {fields:?}");
        assert_eq!(secure.world.back.received(), "");
    }
    let trace = [(":method", "TRACE"), (":scheme", "https"), TO, (":path", "/open/x")];
    assert_eq!(secure.raw(&trace, None).await, 405);
    for method in ["get", "G T", "GE\0T", ""] {
        secure.refuses(&[(":method", method), (":scheme", "https"), TO, (":path", "/open/x")], None).await;
    }
    secure.passes(&get("/open/x", &[])).await;
}

/// A back end that believed the first or the second of two lengths would read the rest of the body as a request.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_lengths_are_refused() {
    let secure = Secure::start().await;
    let post =
        |more: Fields<'static>| [&[(":method", "POST"), (":scheme", "https"), TO, (":path", "/open/x")], more].concat();
    secure.refuses(&get("/open/x", &[("content-length", "5")]), None).await;
    let lengths: &[Fields<'static>] = &[
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "5"), ("content-length", "0")],
        &[("content-length", "0"), ("content-length", "5")],
        &[("content-length", "5, 5")],
        &[("content-length", "+5")],
        &[("content-length", "")],
        &[("content-length", "99999999999999999999")],
        &[("transfer-encoding", "chunked")],
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
    ];
    for fields in lengths {
        secure.refuses(&post(fields), Some("abcde")).await;
    }
    secure.world.back.clear();
    assert_eq!(secure.raw(&post(&[("content-length", "5")]), Some("abcde")).await, 200);
    assert!(secure.world.back.received().contains("abcde"));
    // A wrong length shows when the body comes: its head may have been forwarded, and no more.
    let wrong: [Fields<'static>; 2] = [&[("content-length", "4")], &[("content-length", "6")]];
    for fields in wrong {
        secure.world.back.clear();
        assert!(matches!(secure.raw(&post(fields), Some("abcde")).await, 400 | 0));
        assert!(!secure.world.back.received().contains("abcde"), "{fields:?}");
    }
}

/// Bodies as their frames, and the lengths that their heads announce.
const UPLOADS: &[(&[&str], Option<&str>)] = &[
    (&["abcde"], None),
    (&["abcde", ""], None),
    (&["abc", "de", ""], None),
    (&["abc", "", "de", ""], None),
    (&["", "abcde"], None),
    (&["", "", "abcde", "", ""], None),
    (&[""], None),
    (&["", ""], None),
    (&["abcde", ""], Some("5")),
    (&["ab", "", "cde", ""], Some("5")),
    (&["", "abcde"], Some("5")),
    (&["", ""], Some("0")),
];

/// Pingora ends a body twice whose last piece is empty: the second end would stay on the connection to the back end, in
/// front of the next request, and an empty piece in between would end it early.
#[tokio::test(flavor = "multi_thread")]
async fn empty_frames_end_no_body_twice() {
    let secure = Secure::start().await;
    let back = origin(&secure.world, Reads::Bodies, OK).await;
    let mut stream = secure.connect().await;
    stream.write_all(BEGINNING).await.unwrap();
    let mut sent = Vec::new();
    // All at once; and each frame after what was made of the one before.
    for pause in [0, 20] {
        for (pieces, length) in UPLOADS {
            let number = u32::try_from(sent.len()).unwrap();
            let (id, path) = (2 * number + 1, format!("/to/{number}"));
            let mut fields = vec![(":method", "POST"), (":scheme", "https"), TO, (":path", &path)];
            fields.extend(length.map(|length| ("content-length", length)));
            let mut bytes = Vec::new();
            frame(&mut bytes, 0x1, 0x4, id, &block(&fields));
            for (at, piece) in pieces.iter().enumerate() {
                if pause > 0 {
                    stream.write_all(&std::mem::take(&mut bytes)).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                frame(&mut bytes, 0x0, u8::from(at + 1 == pieces.len()), id, piece.as_bytes());
            }
            stream.write_all(&bytes).await.unwrap();
            let status = timeout(Duration::from_secs(5), ended(&mut stream, id)).await.expect("an answer");
            assert_eq!(status, 200, "{pieces:?} {length:?} {:?}", back.connections());
            sent.push((path, pieces.concat()));
            // The connection goes back to its pool.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Those with a body go one way, those without another.
    let connections = back.connections();
    assert_eq!(connections.len(), 2, "{connections:#?}");
    let mut seen: Vec<_> =
        back.requests().iter().map(|request| (request.target().to_owned(), content(request))).collect();
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent, "{connections:#?}");
    let bytes: usize = back.requests().iter().map(|request| request.head.len() + request.body.len()).sum();
    assert_eq!(bytes, connections.iter().map(String::len).sum::<usize>(), "{connections:#?}");
}

/// What a request's body has in its chunks, which end once, or as it is.
fn content(request: &Request) -> String {
    if request.values("transfer-encoding").is_empty() {
        return request.body.clone();
    }
    assert_eq!(request.body.matches("0\r\n\r\n").count(), 1, "{request:?}");
    request.body.split("\r\n").skip(1).step_by(2).collect()
}
