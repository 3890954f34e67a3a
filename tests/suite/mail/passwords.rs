use serde_json::json;

use super::{PASSWORD, RESET, detail, message, started};
use crate::support::Backend;
use crate::support::app::App;

const NEW: &str = "Quite-another-2026";

on_both!(a_password_is_reset_by_a_link_once, |backend| async move {
    let (app, mails) = started(backend, &[]).await;
    app.sign_up("annabel").await.expect(200);
    let before = app.token_with("annabel", PASSWORD).await;
    let known = app.forgot("Annabel@example.com").await.expect(200);
    let unknown = app.forgot("nobody@example.com").await.expect(200);
    assert_eq!(known.text, unknown.text);
    let first = mails.wait("annabel@example.com", 1).await.remove(0);
    assert_eq!(first.header("Subject"), Some("Reset your password - Cedargate"));
    assert!(first.text().contains("30 minutes"), "{}", first.text());

    // A later link takes the place of the earlier.
    app.forgot("annabel@example.com").await.expect(200);
    let token = mails.wait("annabel@example.com", 2).await[1].token(RESET);
    assert_eq!(detail(&app.reset(&first.token(RESET), NEW).await.expect(400)), "Invalid or expired token");
    app.verify(&token).await.expect(400);

    // What the policy refuses does not use it up.
    app.reset(&token, "short").await.expect(422);
    let own = app.reset(&token, "Annabel-2026").await.expect(422);
    assert_eq!(own.json()["detail"][0]["loc"], json!(["body", "new_password"]));
    assert!(!own.text.contains("Annabel-2026"), "{}", own.text);

    let reset = app.reset(&token, NEW).await.expect(200);
    assert_eq!(message(&reset), "Password reset successfully");
    assert!(reset.header("x-policy-revision").is_some());
    app.reset(&token, NEW).await.expect(400);
    // Every session has ended before the answer, and the new password is the one.
    app.admin("GET", "/auth/me").bearer(&before).await.expect(401);
    app.login("annabel", PASSWORD).await.expect(401);
    app.login("annabel", NEW).await.expect(200);
    let told = &mails.wait("annabel@example.com", 3).await[2];
    assert_eq!(told.header("Subject"), Some("Your password was changed - Cedargate"));

    // It is on record, and the address is verified: whoever read the mail has it.
    let mut tx = app.running.control().read().await.unwrap();
    let row: (bool, i64) =
        tx.query("SELECT email_verified, id FROM users WHERE username = 'annabel'").fetch_one().await.unwrap();
    assert!(row.0);
    drop(tx);
    let own = app.token_with("annabel", NEW).await;
    let activity = app.admin("GET", "/users/me/activity?action=password_reset").bearer(&own).await.expect(200).json();
    assert_eq!((&activity[0]["success"], activity.as_array().unwrap().len()), (&json!(true), 1));
    let admin = app.token("superadmin").await;
    let audit = app.admin("GET", &format!("/audit-logs/?resource=user&resource_id={}&action=update", row.1));
    let audit = audit.bearer(&admin).await.expect(200);
    assert_eq!(audit.json()[0]["actor_id"], json!(row.1));
    assert!(!audit.text.contains("argon2") && !audit.text.contains(&token));
});

on_both!(links_end_with_the_password_and_the_address, |backend| async move {
    let (app, mails) = started(backend, &[]).await;
    app.sign_up("bertram").await.expect(200);
    app.forgot("bertram@example.com").await.expect(200);
    let token = mails.wait("bertram@example.com", 1).await[0].token(RESET);
    let own = app.token_with("bertram", PASSWORD).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.admin("POST", "/auth/change-password").bearer(&own).json(change).await.expect(200);
    app.reset(&token, "Third-one-2026").await.expect(400);
    // One mail tells of it.
    assert!(mails.wait("bertram@example.com", 2).await[1].text().contains("your password was changed"));

    app.forgot("bertram@example.com").await.expect(200);
    let token = mails.wait("bertram@example.com", 3).await[2].token(RESET);
    let own = app.token_with("bertram", NEW).await;
    // Whoever has stolen a token cannot have links sent elsewhere.
    let stolen = json!({ "email": "thief@example.com" });
    let refused = app.admin("PUT", "/auth/me").bearer(&own).json(stolen).await.expect(400);
    assert_eq!(detail(&refused), "Current password is incorrect");
    let moved = json!({ "email": "elsewhere@example.com", "current_password": NEW });
    app.admin("PUT", "/auth/me").bearer(&own).json(moved).await.expect(200);
    app.reset(&token, "Third-one-2026").await.expect(400);
});

/// Of many who present one token at the same time, one is let through.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_even_at_the_same_time() {
    let (app, mails) = started(Backend::Sqlite, &[]).await;
    app.sign_up("carolus").await.expect(200);
    app.forgot("carolus@example.com").await.expect(200);
    let token = mails.wait("carolus@example.com", 1).await[0].token(RESET);
    let app = std::sync::Arc::new(app);
    let mut all = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (app, token) = (std::sync::Arc::clone(&app), token.clone());
        all.spawn(async move { app.reset(&token, &format!("Number-{number}-of-8")).await.status });
    }
    let mut statuses = all.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_sign_in_gets_no_link() {
    let (app, mails) = started(Backend::Sqlite, &[]).await;
    let admin = app.token("superadmin").await;
    for name in ["inactive", "deleted"] {
        app.sign_up(name).await.expect(200);
    }
    let id = |users: serde_json::Value| users[0]["id"].as_i64().unwrap();
    let find = async |name: &str| {
        id(app.admin("GET", &format!("/users/?search={name}")).bearer(&admin).await.expect(200).json())
    };
    let (inactive, deleted) = (find("inactive").await, find("deleted").await);
    app.admin("POST", &format!("/users/{inactive}/deactivate")).bearer(&admin).await.expect(200);
    app.admin("DELETE", &format!("/users/{deleted}")).bearer(&admin).await.expect(200);
    for name in ["inactive", "deleted"] {
        app.forgot(&format!("{name}@example.com")).await.expect(200);
    }
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"dropped\"}", 2.0).await;
    assert!(mails.taken().is_empty());
}

