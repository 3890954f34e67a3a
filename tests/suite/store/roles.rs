use cedargate::{
    model::{Expiry, PermissionId, RoleId, RolePatch},
    store::{Page, permissions, roles, users},
};

use super::{assert_conflict, at, new_role, permission, role, user};
use crate::support::migrated;

on_both!(a_role_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "article:read").await;
    let gone = permission(&mut tx, "article:gone").await;
    let mut new = new_role("Rédacteur", &[read, gone, PermissionId(999)]);
    new.description = Some("Écrit".to_owned());
    let id = roles::insert(&mut tx, &new, at(0)).await.unwrap();
    permissions::delete(&mut tx, gone, at(1)).await.unwrap();
    let found = roles::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.description.as_deref()), ("Rédacteur", Some("Écrit")));
    assert_eq!((found.is_system_role, found.is_active), (false, true));
    assert_eq!(found.permissions, [permissions::get(&mut tx, read).await.unwrap().unwrap()]);
    assert_eq!(roles::find(&mut tx, "Rédacteur").await.unwrap(), Some(id));
    assert_eq!(roles::find(&mut tx, "rédacteur").await.unwrap(), None);
    assert_eq!(roles::get(&mut tx, RoleId(999)).await.unwrap(), None);
    roles::protect(&mut tx, id).await.unwrap();
    assert!(roles::get(&mut tx, id).await.unwrap().unwrap().is_system_role);
});

