//! Who may do what: the matrix, one user's access, and who can do one thing.

use serde_json::{Value, json};

use super::{Caller, id, issues, keys, refused};
use crate::support::app::App;

/// `role what grant` of each cell.
fn cells(answer: &Value) -> Vec<String> {
    let cell = |cell: &Value| {
        let what = match cell["permission"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("{} {}", cell["method"].as_str().unwrap(), cell["route"].as_str().unwrap()),
        };
        format!("{} {what} {}", cell["role"].as_str().unwrap(), cell["grant"].as_str().unwrap())
    };
    answer["cells"].as_array().unwrap().iter().map(cell).collect()
}

/// A role "chief", which inherits from "user".
async fn chief(admin: &Caller<'_>) -> i64 {
    let chief = id(&admin.made("/roles/", json!({ "name": "chief" })).await);
    admin.call("POST", &format!("/roles/{chief}/parents/3")).await.expect(200);
    chief
}

on_both!(the_matrix_says_how_a_role_comes_to_something, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    chief(&admin).await;
    let whole = admin.get("/matrix").await.expect(200);
    let body = whole.json();
    assert_eq!(keys(&body), ["policy_revision", "cells"]);
    assert_eq!(keys(&body["cells"][0]), ["role", "permission", "grant"]);
    assert_eq!(whole.header("x-total-count").unwrap(), body["cells"].as_array().unwrap().len().to_string());
    let of = async |query: &str| cells(&admin.get(&format!("/matrix?{query}")).await.expect(200).json());
    // One's own orders are what the request says they are.
    assert_eq!(
        of("role=chief").await,
        [
            "chief article:read inherited",
            "chief order:read conditional",
            "chief order:read:own conditional",
            "chief user:read inherited",
        ]
    );
    assert_eq!(of("role=user&by=permission&permission=article:read").await, ["user article:read direct"]);
    assert_eq!(
        of("role=chief&by=operation").await,
        [
            "chief GET /demo/articles inherited",
            "chief GET /demo/articles/{id} inherited",
            "chief GET /demo/users/{user_id}/orders conditional",
            "chief GET /demo/whoami direct",
            "chief GET /demo/public direct",
        ]
    );
    assert_eq!(of("by=operation&permission=article:delete").await, ["superadmin DELETE /demo/articles/{id} direct"]);
    let route = admin.get("/matrix?by=operation&role=user").await.expect(200).json()["cells"][2].clone();
    assert_eq!(keys(&route), ["role", "route_id", "route", "method", "grant"]);
    let orders = route["route_id"].as_i64().unwrap();
    assert_eq!(of(&format!("role=user&route_id={orders}")).await, ["user order:read conditional"]);
    assert_eq!(of("role=nobody").await, [""; 0]);
    // Pages, in the same order.
    let all = of("by=operation").await;
    let mut paged = Vec::new();
    for skip in (0..all.len()).step_by(4) {
        let page = admin.get(&format!("/matrix?by=operation&skip={skip}&limit=4")).await.expect(200);
        assert_eq!(page.header("x-total-count").unwrap(), all.len().to_string());
        paged.extend(cells(&page.json()));
    }
    assert_eq!(paged, all);
    for (query, place) in [
        ("by=role", "query.by"),
        ("limit=0", "query.limit"),
        ("route_id=x", "query.route_id"),
        ("skip=-1", "query.skip"),
    ] {
        assert!(issues(admin.get(&format!("/matrix?{query}")).await)[0].contains(place), "{query}");
    }
});

