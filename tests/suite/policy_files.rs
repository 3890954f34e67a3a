//! The operator's policy files, changed under a running server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::app::App;

const SHUT: &str = "forbid (principal, action == Action::\"read\", resource is Endpoint);";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::with_prefix("cedargate-policies-").unwrap())
    }

    fn put(&self, name: &str, text: &str) {
        // As careful operators do it: nobody ever sees half a file.
        let draft = self.0.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.0.path().join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }
}

/// Waits until `/health/detailed` says this of the policy directory, and what the error is.
async fn health(app: &App, status: &str) -> Value {
    let asked = Instant::now();
    loop {
        let told = app.internal("GET", "/health/detailed").await.json()["checks"]["policy_directory"].take();
        if told["status"] == status {
            return told["error"].clone();
        }
        assert!(asked.elapsed() < Duration::from_secs(15), "still {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn answered(app: &App, token: &str, status: u16) {
    let asked = Instant::now();
    while app.gateway("GET", "/demo/articles").bearer(token).await.status != status {
        assert!(asked.elapsed() < Duration::from_secs(15), "never answered with {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

on_both!(files_are_put_in_force_when_they_change, |backend| async move {
    let files = Files::new();
    let directory = files.0.path().to_str().unwrap().to_owned();
    let app = App::start_with(backend, &[("CEDARGATE_POLICY__DIR", &directory)]).await;
    let token = app.token("user").await;
    let admin = app.token("superadmin").await;
    answered(&app, &token, 200).await;
    let before = app.running.control().snapshots().load().policy_revision();
    files.put("shut.cedar", SHUT);
    answered(&app, &token, 403).await;
    assert!(app.running.control().snapshots().load().policy_revision() > before, "rules moved without a revision");
    let listed = app.admin("GET", "/policies/files").bearer(&admin).await.expect(200).json();
    assert_eq!(listed[1], json!({ "name": "shut", "source": SHUT, "is_shipped": false }));

    // What is broken leaves the last good set in force, whatever else is written meanwhile.
    files.put("shut.cedar", &SHUT.replace("read", "raed"));
    let fault = health(&app, "unhealthy").await;
    assert!(fault.as_str().unwrap().contains("shut.cedar:1:30: "), "{fault}");
    assert!(fault.as_str().unwrap().contains("read"), "no advice: {fault}");
    let metrics = app.internal("GET", "/metrics").await.text;
    assert!(metrics.contains("cedargate_policy_files_in_force 0"), "{metrics}");
    answered(&app, &token, 403).await;
    let role = json!({ "name": "contractor" });
    app.admin("POST", "/roles/").bearer(&admin).json(role).await.expect(200);
    answered(&app, &token, 403).await;
    files.put("shut.cedar", SHUT);
    health(&app, "healthy").await;
    assert!(app.internal("GET", "/metrics").await.text.contains("cedargate_policy_files_in_force 1"));

    // What it speaks of has to be there, and may come later.
    files.put("guest.cedar", "forbid (principal in Role::\"visitor\", action, resource);");
    let fault = health(&app, "unhealthy").await;
    assert!(fault.as_str().unwrap().contains("guest.cedar:1:22: there is no Role::\"visitor\""), "{fault}");
    let visitor = json!({ "name": "visitor" });
    app.admin("POST", "/roles/").bearer(&admin).json(visitor).await.expect(200);
    health(&app, "healthy").await;

    files.remove("shut.cedar");
    answered(&app, &token, 200).await;
    // A file's policy is one of the set: its name is taken, what it speaks of stays.
    let taken = json!({ "name": "guest", "source": SHUT });
    app.admin("POST", "/policies/").bearer(&admin).json(taken).await.expect(400);
    let role = app.role(&admin, "visitor").await;
    let refused = app.admin("DELETE", &format!("/roles/{role}")).bearer(&admin).await.expect(400);
    assert!(refused.text.contains("the policy 'guest' speaks of it"), "{}", refused.text);
});
