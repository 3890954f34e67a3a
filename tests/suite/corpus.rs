//! The corpus of the fuzz targets in `tests/fuzz`, replayed; and targets that others have thought of, read by parsers of
//! others.

use std::path::{Path, PathBuf};
use std::process::Command;

use cedargate::http::Target;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::Value;

#[path = "../fuzz/properties/mod.rs"]
mod properties;

use properties::readings;

/// Segments and queries, with all that is known to be read differently among them.
const TARGET: &str = concat!(
    r"(/|//|\\|[a-z]{3,5}://[a-z@:]{1,4}|[a-z]:/)?",
    r"([a-zA-Z0-9]{1,3}/|[a-z0-9.-]{1,6}|(\.|\.\.|\.\.\.|%2[eEfF]|%25(2e|2f)|%5c|%c0%af|%[0-9a-fA-F]{2}|%[g-z0-9]|[A-Za-z0-9._~!$&'()*+,=:@-]{1,4}|[;|^`{}\[\]<> \t\r\n\\#é\u{202e}\u{ff0f}])?/?){0,5}",
    r#"(\?[ -~é\t]{0,12}){0,2}(#[a-z/?]{0,3})?"#
);
const CASES: usize = 20_000;

#[test]
fn every_property_holds_for_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, _) in properties::PROPERTIES {
        let mut replayed = 0;
        for file in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            properties::holds(name, &std::fs::read(path).unwrap());
            replayed += 1;
        }
        assert!(replayed >= 10, "{name}: {replayed}");
    }
}

/// Where cargo has the sources of a package.
fn sources_of(package: &str) -> PathBuf {
    let version =
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut command = Command::new(env!("CARGO"));
    // What other platforms need was not downloaded.
    command.args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|known| known["name"] == package).unwrap();
    Path::new(found["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// Whether it is accepted, and then read alike by everybody.
fn is_accepted(target: &str) -> bool {
    let accepted = Target::parse(target.as_bytes());
    accepted.as_ref().map(readings::agree).is_ok()
}

/// The web platform's own tests of addresses, which the `url` crate ships with its sources.
#[test]
fn targets_of_the_web_platforms_tests_are_read_alike_or_refused() {
    let file = sources_of("url").join("tests/urltestdata.json");
    let tests: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for test in tests.as_array().unwrap().iter().filter(|test| test.is_object()) {
        let text = |name: &str| test[name].as_str().unwrap_or_default();
        let input = text("input");
        let after_host =
            input.split_once("://").and_then(|(_, rest)| rest.find(['/', '?', '\\']).map(|at| &rest[at..]));
        let parsed = format!("{}{}", text("pathname"), text("search"));
        for target in [input, after_host.unwrap_or_default(), &format!("/{input}"), &format!("/a?{input}"), &parsed] {
            if is_accepted(target) { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
}

#[test]
fn random_targets_are_read_alike_or_refused() {
    let mut runner = TestRunner::default();
    let targets = proptest::string::string_regex(TARGET).unwrap();
    let accepted = (0..CASES).filter(|_| is_accepted(&targets.new_tree(&mut runner).unwrap().current())).count();
    assert!(accepted > CASES / 100 && accepted < CASES / 2, "{accepted}");
}
