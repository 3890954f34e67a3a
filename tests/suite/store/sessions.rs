use cedargate::{
    model::{UserId, rules::Revocation},
    store::{Error, revocations, sessions, sessions::NewSession},
};

use super::{at, user};
use crate::support::migrated;

fn new_session(id: &str, user_id: UserId, end: i64) -> NewSession {
    NewSession {
        id: id.to_owned(),
        user_id,
        refresh_jti: format!("{id}-1"),
        expires_at: at(end),
        ip: Some("2001:db8::1".to_owned()),
        user_agent: Some("a\0b".to_owned()),
    }
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

    assert!(sessions::touch(&mut tx, "s", at(5)).await.unwrap());
    assert!(!sessions::touch(&mut tx, "t", at(5)).await.unwrap());
    assert_eq!(sessions::get(&mut tx, "s").await.unwrap().unwrap().last_seen_at, at(5));
    assert!(sessions::rotate(&mut tx, "s", "s-1", "s-2", at(6)).await.unwrap());
    assert!(!sessions::rotate(&mut tx, "s", "s-1", "s-3", at(7)).await.unwrap());
    assert!(sessions::revoke(&mut tx, "s", at(8)).await.unwrap());
    assert!(!sessions::revoke(&mut tx, "s", at(9)).await.unwrap());
    assert!(!sessions::rotate(&mut tx, "s", "s-2", "s-3", at(9)).await.unwrap());
    let ended = sessions::get(&mut tx, "s").await.unwrap().unwrap();
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
