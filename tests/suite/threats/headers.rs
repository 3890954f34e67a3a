//! Header fields that a back end would believe (rows 16 to 23).

use super::World;
use super::wire::{get, raw};
use super::world::bearer;

/// The values of a field, in the order of their lines.
pub(super) fn values<'s>(seen: &'s str, name: &str) -> Vec<&'s str> {
    let lines = seen.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_underscores_do_not_make_identity() {
    let world = World::start().await;
    for name in [
        "X_Forwarded_User",
        "X-Auth_User",
        "X_Auth_User_Id",
        "X_AUTH-Username",
        "x_auth_roles",
        "X-Forwarded_For",
        "X_Real_IP",
        "X_Request_Id",
        "X_Original_URL",
        "Content_Length",
        "Transfer_Encoding",
        "X.Auth.User.Id",
        "X!Auth~Roles",
        "X-Auth.Roles",
    ] {
        let field = format!("{name}: 1\r\n");
        world.refuses(400, &get("/open/x", &field)).await;
        world.refuses(400, &get("/wide/x", &format!("{field}{}", bearer(&world.user)))).await;
    }
    let seen = world.passes(&get("/open/x", "My_Field: 1\r\nX.Y: 2\r\n")).await;
    assert_eq!((values(&seen, "my_field"), values(&seen, "x.y")), (vec!["1"], vec!["2"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_connection_cannot_take_the_identity_off() {
    let world = World::start().await;
    let token = bearer(&world.user);
    for nominated in [
        "x-auth-user-id, x-auth-roles, x-auth-username",
        "X-Auth-User-Id",
        "close, x-request-id, X-AUTH-ROLES",
        "keep-alive, x-forwarded-port, x-auth-user-id",
    ] {
        let seen = world.passes(&get("/wide/x", &format!("Connection: {nominated}\r\n{token}"))).await;
        assert_eq!(values(&seen, "x-auth-user-id"), ["4"], "{seen}");
        assert_eq!(values(&seen, "x-auth-username"), ["testuser"]);
        assert_eq!(values(&seen, "x-auth-roles"), ["user"]);
        assert_eq!(values(&seen, "x-request-id").len(), 1);
        assert_eq!(values(&seen, "connection"), Vec::<&str>::new());
    }
    // Nor a body's length, which would leave the body to be read as the next request.
    let body = "GET /admin/x HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!(
        "POST /open/x HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.back.clear();
    let answer = world.send(&raw(&request)).await;
    let seen = world.back.received();
    let framed = values(&seen, "content-length").len() + values(&seen, "transfer-encoding").len() == 1;
    assert!(answer.status == 400 && seen.is_empty() || framed, "{seen}");
    for nominated in
        ["host", "x-forwarded-for", "x-forwarded-proto", ":authority", "a,b,c,d,e,f,g,h,i,j,k", "\"close\""]
    {
        let answer = world.refuses(400, &get("/open/x", &format!("Connection: {nominated}\r\n"))).await;
        assert!(answer.text.contains("bad_request"), "{nominated}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_identity_of_clients_is_stripped() {
    let world = World::start().await;
    let forged = "X-Auth-User-Id: 1\r\nX-Auth-Username: superadmin\r\nX-Auth-Roles: superadmin\r\nx-auth-issuer: us\r\n\
                  X-Auth-Roles-Truncated: true\r\nX-AUTH-ASSERTION: a\r\nX-Auth-Request-User: a\r\nX-Forwarded-User: a\r\n\
                  X-Forwarded-Email: a\r\nX-Forwarded-Groups: a\r\nX-Cedargate-Mount: a\r\nX-Request-Id: forged\r\n";
    let seen = world.passes(&get("/open/x", forged)).await;
    assert!(!seen.to_lowercase().contains("x-auth-") && !seen.to_lowercase().contains("x-cedargate"), "{seen}");
    assert!(!seen.contains("forged") && !seen.contains("superadmin"), "{seen}");
    let seen = world.passes(&get("/wide/x", &format!("{forged}{}", bearer(&world.user)))).await;
    assert_eq!(values(&seen, "x-auth-user-id"), ["4"]);
    assert_eq!(values(&seen, "x-auth-username"), ["testuser"]);
    assert_eq!(values(&seen, "x-auth-roles"), ["user"]);
    for absent in
        ["x-auth-issuer", "x-auth-roles-truncated", "x-auth-assertion", "x-forwarded-user", "x-forwarded-email"]
    {
        assert!(values(&seen, absent).is_empty(), "{absent}: {seen}");
    }
    world.refuses(401, &get("/wide/x", forged)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_no_header_replaces_the_target() {
    let world = World::start().await;
    for name in [
        "X-Forwarded-Uri",
        "X-Original-URL",
        "X-Original-URI",
        "X-Rewrite-URL",
        "X-Forwarded-Path",
        "X-Forwarded-Prefix",
    ] {
        let field = format!("{name}: /open/x\r\n");
        world.refuses(401, &get("/admin/x", &field)).await;
        let seen = world.passes(&get("/open/x", &format!("{name}: /admin/x\r\n"))).await;
        assert!(seen.starts_with("GET /open/x HTTP/1.1\r\n") && !seen.contains("/admin"), "{seen}");
    }
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let seen = world.passes(&get("/open/x", &format!("{name}: DELETE\r\n"))).await;
        assert!(!seen.contains("DELETE"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_forwarding_headers_of_strangers_are_replaced() {
    let world = World::start().await;
    let forged = "X-Forwarded-For: 10.9.8.7\r\nX-Forwarded-For: 10.9.8.6, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 443\r\nForwarded: for=10.9.8.7;host=evil.example\r\n\
                  X-Real-IP: 10.9.8.7\r\n";
    let seen = world.passes(&get("/open/x", forged)).await;
    assert_eq!(values(&seen, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&seen, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&seen, "x-forwarded-host"), ["gw.example"]);
    assert!(!seen.contains("10.9.8") && !seen.contains("evil"), "{seen}");
    assert!(values(&seen, "x-forwarded-port").is_empty() && values(&seen, "forwarded").is_empty(), "{seen}");
    world.refuses(401, &get("/admin/x", forged)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_21_no_internal_header_opens_anything() {
    let world = World::start().await;
    for field in [
        "x-middleware-subrequest: middleware:middleware:middleware:middleware:middleware",
        "X-Middleware-Subrequest: src/middleware",
        "X-Cedargate-Mount: anything",
        "X-Cedargate-Internal: true",
        "X-Internal: true",
        "X-Internal-Request: 1",
        "X-Auth-User-Id: 1",
        "X-Policy-Revision: 1",
        "X-Skip-Auth: true",
        "X-Original-Method: OPTIONS",
        "Cookie: cedargate_session=1",
    ] {
        world.refuses(401, &get("/admin/x", &format!("{field}\r\n"))).await;
        world.refuses(403, &get("/admin/x", &format!("{}{}", field_without_cookie(field), bearer(&world.user)))).await;
    }
    let seen = world.passes(&get("/open/x", "X-Middleware-Subrequest: a\r\nX-Cedargate-Mount: a\r\n")).await;
    assert!(values(&seen, "x-middleware-subrequest").is_empty() && values(&seen, "x-cedargate-mount").is_empty());
}

/// A session beside a token is refused for a reason of its own.
fn field_without_cookie(field: &str) -> String {
    if field.starts_with("Cookie") { String::new() } else { format!("{field}\r\n") }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_no_user_agent_opens_anything() {
    let world = World::start().await;
    for agent in ["GoogleHC/1.0", "ELB-HealthChecker/2.0", "kube-probe/1.30", "Cedargate", "cedargate-healthcheck", ""]
    {
        world.refuses(401, &get("/admin/x", &format!("User-Agent: {agent}\r\n"))).await;
    }
    world.passes(&get("/open/x", "User-Agent: kube-probe/1.30\r\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_23_repeated_identity_is_not_merged() {
    let world = World::start().await;
    let token = bearer(&world.user);
    let before = "X-Auth-Roles: superadmin\r\nX-Auth-User-Id: 1\r\nX-Auth-Roles: admin,user\r\n";
    let after = "x-auth-roles: superadmin, admin\r\nX-Auth-User-Id: 1, 4\r\nX-AUTH-USERNAME: superadmin,testuser\r\n";
    let seen = world.passes(&get("/wide/x", &format!("{before}{token}{after}"))).await;
    assert_eq!(values(&seen, "x-auth-user-id"), ["4"]);
    assert_eq!(values(&seen, "x-auth-username"), ["testuser"]);
    assert_eq!(values(&seen, "x-auth-roles"), ["user"]);
    assert!(!seen.contains("superadmin"), "{seen}");
    world.refuses(403, &get("/admin/x", &format!("{before}{token}{after}"))).await;
}
