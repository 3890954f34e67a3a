use cedargate::{
    model::UserId,
    store::{
        Error, Page, Tx, activity,
        activity::{Action, Filter, NewActivity},
    },
};

use super::{at, user};
use crate::support::migrated;

fn did(user_id: UserId, success: bool, second: i64) -> NewActivity {
    let user_agent = Some("a\0b".to_owned());
    let client = "2001:db8::1".parse().unwrap();
    NewActivity { user_id, action: Action::Login, success, client, user_agent, at: at(second) }
}

async fn count(tx: &mut Tx, user: UserId) -> i64 {
    activity::count(tx, user, &Filter::default()).await.unwrap()
}

on_both!(what_failed_grows_little_and_drives_nothing_out, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (ann, bob) = (user(&mut tx, "ann", &[]).await, user(&mut tx, "bob", &[]).await);
    activity::insert(&mut tx, &did(ann, true, 0)).await.unwrap();
    activity::insert(&mut tx, &did(bob, false, 0)).await.unwrap();
    for second in 1..=150 {
        activity::insert(&mut tx, &did(ann, false, second)).await.unwrap();
    }
    assert_eq!((count(&mut tx, ann).await, count(&mut tx, bob).await), (101, 1));
    let all = activity::list(&mut tx, ann, &Filter::default(), Page::ALL).await.unwrap();
    let (newest, oldest) = (&all[0], &all[100]);
    assert_eq!((newest.success, newest.created_at, newest.user_id), (false, at(150), ann));
    assert_eq!((newest.ip.as_deref(), newest.user_agent.as_deref()), (Some("2001:db8::1"), Some("a\u{fffd}b")));
    assert_eq!((oldest.success, oldest.created_at), (true, at(0)), "the oldest of all is still there");
    assert_eq!(all[99].created_at, at(51));
    let refused = activity::insert(&mut tx, &did(UserId(999), true, 0)).await;
    assert!(matches!(refused, Err(Error::Reference)), "{refused:?}");
});

on_both!(old_activities_are_purged_oldest_first, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    for second in [30, 10, 20] {
        activity::insert(&mut tx, &did(ann, true, second)).await.unwrap();
    }
    assert_eq!(activity::purge(&mut tx, at(9), 10).await.unwrap(), 0);
    assert_eq!(activity::purge(&mut tx, at(20), 1).await.unwrap(), 1);
    let filter = Filter { from: Some(at(20)), to: Some(at(30)), ..Filter::default() };
    let left = activity::list(&mut tx, ann, &filter, Page::ALL).await.unwrap();
    assert_eq!(left.iter().map(|one| one.created_at).collect::<Vec<_>>(), [at(20)]);
    assert_eq!(activity::purge(&mut tx, at(20), 10).await.unwrap(), 1);
    assert_eq!(count(&mut tx, ann).await, 1);
});
