use cedargate::{
    model::{ModuleId, PermissionId, PolicyId, RoleId, RouteId, UpstreamId, UserId, rules::Revisions},
    store::{
        Error,
        changes::{self, Change},
    },
};

use super::at;
use crate::support::migrated;

on_both!(the_feed_is_in_order, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    assert_eq!(changes::current(&mut tx).await.unwrap(), Revisions::default());
    assert_eq!(changes::oldest(&mut tx).await.unwrap(), None);
    assert_eq!(changes::lock(&mut tx).await.unwrap(), Revisions { revision: 1, policy_revision: 0 });
    assert_eq!(changes::bump_policy(&mut tx).await.unwrap(), 1);
    let (rules, user, key) = (Change::Rules, Change::User(UserId(7)), Change::Revocation("jti:ä".to_owned()));
    changes::append(&mut tx, 1, &user, at(0)).await.unwrap();
    changes::append(&mut tx, 1, &rules, at(0)).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    assert_eq!(changes::lock(&mut tx).await.unwrap(), Revisions { revision: 2, policy_revision: 1 });
    changes::append(&mut tx, 2, &key, at(1)).await.unwrap();
    let feed = [(1, user), (1, rules), (2, key)];
    assert_eq!(changes::since(&mut tx, 0).await.unwrap(), feed);
    assert_eq!(changes::since(&mut tx, 1).await.unwrap(), feed[2..]);
    assert_eq!(changes::since(&mut tx, 2).await.unwrap(), []);
    assert_eq!(changes::oldest(&mut tx).await.unwrap(), Some(1));
    assert_eq!(changes::purge(&mut tx, 1).await.unwrap(), 2);
    assert_eq!(changes::oldest(&mut tx).await.unwrap(), Some(2));
    drop(tx);

    let mut tx = db.read().await.unwrap();
    assert_eq!(changes::current(&mut tx).await.unwrap(), Revisions { revision: 1, policy_revision: 1 });
});

on_both!(many_changes_are_appended_at_once, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    changes::append_all(&mut tx, 1, &[], at(0)).await.unwrap();
    assert_eq!(changes::since(&mut tx, 0).await.unwrap(), []);
    let user = |id| Change::User(UserId(id));
    let key = Change::Revocation("jti:x".to_owned());
    let all = [user(2), Change::Rules, user(9), key.clone(), user(1)];
    changes::append_all(&mut tx, 1, &all, at(0)).await.unwrap();
    let told = changes::since(&mut tx, 0).await.unwrap();
    assert_eq!(told[..2], [(1, Change::Rules), (1, key)]);
    let users: std::collections::BTreeSet<i64> = (told[2..].iter())
        .map(|(_, change)| if let Change::User(id) = change { id.0 } else { panic!("{change:?}") })
        .collect();
    assert_eq!((told.len(), users), (5, [1, 2, 9].into()));
});

on_both!(every_change_comes_back_as_it_was_told, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let all = [
        Change::Rules,
        Change::Role(RoleId(1)),
        Change::Permission(PermissionId(2)),
        Change::Module(ModuleId(3)),
        Change::Route(RouteId(4)),
        Change::Policy(PolicyId(6)),
        Change::Files,
        Change::Upstream(UpstreamId(5)),
    ];
    for change in &all {
        assert!(change.is_of_rules());
        changes::append(&mut tx, 1, change, at(0)).await.unwrap();
    }
    // A part that only a newer release knows.
    let insert = "INSERT INTO changes (revision, kind, entity_id, key, at) VALUES (2, 'rules', 6, 'tenant', $1)";
    tx.query(insert).bind(at(0)).execute().await.unwrap();
    let told = all.into_iter().map(|change| (1, change)).chain([(2, Change::Rules)]);
    assert_eq!(changes::since(&mut tx, 0).await.unwrap(), told.collect::<Vec<_>>());
    assert!(!Change::User(UserId(1)).is_of_rules());
});

on_both!(an_incomplete_change_is_an_error, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let insert = tx.query("INSERT INTO changes (revision, kind, at) VALUES (1, 'user', $1)").bind(at(0));
    insert.execute().await.unwrap();
    let outcome = changes::since(&mut tx, 0).await;
    assert!(matches!(outcome, Err(Error::Database(_))), "{outcome:?}");
});

on_both!(writers_come_one_after_the_other, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let writer = |user: i64| {
        let db = db.clone();
        async move {
            let mut tx = db.write().await.unwrap();
            let revision = changes::lock(&mut tx).await.unwrap().revision;
            tokio::task::yield_now().await;
            changes::append(&mut tx, revision, &Change::User(UserId(user)), at(0)).await.unwrap();
            tx.commit().await.unwrap();
            revision
        }
    };
    let writers: Vec<_> = (0..8).map(|user| tokio::spawn(writer(user))).collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=8).collect::<Vec<i64>>());
    let feed = changes::since(&mut db.read().await.unwrap(), 0).await.unwrap();
    assert_eq!(feed.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), revisions);
});
