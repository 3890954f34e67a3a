//! Signing in, staying in and signing out.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::{Caller, PASSWORD, issues, keys, refused};
use crate::support::app::{Answer, App, SECRET};

struct Session {
    access: String,
    refresh: String,
}

impl Session {
    async fn open(app: &App, name: &str, password: &str) -> Self {
        Self::of(&app.login(name, password).await.expect(200).json())
    }

    fn of(token: &Value) -> Self {
        let text = |name: &str| token[name].as_str().unwrap_or_else(|| panic!("no {name}: {token}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    async fn works(&self, app: &App) -> (bool, bool) {
        let access = app.admin("GET", "/auth/me").bearer(&self.access).await.status;
        (access == 200, refresh(app, &self.refresh).await.status == 200)
    }
}

async fn refresh(app: &App, token: &str) -> Answer {
    app.admin("POST", "/auth/refresh").json(json!({ "refresh_token": token })).await
}

/// A token as the predecessor signed them.
fn predecessor(claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(cedargate::model::Timestamp::now().unix_seconds() + 600);
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

on_both!(one_signs_in_by_name_or_address, |backend| async move {
    let app = App::start(backend).await;
    for name in ["testuser", "TestUser", "testuser@gmail.com", "TESTUSER@GMAIL.COM"] {
        let token = app.login(name, "testuser123").await.expect(200).json();
        assert_eq!(keys(&token), ["access_token", "refresh_token", "token_type", "expires_in"]);
        assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("bearer"), &json!(1800)));
    }
    let form = app.admin("POST", "/auth/login").header("content-type", "application/x-www-form-urlencoded");
    let token = form.body("grant_type=password&username=testuser&password=testuser123").await.expect(200).json();
    let me = app.admin("GET", "/auth/me").bearer(token["access_token"].as_str().unwrap()).await.expect(200);
    assert_eq!(me.json()["username"], "testuser");
    let other = app.admin("GET", "/users/me").bearer(token["access_token"].as_str().unwrap()).await.expect(200);
    assert_eq!(other.text, me.text);
    let required = ["username", "password"].map(|name| format!("missing body.{name}: Field required"));
    assert_eq!(issues(app.admin("POST", "/auth/login").json(json!({})).await), required);
    let other = app.admin("POST", "/auth/refresh").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(issues(other.body("refresh_token=x").await).len(), 1);
});

on_both!(failures_look_alike_and_are_limited, |backend| async move {
    let app = App::start(backend).await;
    let detail = "Invalid username or password";
    for (name, password) in [("testuser", "wrong"), ("nobody", "wrong"), ("testuser", ""), ("a\u{1F600}", "x")] {
        let answer = app.login(name, password).await;
        assert!(answer.header("www-authenticate").is_some());
        refused(answer, 401, detail);
    }
    refused(app.login("testuser", &"x".repeat(2_000)).await, 401, detail);
    for _ in 0..2 {
        refused(app.login("TestUser ", "wrong").await, 401, detail);
    }
    let limited = app.login("testuser", "testuser123").await;
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    refused(limited, 429, "Rate limit exceeded. Max 5 requests per 900 seconds.");
    app.login("superadmin", "superadmin123").await.expect(200);
    // Through the gateway it is the same client, who cannot pretend otherwise.
    let body = json!({ "username": "testuser", "password": "testuser123" });
    let mounted = app.gateway("POST", "/api/v1/auth/login").header("X-Forwarded-For", "192.0.2.1").json(body).await;
    mounted.expect(429);
});

on_both!(a_session_is_renewed_and_ended, |backend| async move {
    let app = App::start(backend).await;
    let session = Session::open(&app, "testuser", "testuser123").await;
    let other = Session::open(&app, "testuser", "testuser123").await;
    let renewed = refresh(&app, &session.refresh).await.expect(200).json();
    assert_eq!(keys(&renewed), ["access_token", "refresh_token", "token_type", "expires_in"]);
    assert_ne!(renewed["refresh_token"], session.refresh);
    let renewed = renewed["access_token"].as_str().unwrap();
    app.admin("GET", "/auth/me").bearer(renewed).await.expect(200);

    let me = app.admin("GET", "/auth/me").bearer(&session.refresh).await;
    refused(me, 401, "Invalid authentication token");
    assert_eq!(app.gateway("GET", "/demo/whoami").bearer(&session.refresh).await.status, 401);
    refused(refresh(&app, &session.access).await, 401, "Invalid token type");
    refused(refresh(&app, "nonsense").await, 401, "Invalid or expired token");

    let logout = app.admin("POST", "/auth/logout").bearer(renewed).await.expect(200);
    assert_eq!(logout.json(), json!({ "message": "Successfully logged out", "success": true }));
    assert!(logout.header("x-policy-revision").is_some());
    for token in [renewed, &session.access] {
        refused(app.admin("GET", "/auth/me").bearer(token).await, 401, "Invalid authentication token");
        let refused = app.gateway("GET", "/demo/whoami").bearer(token).await.expect(401);
        assert_eq!(refused.json()["reason"], "revoked");
    }
    refused(refresh(&app, &session.refresh).await, 401, "Invalid or expired token");
    assert_eq!(other.works(&app).await, (true, true), "other sessions go on");
});

on_both!(a_new_password_ends_every_session, |backend| async move {
    let app = App::start(backend).await;
    let admin = Caller::superadmin(&app).await;
    let ann = admin.user("ann", &[3]).await;
    let session = Session::open(&app, "ann", PASSWORD).await;
    admin.put(&format!("/users/{ann}"), json!({ "email": "new@example.com" })).await.expect(200);
    assert_eq!(session.works(&app).await, (true, true));
    admin.put(&format!("/users/{ann}"), json!({ "password": "An0ther!pass" })).await.expect(200);
    assert_eq!(session.works(&app).await, (false, false));
    refused(app.login("ann", PASSWORD).await, 401, "Invalid username or password");
    let session = Session::open(&app, "ann", "An0ther!pass").await;
    let toggle = format!("/users/{ann}/toggle-status");
    admin.call("PATCH", &toggle).await.expect(200);
    let inactive = "User account not found or inactive";
    refused(refresh(&app, &session.refresh).await, 401, inactive);
    admin.call("PATCH", &toggle).await.expect(200);
    assert_eq!(session.works(&app).await, (true, true));
    admin.delete(&format!("/users/{ann}")).await.expect(200);
    refused(refresh(&app, &session.refresh).await, 401, inactive);
});

on_both!(a_refresh_token_of_the_predecessor_is_exchanged_once, |backend| async move {
    let app = std::sync::Arc::new(App::start(backend).await);
    let old = predecessor(&json!({ "sub": "testuser", "type": "refresh" }));
    let exchanges: Vec<_> = (0..10)
        .map(|_| {
            let (app, old) = (app.clone(), old.clone());
            tokio::spawn(async move { app.admin("POST", "/auth/refresh").json(json!({ "refresh_token": old })).await })
        })
        .collect();
    let mut statuses = Vec::new();
    for exchange in exchanges {
        statuses.push(exchange.await.unwrap().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [&[200][..], &[401; 9]].concat());
});

on_both!(tokens_of_the_predecessor_serve_until_they_end, |backend| async move {
    let app = App::start(backend).await;
    let (one, two) = (predecessor(&json!({ "sub": "testuser" })), predecessor(&json!({ "sub": "testuser", "iat": 1 })));
    for token in [&one, &two] {
        app.admin("GET", "/auth/me").bearer(token).await.expect(200);
        app.gateway("GET", "/demo/whoami").bearer(token).await.expect(200);
    }
    app.admin("POST", "/auth/logout").bearer(&one).await.expect(200);
    app.admin("GET", "/auth/me").bearer(&one).await.expect(401);
    app.gateway("GET", "/demo/whoami").bearer(&one).await.expect(401);
    app.admin("GET", "/auth/me").bearer(&two).await.expect(200);
    refused(refresh(&app, &two).await, 401, "Invalid token type");

    let old = predecessor(&json!({ "sub": "testuser", "type": "refresh" }));
    let session = Session::of(&refresh(&app, &old).await.expect(200).json());
    assert_eq!(session.works(&app).await, (true, true));
    refused(refresh(&app, &old).await, 401, "Invalid or expired token");
    app.admin("POST", "/auth/logout").bearer(&session.access).await.expect(200);
    assert_eq!(session.works(&app).await, (false, false));
    let stranger = predecessor(&json!({ "sub": "stranger", "type": "refresh" }));
    refused(refresh(&app, &stranger).await, 401, "User account not found or inactive");
});

on_both!(signing_out_ends_the_refresh_token_that_is_handed_in, |backend| async move {
    let app = App::start(backend).await;
    let logout = async |access: &str, body: Value| app.admin("POST", "/auth/logout").bearer(access).json(body).await;
    let old = |sub: &str, jti: &str| predecessor(&json!({ "sub": sub, "type": "refresh", "jti": jti }));
    // The predecessor's tokens belong to no session: one of them is ended by the other only if it is named.
    for (access, token) in [
        (predecessor(&json!({ "sub": "testuser", "jti": "a" })), old("testuser", "b")),
        (predecessor(&json!({ "sub": "testuser" })), predecessor(&json!({ "sub": "testuser", "type": "refresh" }))),
    ] {
        let done = logout(&access, json!({ "refresh_token": token })).await.expect(200);
        assert_eq!(done.json(), json!({ "message": "Successfully logged out", "success": true }));
        refused(refresh(&app, &token).await, 401, "Invalid or expired token");
        app.admin("GET", "/auth/me").bearer(&access).await.expect(401);
    }
    // One's own of another session is ended with its session; those of others, and what is none, are left alone.
    let (one, two) =
        (Session::open(&app, "testuser", "testuser123").await, Session::open(&app, "testuser", "testuser123").await);
    let admin = Session::open(&app, "superadmin", "superadmin123").await;
    logout(&one.access, json!({ "refresh_token": two.refresh })).await.expect(200);
    assert_eq!((one.works(&app).await, two.works(&app).await), ((false, false), (false, false)));
    for token in [admin.refresh.clone(), old("superadmin", "c"), admin.access.clone(), "nonsense".to_owned()] {
        let own = Session::open(&app, "testuser", "testuser123").await;
        logout(&own.access, json!({ "refresh_token": token })).await.expect(200);
        assert_eq!(own.works(&app).await, (false, false));
    }
    assert_eq!(admin.works(&app).await, (true, true));
    refresh(&app, &old("superadmin", "c")).await.expect(200);
    let own = Session::open(&app, "testuser", "testuser123").await;
    let odd = "string_type body.refresh_token: Input should be a valid string";
    assert_eq!(issues(logout(&own.access, json!({ "refresh_token": 1 })).await), [odd]);
    logout(&own.access, json!({ "refresh_token": own.refresh })).await.expect(200);
    assert_eq!(own.works(&app).await, (false, false));
});
