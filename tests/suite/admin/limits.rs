//! How much one client may ask for.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Caller, PASSWORD, refused};
use crate::support::Backend;
use crate::support::app::{Answer, App, Call};

const ON: (&str, &str) = ("CEDARGATE_RATE_LIMIT__ENABLED", "true");

/// Limit, window and what remains, as an answer tells them; and that the limit is back within the window.
#[track_caller]
fn standing(answer: &Answer) -> (u64, u64, u64) {
    let number = |name: &str| -> u64 {
        assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{name}: {}", answer.text);
        answer.header(name).unwrap().parse().unwrap()
    };
    let window = number("x-ratelimit-window");
    let now = u64::try_from(cedargate::model::Timestamp::now().unix_seconds()).unwrap();
    let reset = number("x-ratelimit-reset");
    assert!((now..=now + window + 1).contains(&reset), "{reset} at {now}");
    let (limit, remaining) = (number("x-ratelimit-limit"), number("x-ratelimit-remaining"));
    let (policy, left) = (answer.header("ratelimit-policy").unwrap(), answer.header("ratelimit").unwrap());
    assert!(policy.ends_with(&format!(";q={limit};w={window}")), "{policy}");
    assert!(left.contains(&format!(";r={remaining};t=")), "{left}");
    (limit, window, remaining)
}

#[track_caller]
fn limited(answer: Answer, detail: &str) -> u64 {
    let wait = answer.header("retry-after").unwrap_or_else(|| panic!("{}", answer.text)).parse().unwrap();
    assert_eq!(standing(&answer).2, 0);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    refused(answer, 429, detail);
    wait
}

on_both!(anonymous_requests_are_limited_by_address, |backend| async move {
    let app = App::start_with(backend, &[ON, ("RATE_LIMIT_REQUESTS", "4"), ("RATE_LIMIT_WINDOW", "120")]).await;
    let me = |gateway: bool| if gateway { app.gateway("GET", "/api/v1/auth/me") } else { app.admin("GET", "/auth/me") };
    // Through the gateway it is the same client, whatever it says of itself; a token that is no good is none.
    let one = me(false).await.expect(401);
    assert_eq!(standing(&one), (4, 120, 3));
    assert_eq!(standing(&me(true).header("X-Forwarded-For", "192.0.2.1").await.expect(401)), (4, 120, 2));
    assert_eq!(standing(&me(false).bearer("nonsense").await.expect(401)), (4, 120, 1));
    let login = app.login("testuser", "testuser123").await.expect(200);
    assert_eq!(standing(&login), (4, 120, 0));
    for call in [me(true), me(false), app.admin("POST", "/auth/login").json(json!({})), me(false).bearer("nonsense")] {
        let wait = limited(call.await, "Rate limit exceeded. Max 4 requests per 120 seconds.");
        assert!((1..=30).contains(&wait), "{wait}");
    }
    // Who is signed in has an allowance of one's own, and probes must not fail because of others.
    let token = login.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(standing(&me(true).bearer(&token).await.expect(200)).0, 1_000);
    for path in ["/", "/livez", "/readyz", "/health", "/health/detailed", "/metrics"] {
        let answer = app.internal("GET", path).await.expect(200);
        assert_eq!(answer.header("x-ratelimit-limit"), None, "{path}");
    }
    // Nothing that is forwarded is counted.
    for _ in 0..10 {
        app.gateway("GET", "/demo/public").await.expect(200);
    }
    let elsewhere = from("127.0.0.2", me(true)).await;
    assert_eq!(standing(&elsewhere.expect(401)), (4, 120, 3));
});

/// The same request from another address of this machine.
async fn from(address: &str, call: Call) -> Answer {
    let address: IpAddr = address.parse().unwrap();
    let client = reqwest::Client::builder().no_proxy().local_address(address).build().unwrap();
    call.with(&client).await
}

on_both!(users_are_limited_each_for_themselves, |backend| async move {
    let limits = [("RATE_LIMIT_API_AUTHENTICATED_MAX", "3"), ("RATE_LIMIT_API_AUTHENTICATED_WINDOW", "60")];
    let app = App::start_with(backend, &[ON, limits[0], limits[1]]).await;
    let user = Caller::demo(&app, "testuser").await;
    let again = Caller::demo(&app, "testuser").await;
    let admin = Caller::superadmin(&app).await;
    for (caller, left) in [(&user, 2), (&again, 1), (&user, 0)] {
        assert_eq!(standing(&caller.get("/auth/me").await.expect(200)), (3, 60, left), "all sessions count");
    }
    for call in [user.get("/auth/me"), again.get("/users/"), app.gateway("GET", "/api/v1/users/").bearer(&user.token)] {
        limited(call.await, "Rate limit exceeded. Max 3 requests per 60 seconds.");
    }
    assert_eq!(standing(&admin.get("/auth/me").await.expect(200)).2, 2);
    assert_eq!(standing(&app.admin("GET", "/auth/me").await.expect(401)).0, 100, "nor does it count for the address");
});

on_both!(accounts_are_made_few_at_a_time, |backend| async move {
    let app = App::start_with(backend, &[ON]).await;
    let account = |name: &str| -> Value {
        json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD })
    };
    let register = |path: &str, body: Value| app.admin("POST", path).json(body);
    for _ in 0..5 {
        register("/auth/register", json!({ "username": "x" })).await.expect(422);
    }
    register("/auth/register", account("ann")).await.expect(200);
    register("/auth/public-register", account("bob")).await.expect(200);
    register("/auth/register", account("ann")).await.expect(400);
    for path in ["/auth/register", "/auth/public-register"] {
        let answer = register(path, account("carl")).await;
        assert_eq!(standing(&answer), (3, 3_600, 0));
        let wait = limited(answer, "Rate limit exceeded. Max 3 requests per 3600 seconds.");
        assert!((1_000..=1_200).contains(&wait), "{wait}");
    }
    // Whoever administers users is not held to it.
    let admin = Caller::superadmin(&app).await;
    admin.post("/auth/register", account("carl")).await.expect(200);
});