on_both!(a_name_is_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = role(&mut tx, "editor", &[]).await;
    let other = role(&mut tx, "Editor", &[]).await;
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(roles::insert(&mut tx, &new_role("editor", &[]), at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    let rename = RolePatch { name: Some("editor".try_into().unwrap()), ..RolePatch::default() };
    assert_conflict(roles::update(&mut tx, other, &rename, at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    assert!(roles::delete(&mut tx, id, at(2)).await.unwrap());
    assert!(!roles::delete(&mut tx, id, at(2)).await.unwrap());
    assert!(roles::update(&mut tx, other, &rename, at(3)).await.unwrap());
    assert!(!roles::update(&mut tx, id, &rename, at(3)).await.unwrap());
    assert_eq!(roles::find(&mut tx, "editor").await.unwrap(), Some(other));
});

on_both!(lists_are_in_the_order_of_ids, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let z = role(&mut tx, "z", &[read]).await;
    let a = role(&mut tx, "a", &[]).await;
    let gone = role(&mut tx, "gone", &[read]).await;
    roles::delete(&mut tx, gone, at(1)).await.unwrap();
    let all = roles::list(&mut tx, &roles::Filter::default(), Page::ALL).await.unwrap();
    assert_eq!(all.iter().map(|role| role.id).collect::<Vec<_>>(), [z, a]);
    assert_eq!(all[0], roles::get(&mut tx, z).await.unwrap().unwrap());
    let infos = roles::infos(&mut tx).await.unwrap();
    assert_eq!(infos.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert_eq!(roles::existing(&mut tx, &[a, gone, RoleId(999), z, z]).await.unwrap(), [z, a]);
    assert_eq!(roles::existing(&mut tx, &[]).await.unwrap(), []);
});

on_both!(grants_are_idempotent, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let edit = permission(&mut tx, "a:update").await;
    let id = role(&mut tx, "editor", &[]).await;
    assert!(roles::grant(&mut tx, id, read, at(1)).await.unwrap());
    assert!(!roles::grant(&mut tx, id, read, at(2)).await.unwrap());
    assert!(!roles::grant(&mut tx, id, PermissionId(999), at(2)).await.unwrap());
    assert_eq!(permissions::holders(&mut tx, read).await.unwrap(), 1);
    let replace = RolePatch { permission_ids: Some(vec![edit, PermissionId(999)]), ..RolePatch::default() };
    assert!(roles::update(&mut tx, id, &replace, at(3)).await.unwrap());
    let held = roles::get(&mut tx, id).await.unwrap().unwrap().permissions;
    assert_eq!(held.iter().map(|permission| permission.id).collect::<Vec<_>>(), [edit]);
    assert!(roles::revoke(&mut tx, id, edit).await.unwrap());
    assert!(!roles::revoke(&mut tx, id, edit).await.unwrap());
    let off = RolePatch { is_active: Some(false), description: Some("d".to_owned()), ..RolePatch::default() };
    assert!(roles::update(&mut tx, id, &off, at(4)).await.unwrap());
    let role = roles::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((role.is_active, role.description.as_deref()), (false, Some("d")));
    roles::delete(&mut tx, id, at(5)).await.unwrap();
    assert_eq!(permissions::holders(&mut tx, read).await.unwrap(), 0);
    assert!(!roles::grant(&mut tx, id, read, at(6)).await.unwrap());
});

on_both!(lists_are_filtered, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let a = role(&mut tx, "a", &[]).await;
    let b = role(&mut tx, "b", &[]).await;
    let gone = role(&mut tx, "gone", &[]).await;
    roles::delete(&mut tx, gone, at(1)).await.unwrap();
    assert_eq!(roles::activate(&mut tx, &[b, b, gone, RoleId(999)], false, at(2)).await.unwrap(), 1);
    assert_eq!(roles::activate(&mut tx, &[b], false, at(2)).await.unwrap(), 0);
    for (filter, expected) in [
        (roles::Filter { is_active: Some(true), ..roles::Filter::default() }, vec![a]),
        (roles::Filter { is_active: Some(false), ..roles::Filter::default() }, vec![b]),
        (roles::Filter { include_deleted: true, ..roles::Filter::default() }, vec![a, b, gone]),
    ] {
        let found = roles::list(&mut tx, &filter, Page::ALL).await.unwrap();
        assert_eq!(found.iter().map(|role| role.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(found.iter().filter(|role| role.deleted_at == Some(at(1))).count(), expected.len() / 3);
        assert_eq!(roles::count(&mut tx, &filter).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
    let heads = roles::heads(&mut tx, &[gone, b, a, b]).await.unwrap();
    assert_eq!(heads.keys().copied().collect::<Vec<_>>(), [a, b]);
    assert_eq!((heads[&b].name.as_str(), heads[&b].is_active), ("b", false));
});

on_both!(grants_are_added_and_replaced_as_lists, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let edit = permission(&mut tx, "a:edit").await;
    let id = role(&mut tx, "editor", &[read]).await;
    let other = role(&mut tx, "other", &[read]).await;
    assert_eq!(roles::grant_all(&mut tx, id, &[read, edit, edit, PermissionId(999)], at(1)).await.unwrap(), 1);
    assert_eq!(roles::retain(&mut tx, id, &[edit]).await.unwrap(), 1);
    assert_eq!(roles::retain(&mut tx, id, &[edit]).await.unwrap(), 0);
    let held = roles::get(&mut tx, id).await.unwrap().unwrap().permissions;
    assert_eq!(held.iter().map(|permission| permission.id).collect::<Vec<_>>(), [edit]);
    assert_eq!(roles::get(&mut tx, other).await.unwrap().unwrap().permissions.len(), 1);
});

on_both!(a_deletion_is_taken_back, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let editor = role(&mut tx, "editor", &[read]).await;
    let other = role(&mut tx, "other", &[]).await;
    let ann = user(&mut tx, "ann", &[editor]).await;
    let bob = user(&mut tx, "bob", &[editor]).await;
    users::assign(&mut tx, bob, other, None, Expiry::At(at(5)), at(0)).await.unwrap();
    users::delete(&mut tx, ann, at(1)).await.unwrap();
    let assigned = roles::assigned(&mut tx, &[editor, other, RoleId(999)], at(4)).await.unwrap();
    assert_eq!(assigned.into_iter().collect::<Vec<_>>(), [editor, other]);
    let assigned = roles::assigned(&mut tx, &[editor, other], at(5)).await.unwrap();
    assert_eq!(assigned.into_iter().collect::<Vec<_>>(), [editor], "the other one has expired");
    assert_eq!(roles::holders(&mut tx, editor).await.unwrap(), [bob]);
    assert_eq!(roles::holders(&mut tx, other).await.unwrap(), [bob]);

    assert_eq!(roles::deleted(&mut tx, editor).await.unwrap(), None);
    let before = roles::get(&mut tx, editor).await.unwrap();
    assert_eq!(roles::delete_all(&mut tx, &[editor, editor, RoleId(999)], at(2)).await.unwrap(), 1);
    assert_eq!(roles::delete_all(&mut tx, &[editor], at(2)).await.unwrap(), 0);
    assert_eq!(roles::get(&mut tx, editor).await.unwrap(), None);
    assert_eq!(roles::deleted(&mut tx, editor).await.unwrap().unwrap().as_str(), "editor");
    assert!(roles::restore(&mut tx, editor, at(3)).await.unwrap());
    assert!(!roles::restore(&mut tx, editor, at(3)).await.unwrap());
    assert_eq!(roles::get(&mut tx, editor).await.unwrap(), before);
    roles::delete(&mut tx, editor, at(4)).await.unwrap();
    role(&mut tx, "editor", &[]).await;
    assert_conflict(roles::restore(&mut tx, editor, at(5)).await, Some("name"));
});
