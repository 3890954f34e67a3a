//! Which rule decides: path, letter case, host (rows 1, 10 to 12, 15).

use serde_json::json;

use super::World;
use super::wire::{get, raw};
use super::world::{bearer, needs, public};

#[tokio::test(flavor = "multi_thread")]
async fn row_01_a_decision_for_one_route_is_not_reused_for_another() {
    let world = World::start().await;
    let (user, admin) = (bearer(&world.user), bearer(&world.admin));
    for _ in 0..3 {
        world.passes(&get("/wide/x", &user)).await;
        world.refuses(403, &get("/admin/x", &user)).await;
        world.passes(&get("/admin/x", &admin)).await;
        world.refuses(403, &get("/admin/x", &user)).await;
        world.refuses(401, &get("/admin/x", "")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_10_the_query_decides_nothing() {
    let world = World::start().await;
    for target in
        ["/admin?x=/public", "/admin/x?/open/x", "/admin?path=/open/x&url=/open/x", "/admin/x?a=http://b/open/"]
    {
        world.refuses(401, &get(target, "")).await;
        world.refuses(403, &get(target, &bearer(&world.user))).await;
        let seen = world.passes(&get(target, &bearer(&world.admin))).await;
        assert!(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_another_spelling_is_another_path_or_none() {
    let world = World::start().await;
    let user = bearer(&world.user);
    for target in ["/ADMIN", "/Admin/x", "/ADMIN/x", "/OPEN/x", "/admin/"] {
        world.refuses(404, &get(target, &user)).await;
    }
    for target in ["/%41dmin", "/%61dmin/x", "/adm%69n", "/%6fpen/x", "/admin/%78"] {
        world.refuses(400, &get(target, &user)).await;
    }
    world.refuses(403, &get("/admin/X", &user)).await;
    world.passes(&get("/admin/X", &bearer(&world.admin))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_all_spellings_of_a_host_are_one() {
    let world = World::start().await;
    // Were a host-bound route missed, the public one would answer.
    world.route(json!({ "route": "/hosted/{*rest}", "operations": public() })).await;
    for number in 0..101 {
        let host = format!("h{number}.b.example");
        world.route(json!({ "route": "/hosted/{*rest}", "host": host, "operations": needs("article:delete") })).await;
    }
    let request = |host: &str, fields: &str| raw(&format!("GET /hosted/x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    for number in [0, 9, 100] {
        for host in
            ["h#.b.example", "H#.B.EXAMPLE", "h#.b.example.", "H#.b.Example.", "h#.b.example:80", "h#.B.example.:8000"]
        {
            let host = host.replace('#', &number.to_string());
            world.refuses(401, &request(&host, "")).await;
            world.refuses(403, &request(&host, &bearer(&world.user))).await;
            let seen = world.passes(&request(&host, &bearer(&world.admin))).await;
            assert!(seen.contains(&format!("\r\nHost: {host}\r\n")), "{seen}");
        }
        world.refuses(400, &request(&format!("h{number}.b.example.."), "")).await;
    }
    world.passes(&request("h101.b.example", "")).await;
    world.passes(&request("b.example", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_rule_covers_its_path_and_no_more() {
    let world = World::start().await;
    world.route(json!({ "route": "/users", "operations": public() })).await;
    world.route(json!({ "route": "/users/{id}", "operations": needs("article:delete") })).await;
    world.route(json!({ "route": "/team/{*rest}", "operations": public() })).await;
    for target in ["/usersX", "/users/", "/user", "/users.json", "/team", "/team/", "/teamX/a", "/users/1/2"] {
        world.refuses(404, &get(target, "")).await;
    }
    world.refuses(401, &get("/users/1", "")).await;
    world.refuses(403, &get("/users/1", &bearer(&world.user))).await;
    world.passes(&get("/users", "")).await;
    world.passes(&get("/team/a", "")).await;
    world.passes(&get("/users/1", &bearer(&world.admin))).await;
}
