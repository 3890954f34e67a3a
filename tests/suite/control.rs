//! The write path and the feed: two nodes on one database.

use std::{sync::Arc, time::Duration};

use cedargate::{
    config::{Mode, Settings, Sources},
    control::{Control, Error, Retention},
    model::{
        Claims, NewPermission, NewUser, Reason, Secret, Timestamp, UserId, Username,
        rules::{PolicyText, Revocation},
    },
    policy::{CompileError, Fixed},
    server,
    store::{
        Db,
        activity::{self, Action, NewActivity},
        audit::{self, NewAuditRecord},
        changes::{self, Change},
        migrate, permissions, revocations, roles, users,
    },
    telemetry::Metrics,
};

use crate::support::{Backend, Guard, POOL, app::App, fresh_database};

/// Long enough for a poll on a busy machine; a test that passes waits for much less.
const PATIENCE: Duration = Duration::from_secs(20);

async fn node(url: &str) -> Control {
    node_with(url, Fixed::default()).await
}

async fn node_with(url: &str, fixed: Fixed) -> Control {
    let db = Db::open(url, &POOL).await.unwrap();
    migrate::up(&db).await.unwrap();
    Control::start(db, fixed, Arc::new(Metrics::new("test").unwrap())).await.unwrap()
}

async fn two_nodes(backend: Backend) -> (Control, Control, Guard) {
    let (url, guard) = fresh_database(backend).await;
    (node(&url).await, node(&url).await, guard)
}

fn name(text: &str) -> Username {
    Username::try_from(text).unwrap()
}

async fn add_user(control: &Control, text: &str) -> Result<UserId, Error> {
    let mut write = control.write().await?;
    let now = write.now();
    let new = NewUser {
        username: name(text),
        email: format!("{text}@example.com").try_into().unwrap(),
        password_hash: Secret::new("x".to_owned()),
        is_active: true,
        role_ids: Vec::new(),
        granted_by: None,
    };
    let id = users::insert(write.tx(), &new, now).await?;
    write.touch(Change::User(id));
    Ok(write.commit(id).await?.value)
}

async fn add_policy(control: &Control, text: &'static str) -> Result<(), Error> {
    let mut write = control.write().await?;
    let now = write.now();
    let sql = "INSERT INTO policies (name, source, created_at) VALUES ('guard', $1, $2)";
    write.tx().query(sql).bind(text.to_owned()).bind(now).execute().await?;
    write.touch(Change::Rules);
    write.commit(()).await.map(drop)
}

fn knows(control: &Control, text: &str) -> bool {
    control.snapshots().load().user_by_name(&name(text)).is_some()
}

fn revision(control: &Control) -> i64 {
    control.snapshots().load().revision()
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never came about");
}

fn follow(control: &Control) -> impl Drop + use<> {
    struct Stop(tokio::task::JoinHandle<()>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let control = control.clone();
    Stop(tokio::spawn(async move { control.follow(Retention::default()).await }))
}

on_both!(a_write_on_one_node_reaches_the_other, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    let _following = follow(&b);
    // Past the first look, so that what is measured is the bell or the poll.
    add_user(&a, "first").await.unwrap();
    until(|| knows(&b, "first")).await;
    let started = std::time::Instant::now();
    add_user(&a, "second").await.unwrap();
    assert!(knows(&a, "second"), "a node enforces before it acknowledges");
    until(|| knows(&b, "second")).await;
    eprintln!("{backend:?}: followed after {:?}", started.elapsed());
    assert_eq!(revision(&a), revision(&b));
});

on_both!(a_writer_first_applies_what_others_wrote, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    add_user(&a, "first").await.unwrap();
    add_user(&a, "second").await.unwrap();
    assert!(!knows(&b, "first"));
    let write = b.write().await.unwrap();
    assert!(write.base().user_by_name(&name("second")).is_some());
    drop(write);
    add_user(&b, "third").await.unwrap();
    assert!(knows(&b, "first") && knows(&b, "second") && knows(&b, "third"));
    assert!(a.apply_feed().await.unwrap());
    assert!(knows(&a, "third"));
    assert_eq!(revision(&a), revision(&b));
    assert!(!a.apply_feed().await.unwrap(), "there is nothing more");
});

