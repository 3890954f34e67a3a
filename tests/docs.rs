//! The README is complete: what a reader may set, call, read or run stands in it, taken from where it is defined.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use cedargate::admin::operation_list;
use cedargate::model::Reason;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

/// Rows of the README's tables, by cell.
fn rows() -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    read("README.md").lines().filter(|line| line.starts_with("| ")).map(cells).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn complain(missing: &[String]) {
    assert!(missing.is_empty(), "README.md lacks or contradicts:\n{}", missing.join("\n"));
}

#[test]
fn the_two_commands_stand_in_the_readme() {
    let readme = read("README.md");
    for command in ["sudo apt-get install -y cmake gcc && cargo run --release -- dev", "bash tests/run.sh"] {
        assert!(readme.contains(&format!("```sh\n{command}\n```")), "{command}");
    }
}

/// A setting of `config/cedargate.toml`.
struct Setting {
    name: String,
    default: String,
    variables: BTreeSet<String>,
}

fn settings(file: &str) -> Vec<Setting> {
    let (mut found, mut section, mut comment) = (Vec::new(), String::new(), String::new());
    for line in file.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push_str(text);
            comment.push(' ');
            continue;
        } else if let Some((name, default)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
            let bracket = comment.split('[').next_back().and_then(|rest| rest.split(']').next()).unwrap();
            let is_name = |word: &&str| word.len() > 3 && !word.contains(|c: char| c.is_ascii_lowercase());
            let words = bracket.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            found.push(Setting {
                name: format!("{section}.{name}"),
                default: default.to_owned(),
                variables: words.filter(is_name).map(str::to_owned).collect(),
            });
        }
        comment.clear();
    }
    found
}

#[test]
fn every_setting_has_its_row() {
    let rows = rows();
    let settings = settings(&read("config/cedargate.toml"));
    assert!(settings.len() > 40 && settings.iter().all(|setting| !setting.variables.is_empty()));
    let mut missing = Vec::new();
    for Setting { name, default, variables } in &settings {
        let row = rows.iter().find(|row| row[0] == format!("`{name}`") && row.len() == 4);
        let stated = row.map(|row| (row[1].clone(), quoted(&row[2])));
        if stated != Some((format!("`{default}`"), variables.clone())) {
            missing.push(format!("`{name}` = `{default}`, {variables:?}; it says {stated:?}"));
        }
    }
    let known: BTreeSet<String> = settings.iter().map(|setting| format!("`{}`", setting.name)).collect();
    let surplus = rows.iter().filter(|row| row.len() == 4 && row[2].contains("CEDARGATE_") && !known.contains(&row[0]));
    missing.extend(surplus.map(|row| format!("{} is no setting", row[0])));
    complain(&missing);
}

/// Methods of each endpoint.
fn endpoints() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path, _) in operation_list() {
        found.entry(path.to_owned()).or_default().insert(method.to_string());
    }
    found
}

#[test]
fn every_endpoint_has_its_row() {
    let endpoints = endpoints();
    let rows: BTreeMap<String, BTreeSet<String>> =
        rows().into_iter().filter(|row| row.len() == 3).map(|row| (row[1].clone(), quoted(&row[0]))).collect();
    let mut missing = Vec::new();
    for (path, methods) in &endpoints {
        let stated = rows.get(&format!("`{path}`"));
        if stated != Some(methods) || methods.is_empty() {
            missing.push(format!("{methods:?} {path}; it says {stated:?}"));
        }
    }
    for path in rows.keys().filter(|path| path.starts_with("`/")) {
        let path = path.trim_matches('`');
        let is_health = read("src/admin/health.rs").contains(&format!("\"{path}\""));
        if !endpoints.contains_key(path) && !is_health {
            missing.push(format!("{path} is not served"));
        }
    }
    complain(&missing);
}

#[test]
fn health_endpoints_have_their_rows() {
    let rows = rows();
    for path in read("src/admin/health.rs").split(".route(\"").skip(1) {
        let path = path.split('"').next().unwrap();
        assert!(rows.iter().any(|row| row[0] == format!("`{path}`")), "{path}");
    }
}

#[test]
fn every_reason_has_its_row() {
    let rows = rows();
    let missing = Reason::ALL.iter().filter(|reason| {
        !rows.iter().any(|row| row[0] == format!("`{}`", reason.code()) && row[1] == reason.status().to_string())
    });
    complain(&missing.map(|reason| format!("{} {}", reason.code(), reason.status())).collect::<Vec<_>>());
}

#[test]
fn every_metric_and_every_key_of_the_access_log_is_explained() {
    let rows: BTreeSet<String> = rows().iter().flat_map(|row| quoted(&row[0])).collect();
    let metrics = read("src/telemetry/metrics.rs");
    let code = metrics.split("#[cfg(test)]").next().unwrap();
    let metrics = code.split('"').filter(|text| text.starts_with("cedargate_"));
    let log = read("src/telemetry/access_log.rs");
    let record = log.split("pub struct Record").nth(1).unwrap().split("\n}").next().unwrap();
    let keys = record.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next());
    let names: Vec<&str> = metrics.chain(keys).collect();
    assert!(names.len() > 30, "{names:?}");
    let missing: Vec<String> =
        names.iter().filter(|name| !rows.contains(**name)).map(|name| (*name).to_owned()).collect();
    complain(&missing);
}

/// What `cedargate … --help` lists under "Commands:".
fn commands(of: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cedargate")).args(of).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_has_its_row() {
    let rows: Vec<String> = rows().into_iter().map(|row| row[0].clone()).collect();
    let mut missing = Vec::new();
    let top = commands(&[]);
    assert!(top.len() > 5, "{top:?}");
    for command in top {
        let below = commands(&[&command]);
        let full = |below: &String| format!("`cedargate {command} {below}");
        let names =
            if below.is_empty() { vec![format!("`cedargate {command}")] } else { below.iter().map(full).collect() };
        missing.extend(names.into_iter().filter(|name| {
            !rows.iter().any(|row| row.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([' ', '`'])))
        }));
    }
    complain(&missing);
}

#[test]
fn links_lead_somewhere() {
    for file in ["README.md", "src/CHANGELOG.md"] {
        for link in read(file).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let exists = link.starts_with("https://") || std::path::Path::new(link).exists();
            assert!(exists, "{file}: {link}");
        }
    }
}
