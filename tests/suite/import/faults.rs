//! What is refused: all of it is told at once, and nothing is written.

use super::{Run, Source, Version, cedargate, has_tables, import, revisions};
use crate::support::{Backend, fresh_database};
use cedargate::store::{Db, migrate};

use crate::support::POOL;

#[track_caller]
fn has(run: &Run, heading: &str, lines: &[&str]) {
    let (total, found) = run.section(heading);
    let missing: Vec<_> = lines.iter().filter(|line| !found.iter().any(|found| found.contains(**line))).collect();
    assert!(missing.is_empty(), "missing {missing:#?} in {found:#?}");
    assert_eq!(total, lines.len(), "{found:#?}");
}

on_both!(all_faults_are_told_at_once, |backend| async move {
    let source = Source::used(Version::Newest).await;
    source.run(
        "INSERT INTO users VALUES
             (20, 'a b', 'x@example.com', '$2b$12$LQv3c1yqBWVHxkd0LHAkCOYz6TtxMQJqhN8/LewdBPj4J/HS.iK6K', TRUE, now()),
             (21, 'BOB', 'bob2@example.com', '$2b$12$LQv3c1yqBWVHxkd0LHAkCOYz6TtxMQJqhN8/LewdBPj4J/HS.iK6K', TRUE, now()),
             (22, 'frank', 'BOB@example.com', '$2b$12$LQv3c1yqBWVHxkd0LHAkCOYz6TtxMQJqhN8/LewdBPj4J/HS.iK6K', TRUE, now()),
             (23, 'gina', 'gina@nowhere.local', 'hunter2-in-clear', TRUE, 'infinity'),
             (24, NULL, NULL, NULL, NULL, NULL);
         INSERT INTO roles VALUES (30, '', NULL, NULL), (31, 'SuperAdmin', NULL, NULL);
         INSERT INTO modules (id, name, label) VALUES (40, 'a b', 'x'), (41, 'books', ' ');
         INSERT INTO routes (id, route, label, module_id, parent_id) VALUES
             (50, '/a', 'a', 1, NULL), (51, '/b', 'b', 1, 50), (52, '/c', 'c', 1, 51), (53, '//home', 'again', 1, NULL),
             (54, '/far', 'far', 4, 12), (55, '/lost', 'lost', 40, NULL);
         UPDATE routes SET parent_id = 52 WHERE id = 50;",
    )
    .await;
    let (target, _guard) = fresh_database(backend).await;
    for options in [&["--dry-run"][..], &[]] {
        let run = import(&source, &target, options).await.ended(1);
        has(
            &run,
            "refused",
            &[
                r#"user 20: username "a b": Username must be alphanumeric"#,
                r#"user 21 "bob" has the username "bob" of user 5 "bob""#,
                r#"user 22 "frank" has the email "bob@example.com" of user 5 "bob""#,
                r#"user 23: email "gina@nowhere.local": The part after the @-sign is a special-use"#,
                "user 23: its password hash is not one of bcrypt",
                r#"user 23: created_at "infinity": RFC 3339 is expected"#,
                "user 24: it has no username",
                "user 24: it has no email",
                "user 24: its password hash is not one of bcrypt",
                r#"role 30: name "": String should have at least 1 character"#,
                r#"role 31 "superadmin" has the name "superadmin" of role 1 "superadmin""#,
                r#"module 40: name "a b": Module name must contain only"#,
                r#"module 41: label " ": Label cannot be empty"#,
                r#"route 53 "/home" has the path "/home in module 1" of route 12 "/home""#,
                r#"route 50 "/a": it lies below itself"#,
                r#"route 51 "/b": it lies below itself"#,
                r#"route 52 "/c": it lies below itself"#,
                r#"route 54 "/far": it lies below a route of module 1, but in module 4"#,
                r#"route 55 "/lost": its module 40 is not taken over"#,
            ],
        );
        assert_eq!(
            run.err,
            "cedargate: nothing is taken over: 19 faults in the template's data, 0 conflicts with what is here\n"
        );
        assert!(!run.out.contains("hunter2") && !run.out.contains("$2b$"), "{}", run.out);
        assert!(!has_tables(&target).await);
    }
});