on_both!(concurrent_writers_lose_nothing, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    let before = revision(&a);
    let mut tasks = Vec::new();
    for number in 0..20 {
        let control = if number % 2 == 0 { a.clone() } else { b.clone() };
        tasks.push(tokio::spawn(async move { add_user(&control, &format!("user{number}")).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for control in [&a, &b] {
        control.apply_feed().await.unwrap();
        assert_eq!(revision(control), before + 20);
        assert_eq!(control.snapshots().load().user_count(), 20);
    }
});

on_both!(a_feed_that_was_cut_is_made_up_for, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    add_user(&a, "first").await.unwrap();
    add_user(&a, "second").await.unwrap();
    let mut tx = a.plain_write().await.unwrap();
    changes::purge(&mut tx, revision(&a) - 1).await.unwrap();
    tx.commit().await.unwrap();
    add_user(&b, "third").await.unwrap();
    assert!(knows(&b, "first") && knows(&b, "second") && knows(&b, "third"));
    // All of it gone, with nothing new.
    let late = revision(&b);
    let mut tx = a.plain_write().await.unwrap();
    changes::purge(&mut tx, late).await.unwrap();
    tx.commit().await.unwrap();
    assert!(a.apply_feed().await.unwrap());
    assert!(knows(&a, "third"));
});

on_both!(a_write_without_change_moves_nothing, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    add_user(&a, "first").await.unwrap();
    let before = revision(&a);
    a.write().await.unwrap().commit(()).await.unwrap();
    drop(a.write().await.unwrap());
    assert_eq!(changes::current(&mut a.read().await.unwrap()).await.unwrap().revision, before);
    add_user(&b, "second").await.unwrap();
    assert_eq!(revision(&b), before + 1);
    assert!(knows(&b, "first"));
});

on_both!(an_abandoned_write_is_whole_or_absent, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    for steps in 0..40 {
        let text = format!("user{steps}");
        let mut adding = Box::pin(add_user(&a, &text));
        // A client that goes away after a few steps of the write.
        for _ in 0..steps {
            let once = tokio::time::timeout(Duration::from_micros(300), adding.as_mut());
            if once.await.is_ok() {
                break;
            }
        }
        drop(adding);
    }
    // The next write waits for whatever is still under way.
    add_user(&a, "last").await.unwrap();
    let snapshot = a.snapshots().load();
    let stored = users::states(&mut a.read().await.unwrap()).await.unwrap();
    assert_eq!(stored.len(), snapshot.user_count());
    let current = changes::current(&mut a.read().await.unwrap()).await.unwrap();
    assert_eq!(current, snapshot.revisions());
});

on_both!(what_does_not_compile_is_not_written, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    let before = revision(&a);
    let refused = add_policy(&a, "// a comment\nforbid (principal, action == Action::\"publish\", resource);").await;
    let Err(Error::Rejected(CompileError::Policy(fault))) = refused else { panic!("{refused:?}") };
    let place = fault.place.as_ref().map(|place| (place.line, place.column));
    assert_eq!((fault.policy.as_str(), place), ("guard", Some((2, 30))), "{fault}");
    assert!(fault.message.contains("Action::\"publish\""), "{fault}");
    assert_eq!(changes::current(&mut a.read().await.unwrap()).await.unwrap().revision, before);
    assert_eq!(revision(&a), before);
    let left = a.read().await.unwrap().query("SELECT COUNT(*) FROM policies").fetch_value::<i64>().await.unwrap();
    assert_eq!(left, 0);
});

