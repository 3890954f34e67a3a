use cedargate::{
    model::{IssuerId, IssuerSpec, Secret, UserId, UserPatch, Username},
    store::{
        Page, issuers,
        issuers::{IdentityRow, IssuerRow},
        users,
    },
};
use serde_json::json;

use super::{assert_conflict, at, new_user};
use crate::support::migrated;

const ISS: &str = "https://a";

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
    issuers::link(&mut tx, ("https://a", "1"), ann, false, at(1)).await.unwrap();
    issuers::link(&mut tx, ("https://b", "1"), bob, true, at(1)).await.unwrap();
    issuers::link(&mut tx, ("https://c", "2"), ann, false, at(1)).await.unwrap();
    assert_eq!(issuers::linked(&mut tx, "https://a", "1").await.unwrap(), Some(ann));
    assert_eq!(issuers::linked(&mut tx, "https://b", "1").await.unwrap(), Some(bob));
    assert_eq!(issuers::linked(&mut tx, "https://b", "2\0").await.unwrap(), None);
    let row = |user_id: UserId, issuer: &str, subject: &str, tokens_valid_from| IdentityRow {
        user_id,
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        tokens_valid_from,
    };
    let of_ann = |from| [row(ann, "https://a", "1", from), row(ann, "https://c", "2", from)];
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann(None));
    // Whatever voids our own tokens voids those of others.
    users::sign_out(&mut tx, ann, at(5)).await.unwrap();
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann(Some(at(5))));
    users::set_password(&mut tx, ann, &Secret::new("x".to_owned()), at(6)).await.unwrap();
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann(Some(at(6))));
    let patch = UserPatch { password_hash: Some(Secret::new("y".to_owned())), ..UserPatch::default() };
    users::update(&mut tx, ann, &patch, at(7)).await.unwrap();
    users::update(&mut tx, ann, &UserPatch::default(), at(8)).await.unwrap();
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann(Some(at(7))));
    assert_eq!(issuers::all_identities(&mut tx).await.unwrap().len(), 3);
    users::delete(&mut tx, ann, at(9)).await.unwrap();
    assert!(issuers::identities(&mut tx, &[ann]).await.unwrap().is_empty());
    assert_eq!(issuers::all_identities(&mut tx).await.unwrap(), [row(bob, "https://b", "1", None)]);
    // Whose it was is remembered.
    assert_eq!(issuers::linked(&mut tx, "https://a", "1").await.unwrap(), Some(ann));
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(issuers::link(&mut tx, ("https://a", "1"), bob, false, at(10)).await, None);
    drop(tx);
    // One issuer has one name for each.
    let mut tx = db.write().await.unwrap();
    assert_conflict(issuers::link(&mut tx, ("https://b", "3"), bob, false, at(10)).await, None);
    drop(tx);
    let mut tx = db.write().await.unwrap();
    assert!(users::restore(&mut tx, ann, at(11)).await.unwrap());
    assert_eq!(issuers::identities(&mut tx, &[ann]).await.unwrap(), of_ann(Some(at(9))));
});

on_both!(accounts_are_found_by_name_or_verified_mail, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = users::insert(&mut tx, &new_user("ann", &[]), at(0)).await.unwrap();
    let mail = "ann@example.com";
    assert_eq!(issuers::account(&mut tx, ISS, Some("ann"), None).await.unwrap(), Some(ann));
    assert_eq!(issuers::account(&mut tx, ISS, None, None).await.unwrap(), None);
    assert_eq!(issuers::account(&mut tx, ISS, None, Some(mail)).await.unwrap(), None);
    assert!(!issuers::is_mail_free(&mut tx, mail).await.unwrap());
    issuers::verify_mail(&mut tx, ann).await.unwrap();
    assert_eq!(issuers::account(&mut tx, ISS, None, Some(mail)).await.unwrap(), Some(ann));
    // The issuer calls her something else by now; another one does not.
    issuers::link(&mut tx, (ISS, "1"), ann, false, at(1)).await.unwrap();
    assert_eq!(issuers::account(&mut tx, ISS, Some("ann"), None).await.unwrap(), None);
    assert_eq!(issuers::account(&mut tx, "https://b", Some("ann"), None).await.unwrap(), Some(ann));
    // Nobody else is found to be who was made for a token.
    let bob = users::insert(&mut tx, &new_user("bob", &[]), at(0)).await.unwrap();
    issuers::link(&mut tx, (ISS, "2"), bob, true, at(1)).await.unwrap();
    assert_eq!(issuers::account(&mut tx, "https://b", Some("bob"), None).await.unwrap(), None);
    let strasse = users::insert(&mut tx, &new_user("strasse", &[]), at(0)).await.unwrap();
    for (name, is_free) in [("strasse", false), ("straße", false), ("\u{ff53}trasse", false), ("strasse2", true)] {
        let name = Username::try_from(name).unwrap();
        assert_eq!(issuers::is_name_free(&mut tx, &name).await.unwrap(), is_free, "{name}");
    }
    users::delete_each(&mut tx, &[bob, strasse], at(1)).await.unwrap();
    users::delete(&mut tx, ann, at(1)).await.unwrap();
    assert_eq!(issuers::account(&mut tx, ISS, Some("ann"), Some(mail)).await.unwrap(), None);
    assert!(issuers::is_mail_free(&mut tx, mail).await.unwrap());
    assert_eq!(users::list(&mut tx, &users::Filter::default(), Page::ALL, at(2)).await.unwrap(), []);
});
