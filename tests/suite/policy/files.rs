//! Policy tests: the program, run upon a database as an administrator would.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::app::{App, SECRET};

async fn cedargate(app: &App, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedargate"));
    command.env_clear().current_dir(directory).env("SECRET_KEY", SECRET);
    command.env("CEDARGATE_DATABASE__URL", &app.database).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

on_both!(the_demo_permits_what_its_tests_say, |backend| async move {
    let app = App::start(backend).await;
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = cedargate(&app, top, &["policy", "test"]).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout), "11 passed, 0 failed\n");
    let output = cedargate(&app, top, &["policy", "test", "policies/tests/demo.toml", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&11.into(), &0.into()));
    assert_eq!(report["tests"][0]["got"]["policies"][0]["name"], "user may article:read");
    // The same without the database, by rules that were written out.
    let directory = tempfile::tempdir().unwrap();
    let export = directory.path().join("export.json");
    std::fs::write(&export, cedargate(&app, top, &["policy", "show", "--json"]).await.stdout).unwrap();
    let output = cedargate(&app, top, &["policy", "test", "--against", export.to_str().unwrap()]).await;
    assert_eq!(text(&output.stdout), "11 passed, 0 failed\n", "{}", text(&output.stderr));
});

on_both!(a_test_that_fails_says_what_was_decided_instead, |backend| async move {
    let app = App::start(backend).await;
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("own.toml");
    let run = async |text: &str| {
        std::fs::write(&tests, text).unwrap();
        cedargate(&app, directory.path(), &["policy", "test", "own.toml"]).await
    };
    let test = |name: &str, who: &str, method: &str, expect: &str| {
        format!("[[test]]\nname = \"{name}\"\n{who}\nmethod = \"{method}\"\npath = \"/demo/articles\"\n{expect}\n\n")
    };
    let good = test("one", "roles = [\"user\"]", "GET", "expect = \"allow\"");
    let wrong = [
        test("two", "roles = [\"user\"]", "GET", "expect = \"deny\""),
        test("three", "user = \"testuser\"", "POST", "expect = \"deny\"\nreason = \"forbidden_by_policy\""),
        test("four", "user = \"4\"", "GET", "expect = \"allow\"\npolicies = []"),
    ];
    let output = run(&[good.as_str(), &wrong.concat()].concat()).await;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
    let told = text(&output.stdout);
    let told: Vec<&str> = told.lines().collect();
    let grant = "by user may article:read [grant:3:";
    assert!(told[0].starts_with("own.toml:8: two: expected deny, got allow 200 (allowed), "), "{told:?}");
    assert!(told[0].contains(grant) && told[2].contains(grant), "{told:?}");
    assert_eq!(
        told[1],
        "own.toml:15: three: expected deny (forbidden_by_policy), got deny 403 (no_grant), by no policy"
    );
    assert!(told[2].starts_with("own.toml:23: four: expected allow by no policy, got allow"), "{told:?}");
    assert_eq!(told[3], "1 passed, 3 failed");

    // What there is not says nothing about what there is: such files are refused before anything is told.
    for (who, fault) in [
        ("roles = [\"usr\"]", "there is no role 'usr', did you mean user?"),
        ("user = \"nobody\"", "there is no user 'nobody'"),
        ("anonymous = true\ncontext = { mfa = true }", "context: without a user there is no token"),
        ("rolls = []", "unknown key rolls, did you mean roles?"),
    ] {
        let output = run(&[good.as_str(), &test("bad", who, "GET", "expect = \"allow\"")].concat()).await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{who}");
        assert!(text(&output.stderr).contains(fault), "{}", text(&output.stderr));
    }
    let output = cedargate(&app, directory.path(), &["policy", "test", "none"]).await;
    assert_eq!(output.status.code(), Some(2));
});

on_both!(every_fault_of_policy_files_is_told, |backend| async move {
    let app = App::start(backend).await;
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let check = async |arguments: &[&str]| {
        let output = cedargate(&app, directory.path(), &[&["policy", "check"], arguments].concat()).await;
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    write("good.cedar", "forbid (principal in Role::\"user\", action, resource);");
    let good = (Some(0), "1 file checked, 0 faults\n".to_owned(), String::new());
    assert_eq!(check(&["good.cedar"]).await, good);
    assert_eq!(check(&["--dir", "."]).await, good);

    write("syntax.cedar", "permit (principal, action, resource)\nwhen { };\npermit (who, action, resource);\n");
    write(
        "typo.cedar",
        "permit (principal in Role::\"usr\", action == Action::\"raed\", resource);\n\
         permit (principal == User::\"999\", action == Action::\"read\", resource);\n",
    );
    write(
        "unsafe.cedar",
        "permit (principal, action == Action::\"read\", resource)\n when { context.tenant == \"a\" };\n",
    );
    let (code, told, _) = check(&["--dir", "."]).await;
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = told.lines().collect();
    let has = |file: &str, words: &[&str]| {
        let is = |line: &&str| line.starts_with(file) && words.iter().all(|word| line.contains(word));
        assert!(lines.iter().any(is), "{file} {words:?}: {told}");
    };
    has("./syntax.cedar:2:1: ", &["cannot be empty"]);
    has("./syntax.cedar:3:9: ", &["who"]);
    has("./typo.cedar:1:", &["there is no Role::\"usr\"", "(did you mean Role::\"user\"?)"]);
    has("./typo.cedar:1:", &["raed", "read"]);
    has("./typo.cedar:2:", &["there is no User::\"999\""]);
    has("./unsafe.cedar:2:", &["tenant"]);
    assert!(lines.last().unwrap().starts_with("4 files checked, "), "{told}");

    assert_eq!(check(&["none.cedar"]).await.0, Some(1));
    let (code, _, told) = check(&[]).await;
    assert!(code == Some(2) && told.contains("policy.dir is not set"), "{told}");
});
