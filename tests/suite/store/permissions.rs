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
    let gone = permission(&mut tx, "gone").await;
    permissions::delete(&mut tx, gone, at(1)).await.unwrap();
    assert_eq!(permissions::activate(&mut tx, &[odd, odd, gone], false, at(2)).await.unwrap(), 1);
    assert_eq!(permissions::activate(&mut tx, &[odd], false, at(2)).await.unwrap(), 0);
    role(&mut tx, "holder", &[read]).await;
    let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
    let category = |text: &str| Filter { category: Some(text.to_owned()), ..Filter::default() };
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
        (Filter { is_active: Some(false), ..Filter::default() }, vec![odd]),
        (Filter { is_active: Some(true), ..Filter::default() }, vec![read, plain]),
        (Filter { include_deleted: true, ..Filter::default() }, vec![read, odd, plain, gone]),
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

on_both!(headings_are_exact, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "article:read").await;
    let similar = permission(&mut tx, "articles:read").await;
    let mut new = new_permission("free text");
    new.category = Some("article".try_into().unwrap());
    let free = permissions::insert(&mut tx, &new, at(0)).await.unwrap();
    new = new_permission("bare");
    new.category = None;
    let bare = permissions::insert(&mut tx, &new, at(0)).await.unwrap();
    let gone = permission(&mut tx, "gone:read").await;
    permissions::delete(&mut tx, gone, at(1)).await.unwrap();
    for (resource, expected) in [
        ("article", vec![read, free]),
        ("articles", vec![similar]),
        ("Article", vec![]),
        ("gone", vec![]),
        ("%", vec![]),
        ("", vec![]),
        ("\0", vec![]),
    ] {
        let found = permissions::of_resource(&mut tx, resource).await.unwrap();
        assert_eq!(found.iter().map(|p| p.id).collect::<Vec<_>>(), expected, "{resource}");
    }
    let categories = permissions::categories(&mut tx).await.unwrap();
    let names: Vec<String> = categories.into_iter().map(String::from).collect();
    assert_eq!(names, ["article", "articles"]);
    let holder = role(&mut tx, "holder", &[read, bare]).await;
    let free_for = permissions::not_granted(&mut tx, holder).await.unwrap();
    assert_eq!(free_for.iter().map(|p| p.id).collect::<Vec<_>>(), [similar, free]);
    let known = permissions::of(&mut tx, &[bare, gone, read, bare, PermissionId(999)]).await.unwrap();
    assert_eq!(known.into_keys().collect::<Vec<_>>(), [read, bare]);
});

on_both!(a_deletion_is_taken_back, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let edit = permission(&mut tx, "a:edit").await;
    let holder = role(&mut tx, "holder", &[read, edit]).await;
    assert_eq!(permissions::delete_all(&mut tx, &[read, PermissionId(999)], at(1)).await.unwrap(), 1);
    assert_eq!(permissions::delete_all(&mut tx, &[read], at(1)).await.unwrap(), 0);
    assert_eq!(permissions::get(&mut tx, read).await.unwrap(), None);
    assert!(permissions::restore(&mut tx, read, at(2)).await.unwrap());
    assert!(!permissions::restore(&mut tx, read, at(2)).await.unwrap());
    assert!(!permissions::restore(&mut tx, PermissionId(999), at(2)).await.unwrap());
    assert_eq!(permissions::get(&mut tx, read).await.unwrap().unwrap().deleted_at, None);
    let held = roles::get(&mut tx, holder).await.unwrap().unwrap().permissions;
    assert_eq!(held.iter().map(|p| p.id).collect::<Vec<_>>(), [edit], "the grants are gone");
    permissions::delete(&mut tx, read, at(3)).await.unwrap();
    permission(&mut tx, "a:read").await;
    assert_conflict(permissions::restore(&mut tx, read, at(4)).await, Some("name"));
});