/// The row that a stranger's question leaves is the same for any address, until the worker looks.
#[tokio::test(flavor = "multi_thread")]
async fn how_long_the_answer_takes_tells_nothing() {
    let (app, _mails) = started(Backend::Sqlite, &[("CEDARGATE_MAIL__PER_HOUR", "1000")]).await;
    app.sign_up("dorothea").await.expect(200);
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        for (email, into) in [("dorothea@example.com", &mut known), ("nobody12@example.com", &mut unknown)] {
            let started = std::time::Instant::now();
            app.forgot(email).await.expect(200);
            into.push(started.elapsed());
        }
    }
    known.sort_unstable();
    unknown.sort_unstable();
    let (known, unknown) = (known[30].as_secs_f64(), unknown[30].as_secs_f64());
    assert!(known / unknown < 1.5 && unknown / known < 1.5, "{known} {unknown}");
}

on_both!(administrators_demand_another_password, |backend| async move {
    let app = App::start(backend).await;
    let admin = app.token("superadmin").await;
    let body = json!({
        "username": "emilia", "email": "emilia@example.com", "password": PASSWORD, "must_change_password": true,
    });
    let made = app.admin("POST", "/users/").bearer(&admin).json(body).await.expect(200).json();
    assert_eq!(made["must_change_password"], json!(true));
    let user = format!("/users/{}", made["id"]);
    let set = |value: bool| {
        app.admin("PUT", &user).bearer(&admin).json(json!({ "must_change_password": value, "username": null }))
    };
    let kept = app.admin("PUT", &user).bearer(&admin).json(json!({ "first_name": "Emilia" })).await.expect(200);
    assert_eq!(kept.json()["must_change_password"], json!(true));
    assert!(!set(false).await.expect(200).text.contains("must_change"));
    assert_eq!(set(true).await.expect(200).json()["must_change_password"], json!(true));
    app.admin("PUT", &user).bearer(&admin).json(json!({ "must_change_password": "x" })).await.expect(422);

    let mut tx = app.running.control().read().await.unwrap();
    let known = cedargate::store::users::credentials(&mut tx, "emilia").await.unwrap().unwrap();
    assert!(known.must_change_password && !known.email_verified);
    assert_eq!(known.email.as_str(), "emilia@example.com");
    // Who signs up cannot ask for it, and gets an answer with the keys of ever.
    let body = json!({
        "username": "free", "email": "free@example.com", "password": PASSWORD, "must_change_password": true,
    });
    let made = app.admin("POST", "/auth/register").json(body).await.expect(200);
    assert!(!made.text.contains("must_change"), "{}", made.text);
});

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_told_and_holds_everywhere() {
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_PASSWORD_POLICY__MIN_STRENGTH", "3")]).await;
    let told = app.admin("GET", "/auth/password-policy").await.expect(200).json();
    assert_eq!(
        told,
        json!({
            "min_length": 8, "require_uppercase": true, "require_lowercase": true, "require_numbers": true,
            "require_special": true, "min_strength": 3, "max_bytes": 1024, "refuses_own_name": true,
        })
    );
    let good = "otter plum Vault 9!";
    let body = |name: &str, password: &str| json!({ "username": name, "email": format!("{name}@example.com"), "password": password });
    app.admin("POST", "/auth/register").json(body("johannes", good)).await.expect(200);
    let own = app.token_with("johannes", good).await;
    let admin = app.token("superadmin").await;
    for (bad, said) in [
        ("Johannes-2026", "Password must not be made of the user name or the email address"),
        ("Passw0rd!", "Password is too easy to guess"),
        ("otterplumvault", "Password must contain at least one uppercase letter"),
    ] {
        let other =
            app.admin("GET", "/users/?search=johannes").bearer(&admin).await.expect(200).json()[0]["id"].clone();
        let answers = [
            app.admin("POST", "/auth/register").json(body("johannes", bad)).await,
            app.admin("POST", "/auth/public-register").json(body("johannes", bad)).await,
            app.admin("POST", "/users/").bearer(&admin).json(body("johannes", bad)).await,
            app.admin("POST", "/users/bulk-create")
                .bearer(&admin)
                .json(json!({ "users": [body("johannes", bad)] }))
                .await,
            app.admin("PUT", &format!("/users/{other}")).bearer(&admin).json(json!({ "password": bad })).await,
            app.admin("PUT", "/users/me").bearer(&own).json(json!({ "password": bad, "current_password": good })).await,
            app.admin("POST", "/auth/change-password")
                .bearer(&own)
                .json(json!({ "current_password": good, "new_password": bad }))
                .await,
        ];
        for answer in answers {
            let answer = answer.expect(422);
            assert!(answer.json()["detail"][0]["msg"].as_str().unwrap().contains(said), "{}", answer.text);
            assert!(!answer.text.contains(bad), "{}", answer.text);
        }
    }
}
