//! Refresh tokens that are used twice, sessions, and signing in while somebody guesses (threats 55 to 63).

use std::net::IpAddr;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Caller, PASSWORD, assert_timestamp, keys, refused};
use crate::support::app::{Answer, App, SECRET};

const WRONG: &str = "Invalid username or password";
const VOID: &str = "Invalid or expired token";

/// A client at this address of the loopback range.
fn at(address: &str) -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().local_address(address.parse::<IpAddr>().unwrap());
    builder.build().unwrap()
}

async fn login_at(app: &App, address: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    app.admin("POST", "/auth/login").json(body).with(&at(address)).await
}

async fn refresh(app: &App, token: &str) -> Answer {
    app.admin("POST", "/auth/refresh").json(json!({ "refresh_token": token })).await
}

fn text<'v>(pair: &'v Value, name: &str) -> &'v str {
    pair[name].as_str().unwrap_or_else(|| panic!("no {name}: {pair}"))
}

/// What a token says.
fn said(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn all_at_once(app: &Arc<App>, token: &str, times: usize) -> Vec<Answer> {
    let tasks: Vec<_> = (0..times)
        .map(|_| {
            let (app, token) = (Arc::clone(app), token.to_owned());
            tokio::spawn(async move { refresh(&app, &token).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

on_both!(row_55_fifty_uses_at_once_are_one_rotation, |backend| async move {
    let app = Arc::new(App::start(backend).await);
    let pair = app.login("testuser", "testuser123").await.expect(200).json();
    let answers = all_at_once(&app, text(&pair, "refresh_token"), 50).await;
    let mut ids = Vec::new();
    for answer in answers {
        let renewed = answer.expect(200).json();
        app.gateway("GET", "/demo/whoami").bearer(text(&renewed, "access_token")).await.expect(200);
        ids.push(said(text(&renewed, "refresh_token"))["jti"].clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one token took the place of the old one");
    let renewed = refresh(&app, text(&pair, "refresh_token")).await.expect(200).json();
    let own = Caller { app: &app, token: text(&renewed, "access_token").to_owned() };
    let sessions = own.get("/auth/sessions").await.expect(200).json();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "signed in once");
    refresh(&app, text(&renewed, "refresh_token")).await.expect(200);
});

on_both!(row_55_a_token_that_was_replaced_ends_the_family, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_SESSIONS__REFRESH_GRACE_SECONDS", "0")]).await;
    let admin = Caller::superadmin(&app).await;
    let stolen = app.login("testuser", "testuser123").await.expect(200).json();
    let other = app.login("testuser", "testuser123").await.expect(200).json();
    let owner = refresh(&app, text(&stolen, "refresh_token")).await.expect(200).json();
    let before = app.gateway("GET", "/demo/whoami").bearer(text(&owner, "access_token")).await;
    before.expect(200);
    refused(refresh(&app, text(&stolen, "refresh_token")).await, 401, VOID);
    for token in [text(&stolen, "access_token"), text(&owner, "access_token")] {
        let answer = app.gateway("GET", "/demo/whoami").bearer(token).await.expect(401);
        assert_eq!(answer.json()["reason"], "revoked");
    }
    refused(refresh(&app, text(&owner, "refresh_token")).await, 401, VOID);
    refresh(&app, text(&other, "refresh_token")).await.expect(200);

    let trail = admin.get("/audit-logs/?resource=session").await.expect(200).json();
    let session = said(text(&stolen, "access_token"))["sid"].clone();
    assert_eq!(trail.as_array().unwrap().len(), 1, "{trail}");
    assert_eq!((&trail[0]["resource_id"], &trail[0]["action"]), (&session, &json!("update")));
    assert_eq!((&trail[0]["ip"], &trail[0]["actor_id"]), (&json!("127.0.0.1"), &Value::Null));
    assert_eq!(trail[0]["after"]["ended"], "a refresh token was used twice");
    let user = said(text(&other, "access_token"))["uid"].clone();
    let activity = admin.get(&format!("/users/{user}/activity?action=refresh")).await.expect(200).json();
    assert_eq!((activity.as_array().unwrap().len(), &activity[0]["success"]), (1, &json!(false)));
});

on_both!(row_56_a_replaced_token_is_refused_after_a_restart, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_SESSIONS__REFRESH_GRACE_SECONDS", "0")]).await;
    let first = app.login("testuser", "testuser123").await.expect(200).json();
    let second = refresh(&app, text(&first, "refresh_token")).await.expect(200).json();
    refresh(&app, text(&second, "refresh_token")).await.expect(200);
    let ended = app.login("testuser", "testuser123").await.expect(200).json();
    app.admin("POST", "/auth/logout").bearer(text(&ended, "access_token")).await.expect(200);
    let app = app.restart().await;
    refused(refresh(&app, text(&first, "refresh_token")).await, 401, VOID);
    refused(refresh(&app, text(&ended, "refresh_token")).await, 401, VOID);
    app.gateway("GET", "/demo/whoami").bearer(text(&ended, "access_token")).await.expect(401);
});

on_both!(sessions_are_listed_and_ended_one_by_one, |backend| async move {
    let app = App::start(backend).await;
    let one = app.login("testuser", "testuser123").await.expect(200).json();
    let two = app.login("testuser", "testuser123").await.expect(200).json();
    let admin = Caller::superadmin(&app).await;
    let own = Caller { app: &app, token: text(&one, "access_token").to_owned() };
    let listed = own.get("/auth/sessions").await.expect(200);
    assert_eq!(listed.header("x-total-count"), Some("2"));
    let listed = listed.json();
    let shown = ["id", "created_at", "last_seen_at", "expires_at", "ip", "user_agent", "current"];
    assert_eq!(keys(&listed[0]), shown);
    let find = |current: bool| listed.as_array().unwrap().iter().find(|row| row["current"] == current).unwrap();
    assert_eq!(find(true)["id"], said(text(&one, "access_token"))["sid"]);
    assert_eq!(find(false)["ip"], "127.0.0.1");
    let other = format!("/auth/sessions/{}", text(find(false), "id"));
    for path in [other.as_str(), "/auth/sessions/nothing", &format!("/auth/sessions/{}", "x".repeat(2_000))] {
        refused(admin.delete(path).await, 404, "Session not found");
    }
    app.gateway("GET", "/demo/whoami").bearer(text(&two, "access_token")).await.expect(200);
    let ended = own.delete(&other).await.expect(200);
    assert_eq!(ended.json(), json!({ "message": "Session ended", "success": true }));
    app.gateway("GET", "/demo/whoami").bearer(text(&two, "access_token")).await.expect(401);
    refused(refresh(&app, text(&two, "refresh_token")).await, 401, VOID);
    refused(own.delete(&other).await, 404, "Session not found");
    assert_eq!(own.get("/auth/sessions").await.expect(200).json().as_array().unwrap().len(), 1);
});

on_both!(one_signs_out_everywhere_and_is_signed_out, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    for path in ["/auth/logout-all".to_owned(), format!("/users/{ann}/logout-all")] {
        let one = app.login("ann", PASSWORD).await.expect(200).json();
        let two = app.login("ann", PASSWORD).await.expect(200).json();
        let own = Caller { app: &app, token: text(&one, "access_token").to_owned() };
        let caller = if path.starts_with("/auth") { &own } else { &admin };
        caller.call("POST", &path).await.expect(200);
        for pair in [&one, &two] {
            app.gateway("GET", "/demo/whoami").bearer(text(pair, "access_token")).await.expect(401);
            refused(refresh(&app, text(pair, "refresh_token")).await, 401, VOID);
        }
        let again = Caller { app: &app, token: app.token_with("ann", PASSWORD).await };
        assert_eq!(again.get("/auth/sessions").await.expect(200).json().as_array().unwrap().len(), 1);
    }
    let trail = admin.get(&format!("/audit-logs/?resource=user&resource_id={ann}")).await.expect(200).json();
    assert_eq!(trail[0]["after"]["id"], ann);
    admin.user("guest1", &[4]).await;
    let user = Caller { app: &app, token: app.token_with("guest1", PASSWORD).await };
    let needed = "Permission 'user:update' required for this action";
    for path in ["logout-all", "unlock"] {
        refused(user.call("POST", &format!("/users/{ann}/{path}")).await, 403, needed);
        refused(admin.call("POST", &format!("/users/999/{path}")).await, 404, "User not found");
    }
    // Who holds more is nobody's to sign out or let in.
    let manager = Caller::demo(&app, "admin").await;
    for path in ["logout-all", "unlock"] {
        manager.call("POST", &format!("/users/1/{path}")).await.expect(403);
        manager.call("POST", &format!("/users/{ann}/{path}")).await.expect(200);
    }
    assert_eq!(admin.gateway("GET", "/demo/whoami").await, 200);
});

on_both!(a_session_too_many_ends_the_one_used_longest_ago, |backend| async move {
    let app = App::start_with(backend, &[("MAX_CONCURRENT_SESSIONS", "2"), ("SESSION_TIMEOUT_MINUTES", "5")]).await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(app.login("testuser", "testuser123").await.expect(200).json());
    }
    let works = async |pair: &Value| app.gateway("GET", "/demo/whoami").bearer(text(pair, "access_token")).await.status;
    assert_eq!((works(&pairs[0]).await, works(&pairs[1]).await, works(&pairs[2]).await), (401, 200, 200));
    refused(refresh(&app, text(&pairs[0], "refresh_token")).await, 401, VOID);
    // The older of the two is used, so the other has to go.
    let renewed = refresh(&app, text(&pairs[1], "refresh_token")).await.expect(200).json();
    app.login("testuser", "testuser123").await.expect(200);
    assert_eq!((works(&renewed).await, works(&pairs[2]).await), (200, 401));
    let claims = said(text(&renewed, "refresh_token"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
});

on_both!(row_62_guesses_from_one_address_lock_nobody_out_elsewhere, |backend| async move {
    let app = App::start(backend).await;
    let here = at("127.0.0.3");
    let mut statuses = std::collections::BTreeMap::new();
    for number in 0..1_000 {
        let body = json!({ "username": "admin", "password": format!("guess{number}") });
        let status = app.admin("POST", "/auth/login").json(body).with(&here).await.status;
        *statuses.entry(status).or_insert(0) += 1;
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(401, 5), (429, 995)]);
    login_at(&app, "127.0.0.3", "admin", "admin123").await.expect(429);
    login_at(&app, "127.0.0.4", "admin", "admin123").await.expect(200);
    login_at(&app, "127.0.0.3", "testuser", "testuser123").await.expect(200);
});

on_both!(an_account_is_closed_to_unknown_places_after_guesses_from_many, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_LOCKOUT__ACCOUNT_FAILURES", "4")]).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    login_at(&app, "127.0.0.2", "ann", PASSWORD).await.expect(200);
    for name in ["ann", "nobody"] {
        for place in ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"] {
            refused(login_at(&app, place, name, "wrong").await, 401, WRONG);
        }
        for password in ["wrong", PASSWORD] {
            let closed = login_at(&app, "127.0.0.15", name, password).await;
            let wait: u64 = closed.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            refused(closed, 423, "Account is temporarily locked");
        }
    }
    let here = login_at(&app, "127.0.0.2", "ann", PASSWORD).await.expect(200).json();
    assert_eq!(login_at(&app, "127.0.0.15", "ann", PASSWORD).await.status, 423);
    // On record a moment later, so that nobody can tell by the time it takes whether there is such an account.
    let mut shown = Value::Null;
    for _ in 0..100 {
        shown = admin.get(&format!("/users/{ann}")).await.expect(200).json()["locked_until"].clone();
        if shown.is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_timestamp(&shown);
    // Another path to the same check of the password.
    let change = json!({ "current_password": PASSWORD, "new_password": "An0ther!pass" });
    let change = app.admin("POST", "/auth/change-password").bearer(text(&here, "access_token")).json(change);
    refused(change.with(&at("127.0.0.15")).await, 423, "Account is temporarily locked");

    let done = admin.call("POST", &format!("/users/{ann}/unlock")).await.expect(200);
    assert_eq!(done.json(), json!({ "message": "User unlocked successfully", "success": true }));
    assert_eq!(admin.get(&format!("/users/{ann}")).await.expect(200).json().get("locked_until"), None);
    login_at(&app, "127.0.0.15", "ann", PASSWORD).await.expect(200);
    login_at(&app, "127.0.0.11", "ann", PASSWORD).await.expect(200);
    assert_eq!(login_at(&app, "127.0.0.15", "nobody", PASSWORD).await.status, 423);
    let trail = admin.get(&format!("/audit-logs/?resource=user&resource_id={ann}")).await.expect(200).json();
    assert!(trail[0]["after"]["unlocked_at"].is_string(), "{trail}");
});

on_both!(a_closed_account_stays_closed_after_a_restart, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_LOCKOUT__ACCOUNT_FAILURES", "2")]).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    for place in ["127.0.0.11", "127.0.0.12"] {
        login_at(&app, place, "ann", "wrong").await.expect(401);
    }
    while admin.get(&format!("/users/{ann}")).await.expect(200).json().get("locked_until").is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let app = app.restart().await;
    assert_eq!(login_at(&app, "127.0.0.13", "ann", PASSWORD).await.status, 423);
});

on_both!(an_address_that_tries_many_accounts_is_refused, |backend| async move {
    let app = App::start_with(backend, &[("CEDARGATE_LOCKOUT__ADDRESS_FAILURES", "6")]).await;
    for number in 0..6 {
        refused(login_at(&app, "127.0.0.5", &format!("user{number}"), "Spr1ng!2026").await, 401, WRONG);
    }
    refused(
        login_at(&app, "127.0.0.5", "testuser", "testuser123").await,
        429,
        "Rate limit exceeded. Max 6 requests per 900 seconds.",
    );
    login_at(&app, "127.0.0.6", "testuser", "testuser123").await.expect(200);
});

on_both!(row_61_a_name_is_one_however_it_is_spelt, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let account = |name: &str, mail: &str| json!({ "username": name, "email": mail, "password": PASSWORD });
    let made = admin.made("/users/", account("Straße", "s@example.com")).await;
    assert_eq!(made["username"], "straße", "stored in lower case, as ever");
    for name in ["straße", "STRASSE", "strasse", "ｓtrasse", "STRAẞE"] {
        app.login(name, PASSWORD).await.expect(200);
    }
    for (name, taken) in
        [("strasse", "s1@example.com"), ("ｓuperadmin", "s2@example.com"), ("Superadmin", "s3@example.com")]
    {
        let refusal = app.admin("POST", "/auth/register").json(account(name, taken)).await;
        refused(refusal, 400, "Username already exists");
        refused(admin.post("/users/", account(name, taken)).await, 400, "Username or email already exists");
    }
    admin.user("other", &[]).await;
    let other = Caller { app: &app, token: app.token_with("other", PASSWORD).await };
    refused(other.put("/users/me", json!({ "username": "STRASSE" })).await, 400, "Username or email already exists");
    for name in ["straße", "STRASSE", "ｓtrasse", "s@example.com", "S <s@EXAMPLE.com>"] {
        refused(login_at(&app, "127.0.0.7", name, "wrong").await, 401, WRONG);
    }
    assert_eq!(login_at(&app, "127.0.0.7", "straße", PASSWORD).await.status, 429, "one bucket");
    for name in ["Unknöwn", "unknown", "UNKNO\u{308}WN", "unkn\u{f6}wn", "UNKN\u{d6}WN", "unkno\u{308}wn"] {
        refused(login_at(&app, "127.0.0.8", name, "wrong").await, 401, WRONG);
    }
    assert_eq!(login_at(&app, "127.0.0.8", "unknöwn", "wrong").await.status, 429);
    assert_eq!(login_at(&app, "127.0.0.8", "unknown", "wrong").await.status, 401);
});

