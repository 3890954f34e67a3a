//! Files of tests, without anything to ask.

use std::path::Path;

use super::*;

fn parsed(text: &str) -> Result<usize, Vec<String>> {
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    file::parse(Path::new("t.toml"), text, &mut cases, &mut faults);
    if faults.is_empty() { Ok(cases.len()) } else { Err(faults.iter().map(ToString::to_string).collect()) }
}

/// A good test but for one line.
fn with(line: &str) -> String {
    let fields = ["name = \"n\"", "user = \"u\"", "method = \"GET\"", "path = \"/\"", "expect = \"allow\""];
    let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let others: Vec<&str> = fields.into_iter().filter(|field| key(field) != key(line)).collect();
    format!("[[test]]\n{line}\n{}\n", others.join("\n"))
}

#[test]
fn tests_are_read() {
    let context =
        r#"context = { now = 2030-01-01T09:00:00Z, mfa = true, scopes = ["a"], claims = { level = 3, x = 1.5 } }"#;
    for good in
        [context, "reason = \"allowed\"", "policies = []", "path = \"https://a.example/b?c\"", "method = \"get\""]
    {
        assert_eq!(parsed(&with(good)), Ok(1), "{good}");
    }
    assert_eq!(parsed(&[with("name = \"a\""), with("name = \"b\"")].concat()), Ok(2));
    assert_eq!(parsed(""), Ok(0));
}

#[test]
fn faults_name_line_and_what_was_meant() {
    for (text, told) in [
        ("[[tests]]\nname = 1", "t.toml:1: unknown key tests, did you mean test?"),
        ("[test]\nname = 1", "t.toml:1: tests begin with [[test]]"),
        ("\n[[test]\n", "t.toml:2: "),
        (&with("rolls = [\"a\"]"), "t.toml:2: unknown key rolls, did you mean roles?"),
        (&with("name = 7"), "t.toml:2: name must be text"),
        (&with("expect = \"maybe\""), "t.toml:2: expect is \"allow\" or \"deny\", not \"maybe\""),
        (&with("reason = \"no_grants\""), "t.toml:2: there is no reason \"no_grants\", did you mean no_grant?"),
        (&with("roles = [\"a\"]"), "t.toml:1: one of user, roles and anonymous is needed, and only one"),
        (&with("anonymous = false"), "t.toml:2: anonymous is true or left out"),
        (&with("policies = \"p\""), "t.toml:2: policies must be a list of texts"),
        (&with("context = { tennant = \"a\" }"), "t.toml:2: unknown key tennant, did you mean tenant?"),
        (&with("context = { mfa = 1 }"), "t.toml:2: context: mfa: invalid type: integer `1`, expected a boolean"),
        (
            &with("context = { client_certificate = { name = \"a\" } }"),
            "t.toml:2: context: client_certificate.name: unknown field `name`",
        ),
        (&with("path = \"articles\""), "t.toml:2: path: neither a path that begins with /"),
        (&with("method = \"GE T\""), "t.toml:2: method: a method has"),
        (&with("expect = \"deny\"").replace("path = \"/\"\n", ""), "t.toml:1: path is missing"),
    ] {
        let faults = parsed(text).unwrap_err();
        assert!(faults.len() == 1 && faults[0].starts_with(told), "{faults:?}, not {told}");
    }
    // All of them are told, not only the first.
    assert_eq!(parsed(&[with("name = 1"), with("a = 1")].concat()).unwrap_err().len(), 2);
}

#[test]
fn files_are_bounded_and_there() {
    let directory = tempfile::tempdir().unwrap();
    let read = |path: &Path| file::read(&[path.to_owned()]).map(|cases| cases.len());
    let told = |path: &Path| read(path).unwrap_err()[0].message.clone();
    assert_eq!(told(directory.path()), "there are no *.toml files");
    assert!(told(&directory.path().join("none.toml")).contains("No such file"));
    std::fs::write(directory.path().join("b.toml"), with("name = \"b\"")).unwrap();
    std::fs::write(directory.path().join("a.toml"), with("name = \"a\"")).unwrap();
    std::fs::write(directory.path().join("c.txt"), "no test").unwrap();
    let cases = file::read(&[directory.path().to_owned()]).unwrap();
    assert_eq!(cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    std::fs::write(directory.path().join("d.toml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(told(directory.path()), "1048577 bytes, 1048576 at most");
}
