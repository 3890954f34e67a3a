use cedargate::model::Secret;

use super::started;
use crate::support::Backend;

on_both!(nobody_is_flooded, |backend| async move {
    let (app, mails) = started(backend, &[("CEDARGATE_MAIL__PER_HOUR", "3")]).await;
    app.sign_up("annabel").await.expect(200);
    let mut answers = Vec::new();
    for spelling in ["annabel@example.com", "Annabel@example.com", "ANNABEL@EXAMPLE.COM", "a <annabel@example.com>"] {
        for _ in 0..3 {
            answers.push(app.forgot(spelling).await.expect(200).text);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"refused\"}", 9.0).await;
    // One that is overtaken before it is sent is not sent.
    let ended = async |result: &str| {
        app.metric(&format!("cedargate_mails_total{{kind=\"reset\",result=\"{result}\"}}")).await.unwrap_or_default()
    };
    let started = std::time::Instant::now();
    while (ended("sent").await + ended("dropped").await) < 3.0 {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{} were sent", ended("sent").await);
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let found = mails.taken();
    assert!((1..=3).contains(&found.len()), "{found:?}");
    // The last link that came is still good: a flood of questions does not make it void. The server may have taken two
    // in either order.
    let tokens: Vec<String> = found.iter().map(|mail| mail.token(crate::mail::RESET)).collect();
    let mut tx = app.running.control().read().await.unwrap();
    let good: String = tx.query("SELECT hash FROM mail_tokens").fetch_value().await.unwrap();
    drop(tx);
    let last = tokens.iter().find(|token| cedargate::mail::hash(&Secret::new((*token).clone())) == good).unwrap();
    app.reset(last, "Quite-another-2026").await.expect(200);
});

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_has_an_end() {
    let port = crate::support::mailbox::silent_port();
    let papers = crate::support::mailbox::Papers::new();
    let settings = crate::support::mailbox::settings(crate::support::mailbox::Way::StartTls, port, &papers);
    let more = [("CEDARGATE_MAIL__MAX_WAITING", "2"), ("CEDARGATE_AUTH__EMAIL_VERIFICATION", "on")];
    let app = super::app(&settings, Backend::Sqlite, &more).await;
    for name in ["annabel", "bertram", "carolus", "dorothea"] {
        // What causes a mail takes place even so.
        app.sign_up(name).await.expect(200);
    }
    assert_eq!(app.metric("cedargate_mails_total{kind=\"verification\",result=\"refused\"}").await, Some(2.0));
}