on_both!(whose_address_it_is_does_not_show_while_the_account_is_held_up, |backend| async move {
    let app = App::start(backend).await;
    for _ in 0..5 {
        refused(login_at(&app, "127.0.0.9", "testuser", "wrong").await, 401, WRONG);
    }
    assert_eq!(login_at(&app, "127.0.0.9", "testuser", "testuser123").await.status, 429);
    for address in ["testuser@gmail.com", "nobody@gmail.com"] {
        for password in ["wrong", "testuser123", "wrong", "wrong", "wrong"] {
            refused(login_at(&app, "127.0.0.9", address, password).await, 401, WRONG);
        }
        assert_eq!(login_at(&app, "127.0.0.9", address, "wrong").await.status, 429, "{address}");
    }
    login_at(&app, "127.0.0.10", "testuser@gmail.com", "testuser123").await.expect(200);
});

on_both!(a_token_that_names_a_user_only_is_not_that_of_a_namesake, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let claims = json!({ "sub": "testuser", "exp": cedargate::model::Timestamp::now().unix_seconds() + 600 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let old = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(200);
    admin.put("/users/4", json!({ "username": "renamed" })).await.expect(200);
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(401);
    admin.user("testuser", &[3]).await;
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(401);
    admin.user("other1", &[3]).await;
    let moved = admin.get("/users/?search=other1").await.expect(200).json()[0]["id"].clone();
    admin.put("/users/4", json!({ "username": "elsewhere" })).await.expect(200);
    let taken = admin.get("/users/?search=testuser").await.expect(200).json();
    let id = taken.as_array().unwrap().iter().find(|user| user["username"] == "testuser").unwrap()["id"].clone();
    admin.put(&format!("/users/{id}"), json!({ "username": "gone12" })).await.expect(200);
    admin.put(&format!("/users/{moved}"), json!({ "username": "testuser" })).await.expect(200);
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(401);
});
