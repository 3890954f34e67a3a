//! What routes change in heads.

use serde_json::json;

use super::World;
use super::back::Back;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_sets_and_removes_fields_both_ways() {
    let world = World::start().await;
    let back = Back::start("a").await;
    world.fleet(&[back.address], json!({})).await;
    let routes = world.app.admin("GET", "/routes/").bearer(&world.admin).await.expect(200).json();
    let route =
        routes.as_array().unwrap().iter().find(|route| route["route"] == "/fleet/{*rest}").unwrap()["id"].clone();
    let route = format!("/routes/{route}");
    let headers = json!({
        "request": { "set": { "X-Tenant": "blue", "Authorization": "Basic b3Vyczpvd24=" }, "remove": ["X-Debug", "Accept"] },
        "response": { "set": { "X-Fleet": "ours", "X-Back": "hidden" }, "remove": ["Server"] },
    });
    let change = json!({ "headers": headers, "forward_authorization": false });
    world.app.admin("PUT", &route).bearer(&world.admin).json(change).await.expect(200);
    let user = world.app.token("testuser").await;
    let asked = world.app.gateway("GET", "/fleet/x").bearer(&user).header("X-Tenant", "red").header("x-debug", "1");
    let answer = asked.header("Accept", "text/plain").header("X-Other", "stays").await.expect(200);
    let seen = back.seen().remove(0).to_lowercase();
    for field in ["\r\nx-tenant: blue\r\n", "\r\nauthorization: basic b3vyczpvd24=\r\n", "\r\nx-other: stays\r\n"] {
        assert!(seen.contains(field), "{field} {seen}");
    }
    for absent in ["red", "x-debug", "\r\naccept:", "bearer"] {
        assert!(!seen.contains(absent), "{absent} {seen}");
    }
    // What we say ourselves is said after it.
    assert!(seen.contains("\r\nx-auth-username: testuser\r\n") && seen.contains("\r\nx-request-id: "), "{seen}");
    assert_eq!((answer.header("x-back"), answer.header("x-fleet")), (Some("hidden"), Some("ours")));
    assert_eq!(answer.headers.get_all("x-back").iter().count(), 1);
    assert_eq!(answer.header("server"), None);
    assert!(answer.header("x-request-id").is_some(), "{answer:?}");
    // Our own answers are none of the route's business.
    drop(back);
    assert_eq!(world.get("/fleet/x").await.expect(502).header("x-fleet"), None);
    for forbidden in ["X-Auth-User-Id", "x_auth_roles", "X-Forwarded-For", "Host", "Content-Length", "Connection"] {
        let headers = json!({ "headers": { "request": { "set": { forbidden: "1" } } } });
        world.app.admin("PUT", &route).bearer(&world.admin).json(headers).await.expect(422);
    }
}
