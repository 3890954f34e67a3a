use cedargate::{
    model::{Expiry, RoleId, UserId},
    store::{Page, roles, users, users::Filter},
};

use super::{at, permission, role, user};
use crate::support::migrated;

on_both!(what_has_ended_is_not_shown_and_can_be_removed, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let one = role(&mut tx, "one", &[]).await;
    let two = role(&mut tx, "two", &[]).await;
    let ann = user(&mut tx, "ann", &[one]).await;
    let bob = user(&mut tx, "bob", &[]).await;
    assert_eq!(users::next_end(&mut tx).await.unwrap(), None);
    users::assign(&mut tx, ann, two, Some(bob), Expiry::At(at(20)), at(1)).await.unwrap();
    users::assign(&mut tx, bob, two, Some(ann), Expiry::At(at(10)), at(2)).await.unwrap();
    assert_eq!(users::next_end(&mut tx).await.unwrap(), Some(at(10)));

    let held = users::held(&mut tx, ann, at(19)).await.unwrap();
    let brief: Vec<_> = held.iter().map(|held| (held.role.id, held.expires_at, held.granted_at)).collect();
    assert_eq!(brief, [(one, None, at(0)), (two, Some(at(20)), at(1))]);
    assert_eq!(held.iter().map(|held| held.granted_by).collect::<Vec<_>>(), [None, Some(bob)]);
    assert_eq!(users::held(&mut tx, ann, at(20)).await.unwrap().len(), 1);
    assert!(users::held(&mut tx, UserId(999), at(0)).await.unwrap().is_empty());

    let filter = Filter { role: Some("two".to_owned()), ..Filter::default() };
    for (second, expected) in [(9, vec![ann, bob]), (10, vec![ann]), (20, vec![])] {
        let found = users::list(&mut tx, &filter, Page::ALL, at(second)).await.unwrap();
        assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|user| user.roles.last().is_some_and(|role| role.id == two)));
        let count = users::count(&mut tx, &filter, at(second)).await.unwrap();
        assert_eq!(count, i64::try_from(expected.len()).unwrap());
    }
    assert_eq!(users::get(&mut tx, ann, at(20)).await.unwrap().unwrap().roles.len(), 1);

    assert!(users::remove_ended(&mut tx, at(9), 10).await.unwrap().is_empty());
    assert_eq!(users::remove_ended(&mut tx, at(99), 1).await.unwrap(), [(bob, two)]);
    assert_eq!(users::next_end(&mut tx).await.unwrap(), Some(at(20)));
    assert_eq!(users::remove_ended(&mut tx, at(99), 9).await.unwrap(), [(ann, two)]);
    assert_eq!(users::next_end(&mut tx).await.unwrap(), None);
    assert_eq!(users::state(&mut tx, ann).await.unwrap().unwrap().roles.len(), 1);
});

on_both!(what_has_ended_is_assigned_anew, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let one = role(&mut tx, "one", &[]).await;
    let ann = user(&mut tx, "ann", &[]).await;
    users::assign(&mut tx, ann, one, None, Expiry::At(at(10)), at(1)).await.unwrap();
    assert!(!users::assign(&mut tx, ann, one, Some(ann), Expiry::Kept, at(9)).await.unwrap());
    assert!(users::assign(&mut tx, ann, one, Some(ann), Expiry::Kept, at(10)).await.unwrap());
    let held = users::held(&mut tx, ann, at(99)).await.unwrap();
    assert_eq!((held[0].expires_at, held[0].granted_at, held[0].granted_by), (None, at(10), Some(ann)));
    assert!(users::assign(&mut tx, ann, one, None, Expiry::At(at(20)), at(11)).await.unwrap());
    assert!(users::assign(&mut tx, ann, one, None, Expiry::Never, at(12)).await.unwrap());
    assert_eq!(users::held(&mut tx, ann, at(99)).await.unwrap()[0].expires_at, None);
});

on_both!(many_are_assigned_and_unassigned_at_once, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let one = role(&mut tx, "one", &[]).await;
    let two = role(&mut tx, "two", &[]).await;
    let gone = role(&mut tx, "gone", &[]).await;
    roles::delete(&mut tx, gone, at(1)).await.unwrap();
    let ann = user(&mut tx, "ann", &[one, two]).await;
    let bob = user(&mut tx, "bob", &[one]).await;
    let eve = user(&mut tx, "eve", &[]).await;
    users::delete(&mut tx, eve, at(1)).await.unwrap();
    let all = [bob, ann, eve, UserId(999)];
    let both = [two, one, gone, RoleId(999)];
    let changed = users::assign_each(&mut tx, &all, &both, Some(ann), Expiry::Kept, at(2)).await.unwrap();
    assert_eq!(changed, [bob]);
    let changed = users::assign_each(&mut tx, &all, &both, Some(ann), Expiry::At(at(9)), at(3)).await.unwrap();
    assert_eq!(changed, [ann, bob]);
    assert_eq!(users::unassign_each(&mut tx, &all, &[two]).await.unwrap(), [ann, bob]);
    assert!(users::unassign_each(&mut tx, &all, &[two]).await.unwrap().is_empty());
    assert_eq!(users::state(&mut tx, bob).await.unwrap().unwrap().roles.len(), 1);
});

on_both!(effective_roles_are_inherited_by_active_ones, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "article:read").await;
    let write = permission(&mut tx, "article:write").await;
    let base = role(&mut tx, "base", &[read]).await;
    let middle = role(&mut tx, "middle", &[]).await;
    let top = role(&mut tx, "top", &[write, read]).await;
    let off = role(&mut tx, "off", &[write]).await;
    let beyond = role(&mut tx, "beyond", &[write]).await;
    let patch = cedargate::model::RolePatch { is_active: Some(false), ..Default::default() };
    roles::update(&mut tx, off, &patch, at(1)).await.unwrap();
    for (child, parent) in [(top, middle), (middle, base), (base, top), (top, off), (off, beyond)] {
        roles::inherit(&mut tx, child, parent).await.unwrap();
    }
    let ann = user(&mut tx, "ann", &[]).await;
    users::assign(&mut tx, ann, top, None, Expiry::At(at(10)), at(1)).await.unwrap();
    let effective = users::effective(&mut tx, ann, at(9)).await.unwrap();
    assert_eq!(effective.iter().map(|role| role.id).collect::<Vec<_>>(), [base, middle, top]);
    assert!(users::effective(&mut tx, ann, at(10)).await.unwrap().is_empty());
    let names =
        |names: Vec<cedargate::model::PermissionName>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let granted = users::granted(&mut tx, &[base, middle, top]).await.unwrap();
    assert_eq!(names(granted), ["article:read", "article:write"]);
    let patch = cedargate::model::PermissionPatch { is_active: Some(false), ..Default::default() };
    cedargate::store::permissions::update(&mut tx, read, &patch, at(2)).await.unwrap();
    assert_eq!(names(users::granted(&mut tx, &[top]).await.unwrap()), ["article:write"]);
    let named = roles::named(&mut tx, &["top", "off", "Top", "o\"\0", "top"]).await.unwrap();
    assert_eq!(named.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [top, off]);
});