on_both!(the_last_permission_of_a_used_verb_stays, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    let mut write = a.write().await.unwrap();
    let now = write.now();
    let new = NewPermission { name: "doc:publish".try_into().unwrap(), description: None, category: None };
    let id = permissions::insert(write.tx(), &new, now).await.unwrap();
    write.touch(Change::Rules);
    write.commit(()).await.unwrap();
    add_policy(&a, "forbid (principal, action == Action::\"publish\", resource) unless { context.mfa };")
        .await
        .unwrap();
    let mut write = a.write().await.unwrap();
    permissions::delete(write.tx(), id, now).await.unwrap();
    write.touch(Change::Rules);
    let refused = write.commit(()).await.unwrap_err().to_string();
    assert!(refused.contains("guard") && refused.contains("publish"), "{refused}");
});

on_both!(a_database_that_fails_keeps_the_last_snapshot, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    add_user(&a, "first").await.unwrap();
    let _following = follow(&b);
    until(|| knows(&b, "first")).await;
    let rename = |sql: &'static str| {
        let a = a.clone();
        async move {
            let mut tx = a.plain_write().await.unwrap();
            tx.query(sql).execute().await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    rename("ALTER TABLE revisions RENAME TO away").await;
    assert!(b.apply_feed().await.is_err());
    assert!(b.write().await.is_err());
    assert!(knows(&b, "first"));
    rename("ALTER TABLE away RENAME TO revisions").await;
    add_user(&a, "second").await.unwrap();
    until(|| knows(&b, "second")).await;
});

on_both!(many_users_at_once_reach_the_other_node, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    let mut write = a.write().await.unwrap();
    let now = write.now();
    let mut made = Vec::new();
    for number in 0..1_100 {
        let name = format!("user{number}");
        let user = NewUser {
            username: Username::try_from(name.as_str()).unwrap(),
            email: format!("{name}@example.com").try_into().unwrap(),
            password_hash: Secret::new(String::new()),
            is_active: number % 2 == 0,
            role_ids: Vec::new(),
            granted_by: None,
        };
        let id = users::insert(write.tx(), &user, now).await.unwrap();
        write.touch(Change::User(id));
        made.push(id);
    }
    write.commit(()).await.unwrap();
    assert!(b.apply_feed().await.unwrap());
    for node in [&a, &b] {
        let snapshot = node.snapshots().load();
        let active = made.iter().filter(|id| snapshot.user(**id).unwrap().is_active).count();
        assert_eq!((snapshot.user_count() >= 1_100, active), (true, 550));
    }
});

on_both!(old_audit_records_are_removed_if_that_is_wanted, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    let record = || NewAuditRecord {
        actor_id: None,
        actor: None,
        action: "create",
        resource: "user",
        resource_id: "1".to_owned(),
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
        ip: None,
        user_agent: None,
        request_id: None,
        revision: 1,
    };
    let day = |days: i64| Timestamp::now().plus_seconds(-86_400 * days);
    let mut tx = a.plain_write().await.unwrap();
    for days in [40, 31, 29, 0] {
        audit::insert(&mut tx, record(), day(days)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let count = async || audit::count(&mut a.read().await.unwrap(), &audit::Filter::default()).await.unwrap();
    let all = count().await;
    assert_eq!(a.clean(Retention::default()).await.unwrap().audit_records, 0);
    assert_eq!(count().await, all);
    let month = Retention { audit: Some(Duration::from_hours(30 * 24)) };
    assert_eq!(a.clean(month).await.unwrap().audit_records, 2);
    assert_eq!(a.clean(month).await.unwrap(), cedargate::control::Housekeeping::default());
    assert_eq!(count().await, all - 2);
});

on_both!(ended_revocations_are_forgotten, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    let mut write = a.write().await.unwrap();
    let now = write.now();
    for (key, seconds) in [("jti:old", -3600), ("jti:within-leeway", -30), ("sid:live", 3600)] {
        let revocation = Revocation { key: key.to_owned(), expires_at: now.plus_seconds(seconds) };
        revocations::insert(write.tx(), &revocation).await.unwrap();
        write.touch(Change::Revocation(key.to_owned()));
    }
    write.commit(()).await.unwrap();
    assert_eq!(a.snapshots().load().revocation_count(), 3);
    let before = revision(&a);
    assert_eq!(a.clean(Retention::default()).await.unwrap().revocations, 1);
    assert_eq!((a.snapshots().load().revocation_count(), revision(&a)), (2, before));
    let left = a.read().await.unwrap().query("SELECT COUNT(*) FROM revocations").fetch_value::<i64>().await.unwrap();
    assert_eq!(left, 2);
});

