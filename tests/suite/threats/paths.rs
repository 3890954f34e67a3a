//! Targets that two parsers would read differently (rows 2 to 9, 13, 14).
//!
//! A public route matches everything, so that whatever is not refused would reach the back end.

use super::World;
use super::wire::get;
use super::world::bearer;

#[tokio::test(flavor = "multi_thread")]
async fn row_02_dot_segments_are_refused() {
    let world = World::open().await;
    let targets =
        ["/public/../admin", "/open/..", "/..", "/../admin", "/open/../admin?x", "/.", "/open/...", "/open/a../b"];
    world.refuses_targets(&targets, "/open/a.b/..c/.well-known").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_03_encoded_dot_segments_are_refused() {
    let world = World::open().await;
    let targets = [
        "/svc/%2e%2e/admin",
        "/svc/%2E%2E/admin",
        "/svc/.%2e/admin",
        "/svc/%2e./admin",
        "/svc/%2e/admin",
        "/svc/%252e%252e/admin",
        "/svc/%252E/admin",
        "/svc/%25252e/admin",
        "/svc/..%2fadmin",
        "/svc/%c0%ae%c0%ae/admin",
        "/svc/%u002e%u002e/admin",
    ];
    world.refuses_targets(&targets, "/svc/x?x=%2e%2e").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_04_encoded_separators_are_refused() {
    let world = World::open().await;
    for code in ["2f", "2F", "5c", "5C", "00", "3b", "3B", "3f", "3F", "23", "25", "0a", "0d", "09", "7f"] {
        for target in [format!("/open/a%{code}b"), format!("/open%{code}"), format!("/%{code}admin")] {
            world.refuses(400, &get(&target, "")).await;
        }
    }
    let seen = world.passes(&get("/open/a%20b%22%C3%A9?x=%2f%5c%3b", "")).await;
    assert!(seen.starts_with("GET /open/a%20b%22%C3%A9?x=%2f%5c%3b HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_05_what_is_forwarded_is_what_was_authorised() {
    let world = World::open().await;
    let token = bearer(&world.user);
    let targets =
        ["/api%2e/admin", "/api../admin", "/api/../admin", "/api//admin", "/api/%2e%2e/admin", "/api%2fadmin"];
    world.refuses_targets(&targets, "/apix/admin").await;
    // Taken off at a segment boundary, once, and what remains keeps its bytes.
    for (sent, forwarded) in [
        ("/api/admin", "/admin"),
        ("/api/api/admin", "/api/admin"),
        ("/api/a%20b/c?d=/api/e", "/a%20b/c?d=/api/e"),
        ("/api/@a/b:80", "/@a/b:80"),
    ] {
        let seen = world.passes(&get(sent, &token)).await;
        assert!(seen.starts_with(&format!("GET {forwarded} HTTP/1.1\r\n")), "{sent}: {seen}");
        world.refuses(401, &get(sent, "")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_06_encoded_slashes_are_refused() {
    let world = World::open().await;
    let targets =
        ["/pub%2Fadmin", "/pub%2fadmin", "/pub%5Cadmin", "/pub%5cadmin", "/%2Fadmin", "/admin%2F", "/pub\\admin"];
    world.refuses_targets(&targets, "/pub/x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_07_mixed_dot_segments_are_refused() {
    let world = World::open().await;
    let targets = ["/info/./../private", "/info/.", "/info/./x", "/./info/x", "/info/x/.", "/info/.%2e/private"];
    world.refuses_targets(&targets, "/info/x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_08_empty_segments_are_refused() {
    let world = World::open().await;
    let targets = ["//admin/x", "//", "///admin", "/open//x", "/open/x//", "//evil.example/admin", "/\\/admin"];
    world.refuses_targets(&targets, "/open/x/?y=//z").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_09_fragments_are_refused() {
    let world = World::open().await;
    let targets = ["/open/x#/admin", "/admin#", "/open/#", "/open/x?y#z", "#", "#/admin", "/open/x#?y"];
    world.refuses_targets(&targets, "/open/x?y").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_path_parameters_are_refused() {
    let world = World::open().await;
    let targets = ["/admin;x/y", "/..;/admin", "/open/..;/admin", "/open/x;y", "/;/admin", "/open/.;x/y", "/open/x;"];
    world.refuses_targets(&targets, "/open/x?a;b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_raw_characters_that_need_escaping_are_refused() {
    let world = World::open().await;
    let targets = [
        "/open/a b",
        "/open/a ",
        "/open/a\tb",
        "/open/a\0b",
        "/open/a\u{b}b",
        "/open/\u{e9}",
        "/open/a\u{7f}",
        "/open/a?b c",
        "/open/a?\u{e9}",
        "/open/a?b\tc",
        "/open/\"a\"",
        "/open/<a>",
        "/open/{a}",
        "/open/a|b",
        "/open/a^b",
        "/open/a`b",
        "/open/[a]",
        "/open/a%",
        "/open/a%2",
        "/open/a%zz",
        "/open/a?b=%",
        "/open/a?b=%g0",
    ];
    world.refuses_targets(&targets, "/open/a-b~c!d$e&f'(g)*+,=:@").await;
    for latin in [&b"GET /open/\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"GET /open/a?\xff HTTP/1.1\r\nHost: a\r\n\r\n"] {
        world.refuses(400, latin).await;
    }
}