on_both!(rows_that_are_others_here_stop_it, |backend| async move {
    let source = Source::used(Version::Newest).await;
    let (target, _guard) = fresh_database(backend).await;
    let env = [("CEDARGATE_DATABASE__URL", target.as_str())];
    // Seeded on its own: permission 21 and beyond, and role 4, are others than the predecessor's.
    cedargate(&["user", "create", "frank", "bob@example.com", "--role", "superadmin"], &env, "").await.ended(0);
    source.run("INSERT INTO permissions (id, name) VALUES (21, 'x:y')").await;
    source.run("UPDATE roles SET description = 'another' WHERE id = 2").await;
    let before = revisions(&target).await;
    for options in [&["--dry-run"][..], &[]] {
        let run = import(&source, &target, options).await.ended(1);
        has(
            &run,
            "conflicts",
            &[
                r#"permission 21 "x:y": name is "x:y" there and "upstream:read" here"#,
                r#"permission 31 "invoice:read": name is "invoice:read" there and "policy:update" here"#,
                r#"permission 32 "reports": name is "reports" there and "policy:delete" here"#,
                r#"role 2 "admin": description is "another" there and "Administrator with all user permissions" here"#,
                r#"user 1 "superadmin": username is "superadmin" there and "frank" here"#,
                r#"user 5 "bob": the email "bob@example.com" is that of user 1 here"#,
                r#"module 1 "dashboard": priority is 1 there and 0 here"#,
                r#"route 3 "/books/shelf/one": route is "/books/shelf/one" there and"#,
            ],
        );
        assert_eq!(revisions(&target).await, before);
    }
});

#[tokio::test(flavor = "multi_thread")]
async fn only_the_predecessors_databases_are_read_and_none_becomes_ours() {
    let source = Source::used(Version::Newest).await;
    let run = import(&source, &source.url, &[]).await.ended(1);
    assert!(run.err.contains("set CEDARGATE_DATABASE__URL"), "{}", run.err);
    let run = import(&source, &source.url, &["--dry-run"]).await.ended(1);
    assert!(run.err.contains("set CEDARGATE_DATABASE__URL"), "{}", run.err);
    assert!(!source.dump().await.contains("_sqlx_migrations"));

    let (target, _files) = fresh_database(Backend::Sqlite).await;
    let env = [("CEDARGATE_DATABASE__URL", target.as_str())];
    let refused = async |from: &str| {
        let run = cedargate(&["import", "fastapi", "--from", from], &env, "").await.ended(1);
        assert!(run.out.is_empty());
        run.err
    };
    let (empty, _guard) = fresh_database(Backend::Postgres).await;
    assert!(refused(&empty).await.contains("there is no table users that may be read"));
    let ours = Db::open(&empty, &POOL).await.unwrap();
    migrate::up(&ours).await.unwrap();
    ours.close().await;
    assert!(refused(&empty).await.contains("the table users has no column hashed_password"));
    let bare = Source::bare(Version::First).await;
    let run = import(&bare, &target, &[]).await.ended(1);
    has(&run, "refused", &["there is no role superadmin"]);
    assert!(refused("sqlite://somewhere.db").await.contains("begins with postgresql://"));
    assert!(!has_tables(&target).await);
    assert_eq!(cedargate(&["import", "fastapi"], &env, "").await.ended(2).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_told_in_three_ways_and_shown_in_none() {
    let source = Source::used(Version::Newest).await;
    let (target, _files) = fresh_database(Backend::Sqlite).await;
    // Servers of the tests let everybody in, whatever the password.
    let url = source.url.replace("postgres@", "postgres:hunter2@");
    assert_ne!(url, source.url);
    let env = [("CEDARGATE_DATABASE__URL", target.as_str())];
    let with = [env[0], ("CEDARGATE_IMPORT_FROM", url.as_str())];
    let runs = [
        cedargate(&["import", "fastapi", "--dry-run"], &with, "").await.ended(0),
        cedargate(&["import", "fastapi", "--dry-run", "--from", "-"], &env, &format!("{url}\n")).await.ended(0),
        cedargate(
            &["import", "fastapi", "--dry-run", "--from", &url.replace("postgresql:", "postgresql+psycopg2:")],
            &env,
            "",
        )
        .await
        .ended(0),
        cedargate(&["import", "fastapi", "--from", "postgresql://u:hunter2@127.0.0.1:1/x"], &env, "").await.ended(1),
        cedargate(&["import", "fastapi", "--from", "postgresql://u:hunter2@127.0.0.1:port/x"], &env, "").await.ended(1),
        cedargate(&["import", "fastapi", "--from", "hunter2"], &env, "").await.ended(1),
        cedargate(&["import", "fastapi", "--help"], &with, "").await.ended(0),
        cedargate(&["import", "fastapi", "--from", &url, "--nonsense"], &with, "").await.ended(2),
    ];
    for run in runs {
        assert!(!run.out.contains("hunter2") && !run.err.contains("hunter2"), "{}\n{}", run.out, run.err);
    }
}