#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_ins_say_how_many_are_allowed() {
    let app = App::start_with(Backend::Sqlite, &[ON, ("RATE_LIMIT_LOGIN_MAX", "2")]).await;
    for _ in 0..2 {
        assert_eq!(standing(&app.login("testuser", "wrong").await.expect(401)).0, 100);
    }
    let answer = app.login("testuser", "testuser123").await;
    assert_eq!(standing(&answer), (2, 900, 0));
    limited(answer, "Rate limit exceeded. Max 2 requests per 900 seconds.");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_can_be_turned_off() {
    let app = App::start_with(Backend::Sqlite, &[("RATE_LIMIT_ENABLED", "false"), ("RATE_LIMIT_REQUESTS", "1")]).await;
    for _ in 0..5 {
        let answer = app.admin("GET", "/auth/me").await.expect(401);
        assert_eq!(answer.header("x-ratelimit-limit"), None);
    }
}

on_both!(a_route_is_limited_for_each_user_and_address, |backend| async move {
    let app = App::start_with(backend, &[ON]).await;
    let admin = Caller::superadmin(&app).await;
    let user = Caller::demo(&app, "testuser").await;
    let routes = admin.get("/routes/?limit=1000").await.expect(200).json();
    let find = |path: &str| {
        let routes = routes.as_array().unwrap().iter();
        routes.clone().find(|route| route["route"] == path).unwrap_or_else(|| panic!("{routes:?}"))["id"].clone()
    };
    let limit = async |path: &str, rate: Value| {
        let id = find(path);
        admin.put(&format!("/routes/{id}"), json!({ "rate_limit": rate })).await
    };
    let rate = |requests: u32| json!({ "requests": requests, "window_seconds": 600 });
    for (rate, expected) in [
        (json!({ "requests": 0, "window_seconds": 60 }), "requests must be from 1 to 1000000"),
        (json!({ "requests": 5, "window_seconds": 90_000 }), "window_seconds must be from 1 to 86400"),
        (json!({ "requests": 5 }), "missing field `window_seconds`"),
        (json!({ "requests": 5, "window_seconds": 60, "burst": 7 }), "unknown field `burst`"),
        (json!(5), "invalid type"),
    ] {
        let answer = limit("/demo/public", rate).await.expect(422);
        assert!(answer.text.contains(expected), "{}", answer.text);
    }
    let set = limit("/demo/public", rate(3)).await.expect(200).json();
    assert_eq!(set["rate_limit"], rate(3));
    let public = || app.gateway("GET", "/demo/public");
    for left in [2, 1, 0] {
        // An address that a client makes up counts for nothing (CVE-2023-36456, threats 26).
        let forged = public().header("X-Forwarded-For", &format!("192.0.2.{left}"));
        assert_eq!(standing(&forged.await.expect(200)), (3, 600, left));
    }
    let refused = public().await.expect(429);
    assert_eq!(refused.json()["reason"], "rate_limited");
    assert_eq!(standing(&refused), (3, 600, 0));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=200).contains(&wait), "{wait}");
    assert_eq!(standing(&from("127.0.0.2", public()).await.expect(200)).2, 2);
    for caller in [&user, &admin] {
        assert_eq!(standing(&public().bearer(&caller.token).await.expect(200)).2, 2, "each for themselves");
    }
    assert_eq!(user.gateway("GET", "/demo/articles").await, 200);
    assert_eq!(app.gateway("GET", "/demo/articles").bearer(&user.token).await.header("ratelimit"), None);
    // More at once, and none at all.
    limit("/demo/public", rate(10)).await.expect(200);
    public().await.expect(200);
    assert_eq!(limit("/demo/public", Value::Null).await.expect(200).json()["rate_limit"], Value::Null);
    assert_eq!(public().await.expect(200).header("ratelimit"), None);
});

on_both!(clients_of_the_gateway_are_limited_for_all_routes, |backend| async move {
    let limits = [
        ("CEDARGATE_RATE_LIMIT__GATEWAY_ANONYMOUS_REQUESTS", "2"),
        ("CEDARGATE_RATE_LIMIT__GATEWAY_AUTHENTICATED_REQUESTS", "3"),
    ];
    let app = App::start_with(backend, &[ON, limits[0], limits[1]]).await;
    let user = Caller::demo(&app, "testuser").await;
    let get = |path: &str| app.gateway("GET", path);
    assert_eq!(standing(&get("/demo/public").await.expect(200)), (2, 60, 1));
    get("/demo/public").await.expect(200);
    get("/demo/public").await.expect(429);
    for path in ["/demo/public", "/demo/articles", "/demo/whoami"] {
        get(path).bearer(&user.token).await.expect(200);
    }
    get("/demo/articles").bearer(&user.token).await.expect(429);
    // What is refused without a decision costs nothing and counts for nothing; the admin API has limits of its own.
    get("/demo/nothing").await.expect(404);
    get("/api/v1/auth/me").bearer(&user.token).await.expect(200);
});

#[tokio::test(flavor = "multi_thread")]
async fn no_limit_holds_when_they_are_switched_off() {
    let off = [("CEDARGATE_RATE_LIMIT__GATEWAY_ANONYMOUS_REQUESTS", "1")];
    let app = App::start_with(Backend::Sqlite, &off).await;
    for _ in 0..3 {
        assert_eq!(app.gateway("GET", "/demo/public").await.expect(200).header("ratelimit"), None);
    }
}