on_both!(what_users_did_is_kept_for_its_time_and_a_flood_is_cut, |backend| async move {
    let (a, b, _guard) = two_nodes(backend).await;
    a.keep_activity_for(Duration::from_hours(1));
    b.keep_activity_for(Duration::ZERO);
    let ann = add_user(&a, "ann").await.unwrap();
    let now = Timestamp::now();
    let did = |at| {
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        NewActivity { user_id: ann, action: Action::Login, success: false, client, user_agent: None, at }
    };
    let count = async || {
        let mut tx = a.read().await.unwrap();
        activity::count(&mut tx, ann, &activity::Filter::default()).await.unwrap()
    };
    let mut tx = a.plain_write().await.unwrap();
    b.keep_activity(&mut tx, &did(now)).await.unwrap();
    for seconds in [-7_200, -3_601, -60] {
        a.keep_activity(&mut tx, &did(now.plus_seconds(seconds))).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(count().await, 3);
    assert_eq!(a.clean(Retention::default()).await.unwrap().activity, 2);
    assert_eq!(count().await, 1);
    // More than may wait, and than is kept: what is beyond is left out, and nobody waits.
    let started = std::time::Instant::now();
    for _ in 0..10_000 {
        a.note_activity(did(now));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let noted = async {
        while count().await < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("notes are written");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count().await, 100);
});

on_both!(a_namesake_does_not_inherit_tokens, |backend| async move {
    let (a, _b, _guard) = two_nodes(backend).await;
    let first = add_user(&a, "alice").await.unwrap();
    // A token of the predecessor: it names the user, and nothing else.
    let token = Arc::new(Claims::none(&name("alice")));
    let refused = |control: &Control| control.snapshots().load().caller(&token, Timestamp::now()).err();
    assert_eq!(refused(&a), Some(Reason::Revoked), "the predecessor knew nobody who is made here");
    let mut write = a.write().await.unwrap();
    users::honour_old_tokens(write.tx(), first).await.unwrap();
    write.touch(Change::User(first));
    write.commit(()).await.unwrap();
    assert_eq!(a.snapshots().load().caller(&token, Timestamp::now()).unwrap().user_id(), Some(first));
    let mut write = a.write().await.unwrap();
    let now = write.now();
    users::delete(write.tx(), first, now).await.unwrap();
    write.touch(Change::User(first));
    write.commit(()).await.unwrap();
    assert_eq!(refused(&a), Some(Reason::InvalidToken));
    add_user(&a, "alice").await.unwrap();
    assert_eq!(refused(&a), Some(Reason::Revoked));
});

on_both!(rules_that_do_not_compile_here_do_not_stop_revocation, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let a = node(&url).await;
    let mut write = a.write().await.unwrap();
    let now = write.now();
    let new = NewPermission { name: "doc:publish".try_into().unwrap(), description: None, category: None };
    let id = permissions::insert(write.tx(), &new, now).await.unwrap();
    write.touch(Change::Rules);
    write.commit(()).await.unwrap();
    // A file that the other node does not have.
    let source = "forbid (principal, action == Action::\"publish\", resource) unless { context.mfa };";
    let file = PolicyText { name: "own".try_into().unwrap(), source: source.to_owned() };
    let b = node_with(&url, Fixed { files: [file].into(), ..Fixed::default() }).await;
    let good = b.snapshots().load().policy_revision();
    let user = add_user(&a, "alice").await.unwrap();
    let mut write = a.write().await.unwrap();
    permissions::delete(write.tx(), id, now).await.unwrap();
    write.touch(Change::Rules);
    write.commit(()).await.unwrap();
    assert!(matches!(b.apply_feed().await, Err(Error::Rejected(_))));
    assert!(knows(&b, "alice"));
    assert!(matches!(b.write().await, Err(Error::Behind(_))));
    let mut write = a.write().await.unwrap();
    users::delete(write.tx(), user, now).await.unwrap();
    write.touch(Change::User(user));
    write.commit(()).await.unwrap();
    assert!(b.apply_feed().await.is_err());
    assert!(!knows(&b, "alice"), "a deleted user is gone everywhere, whatever the rules");
    assert_eq!(b.snapshots().load().policy_revision(), good);
    // The verb comes back, and so does the node.
    let mut write = a.write().await.unwrap();
    permissions::insert(write.tx(), &new, now).await.unwrap();
    write.touch(Change::Rules);
    write.commit(()).await.unwrap();
    assert!(b.apply_feed().await.unwrap());
    assert_eq!(b.snapshots().load().revisions(), a.snapshots().load().revisions());
    add_user(&b, "bob").await.unwrap();
});

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_file_stops_the_start() {
    let directory = tempfile::TempDir::with_prefix("cedargate-policies-").unwrap();
    let path = directory.path().join("guard.cedar");
    let text = |source: &str| std::fs::write(&path, source).unwrap();
    let start = || async {
        let (url, _guard) = fresh_database(Backend::Sqlite).await;
        let variables =
            [("CEDARGATE_DATABASE__URL", url.as_str()), ("CEDARGATE_POLICY__DIR", directory.path().to_str().unwrap())];
        let sources = Sources {
            config_file: None,
            data_dir: directory.path().to_owned(),
            mode: Mode::Offline,
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
            dotenv: None,
            flags: Vec::new(),
        };
        let settings = Settings::load(&sources).unwrap();
        let metrics = Arc::new(Metrics::new("test").unwrap());
        server::open(&settings, metrics).await.map(drop).map_err(|error| format!("{error:#}"))
    };
    text("forbid (principal, action, resource)\n  when { context.mfa };");
    assert_eq!(start().await, Ok(()));
    // It does not parse; it does not validate.
    text("forbid (principal, action, resource)\n  when { context.mfa &};");
    let refused = start().await.unwrap_err();
    assert!(refused.starts_with(&format!("{}:2:", path.display())), "{refused}");
    text("// note\nforbid (principal, action == Action::\"raed\", resource);");
    let refused = start().await.unwrap_err();
    assert!(refused.starts_with(&format!("{}:2:30: ", path.display())), "{refused}");
    assert!(refused.contains("read"), "no advice: {refused}");
}

on_both!(another_program_changes_a_running_server, |backend| async move {
    let app = App::start(backend).await;
    let user = app.token("user").await;
    app.gateway("GET", "/demo/articles").bearer(&user).await.expect(200);
    // As the command line does it.
    let other = Control::start(
        Db::open(&app.database, &POOL).await.unwrap(),
        Fixed::default(),
        Arc::new(Metrics::new("test").unwrap()),
    );
    let other = other.await.unwrap();
    let mut write = other.write().await.unwrap();
    let role = roles::find(write.tx(), "user").await.unwrap().unwrap();
    let permission = permissions::find(write.tx(), "article:read").await.unwrap().unwrap();
    assert!(roles::revoke(write.tx(), role, permission).await.unwrap());
    write.touch(Change::Rules);
    write.commit(()).await.unwrap();
    let refused = async {
        while app.gateway("GET", "/demo/articles").bearer(&user).await.status != 403 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the change never reached the server");
    assert!(app.running.shut_down().await);
});
