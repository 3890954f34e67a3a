use serde_json::json;

use super::{VERIFY, detail, message, started};
use crate::support::{Backend, mailbox::Way};

on_both!(a_new_address_is_verified_by_its_mail_once, |backend| async move {
    let (app, mails) = started(backend, &[("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")]).await;
    app.sign_up("annabel").await.expect(200);
    let mail = mails.wait("annabel@example.com", 1).await.remove(0);
    assert!(mail.secure && mail.user.as_deref() == Some("gate"), "{mail:?}");
    assert_eq!(mail.header("From"), Some("Gate <gate@example.com>"));
    assert_eq!(mail.header("Subject"), Some("Confirm your mail address - Cedargate"));
    assert_eq!(mail.header("Auto-Submitted"), Some("auto-generated"));
    assert!(mail.header("Message-ID").unwrap().ends_with("@example.com>"));
    assert!(mail.text().contains("Hello annabel,") && mail.text().contains("24 hours"), "{}", mail.text());

    // Nothing that is stored is good for anything.
    let token = mail.token(VERIFY);
    let mut tx = app.running.control().read().await.unwrap();
    let hashes: Vec<String> = tx.query("SELECT hash FROM mail_tokens").fetch_values().await.unwrap();
    assert_eq!(hashes.len(), 1);
    assert!(hashes[0].len() == 64 && hashes[0] != token);
    app.metric_becomes("cedargate_mails_total{kind=\"verification\",result=\"sent\"}", 1.0).await;
    let mut tx = app.running.control().read().await.unwrap();
    let kept: Vec<Option<String>> = tx.query("SELECT letter FROM outbox").fetch_values().await.unwrap();
    assert_eq!(kept, [None]);
    drop(tx);

    for wrong in ["", "x", &"y".repeat(1_000), &hashes[0], &token[1..]] {
        let answer = app.verify(wrong).await.expect(400);
        assert_eq!(detail(&answer), "Invalid or expired token");
    }
    // It is for nothing else.
    app.reset(&token, "Another-one-2026").await.expect(400);
    assert_eq!(message(&app.verify(&token).await.expect(200)), "Email address verified");
    assert_eq!(detail(&app.verify(&token).await.expect(400)), "Invalid or expired token");

    // Who has shown it is not asked again; the answer is the same.
    let resend = |email: &'static str| app.admin("POST", "/auth/resend-verification").json(json!({ "email": email }));
    let known = resend("annabel@example.com").await.expect(200);
    let unknown = resend("nobody@example.com").await.expect(200);
    assert_eq!(known.text, unknown.text);
    app.metric_becomes("cedargate_mails_total{kind=\"verification\",result=\"dropped\"}", 2.0).await;
    mails.wait("annabel@example.com", 1).await;

    let user = app.token_with("annabel", crate::mail::PASSWORD).await;
    let activity = app.admin("GET", "/users/me/activity?action=email_verification").bearer(&user).await.expect(200);
    assert_eq!(activity.json().as_array().unwrap().len(), 1);
});

on_both!(another_address_is_verified_anew, |backend| async move {
    let (app, mails) = started(backend, &[("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")]).await;
    app.sign_up("bertram").await.expect(200);
    let first = mails.wait("bertram@example.com", 1).await[0].token(VERIFY);
    let token = app.token_with("bertram", crate::mail::PASSWORD).await;
    let moved = json!({ "email": "moved@example.com", "current_password": crate::mail::PASSWORD });
    app.admin("PUT", "/users/me").bearer(&token).header("User-Agent", "curl/8").json(moved).await.expect(200);
    // The old address hears of it; its link is void.
    let told = &mails.wait("bertram@example.com", 2).await[1];
    assert_eq!(told.header("Subject"), Some("Your mail address was changed - Cedargate"));
    assert!(told.text().contains("127.0.0.1") && told.text().contains("curl"), "{}", told.text());
    assert!(!told.data.contains("moved@"), "{}", told.data);
    app.verify(&first).await.expect(400);
    let second = mails.wait("moved@example.com", 1).await[0].token(VERIFY);
    // Another link makes the one before void.
    let again = json!({ "email": "Moved@example.com" });
    app.admin("POST", "/auth/resend-verification").json(again).await.expect(200);
    let found = mails.wait("moved@example.com", 2).await;
    app.verify(&second).await.expect(400);
    app.verify(&found[1].token(VERIFY)).await.expect(200);
    // In another case it is the same address, and stays verified.
    let same = json!({ "email": "MOVED@example.com" });
    app.admin("PUT", "/users/me").bearer(&token).json(same).await.expect(200);
    let mut tx = app.running.control().read().await.unwrap();
    let verified: bool =
        tx.query("SELECT email_verified FROM users WHERE username = 'bertram'").fetch_value().await.unwrap();
    assert!(verified);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_time_its_user_and_its_address() {
    let (app, mails) = started(Backend::Sqlite, &[("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")]).await;
    for name in ["carolus", "dorothea"] {
        app.sign_up(name).await.expect(200);
    }
    let (late, gone) = (mails.wait("carolus@example.com", 1).await, mails.wait("dorothea@example.com", 1).await);
    let mut tx = app.running.control().db().write().await.unwrap();
    tx.query("UPDATE mail_tokens SET expires_at = '2026-01-01T00:00:00+00:00' WHERE email = 'carolus@example.com'")
        .execute()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.verify(&late[0].token(VERIFY)).await.expect(400);
    let admin = app.token("superadmin").await;
    let users = app.admin("GET", "/users/?search=dorothea").bearer(&admin).await.expect(200).json();
    let id = users[0]["id"].as_i64().unwrap();
    app.admin("POST", &format!("/users/{id}/deactivate")).bearer(&admin).await.expect(200);
    app.verify(&gone[0].token(VERIFY)).await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_make_users_whose_addresses_are_asked_for() {
    let (app, mails) =
        super::started_by(Way::Tls, Backend::Sqlite, &[("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")]).await;
    let admin = app.token("superadmin").await;
    let user = |name: &str| json!({ "username": name, "email": format!("{name}@example.com"), "password": crate::mail::PASSWORD });
    app.admin("POST", "/users/").bearer(&admin).json(user("emilia")).await.expect(200);
    let many = json!({ "users": [user("friederike"), user("gottlieb")] });
    app.admin("POST", "/users/bulk-create").bearer(&admin).json(many).await.expect(200);
    for name in ["emilia", "friederike", "gottlieb"] {
        let mail = mails.wait(&format!("{name}@example.com"), 1).await.remove(0);
        assert!(mail.secure);
        app.verify(&mail.token(VERIFY)).await.expect(200);
    }
    // What is only rehearsed is not told.
    app.admin("POST", "/users/?dry_run=true").bearer(&admin).json(user("henriette")).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(mails.taken().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_addresses_are_not_asked_for() {
    let (app, mails) = started(Backend::Sqlite, &[]).await;
    app.sign_up("ignatius").await.expect(200);
    app.login("ignatius", crate::mail::PASSWORD).await.expect(200);
    let answer = app.admin("POST", "/auth/resend-verification").json(json!({ "email": "ignatius@example.com" })).await;
    assert_eq!(detail(&answer.expect(400)), "Email addresses are not verified here");
    assert!(mails.taken().is_empty());
}
