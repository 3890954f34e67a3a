//! Cedar's own command-line tool answers from the export as the engine does.

use std::{path::Path, process::Command};

use cedargate::{model::Reason, policy};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    asking::{Question, Verdict, ask},
    world::{Asked, World},
};

/// Requests for each world.
const REQUESTS: usize = 250;
/// Requests in all.
const WANTED: usize = 1_000;

/// Runs Cedar's tool in `folder`; what it says, and whether it is content.
fn cedar(folder: &Path, arguments: &[&str]) -> (String, bool) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/cedar");
    let program = if own.exists() { own } else { "cedar".into() };
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.expect("cedar, of the package cedar-policy-cli, is missing: run tests/run.sh");
    let told = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&told).into_owned(), output.status.success())
}

/// A request as Cedar's tool takes it, with what the engine has answered; `None` for what only the engine knows: that a
/// `forbid` which fails denies, and that what needs a permission needs a user.
fn expected(verdict: &Verdict, question: &Question<'_>, entities: &Value) -> Option<Value> {
    if verdict.reason == Reason::PolicyError || (question.user.is_none() && !question.is_about_access()) {
        return None;
    }
    let mut all = entities.as_array()?.clone();
    all.extend(question.attributes().iter().map(|entity| entity.to_json_value().unwrap()));
    Some(json!({
        "request": {
            "principal": question.principal().to_string(),
            "action": question.action.to_string(),
            "resource": question.resource.to_string(),
            "context": question.context(),
        },
        "entities": all,
        "decision": if verdict.allowed { "allow" } else { "deny" },
        "reason": verdict.determining,
        "num_errors": verdict.failed.len(),
    }))
}

#[test]
fn cedars_own_tool_decides_alike() {
    let mut runner = TestRunner::default();
    let (mut compared, mut allowed) = (0, 0);
    while compared < WANTED {
        let mut world = World::any(REQUESTS).new_tree(&mut runner).unwrap().current();
        let (snapshot, _) = world.compile();
        let Some(now) = world.asked.first().map(Asked::now) else { continue };
        let export = policy::export(&snapshot, now).unwrap();
        let answers = world.asked.iter().filter_map(|asked| {
            ask(&snapshot, &world.users, asked, |verdict, question| expected(&verdict, question, &export.entities))?
        });
        let answers: Vec<Value> = answers.collect();
        let folder = TempDir::with_prefix("cedargate-tools-").unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("all.cedar", &export.policies);
        put("all.cedarschema", &export.schema);
        put("entities.json", &export.entities.to_string());
        put("tests.json", &serde_json::to_string(&answers).unwrap());
        let files = ["--schema", "all.cedarschema", "--policies", "all.cedar", "--deny-warnings"];
        let (told, sound) = cedar(folder.path(), &[&["validate"], &files[..]].concat());
        assert!(sound, "{told}\n{}", export.policies);
        let files = ["--policies", "all.cedar", "--tests", "tests.json"];
        let (told, alike) = cedar(folder.path(), &[&["run-tests"], &files[..]].concat());
        let faults: Vec<&str> = told.lines().filter(|line| !line.ends_with("ok")).collect();
        assert!(alike, "{}\n{}", faults.join("\n"), export.policies);
        assert!(told.contains(&format!("{} passed, 0 failed", answers.len())), "{told}");
        compared += answers.len();
        allowed += answers.iter().filter(|answer| answer["decision"] == "allow").count();
    }
    assert!(allowed * 20 > compared && allowed < compared, "{allowed} of {compared}: the test lost its force");
}
