//! Commands on rules that were written out.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{PASSWORD, Server, cedargate, http, run, text};

#[test]
fn rules_are_compared_with_what_was_written_out() {
    let data = TempDir::new().unwrap();
    let policies = data.path().join("policies");
    fs::create_dir(&policies).unwrap();
    let policy = |arguments: &[&str]| {
        let mut command = cedargate(data.path());
        run(command.env("CEDARGATE_POLICY__DIR", &policies).arg("policy").args(arguments))
    };
    assert!(
        run(cedargate(data.path()).args(["user", "create", "bob", "bob@example.com", "--role", "user"]))
            .status
            .success()
    );
    let shown = policy(&["show", "--json"]);
    let before = data.path().join("before.json");
    fs::write(&before, &shown.stdout).unwrap();
    let before = before.to_str().unwrap();
    for other in ["live", "-", before] {
        let same = policy(&["diff", before, other]);
        assert_eq!((same.status.code(), text(&same.stdout)), (Some(0), String::new()), "{}", text(&same.stderr));
    }

    // There are no routes yet: what changes is the policy alone.
    fs::write(policies.join("step_up.cedar"), "forbid (principal, action, resource) unless { context.mfa };").unwrap();
    let differs = policy(&["diff", before, "live"]);
    assert_eq!(differs.status.code(), Some(3), "{}", text(&differs.stderr));
    assert!(
        text(&differs.stdout).starts_with("added policy:step_up, which is conditional\n"),
        "{}",
        text(&differs.stdout)
    );
    let differs = policy(&["diff", "live", before, "--json"]);
    let told: Value = serde_json::from_slice(&differs.stdout).unwrap();
    assert_eq!((differs.status.code(), &told["conditional"][0]["change"]), (Some(3), &Value::from("removed")));
    assert_eq!(policy(&["diff", before, "nothing.json"]).status.code(), Some(1));

    // What depends on the second factor is conditional now, and was not.
    let matrix = |arguments: &[&str]| text(&policy(&[&["matrix"], arguments].concat()).stdout);
    let was = matrix(&["--csv", "--against", before]);
    assert!(was.starts_with("role,permission,grant\nadmin,user:create,direct\n"), "{was}");
    assert_eq!(matrix(&["--csv"]), was.replace(",direct", ",conditional"));
    let table = matrix(&[]);
    assert!(table.lines().all(|line| line.split_whitespace().count() == 3), "{table}");
    assert_eq!(table.lines().count(), was.lines().count());
    assert_eq!(matrix(&["--by", "operation", "--csv"]), "role,route_id,route,method,grant\n");
    let json: Value = serde_json::from_str(&matrix(&["--json"])).unwrap();
    assert_eq!(json["cells"].as_array().unwrap().len() + 1, table.lines().count());
}

/// Who has shut everybody out opens again, while the server runs.
#[test]
fn a_policy_that_shuts_everybody_out_is_taken_back() {
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[("CEDARGATE_BOOTSTRAP_PASSWORD", PASSWORD)]);
    let token = server.token(PASSWORD);
    let shut = serde_json::json!({ "name": "shut", "source": "forbid (principal, action, resource);" });
    assert_eq!(http(server.admin, "POST", "/api/v1/policies/", &token, Some(&shut)).0, 200);
    let roles = || http(server.admin, "GET", "/api/v1/roles/", &token, None).0;
    assert_eq!(roles(), 403);
    let deactivate = |name: &str| run(cedargate(data.path()).args(["policy", "deactivate", name]));
    let unknown = deactivate("inactive_users");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("no policy in the database has the name"), "{}", text(&unknown.stderr));
    let opened = deactivate("shut");
    assert!(opened.status.success(), "{}", text(&opened.stderr));
    let asked = Instant::now();
    while roles() != 200 {
        assert!(asked.elapsed() < Duration::from_secs(10), "it is still shut");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, audit) = http(server.admin, "GET", "/api/v1/audit-logs/?resource=policy", &token, None);
    let last = &audit.as_array().unwrap()[0];
    assert_eq!((&last["action"], &last["after"]["is_active"]), (&Value::from("update"), &Value::from(false)), "{last}");
}
