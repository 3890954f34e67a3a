use cedargate::{
    model::{IssuerId, IssuerSpec, UserId},
    store::{Page, issuers, issuers::IssuerRow, users},
};
use serde_json::json;

use super::{assert_conflict, at, new_user};
use crate::support::migrated;

fn spec(name: &str) -> IssuerSpec {
    let issuer = format!("https://{name}.example.com");
    serde_json::from_value(json!({ "name": name, "issuer": issuer, "audiences": ["a"] })).unwrap()
}

on_both!(an_issuer_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = issuers::insert(&mut tx, &spec("corp"), true, at(0)).await.unwrap();
    let found = issuers::get(&mut tx, id).await.unwrap().unwrap();
    let IssuerRow { spec: stored, is_active, created_at, updated_at, .. } = found.clone();
    assert_eq!((is_active, created_at, updated_at), (true, at(0), None));
    assert_eq!(serde_json::from_value::<IssuerSpec>(stored).unwrap(), spec("corp"));
    assert_eq!(issuers::all(&mut tx).await.unwrap(), [found]);
    assert!(issuers::update(&mut tx, id, &spec("firm"), false, at(1)).await.unwrap());
    let changed = issuers::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((&changed.spec["name"], changed.is_active, changed.updated_at), (&json!("firm"), false, Some(at(1))));
    assert!(!issuers::update(&mut tx, IssuerId(999), &spec("x"), true, at(1)).await.unwrap());
    assert!(issuers::delete(&mut tx, id, at(2)).await.unwrap());
    assert!(!issuers::delete(&mut tx, id, at(2)).await.unwrap());
    assert_eq!(issuers::get(&mut tx, id).await.unwrap(), None);
    assert!(issuers::all(&mut tx).await.unwrap().is_empty());
    // Both names are free again.
    issuers::insert(&mut tx, &spec("firm"), true, at(3)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    let namesake = IssuerSpec { issuer: "https://other.example.com".to_owned(), ..spec("firm") };
    assert_conflict(issuers::insert(&mut tx, &namesake, true, at(4)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    let like = IssuerSpec { name: "other".to_owned(), ..spec("firm") };
    assert_conflict(issuers::insert(&mut tx, &like, true, at(4)).await, Some("issuer"));
});

on_both!(identities_belong_to_one_user_for_ever, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = users::insert(&mut tx, &new_user("ann", &[]), at(0)).await.unwrap();
    let bob = users::insert(&mut tx, &new_user("bob", &[]), at(0)).await.unwrap();
    issuers::link(&mut tx, "https://a", "1", ann, at(1)).await.unwrap();
    issuers::link(&mut tx, "https://b", "1", bob, at(1)).await.unwrap();
    issuers::link(&mut tx, "https://a", "2", ann, at(1)).await.unwrap();
    assert_eq!(issuers::linked(&mut tx, "https://a", "1").await.unwrap(), Some(ann));
    assert_eq!(issuers::linked(&mut tx, "https://b", "1").await.unwrap(), Some(bob));
    assert_eq!(issuers::linked(&mut tx, "https://b", "2\0").await.unwrap(), None);
    let row = |user: UserId, issuer: &str, subject: &str| (user, issuer.to_owned(), subject.to_owned());
    let of_ann = [row(ann, "https://a", "1"), row(ann, "https://a", "2")];
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann);
    assert_eq!(issuers::all_identities(&mut tx).await.unwrap().len(), 3);
    users::delete(&mut tx, ann, at(2)).await.unwrap();
    assert!(issuers::identities(&mut tx, &[ann]).await.unwrap().is_empty());
    assert_eq!(issuers::all_identities(&mut tx).await.unwrap(), [row(bob, "https://b", "1")]);
    // Whose it was is remembered.
    assert_eq!(issuers::linked(&mut tx, "https://a", "1").await.unwrap(), Some(ann));
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(issuers::link(&mut tx, "https://a", "1", bob, at(3)).await, None);
});

on_both!(accounts_are_found_by_name_or_verified_mail, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = users::insert(&mut tx, &new_user("ann", &[]), at(0)).await.unwrap();
    let mail = "ann@example.com";
    assert_eq!(issuers::account(&mut tx, Some("ann"), None).await.unwrap(), Some(ann));
    assert_eq!(issuers::account(&mut tx, None, None).await.unwrap(), None);
    assert_eq!(issuers::account(&mut tx, None, Some(mail)).await.unwrap(), None);
    assert!(!issuers::is_mail_free(&mut tx, mail).await.unwrap());
    issuers::verify_mail(&mut tx, ann).await.unwrap();
    assert_eq!(issuers::account(&mut tx, None, Some(mail)).await.unwrap(), Some(ann));
    users::delete(&mut tx, ann, at(1)).await.unwrap();
    assert_eq!(issuers::account(&mut tx, Some("ann"), Some(mail)).await.unwrap(), None);
    assert!(issuers::is_mail_free(&mut tx, mail).await.unwrap());
    assert_eq!(users::list(&mut tx, &users::Filter::default(), Page::ALL, at(2)).await.unwrap(), []);
});
