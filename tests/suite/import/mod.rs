//! `cedargate import fastapi`, run as a program against databases as the predecessor leaves them.

mod faults;
mod source;

use std::process::{Command, Stdio};

use cedargate::model::rules::Revisions;
use cedargate::store::{Db, changes, migrate};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::app::{App, SECRET};
use crate::support::{POOL, fresh_database};
use source::{Source, Version};

/// How the program ended.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// The lines under a heading, with the total that it gives.
    fn section(&self, heading: &str) -> (usize, Vec<String>) {
        let mut lines = self.out.lines().skip_while(|line| !line.starts_with(&format!("{heading}: ")));
        let total = lines.next().unwrap_or_else(|| panic!("no {heading}: {}", self.out)).rsplit(' ').next().unwrap();
        let lines = lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect();
        (total.parse().unwrap(), lines)
    }
}

/// Runs the program as an operator does, in a directory of its own, with nothing else in its environment.
async fn cedargate(args: &[&str], variables: &[(&str, &str)], input: &str) -> Run {
    let (args, variables) = (owned(args), variables.iter().map(|(name, value)| (owned(&[name]), owned(&[value]))));
    let variables: Vec<(String, String)> = variables.map(|(mut a, mut b)| (a.remove(0), b.remove(0))).collect();
    let input = input.to_owned();
    let run = move || {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cedargate"))
            .args(args)
            .env_clear()
            .envs(variables)
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// `cedargate import fastapi` from `source` into the database at `target`.
async fn import(source: &Source, target: &str, options: &[&str]) -> Run {
    let args = [&["import", "fastapi", "--from", &source.url], options].concat();
    cedargate(&args, &[("CEDARGATE_DATABASE__URL", target)], "").await
}

async fn revisions(url: &str) -> Revisions {
    let db = Db::open(url, &POOL).await.unwrap();
    let revisions = changes::current(&mut db.read().await.unwrap()).await.unwrap();
    db.close().await;
    revisions
}

async fn has_tables(url: &str) -> bool {
    let db = Db::open(url, &POOL).await.unwrap();
    let steps = migrate::status(&db).await.unwrap();
    db.close().await;
    steps.iter().any(|step| step.applied_at.is_some())
}

/// A token as the predecessor signed it.
fn old_token(name: &str, seconds: i64) -> String {
    let claims = json!({ "sub": name, "exp": cedargate::model::Timestamp::now().unix_seconds() + seconds });
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

async fn password_hash(url: &str, name: &str) -> String {
    let db = Db::open(url, &POOL).await.unwrap();
    let found = cedargate::store::users::credentials(&mut db.read().await.unwrap(), name).await.unwrap();
    db.close().await;
    found.unwrap().password_hash.expose().clone()
}

fn ids(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|entity| entity["id"].as_i64().unwrap()).collect()
}

on_both!(an_installation_is_taken_over_and_served, |backend| async move {
    let source = Source::used(Version::Newest).await;
    let before = source.dump().await;
    let (target, guard) = fresh_database(backend).await;

    let trial = import(&source, &target, &["--dry-run"]).await.ended(0);
    let (created, lines) = trial.section("to be created");
    assert_eq!((created, lines.len()), (36, 36), "22 permissions, 5 roles, 4 users, 2 modules, 3 routes");
    assert!(
        lines.contains(&"role 7 \"editor\"".to_owned()) && lines.contains(&"user 5 \"bob\"".to_owned()),
        "{lines:?}"
    );
    assert_eq!(trial.section("refused").0 + trial.section("conflicts").0 + trial.section("to be changed").0, 0);
    let (_, adjusted) = trial.section("adjusted");
    for line in [
        r#"user 5: username "Bob" becomes "bob""#,
        r#"user 5: email "Bob@Example.com" becomes "Bob@example.com""#,
        r#"module 4: name "Books" becomes "books""#,
        r#"module 4: label " Books " becomes "Books""#,
        r#"route 3: route "/books//shelf/one" becomes "/books/shelf/one""#,
    ] {
        assert!(adjusted.contains(&line.to_owned()), "{line}: {adjusted:?}");
    }
    assert!(trial.out.ends_with("dry run: nothing was written\n"), "{}", trial.out);
    assert!(!has_tables(&target).await, "a trial makes no tables");

    let done = import(&source, &target, &["--json"]).await.ended(0).json();
    assert_eq!((&done["created"]["total"], &done["dry_run"]), (&json!(36), &json!(false)));
    assert_eq!((&done["read"]["user"], &done["read"]["grant"]), (&json!(4), &json!(27)));
    assert_eq!(source.dump().await, before, "the source is only read");
    assert!(password_hash(&target, "bob").await.starts_with("$2b$04$"));
    let imported = revisions(&target).await;
    let again = import(&source, &target, &[]).await.ended(0);
    assert_eq!((again.section("created").0, again.section("changed").0), (0, 0));
    assert!(again.out.contains("unchanged: 36\n"), "{}", again.out);
    assert_eq!(revisions(&target).await, imported, "a second run changes nothing");

    let app = App::start_on(target.clone(), guard, &[]).await;
    let admin = app.token("superadmin").await;
    let get = async |path: &str| app.admin("GET", path).bearer(&admin).await.expect(200).json();

    // Ids, grants and assignments are as they were.
    let editor = get("/roles/7").await;
    assert_eq!((&editor["name"], ids(&editor["permissions"])), (&json!("editor"), vec![31, 32]));
    let bob = get("/users/5").await;
    assert_eq!((&bob["username"], ids(&bob["roles"])), (&json!("bob"), vec![3, 7]));
    assert_eq!(bob["created_at"], "2025-06-01T10:00:00.000000Z");
    assert_eq!(
        (&get("/users/9").await["is_active"], &get("/permissions/13").await["name"]),
        (&json!(false), &json!("module:read"))
    );
    let books = get("/modules/4").await;
    assert_eq!(
        (&books["route"], &books["is_active"], &books["priority"]),
        (&json!("/infinity/books"), &json!(false), &json!(4))
    );
    assert_eq!((ids(&books["roles"]), ids(&books["routes"])), (vec![7], vec![3, 11]));
    let one = get("/routes/3").await;
    assert_eq!((&one["parent_id"], &one["is_sidebar"], &one["icon"]), (&json!(11), &json!(false), &Value::Null));
    assert_eq!(ids(&one["roles"]), [7]);

    // The seed adds what is new here, after them.
    let all = get("/permissions/?limit=1000").await;
    let escalate = all.as_array().unwrap().iter().find(|permission| permission["name"] == "role:escalate").unwrap();
    assert!(escalate["id"].as_i64().unwrap() > 32, "{escalate}");
    assert_eq!(get("/roles/1").await["permissions"].as_array().unwrap().len(), all.as_array().unwrap().len());
    let made = app.admin("POST", "/users/").bearer(&admin);
    let body = json!({ "username": "dora", "email": "dora@example.com", "password": "Str0ng!pass" });
    let made = made.json(body).await.expect(200).json();
    assert!(made["id"].as_i64().unwrap() > 9, "{made}");

    // An old password opens, and is hashed anew.
    app.login("carol", "carol123").await.expect(401);
    app.login("bob", "wrong").await.expect(401);
    app.login("Bob", "Bob123").await.expect(200);
    assert!(password_hash(&target, "bob").await.starts_with("$argon2id$"));
    app.login("bob@example.com", "Bob123").await.expect(200);

    // An old token serves until it ends.
    let old = old_token("superadmin", 3);
    app.admin("GET", "/auth/me").bearer(&old).await.expect(200);
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(200);
    app.gateway("GET", "/demo/whoami").bearer(&old_token("carol", 60)).await.expect(401);

    // It is on record.
    let records = get("/audit-logs/?resource=user&resource_id=5&action=create").await;
    let record = &records[0];
    assert_eq!((&record["actor_id"], &record["after"]["username"]), (&Value::Null, &json!("bob")), "{records}");
    assert_eq!(record["after"]["role_ids"], json!([3, 7]));
    assert!(!records.to_string().contains("$2b$"));

    // Signing in is no difference; a further run changes nothing here.
    let now = revisions(&target).await;
    import(&source, &target, &[]).await.ended(0);
    assert_eq!(revisions(&target).await, now);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    app.admin("GET", "/auth/me").bearer(&old).await.expect(401);
    app.gateway("GET", "/demo/whoami").bearer(&old).await.expect(401);
});

on_both!(the_first_release_is_taken_over_too, |backend| async move {
    let source = Source::used(Version::First).await;
    // An even older one called it so.
    source.run("UPDATE roles SET name = 'super_admin', is_system_role = FALSE WHERE id = 1").await;
    let (target, guard) = fresh_database(backend).await;
    let done = import(&source, &target, &[]).await.ended(0);
    assert!(
        done.out.contains("?view=flat")
            && done.section("adjusted").1.contains(&r#"role 1: name "super_admin" becomes "superadmin""#.to_owned()),
        "{}",
        done.out
    );
    let app = App::start_on(target, guard, &[]).await;
    let admin = app.token("superadmin").await;
    let get = async |path: &str| app.admin("GET", path).bearer(&admin).await.expect(200).json();
    let role = get("/roles/1").await;
    assert_eq!((&role["name"], &role["is_system_role"]), (&json!("superadmin"), &json!(true)));
    let books = get("/modules/4").await;
    assert_eq!((&books["route"], &books["priority"], &books["roles"]), (&json!("/books"), &json!(0), &json!([])));
    let flat = get("/routes/sidebar?view=flat").await;
    assert!(flat.as_array().unwrap().iter().any(|entry| entry["route"] == "/home"), "{flat}");
});

on_both!(a_running_gateway_follows_what_comes_later, |backend| async move {
    let source = Source::used(Version::Newest).await;
    let (target, guard) = fresh_database(backend).await;
    import(&source, &target, &[]).await.ended(0);
    let app = App::start_on(target.clone(), guard, &[]).await;
    let bob = app.token_with("bob", "Bob123").await;
    let may = async || {
        let asked =
            app.admin("POST", "/auth/check-permission").bearer(&bob).json(json!({ "permission": "order:delete" }));
        asked.await.expect(200).json()["allowed"] == true
    };
    assert!(!may().await);

    source.run("INSERT INTO permissions (id, name) VALUES (90, 'order:delete'); INSERT INTO role_permissions VALUES (7, 90)").await;
    source.user(60, "erin", "TRUE").await;
    source.run("INSERT INTO user_roles VALUES (60, 7), (2, 7)").await;
    let done = import(&source, &target, &[]).await.ended(0);
    assert_eq!(done.section("created").1, [r#"permission 90 "order:delete""#, r#"user 60 "erin""#]);
    assert_eq!(
        done.section("changed").1,
        [
            r#"role 1 "superadmin" gains permissions "90""#,
            r#"role 7 "editor" gains permissions "90""#,
            r#"user 2 "admin" gains roles "7""#
        ]
    );
    for attempt in 0.. {
        if may().await && app.login("erin", "erin123").await.status == 200 {
            break;
        }
        assert!(attempt < 50, "the gateway does not follow");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let admin = app.token("superadmin").await;
    let records = app.admin("GET", "/audit-logs/?resource=role&resource_id=7").bearer(&admin).await.expect(200).json();
    assert_eq!((&records[0]["action"], &records[0]["before"]["permission_ids"]), (&json!("update"), &json!([31, 32])));
    assert_eq!(records[0]["after"]["permission_ids"], json!([31, 32, 90]));
});
