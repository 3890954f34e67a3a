use cedargate::{
    model::{PermissionId, PermissionPatch},
    store::{Page, permissions, permissions::Filter, roles},
};

use super::{assert_conflict, at, new_permission, permission, role};
use crate::support::migrated;

on_both!(a_permission_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = permission(&mut tx, "article:read").await;
    let found = permissions::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.description.as_deref()), ("article:read", Some("May article:read")));
    assert_eq!((found.category.as_ref().unwrap().as_str(), found.is_active), ("article", true));
    let patch = PermissionPatch { is_active: Some(false), ..PermissionPatch::default() };
    assert!(permissions::update(&mut tx, id, &patch, at(1)).await.unwrap());
    let changed = permissions::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!(changed, cedargate::model::Permission { is_active: false, ..found });
    assert_eq!(permissions::get(&mut tx, PermissionId(999)).await.unwrap(), None);
    assert_eq!(permissions::find(&mut tx, "article:read").await.unwrap(), Some(id));
    assert_eq!(permissions::find(&mut tx, "article:%").await.unwrap(), None);
    assert!(!permissions::update(&mut tx, PermissionId(999), &patch, at(1)).await.unwrap());
});

on_both!(a_name_is_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = permission(&mut tx, "a:read").await;
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(permissions::insert(&mut tx, &new_permission("a:read"), at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    assert!(permissions::delete(&mut tx, id, at(1)).await.unwrap());
    assert!(!permissions::delete(&mut tx, id, at(1)).await.unwrap());
    assert_eq!(permissions::find(&mut tx, "a:read").await.unwrap(), None);
    assert_ne!(permission(&mut tx, "a:read").await, id);
});

on_both!(lists_are_filtered_and_paged, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "article:read").await;
    let odd = permission(&mut tx, r"o_d%\:Äx").await;
    let plain = permission(&mut tx, "free text").await;
    role(&mut tx, "holder", &[read]).await;
    let search = |text: &str| Filter { search: Some(text.to_owned()), category: None };
    let category = |text: &str| Filter { search: None, category: Some(text.to_owned()) };
    for (filter, expected) in [
        (Filter::default(), vec![read, odd, plain]),
        (search("MAY ART"), vec![read]),
        (search("_"), vec![odd]),
        (search(r"D%\:ÄX"), vec![odd]),
        (search("%"), vec![odd]),
        (search("nothing"), vec![]),
        (category("article"), vec![read]),
        (category("art"), vec![]),
        (category("\0"), vec![]),
    ] {
        let found = permissions::list(&mut tx, &filter, Page::ALL).await.unwrap();
        assert_eq!(found.iter().map(|p| p.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(permissions::count(&mut tx, &filter).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
    let page = permissions::list(&mut tx, &Filter::default(), Page { skip: 1, limit: 1 }).await.unwrap();
    assert_eq!(page.iter().map(|p| p.id).collect::<Vec<_>>(), [odd]);
    assert_eq!(permissions::holders(&mut tx, read).await.unwrap(), 1);
    assert_eq!(permissions::holders(&mut tx, odd).await.unwrap(), 0);
    assert_eq!(roles::list(&mut tx, &roles::Filter::default(), Page::ALL).await.unwrap().len(), 1);
});
