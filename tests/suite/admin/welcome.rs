//! What the service says of itself.

use serde_json::json;

use super::{Caller, PASSWORD, keys, refused};
use crate::support::Backend;
use crate::support::app::{App, Call, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn the_service_introduces_itself() {
    let app = App::start_with(Backend::Sqlite, &[("APP_NAME", "Gate"), ("APP_VERSION", "2.0.0")]).await;
    let welcome = app.internal("GET", "/").await.expect(200).json();
    assert_eq!(keys(&welcome), ["message", "docs", "health", "environment"]);
    assert_eq!((&welcome["message"], &welcome["health"]), (&json!("Welcome to Gate"), &json!("/health")));
    assert_eq!((&welcome["docs"], &welcome["environment"]), (&json!("/docs"), &json!("development")));
    app.internal("HEAD", "/").await.expect(200);
    // The gateway's own root is for its routes.
    app.gateway("GET", "/").await.expect(404);
    for call in [app.internal("GET", "/health"), app.gateway("GET", "/health")] {
        assert_eq!(call.await.expect(200).json()["version"], "2.0.0");
    }
}

on_both!(settings_are_shown_to_those_who_may_see_them, |backend| async move {
    let app = App::start_with(backend, &[("APP_DESCRIPTION", "For tests"), ("RATE_LIMIT_REQUESTS", "7")]).await;
    let admin = Caller::superadmin(&app).await;
    admin.user("nobody", &[]).await;
    let nobody = app.token_with("nobody", PASSWORD).await;
    let mut answers = Vec::new();
    let places: [&dyn Fn() -> Call; 3] =
        [&|| app.internal("GET", "/config"), &|| app.internal("GET", "/api/v1/config"), &|| {
            app.gateway("GET", "/api/v1/config")
        }];
    for call in places {
        refused(call().await, 401, "Not authenticated");
        refused(call().bearer(&nobody).await, 403, "Permission 'system:read' required for this action");
        answers.push(call().bearer(&admin.token).await.expect(200));
    }
    app.gateway("GET", "/config").bearer(&admin.token).await.expect(404);
    assert_eq!((&answers[0].text, &answers[0].text), (&answers[1].text, &answers[2].text));
    let config = answers[0].json();
    assert_eq!(config["app"]["description"], "For tests");
    assert_eq!(config["rate_limit"]["anonymous_requests"], 7);
    assert_eq!(config["cors"]["allowed_origins"], json!(["*"]));
    assert_eq!(config["gateway"]["mount"], true);
    assert!(config["auth"].get("secret_key").is_none() && config["auth"].get("bootstrap_password").is_none());
    assert!(config["auth"]["login_failures"] == 5 && !answers[0].text.contains(SECRET), "{config}");
});
