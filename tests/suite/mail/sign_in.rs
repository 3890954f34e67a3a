//! What sign-in tells by mail, and asks about addresses and passwords.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{PASSWORD, VERIFY, detail, started};
use crate::support::app::{Answer, App};

const NEW: &str = "Quite-another-2026";

async fn login_at(app: &App, address: &str, body: Value) -> Answer {
    let client = reqwest::Client::builder().no_proxy().local_address(address.parse::<IpAddr>().unwrap());
    let call = app.admin("POST", "/auth/login").json(body).header("User-Agent", "Firefox/140.0 <b>&x</b>");
    call.with(&client.build().unwrap()).await
}

fn credentials(name: &str, password: &str) -> Value {
    json!({ "username": name, "password": password })
}

on_both!(a_sign_in_from_elsewhere_is_told, |backend| async move {
    let (app, mails) = started(backend, &[]).await;
    app.sign_up("annabel").await.expect(200);
    for address in ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"] {
        login_at(&app, address, credentials("annabel", PASSWORD)).await.expect(200);
    }
    let told = mails.wait("annabel@example.com", 1).await;
    assert_eq!(told.len(), 1, "the first place is no news, and none is the second time");
    assert_eq!(told[0].header("Subject"), Some("New sign-in to your account - Cedargate"));
    assert!(told[0].text().contains("127.0.0.3"), "{}", told[0].text());
    assert!(!told[0].text().contains("<b>"), "{}", told[0].text());
});

on_both!(the_owner_is_told_of_a_stolen_refresh_token_and_of_a_lock, |backend| async move {
    let settings = [("CEDARGATE_SESSIONS__REFRESH_GRACE_SECONDS", "0"), ("CEDARGATE_LOCKOUT__ACCOUNT_FAILURES", "2")];
    let (app, mails) = started(backend, &settings).await;
    app.sign_up("annabel").await.expect(200);
    let pair = app.login("annabel", PASSWORD).await.expect(200).json();
    let refresh = json!({ "refresh_token": pair["refresh_token"] });
    app.admin("POST", "/auth/refresh").json(refresh.clone()).await.expect(200);
    app.admin("POST", "/auth/refresh").json(refresh).await.expect(401);
    let told = mails.wait("annabel@example.com", 1).await;
    assert_eq!(told[0].header("Subject"), Some("You were signed out for your safety - Cedargate"));
    for address in ["127.0.0.2", "127.0.0.3"] {
        login_at(&app, address, credentials("annabel", "wrong")).await.expect(401);
    }
    let told = mails.wait("annabel@example.com", 2).await;
    assert!(told[1].header("Subject").unwrap().contains("held up"), "{:?}", told[1].header("Subject"));
    assert_eq!(login_at(&app, "127.0.0.4", credentials("annabel", PASSWORD)).await.status, 423);
});

on_both!(nobody_signs_in_whose_address_must_be_verified_first, |backend| async move {
    let (app, mails) = started(backend, &[("ACCOUNT_ACTIVATION_REQUIRED", "true")]).await;
    app.sign_up("annabel").await.expect(200);
    app.login("annabel", "wrong").await.expect(401);
    let refused = app.login("annabel", PASSWORD).await.expect(403);
    assert_eq!(detail(&refused), "Email address is not verified");
    let token = mails.wait("annabel@example.com", 1).await[0].token(VERIFY);
    app.verify(&token).await.expect(200);
    app.login("annabel", PASSWORD).await.expect(200);
});

on_both!(another_password_is_set_at_the_next_sign_in, |backend| async move {
    let (app, mails) = started(backend, &[]).await;
    app.sign_up("annabel").await.expect(200);
    let before = app.token_with("annabel", PASSWORD).await;
    let admin = app.token("superadmin").await;
    let me = app.admin("GET", "/auth/me").bearer(&before).await.expect(200).json();
    let demand = json!({ "must_change_password": true });
    app.admin("PUT", &format!("/users/{}", me["id"])).bearer(&admin).json(demand).await.expect(200);
    app.login("annabel", "wrong").await.expect(401);
    assert_eq!(detail(&app.login("annabel", PASSWORD).await.expect(403)), "Password change required");
    let with = |password: &str, new: &str| {
        let mut body = credentials("annabel", password);
        body["new_password"] = json!(new);
        app.admin("POST", "/auth/login").json(body)
    };
    for weak in ["Sh0!", "Annabel-2026"] {
        let answer = with(PASSWORD, weak).await.expect(422);
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "new_password"]));
        assert!(!answer.text.contains(weak), "{}", answer.text);
    }
    let same = with(PASSWORD, PASSWORD).await.expect(422);
    assert!(same.text.contains("Password must be another than before"), "{}", same.text);
    with("wrong", NEW).await.expect(401);
    let pair = with(PASSWORD, NEW).await.expect(200).json();
    app.admin("GET", "/auth/me").bearer(&before).await.expect(401);
    let me = app.admin("GET", "/auth/me").bearer(pair["access_token"].as_str().unwrap()).await.expect(200).json();
    assert_eq!(me.get("must_change_password"), None);
    app.login("annabel", PASSWORD).await.expect(401);
    app.login("annabel", NEW).await.expect(200);
    let told = mails.wait("annabel@example.com", 1).await;
    assert_eq!(told[0].header("Subject"), Some("Your password was changed - Cedargate"));
});

on_both!(mails_that_strangers_ask_for_are_limited_by_address, |backend| async move {
    let settings = [("CEDARGATE_RATE_LIMIT__ENABLED", "true"), ("CEDARGATE_RATE_LIMIT__MAIL_REQUESTS", "2")];
    let (app, _mails) = started(backend, &settings).await;
    for name in ["one", "two"] {
        app.forgot(&format!("{name}@example.com")).await.expect(200);
    }
    let refused = app.forgot("three@example.com").await.expect(429);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("ratelimit-policy"), Some("\"mail\";q=2;w=3600"));
});
