use std::sync::Arc;
use std::time::{Duration, Instant};

use cedargate::mail::{Letter, Person, Scene};
use cedargate::model::Timestamp;

use super::{app, started, started_by};
use crate::support::app::App;
use crate::support::mailbox::{MailServer, Papers, Way, settings, silent_port};
use crate::support::{Backend, fresh_database};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_certificate_we_know_gets_nothing() {
    for way in [Way::StartTls, Way::Tls] {
        let mails = MailServer::start(way);
        // Of another authority.
        let app = app(&settings(way, mails.port, &Papers::new()), Backend::Sqlite, &[]).await;
        app.sign_up("annabel").await.expect(200);
        app.forgot("annabel@example.com").await.expect(200);
        app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"retried\"}", 2.0).await;
        assert!(mails.taken().is_empty(), "{way:?}");
    }
}

/// A server that offers no TLS, or whoever has cut that out of what it says, is not spoken to in clear.
#[tokio::test(flavor = "multi_thread")]
async fn starttls_is_not_given_up() {
    let mails = MailServer::start(Way::Plain);
    let app = app(&settings(Way::StartTls, mails.port, &mails.papers()), Backend::Sqlite, &[]).await;
    app.sign_up("annabel").await.expect(200);
    app.forgot("annabel@example.com").await.expect(200);
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"retried\"}", 2.0).await;
    assert!(mails.taken().is_empty());
}

on_both!(a_server_that_is_away_gets_it_later, |backend| async move {
    let (port, papers) = (silent_port(), Arc::new(Papers::new()));
    let app = app(&settings(Way::StartTls, port, &papers), backend, &[]).await;
    app.sign_up("bertram").await.expect(200);
    let started = Instant::now();
    app.forgot("bertram@example.com").await.expect(200);
    // Nobody waits for it.
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"retried\"}", 1.0).await;
    let mails = MailServer::start_at(Way::StartTls, port, papers);
    let mail = mails.wait("bertram@example.com", 1).await.remove(0);
    app.reset(&mail.token(crate::mail::RESET), "Quite-another-2026").await.expect(200);
});

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_that_mail_fails() {
    let (port, papers) = (silent_port(), Arc::new(Papers::new()));
    let app = app(&settings(Way::StartTls, port, &papers), Backend::Sqlite, &[]).await;
    let check = async || app.internal("GET", "/health/detailed").await.json()["checks"]["mail"].clone();
    assert_eq!(check().await["status"], "healthy");
    for name in ["bertram", "carolus", "dorothea"] {
        app.sign_up(name).await.expect(200);
        app.forgot(&format!("{name}@example.com")).await.expect(200);
    }
    for _ in 0..400 {
        if check().await["status"] == "unhealthy" && check().await["waiting"] == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let told = check().await;
    assert_eq!((told["status"].as_str(), told["waiting"].as_i64()), (Some("unhealthy"), Some(3)), "{told}");
    assert!(told["error"].as_str().unwrap().to_lowercase().contains("connect"), "{told}");
    assert_eq!(app.metric("cedargate_mails_waiting").await, Some(3.0));
    let _mails = MailServer::start_at(Way::StartTls, port, papers);
    for _ in 0..1_200 {
        if check().await["status"] == "healthy" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{}", check().await);
}

on_both!(what_is_refused_for_now_comes_again_and_what_is_refused_for_good_does_not, |backend| async move {
    let (app, mails) = started(backend, &[]).await;
    for local in ["later-a", "never-a"] {
        let body = serde_json::json!({
            "username": local.replace('-', ""), "email": format!("{local}@example.com"), "password": crate::mail::PASSWORD,
        });
        app.admin("POST", "/auth/register").json(body).await.expect(200);
        app.forgot(&format!("{local}@example.com")).await.expect(200);
    }
    mails.wait("later-a@example.com", 1).await;
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"sent\"}", 1.0).await;
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"failed\"}", 1.0).await;
    assert_eq!(app.metric("cedargate_mails_total{kind=\"reset\",result=\"retried\"}").await, Some(1.0));
    let mut tx = app.running.control().read().await.unwrap();
    let ends: Vec<(String, String, i64, Option<String>)> = tx
        .query("SELECT recipient, result, attempts, last_error FROM outbox ORDER BY recipient")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!((ends[0].1.as_str(), ends[0].2), ("sent", 2), "{ends:?}");
    assert_eq!((ends[1].1.as_str(), ends[1].2), ("failed", 1), "{ends:?}");
    assert!(ends[1].3.as_ref().unwrap().contains("nobody of that name"), "{ends:?}");
    assert_eq!(mails.taken().len(), 1);
});

