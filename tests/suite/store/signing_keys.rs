use cedargate::{
    model::{KeyState, NewSigningKey, Secret, SigningAlgorithm, SigningKey},
    store::{
        Page,
        changes::{self, Change},
        signing_keys,
    },
};

use super::{assert_conflict, at};
use crate::support::migrated;

fn new_key(kid: &str, algorithm: SigningAlgorithm) -> NewSigningKey {
    NewSigningKey { kid: kid.to_owned(), algorithm, jwk: "{}".to_owned(), sealed: Secret::new("sealed".to_owned()) }
}

on_both!(a_key_round_trips_and_retires, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for algorithm in SigningAlgorithm::ALL {
        signing_keys::insert(&mut tx, &new_key(algorithm.name(), algorithm), at(5), at(0)).await.unwrap();
    }
    let live = signing_keys::live(&mut tx).await.unwrap();
    assert_eq!(live.iter().map(|key| key.algorithm).collect::<Vec<_>>(), SigningAlgorithm::ALL);
    let expected = SigningKey {
        id: live[1].id,
        kid: "ES256".to_owned(),
        algorithm: SigningAlgorithm::Es256,
        jwk: "{}".to_owned(),
        sealed: Some("sealed".to_owned()),
        created_at: at(0),
        activated_at: at(5),
        retired_at: None,
    };
    assert_eq!(live[1], expected);
    assert_eq!(signing_keys::get(&mut tx, expected.id).await.unwrap(), Some(expected.clone()));
    assert_eq!(signing_keys::by_kid(&mut tx, "ES256").await.unwrap(), Some(expected.clone()));
    assert_eq!(signing_keys::by_kid(&mut tx, "ES256\0").await.unwrap(), None);
    assert_eq!(signing_keys::count(&mut tx).await.unwrap(), 3);

    assert!(signing_keys::retire(&mut tx, expected.id, at(9)).await.unwrap());
    assert!(!signing_keys::retire(&mut tx, expected.id, at(10)).await.unwrap());
    let retired = signing_keys::get(&mut tx, expected.id).await.unwrap().unwrap();
    assert_eq!((retired.retired_at, retired.sealed), (Some(at(9)), None));
    assert_eq!(signing_keys::live(&mut tx).await.unwrap().len(), 2);
    let newest = signing_keys::list(&mut tx, Page { skip: 0, limit: 2 }).await.unwrap();
    assert_eq!(newest.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["RS256", "ES256"]);
    assert_eq!(signing_keys::purge(&mut tx, at(9)).await.unwrap(), 0);
    assert_eq!(signing_keys::purge(&mut tx, at(10)).await.unwrap(), 1);
    let again = new_key("EdDSA", SigningAlgorithm::EdDsa);
    assert_conflict(signing_keys::insert(&mut tx, &again, at(0), at(0)).await, None);
});

on_both!(the_feed_tells_of_keys, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = signing_keys::insert(&mut tx, &new_key("k", SigningAlgorithm::EdDsa), at(0), at(0)).await.unwrap();
    let revision = changes::lock(&mut tx).await.unwrap().revision;
    changes::append_all(&mut tx, revision, &[Change::Key(id)], at(0)).await.unwrap();
    assert_eq!(changes::since(&mut tx, revision - 1).await.unwrap(), [(revision, Change::Key(id))]);
    assert!(!Change::Key(id).is_of_rules());
});

#[test]
fn a_key_is_for_something_else_in_time() {
    let key = |id, activated, retired: Option<i64>| SigningKey {
        id: cedargate::model::SigningKeyId(id),
        kid: id.to_string(),
        algorithm: SigningAlgorithm::Es256,
        jwk: String::new(),
        sealed: None,
        created_at: at(0),
        activated_at: at(activated),
        retired_at: retired.map(at),
    };
    let all = [key(1, 0, Some(5)), key(2, 10, None), key(3, 20, None), key(4, 30, None)];
    let states = |now| all.each_ref().map(|key| key.state(&all, at(now)));
    assert_eq!(states(9), [KeyState::Retired, KeyState::Next, KeyState::Next, KeyState::Next]);
    assert_eq!(states(10), [KeyState::Retired, KeyState::Active, KeyState::Next, KeyState::Next]);
    assert_eq!(states(25), [KeyState::Retired, KeyState::Retiring, KeyState::Active, KeyState::Next]);
    assert_eq!(states(30), [KeyState::Retired, KeyState::Retiring, KeyState::Retiring, KeyState::Active]);
    let ends = all.each_ref().map(|key| key.retires_at(&all, 100));
    assert_eq!(ends, [None, Some(at(120)), Some(at(130)), None]);
}
