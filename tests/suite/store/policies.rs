use cedargate::{
    model::{NewPolicy, PolicyId, PolicyPatch},
    store::{Page, policies, policies::Filter},
};

use super::{assert_conflict, at};
use crate::support::migrated;

fn new(name: &str) -> NewPolicy {
    NewPolicy {
        name: name.try_into().unwrap(),
        description: Some("what for".to_owned()),
        source: "permit (principal, action, resource);".to_owned(),
        is_active: true,
    }
}

on_both!(a_policy_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = policies::insert(&mut tx, &new("open"), at(0)).await.unwrap();
    let found = policies::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.description.as_deref(), found.is_active), ("open", Some("what for"), true));
    assert_eq!((found.source, found.created_at, found.updated_at), (new("open").source, at(0), None));
    assert!(policies::update(&mut tx, id, &PolicyPatch::default(), at(1)).await.unwrap());
    let same = policies::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((same.description.as_deref(), same.updated_at), (Some("what for"), Some(at(1))));
    let patch = PolicyPatch {
        name: Some("shut".try_into().unwrap()),
        description: Some(None),
        source: Some("forbid (principal, action, resource);".to_owned()),
        is_active: Some(false),
    };
    assert!(policies::update(&mut tx, id, &patch, at(2)).await.unwrap());
    let changed = policies::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.description, changed.is_active), ("shut", None, false));
    assert_eq!(changed.source, patch.source.unwrap());
    assert_eq!(policies::get(&mut tx, PolicyId(999)).await.unwrap(), None);
    assert!(!policies::update(&mut tx, PolicyId(999), &PolicyPatch::default(), at(2)).await.unwrap());
});

on_both!(a_name_is_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let a = policies::insert(&mut tx, &new("a"), at(0)).await.unwrap();
    let b = policies::insert(&mut tx, &new("b"), at(0)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(policies::insert(&mut tx, &new("a"), at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    let taken = PolicyPatch { name: Some("a".try_into().unwrap()), ..PolicyPatch::default() };
    assert_conflict(policies::update(&mut tx, b, &taken, at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    let ids = |found: Vec<policies::PolicyRow>| found.into_iter().map(|row| row.policy.id).collect::<Vec<_>>();
    assert_eq!(ids(policies::list(&mut tx, &Filter::default(), Page::ALL).await.unwrap()), [a, b]);
    let named = Filter { search: Some("B".to_owned()), is_active: Some(true), ..Filter::default() };
    assert_eq!(ids(policies::list(&mut tx, &named, Page::ALL).await.unwrap()), [b]);
    assert_eq!(policies::total(&mut tx, &named).await.unwrap().count, 1);
    assert_eq!(policies::get_deleted(&mut tx, a).await.unwrap(), None);
    assert!(policies::delete(&mut tx, a, at(1)).await.unwrap());
    assert!(!policies::delete(&mut tx, a, at(1)).await.unwrap());
    assert_eq!(policies::get_deleted(&mut tx, a).await.unwrap().unwrap().id, a);
    assert_eq!(policies::count(&mut tx, &Filter::default()).await.unwrap(), 1);
    let with_deleted = Filter { include_deleted: true, ..Filter::default() };
    let all = policies::list(&mut tx, &with_deleted, Page::ALL).await.unwrap();
    assert_eq!(all.iter().map(|row| row.deleted_at).collect::<Vec<_>>(), [Some(at(1)), None]);
    assert!(policies::restore(&mut tx, a, at(2)).await.unwrap());
    assert!(!policies::restore(&mut tx, a, at(2)).await.unwrap());
    assert!(policies::delete(&mut tx, a, at(3)).await.unwrap());
    policies::insert(&mut tx, &new("a"), at(4)).await.unwrap();
    assert_conflict(policies::restore(&mut tx, a, at(4)).await, Some("name"));
});