/// Our own password is wrong: that is a matter of settings, and no reason to give a mail up.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_of_ours_loses_nothing() {
    let mails = MailServer::start(Way::StartTls);
    let mut with = mails.settings();
    with.retain(|(name, _)| *name != "SMTP_PASSWORD");
    with.push(("SMTP_PASSWORD", "wrong".to_owned()));
    let app = app(&with, Backend::Sqlite, &[]).await;
    app.sign_up("emilia").await.expect(200);
    app.forgot("emilia@example.com").await.expect(200);
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"retried\"}", 1.0).await;
    assert_eq!(app.metric("cedargate_mails_total{kind=\"reset\",result=\"failed\"}").await, None);
    let told = app.internal("GET", "/health/detailed").await.text;
    assert!(!told.contains("mail-password") && !told.contains("wrong"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nothing_is_promised() {
    // In `dev`, what would be sent is logged.
    let app = App::start_with(Backend::Sqlite, &[("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")]).await;
    app.sign_up("ferdinand").await.expect(200);
    app.metric_becomes("cedargate_mails_total{kind=\"verification\",result=\"sent\"}", 1.0).await;
    for (settings, said) in [
        (vec![("SMTP_HOST", "mail.example.com"), ("EMAIL_FROM", "")], "mail.from"),
        (
            vec![("SMTP_HOST", "mail.example.com"), ("EMAIL_FROM", "a@example.com"), ("SMTP_USE_TLS", "false")],
            "smtp.security",
        ),
        (vec![("SMTP_HOST", "localhost"), ("EMAIL_FROM", "nobody@@")], "mail.from"),
        (vec![("SMTP_HOST", "a b"), ("EMAIL_FROM", "a@example.com")], "smtp.host"),
        (vec![("SMTP_HOST", "localhost"), ("EMAIL_FROM", "a@example.com"), ("SMTP_USERNAME", "a")], "smtp.username"),
        (vec![("CEDARGATE_APP__PUBLIC_URL", "javascript:alert(1)")], "app.public_url"),
        (vec![("CEDARGATE_APP__PUBLIC_URL", "https://a.example/?x=")], "app.public_url"),
        (vec![("CEDARGATE_MAIL__RESET_PATH", "https://evil.example")], "mail.reset_path"),
    ] {
        let error = App::start_error(Backend::Sqlite, &settings).await;
        assert!(error.contains(said), "{settings:?}: {error}");
    }
}

on_both!(every_letter_arrives_and_strangers_words_do_not, |backend| async move {
    let (app, mails) = started_by(Way::Plain, backend, &[("APP_NAME", "Gate <b>ä</b>")]).await;
    let outbox = cedargate::mail::Outbox::new(
        cedargate::mail::Settings {
            name: "other".to_owned(),
            links: cedargate::mail::Links { base: String::new(), verify: String::new(), reset: String::new() },
            secret: cedargate::model::Secret::new("x".to_owned()),
            verification_life: Duration::from_mins(1),
            reset_life: Duration::from_mins(1),
            per_hour: 5,
            waiting: 100,
        },
        Arc::new(cedargate::telemetry::Metrics::new("0").unwrap()),
    );
    let to = Person { username: "gottlieb".try_into().unwrap(), email: "o'gottlieb+x@example.com".try_into().unwrap() };
    let now = Timestamp::now();
    let scene = Scene {
        at: now,
        client: "2001:db8::7".parse().unwrap(),
        user_agent: Some("x\r\nBcc: evil@example.com\r\n\r\n<script>http://evil.example</script>".to_owned()),
    };
    let (to, scene) = (|| to.clone(), || scene.clone());
    let mut tx = app.running.control().db().write().await.unwrap();
    for letter in [
        Letter::NewSignIn { to: to(), scene: scene() },
        Letter::Lockout { to: to(), scene: scene() },
        Letter::SessionsEnded { to: to(), scene: scene() },
        Letter::PasswordChanged { to: to(), scene: scene() },
        Letter::AddressChanged { to: to(), scene: scene() },
    ] {
        outbox.queue(&mut tx, &letter, now).await.unwrap();
    }
    tx.commit().await.unwrap();
    let found = mails.wait("o'gottlieb+x@example.com", 5).await;
    for mail in &found {
        assert!(!mail.secure && mail.user.is_none());
        let html = mail.data.split("text/html").nth(1).unwrap();
        assert!(!mail.data.to_lowercase().contains("evil") && !html.contains("<b>"), "{}", mail.data);
        assert!(mail.text().contains("2001:db8::7") && mail.text().contains("an unknown program"), "{}", mail.text());
        assert!(mail.header("Subject").unwrap().contains("=?utf-8?"), "{:?}", mail.header("Subject"));
    }
    let mut ids: Vec<&str> = found.iter().map(|mail| mail.header("Message-ID").unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
});

/// A mail server that hangs holds up neither requests nor the mails to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_holds_nobody_up() {
    let (app, mails) = started(Backend::Sqlite, &[]).await;
    for local in ["slow-a", "quick"] {
        let body = serde_json::json!({
            "username": local.replace('-', ""), "email": format!("{local}@example.com"), "password": crate::mail::PASSWORD,
        });
        app.admin("POST", "/auth/register").json(body).await.expect(200);
        app.forgot(&format!("{local}@example.com")).await.expect(200);
    }
    mails.wait("quick@example.com", 1).await;
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"retried\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_send_each_mail_once() {
    const MAILS: usize = 12;
    let (one, mails) = started(Backend::Postgres, &[]).await;
    let settings = mails.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_, guard) = fresh_database(Backend::Postgres).await;
    let two = App::start_on(one.database.clone(), guard, &settings).await;
    for number in 0..MAILS {
        let node = if number % 2 == 0 { &one } else { &two };
        one.sign_up(&format!("user{number}")).await.expect(200);
        node.forgot(&format!("user{number}@example.com")).await.expect(200);
    }
    for number in 0..MAILS {
        mails.wait(&format!("user{number}@example.com"), 1).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(mails.taken().len(), MAILS);
}
