use cedargate::{
    model::{UserId, rules::Revocation},
    store::{
        Error, Page, revocations, sessions,
        sessions::{NewSession, Rotation},
        users,
    },
};

use super::{at, user};
use crate::support::migrated;

fn new_session(id: &str, user_id: UserId, end: i64) -> NewSession {
    NewSession {
        id: id.to_owned(),
        user_id,
        refresh_jti: format!("{id}-1"),
        expires_at: at(end),
        ends_at: at(end + 100),
        ip: Some("2001:db8::1".to_owned()),
        user_agent: Some("a\0b".to_owned()),
    }
}

fn rotation(old: &'static str, new: &'static str, end: i64) -> Rotation<'static> {
    Rotation { id: "s", old, new, expires_at: at(end) }
}

on_both!(a_session_lives_rotates_and_ends, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    sessions::insert(&mut tx, &new_session("s", ann, 60), at(0)).await.unwrap();
    let found = sessions::get(&mut tx, "s").await.unwrap().unwrap();
    assert_eq!((found.user_id, found.refresh_jti.as_str()), (ann, "s-1"));
    assert_eq!((found.created_at, found.last_seen_at, found.expires_at), (at(0), at(0), at(60)));
    assert_eq!((found.ip.as_deref(), found.user_agent.as_deref()), (Some("2001:db8::1"), Some("a\u{fffd}b")));
    assert_eq!(found.revoked_at, None);
    assert_eq!(sessions::get(&mut tx, "t\0").await.unwrap(), None);

    assert_eq!((found.previous_jti.as_deref(), found.rotated_at, found.ends_at), (None, None, at(160)));
    assert!(sessions::rotate(&mut tx, rotation("s-1", "s-2", 90), at(6)).await.unwrap());
    let rotated = sessions::get(&mut tx, "s").await.unwrap().unwrap();
    assert_eq!((rotated.previous_jti.as_deref(), rotated.rotated_at), (Some("s-1"), Some(at(6))));
    assert_eq!((rotated.expires_at, rotated.ends_at), (at(90), at(160)));
    assert!(!sessions::rotate(&mut tx, rotation("s-1", "s-3", 90), at(7)).await.unwrap(), "it is not the good one");
    assert!(!sessions::rotate(&mut tx, rotation("s-2", "s-3", 99), at(90)).await.unwrap(), "its time is over");
    assert!(rotated.is_alive(at(89)) && !rotated.is_alive(at(90)));
    assert!(sessions::revoke(&mut tx, "s", at(8)).await.unwrap());
    assert!(!sessions::revoke(&mut tx, "s", at(9)).await.unwrap());
    assert!(!sessions::rotate(&mut tx, rotation("s-2", "s-3", 99), at(9)).await.unwrap());
    let ended = sessions::get(&mut tx, "s").await.unwrap().unwrap();
    assert!(!ended.is_alive(at(9)));
    assert_eq!((ended.refresh_jti.as_str(), ended.last_seen_at, ended.revoked_at), ("s-2", at(6), Some(at(8))));

    let refused = sessions::insert(&mut tx, &new_session("u", UserId(999), 60), at(0)).await;
    assert!(matches!(refused, Err(Error::Reference)), "{refused:?}");
});

on_both!(ended_sessions_are_purged_oldest_first, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    for (id, end) in [("late", 30), ("early", 10), ("later", 31)] {
        sessions::insert(&mut tx, &new_session(id, ann, end), at(0)).await.unwrap();
    }
    assert_eq!(sessions::purge(&mut tx, at(9), 10).await.unwrap(), 0);
    assert_eq!(sessions::purge(&mut tx, at(30), 1).await.unwrap(), 1);
    assert!(sessions::get(&mut tx, "early").await.unwrap().is_none());
    assert_eq!(sessions::purge(&mut tx, at(30), 10).await.unwrap(), 1);
    assert!(sessions::get(&mut tx, "later").await.unwrap().is_some());
    // One that was ended is forgotten an hour later, however long its refresh token would live.
    sessions::insert(&mut tx, &new_session("ended", ann, 1_000_000), at(40)).await.unwrap();
    sessions::revoke(&mut tx, "ended", at(41)).await.unwrap();
    assert_eq!(sessions::purge(&mut tx, at(3_640), 10).await.unwrap(), 1, "the other one has expired");
    assert_eq!(sessions::purge(&mut tx, at(3_641), 10).await.unwrap(), 1);
    assert!(sessions::get(&mut tx, "ended").await.unwrap().is_none());
});

on_both!(a_users_sessions_are_listed_and_end_with_the_tokens, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (ann, bob) = (user(&mut tx, "ann", &[]).await, user(&mut tx, "bob", &[]).await);
    for (id, whose, end) in [("a", ann, 50), ("b", ann, 60), ("c", ann, 70), ("d", bob, 60)] {
        sessions::insert(&mut tx, &new_session(id, whose, end), at(0)).await.unwrap();
    }
    let moved = Rotation { id: "b", old: "b-1", new: "b-2", expires_at: at(60) };
    assert!(sessions::rotate(&mut tx, moved, at(5)).await.unwrap());
    sessions::revoke(&mut tx, "c", at(5)).await.unwrap();
    let ids = async |tx: &mut _, user, now| {
        let live = sessions::live(tx, user, at(now), Page::ALL).await.unwrap();
        assert_eq!(sessions::count_live(tx, user, at(now)).await.unwrap(), i64::try_from(live.len()).unwrap());
        live.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut tx, ann, 6).await, ["b", "a"]);
    assert_eq!(ids(&mut tx, ann, 50).await, ["b"]);
    let second = sessions::live(&mut tx, ann, at(6), Page { skip: 1, limit: 5 }).await.unwrap();
    assert_eq!(second.len(), 1);

    let epoch = users::state(&mut tx, ann).await.unwrap().unwrap().token_epoch;
    assert!(users::sign_out(&mut tx, ann, at(7)).await.unwrap());
    assert_eq!(users::state(&mut tx, ann).await.unwrap().unwrap().token_epoch, epoch + 1);
    assert_eq!((ids(&mut tx, ann, 8).await.len(), ids(&mut tx, bob, 8).await), (0, vec!["d".to_owned()]));
    users::delete(&mut tx, bob, at(9)).await.unwrap();
    assert!(ids(&mut tx, bob, 10).await.is_empty());
    assert!(!users::sign_out(&mut tx, bob, at(10)).await.unwrap());
});

on_both!(revocations_last_until_their_end, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let revocation = |key: &str, end| Revocation { key: key.to_owned(), expires_at: at(end) };
    for (key, end) in [("sid:b", 20), ("jti:a", 10), ("sid:b", 30), ("sid:b", 5)] {
        revocations::insert(&mut tx, &revocation(key, end)).await.unwrap();
    }
    assert_eq!(revocations::live(&mut tx, at(0)).await.unwrap(), [revocation("jti:a", 10), revocation("sid:b", 30)]);
    assert_eq!(revocations::live(&mut tx, at(10)).await.unwrap(), [revocation("sid:b", 30)]);
    assert_eq!(revocations::get(&mut tx, "jti:a").await.unwrap(), Some(revocation("jti:a", 10)));
    assert_eq!(revocations::get(&mut tx, "jti:\0").await.unwrap(), None);
    assert_eq!(revocations::purge(&mut tx, at(30), 1).await.unwrap(), 1);
    assert_eq!(revocations::get(&mut tx, "jti:a").await.unwrap(), None);
    assert_eq!(revocations::purge(&mut tx, at(30), 9).await.unwrap(), 1);
});