on_both!(one_request_tells_all_that_a_user_can_do, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let access = admin.get("/users/4/access").await.expect(200).json();
    assert_eq!(keys(&access), ["user_id", "permissions", "conditional_permissions", "operations"]);
    assert_eq!(access["permissions"], json!(["article:read", "order:read:own", "user:read"]));
    assert_eq!(access["conditional_permissions"], json!(["order:read"]));
    let operations = access["operations"].as_array().unwrap();
    assert_eq!(keys(&operations[0]), ["route_id", "route", "method", "conditional"]);
    let shown: Vec<(&str, bool)> =
        operations.iter().map(|row| (row["route"].as_str().unwrap(), row["conditional"] == true)).collect();
    let expected = [
        ("/demo/articles", false),
        ("/demo/articles/{id}", false),
        ("/demo/users/{user_id}/orders", true),
        ("/demo/whoami", false),
        ("/demo/public", false),
    ];
    assert_eq!(shown, expected);
    refused(admin.get("/users/999/access").await, 404, "User not found");
    admin.call("PATCH", "/users/4/toggle-status").await.expect(200);
    let access = admin.get("/users/4/access").await.expect(200).json();
    assert_eq!((&access["permissions"], &access["operations"]), (&json!([]), &json!([])));
});

on_both!(who_can_is_answered_with_the_way_to_it, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let chief = chief(&admin).await;
    let boss = admin.user("boss", &[chief]).await;
    let list = async |query: &str| {
        let answer = admin.get(&format!("/who-can?{query}")).await.expect(200);
        let rows: Vec<Value> = answer.json().as_array().unwrap().clone();
        (rows, answer.header("x-total-count").unwrap().to_owned())
    };
    let names =
        |rows: &[Value]| rows.iter().map(|row| row["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (rows, total) = list("permission=article:read").await;
    assert_eq!(
        (names(&rows), total.as_str()),
        (["superadmin", "user", "testuser", "boss"].map(str::to_owned).to_vec(), "4")
    );
    assert_eq!(rows[3], json!({ "user_id": boss, "username": "boss", "via": ["chief", "user"], "conditional": false }));
    assert_eq!(rows[1]["via"], json!(["user"]));
    assert_eq!(list("method=get&path=/demo/articles/7").await.0, rows);
    let (rows, total) = list("permission=article:read&skip=1&limit=2").await;
    assert_eq!((names(&rows), total.as_str()), (["user", "testuser"].map(str::to_owned).to_vec(), "4"));
    // What everybody may, and what depends on whose it is.
    let (rows, _) = list("method=GET&path=/demo/public&host=shop.example").await;
    assert!(rows.len() == 5 && rows.iter().all(|row| row["via"] == json!([])), "{rows:?}");
    let (rows, _) = list("method=GET&path=/demo/users/4/orders").await;
    let conditional: Vec<bool> = rows.iter().map(|row| row["conditional"] == true).collect();
    assert_eq!(conditional, [false, true, true, true], "{rows:?}");
    let (rows, total) = list("permission=nothing").await;
    assert_eq!((rows.len(), total.as_str()), (0, "0"));
    admin.call("PATCH", &format!("/users/{boss}/toggle-status")).await.expect(200);
    assert_eq!(list("permission=article:read").await.1, "3");

    let get = async |query: &str| admin.get(&format!("/who-can?{query}")).await;
    for query in
        ["", "method=GET", "path=/demo/public", "permission=a:b&path=/demo/public&method=GET", "permission=a:b&host=h"]
    {
        assert_eq!(issues(get(query).await).len(), 1, "{query}");
    }
    assert_eq!(
        issues(get("method=GET&path=demo").await),
        ["value_error query.path: Value error, a path begins with /"]
    );
    refused(get("method=GET&path=/nowhere").await, 404, "No gateway route matches '/nowhere'");
    refused(get("method=GET&path=/demo/../demo/public").await, 404, "No gateway route matches '/demo/../demo/public'");
    let answer = get("method=PUT&path=/demo/articles").await.expect(404).json();
    assert!(answer["detail"].as_str().unwrap().ends_with("(/demo/articles) has no operation for PUT"), "{answer}");
    let answer = get("method=GET&path=/api/v1/users").await.expect(404).json();
    assert!(answer["detail"].as_str().unwrap().contains("belongs to the admin API"), "{answer}");
});
