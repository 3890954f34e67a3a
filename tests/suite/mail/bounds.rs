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
    mails.wait("annabel@example.com", 3).await;
    app.metric_becomes("cedargate_mails_total{kind=\"reset\",result=\"refused\"}", 9.0).await;
    // The last link that came is still good: a flood of questions does not make it void.
    let last = mails.wait("annabel@example.com", 3).await[2].token(crate::mail::RESET);
    app.reset(&last, "Quite-another-2026").await.expect(200);
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
