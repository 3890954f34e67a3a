//! Whom a request comes from when another proxy stands in front (rows 20, 21 and 26).

use serde_json::json;

use super::World;
use super::headers::values;
use super::wire::{Answer, Wire, get, raw};
use super::world::{bearer, public};

/// A proxy that is trusted; the client itself is at 127.0.0.1 and is not.
const PROXY: &str = "127.0.0.2";
const TRUSTED: (&str, &str) = ("CEDARGATE_GATEWAY__TRUSTED_PROXIES", "127.0.0.2, 10.0.0.0/8");
const FORWARDED: (&str, &str) = ("CEDARGATE_GATEWAY__FORWARDED_HEADER", "forwarded");

/// Sends one request as the proxy.
async fn relayed(world: &World, request: &[u8]) -> Answer {
    world.back.clear();
    Wire::open_from(PROXY, world.app.gateway).await.exchange(request).await
}

/// Address, scheme, host and request id that the back end is told.
fn told(seen: &str) -> [String; 4] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"].map(|name| {
        let values = values(seen, name);
        assert_eq!(values.len(), 1, "{name}: {seen}");
        values[0].to_owned()
    })
}

/// What the back end is told of a request that the proxy sends with these fields.
async fn told_through(world: &World, fields: &str) -> [String; 4] {
    let answer = relayed(world, &get("/open/x", fields)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = world.back.received();
    assert!(values(&seen, "forwarded").is_empty() && values(&seen, "x-real-ip").is_empty(), "{seen}");
    told(&seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_trusted_proxy_tells_whose_request_it_is() {
    let world = World::start_with(&[TRUSTED]).await;
    let client = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example:8443\r\n";
    let fields = format!("{client}X-Request-Id: edge-1.a_B\r\nForwarded: for=192.0.2.66;host=evil.example\r\n");
    assert_eq!(told_through(&world, &fields).await, ["192.0.2.1", "https", "shop.example:8443", "edge-1.a_B"]);
    // Strangers, although they say the same.
    let [address, scheme, host, id] = told(&world.passes(&get("/open/x", &fields)).await);
    assert_eq!([&*address, &scheme, &host], ["127.0.0.1", "http", "gw.example"]);
    assert_ne!(id, "edge-1.a_B");

    // It says nothing, or what cannot be read: then it is the client itself.
    let itself = [PROXY, "http", "gw.example"];
    for fields in [
        "",
        "X-Forwarded-For: unknown\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: a/b\r\n",
        "X-Forwarded-For: 192.0.2.1, \r\nX-Forwarded-Host: a, b,\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: for=192.0.2.1\r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\r\nX-Request-Id: a\r\n",
        "Forwarded: for=192.0.2.66;proto=https;host=evil.example\r\n",
    ] {
        let [address, scheme, host, id] = told_through(&world, fields).await;
        assert_eq!([&*address, &scheme, &host], itself, "{fields}");
        assert_eq!(id.len(), 36, "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_chains_are_followed_to_the_first_who_is_not_trusted() {
    let world = World::start_with(&[TRUSTED]).await;
    let many = format!("X-Forwarded-For: 192.0.2.66{}\r\n", ", 10.0.0.3".repeat(2_000));
    for (fields, client) in [
        ("X-Forwarded-For: 192.0.2.1, 10.0.0.7, 10.0.0.8\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1\r\nAccept: a\r\nX-Forwarded-For: 10.0.0.7\r\n", "192.0.2.1"),
        // What the client itself has sent stands in front, trusted addresses and garbage among it.
        ("X-Forwarded-For: 192.0.2.66, 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-For: 127.0.0.2, 192.0.2.1, 10.0.0.7\r\n", "192.0.2.1"),
        ("X-Forwarded-For: \", x y;,,[, 192.0.2.1\r\n", "192.0.2.1"),
        // The chain breaks at a trusted proxy.
        ("X-Forwarded-For: 192.0.2.66, , 10.0.0.7\r\n", "10.0.0.7"),
        (&many, "10.0.0.3"),
        ("X-Forwarded-For: [2001:db8::1]:4711, ::ffff:10.0.0.7\r\n", "2001:db8::1"),
    ] {
        assert_eq!(told_through(&world, fields).await[0], client, "{fields}");
    }
    let proto =
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example, shop.example\r\n";
    assert_eq!(told_through(&world, proto).await[1..3], ["http", "shop.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_forwarded_is_read_where_it_is_chosen() {
    let world = World::start_with(&[TRUSTED, FORWARDED]).await;
    let ignored = "X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\n";
    for (forwarded, address, scheme, host) in [
        ("for=192.0.2.1;proto=https;host=shop.example", "192.0.2.1", "https", "shop.example"),
        ("For=\"[2001:db8::1]:_p\";Host=\"shop.example:8443\"", "2001:db8::1", "http", "shop.example:8443"),
        ("for=192.0.2.66, for=192.0.2.1;proto=https, for=10.0.0.7;proto=http", "192.0.2.1", "https", "gw.example"),
        ("for=\"open;host=evil.example, for=192.0.2.1;host=shop.example", "192.0.2.1", "http", "shop.example"),
        ("for=192.0.2.66;host=evil.example, for=unknown;proto=https", PROXY, "https", "gw.example"),
        ("for=192.0.2.66;host=evil.example, for=192.0.2.1:80", PROXY, "http", "gw.example"),
        ("for=192.0.2.66;for=192.0.2.1", PROXY, "http", "gw.example"),
    ] {
        let told = told_through(&world, &format!("{ignored}Forwarded: {forwarded}\r\n")).await;
        assert_eq!(told[..3], [address, scheme, host], "{forwarded}");
    }
    assert_eq!(told_through(&world, ignored).await[..3], [PROXY, "http", "gw.example"]);
    let stranger =
        told(&world.passes(&get("/open/x", "Forwarded: for=192.0.2.1;proto=https;host=evil.example\r\n")).await);
    assert_eq!(stranger[..3], ["127.0.0.1", "http", "gw.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_tls_is_promised_to_who_has_it() {
    let world = World::start_with(&[TRUSTED]).await;
    let promised = |answer: &Answer| answer.text.to_lowercase().contains("\r\nstrict-transport-security: ");
    for (fields, expected) in
        [("X-Forwarded-Proto: https\r\n", true), ("X-Forwarded-Proto: http\r\n", false), ("", false)]
    {
        // By the gateway itself, by the admin service behind it, and by that alone.
        for target in ["/admin/x", "/api/v1/auth/me"] {
            let answer = relayed(&world, &get(target, fields)).await;
            assert_eq!((answer.status, promised(&answer)), (401, expected), "{target} {fields}");
            assert!(!promised(&world.send(&get(target, fields)).await), "{target} {fields}");
        }
        let request = get("/api/v1/auth/me", &format!("{fields}X-Request-Id: edge-2\r\n"));
        let answer = Wire::open_from(PROXY, world.app.admin).await.exchange(&request).await;
        assert_eq!((answer.status, promised(&answer)), (401, expected), "{fields}");
        assert!(answer.text.contains("x-request-id: edge-2\r\n"), "{}", answer.text);
        let stranger = Wire::open(world.app.admin).await.exchange(&request).await;
        assert!(!promised(&stranger) && !stranger.text.contains("edge-2"), "{}", stranger.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_proxy_tells_who_asks_and_nothing_more() {
    let world = World::start_with(&[TRUSTED]).await;
    let identity = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-User: superadmin\r\nX-Auth-User-Id: 1\r\nX-Auth-Roles: superadmin\r\n\
                    X-Cedargate-Mount: a\r\nX-Original-URL: /open/x\r\nX-Forwarded-Uri: /open/x\r\nX-Forwarded-Prefix: /open\r\n";
    assert_eq!(relayed(&world, &get("/admin/x", identity)).await.status, 401);
    assert_eq!(world.back.received(), "");
    // The host it tells is for the back end: routes are found by the request's own.
    world.route(json!({ "route": "/hosted", "host": "inside.example", "operations": public() })).await;
    let answer = relayed(&world, &get("/hosted", "X-Forwarded-Host: inside.example\r\n")).await;
    assert_eq!((answer.status, world.back.received()), (404, String::new()), "{}", answer.text);
    let seen = relayed(&world, &get("/open/x", identity)).await;
    assert_eq!(seen.status, 200);
    let seen = world.back.received().to_lowercase();
    for absent in ["x-auth-", "superadmin", "x-cedargate", "x-original", "x-forwarded-uri", "x-forwarded-prefix"] {
        assert!(!seen.contains(absent), "{absent}: {seen}");
    }
}

fn login(fields: &str) -> Vec<u8> {
    let body = r#"{"username":"testuser","password":"wrong"}"#;
    let length = body.len();
    raw(&format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\n{fields}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_who_fails_behind_a_proxy_is_locked_out_alone() {
    let world = World::start_with(&[TRUSTED, ("CEDARGATE_AUTH__LOGIN_FAILURES", "3")]).await;
    let as_client = |chain: &str| login(&format!("X-Forwarded-For: {chain}\r\n"));
    for address in [world.app.gateway, world.app.admin, world.app.gateway] {
        let answer = Wire::open_from(PROXY, address).await.exchange(&as_client("192.0.2.1")).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
    // It is one client at both listeners, whatever it puts in front.
    for chain in
        ["192.0.2.1", "192.0.2.7, 192.0.2.1", "10.0.0.9, 192.0.2.1", "192.0.2.1, 10.0.0.9", "x\", 192.0.2.1:80"]
    {
        for address in [world.app.gateway, world.app.admin] {
            let answer = Wire::open_from(PROXY, address).await.exchange(&as_client(chain)).await;
            assert_eq!(answer.status, 429, "{chain}: {}", answer.text);
        }
    }
    assert_eq!(relayed(&world, &as_client("192.0.2.2")).await.status, 401);
    // Nor is anybody locked out by strangers who say that they are somebody else.
    for _ in 0..4 {
        world.send(&as_client("192.0.2.2")).await;
    }
    assert_eq!(world.send(&as_client("192.0.2.3")).await.status, 429);
    assert_eq!(relayed(&world, &as_client("192.0.2.2")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_limits_are_for_each_client_behind_a_proxy() {
    let on = ("CEDARGATE_RATE_LIMIT__ENABLED", "true");
    let world = World::start_with(&[TRUSTED, on, ("CEDARGATE_RATE_LIMIT__ANONYMOUS_REQUESTS", "20")]).await;
    let rate = json!({ "requests": 2, "window_seconds": 600 });
    world.route(json!({ "route": "/few", "operations": public(), "rate_limit": rate })).await;
    let asked = async |chain: &str| {
        let fields = format!("X-Forwarded-For: {chain}\r\n");
        relayed(&world, &get("/few", &fields)).await.status
    };
    for chain in ["192.0.2.1", "192.0.2.66, 192.0.2.1"] {
        assert_eq!(asked(chain).await, 200, "{chain}");
    }
    for chain in ["192.0.2.1", "192.0.2.67, 192.0.2.1", "192.0.2.1, 10.0.0.7"] {
        assert_eq!(asked(chain).await, 429, "{chain}");
    }
    assert_eq!(asked("192.0.2.2").await, 200);
    // Those of the admin API too, through the gateway or not.
    let remaining = async |address, chain: &str| -> usize {
        let request = get("/api/v1/auth/me", &format!("X-Forwarded-For: {chain}\r\n"));
        let answer = Wire::open_from(PROXY, address).await.exchange(&request).await.text;
        values(&answer, "x-ratelimit-remaining")[0].parse().unwrap()
    };
    assert_eq!(remaining(world.app.gateway, "192.0.2.1").await, 19);
    assert_eq!(remaining(world.app.admin, "10.0.0.7, 192.0.2.1").await, 18);
    assert_eq!(remaining(world.app.admin, "192.0.2.2").await, 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_policies_and_the_audit_trail_know_the_client() {
    let world = World::start_with(&[TRUSTED]).await;
    let source =
        r#"forbid (principal, action, resource is Endpoint) when { context.client_ip.isInRange(ip("192.0.2.0/24")) };"#;
    let policy = json!({ "name": "not-from-there", "source": source });
    world.app.admin("POST", "/policies/").bearer(&world.admin).json(policy).await.expect(200);
    let asked = |chain: &str| get("/wide/x", &format!("X-Forwarded-For: {chain}\r\n{}", bearer(&world.user)));
    for (chain, status) in [
        ("192.0.2.1", 403),
        ("198.51.100.1, 192.0.2.1", 403),
        ("198.51.100.1, ::ffff:192.0.2.1, 10.0.0.7", 403),
        ("198.51.100.1", 200),
        ("192.0.2.1, 198.51.100.1", 200),
    ] {
        assert_eq!(relayed(&world, &asked(chain)).await.status, status, "{chain}");
    }
    world.passes(&asked("192.0.2.1")).await;

    let body = r#"{"name":"role-of-a-client"}"#;
    let fields = format!("X-Forwarded-For: 192.0.2.1\r\nX-Request-Id: edge-3\r\n{}", bearer(&world.admin));
    let request = format!(
        "POST /api/v1/roles/ HTTP/1.1\r\nHost: a\r\n{fields}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let made = relayed(&world, &raw(&request)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let records = world.app.admin("GET", "/audit-logs/?limit=1").bearer(&world.admin).await.expect(200).json();
    assert_eq!((&records[0]["ip"], &records[0]["request_id"]), (&json!("192.0.2.1"), &json!("edge-3")), "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_connections_of_a_proxy_are_those_of_many() {
    let world = World::start_with(&[TRUSTED, ("CEDARGATE_GATEWAY__MAX_CONNECTIONS_PER_ADDRESS", "1")]).await;
    let request = get("/open/x", "X-Forwarded-For: 192.0.2.1\r\n");
    // Who is turned away may have sent too much already to be told.
    for (from, second) in [(PROXY, &[200][..]), ("127.0.0.1", &[503, 0])] {
        let mut first = Wire::open_from(from, world.app.gateway).await;
        assert_eq!(first.exchange(&request).await.status, 200, "{from}");
        let mut other = Wire::open_from(from, world.app.gateway).await;
        let status = other.exchange(&request).await.status;
        assert!(second.contains(&status), "{from}: {status}");
        assert_eq!(first.exchange(&request).await.status, 200, "{from}");
    }
}
