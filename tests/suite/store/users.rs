use cedargate::{
    model::{Email, Expiry, RoleId, Secret, UserId, UserPatch, rules::Assignment},
    store::{Error, Page, roles, users, users::Filter},
};

use super::{assert_conflict, at, new_user, permission, role, user};
use crate::support::migrated;

on_both!(a_user_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "article:read").await;
    let edit = permission(&mut tx, "article:update").await;
    let editor = role(&mut tx, "editor", &[edit, read]).await;
    let reader = role(&mut tx, "reader", &[read]).await;
    let id = user(&mut tx, "Ünïcode", &[reader, editor, reader, RoleId(999)]).await;
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let ann = users::get(&mut tx, id, at(9)).await.unwrap().unwrap();
    assert_eq!((ann.id, ann.username.as_str(), ann.is_active), (id, "ünïcode", true));
    assert_eq!((ann.created_at, ann.updated_at), (at(0), None));
    assert_eq!(ann.roles.iter().map(|role| role.id).collect::<Vec<_>>(), [editor, reader]);
    assert_eq!(ann.roles[0].permissions.iter().map(|p| p.id).collect::<Vec<_>>(), [read, edit]);
    assert_eq!(ann.roles[1], roles::get(&mut tx, reader).await.unwrap().unwrap());
    assert_eq!(users::get(&mut tx, UserId(999), at(9)).await.unwrap(), None);
});

on_both!(names_and_addresses_are_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = user(&mut tx, "ann", &[]).await;
    tx.commit().await.unwrap();

    let mut same_name = new_user("ann", &[]);
    same_name.email = "other@example.com".try_into().unwrap();
    let mut same_address = new_user("bob", &[]);
    same_address.email = "ANN@example.com".try_into().unwrap();
    for (taken, column) in [(same_name, "username"), (same_address, "email")] {
        let mut tx = db.write().await.unwrap();
        assert_conflict(users::insert(&mut tx, &taken, at(1)).await, Some(column));
    }

    let mut tx = db.write().await.unwrap();
    assert!(users::delete(&mut tx, id, at(1)).await.unwrap());
    assert!(!users::delete(&mut tx, id, at(1)).await.unwrap());
    assert_eq!(users::get(&mut tx, id, at(9)).await.unwrap(), None);
    assert_eq!(users::credentials(&mut tx, "ann").await.unwrap(), None);
    assert!(!users::update(&mut tx, id, &UserPatch::default(), at(2)).await.unwrap());
    assert_ne!(user(&mut tx, "ann", &[]).await, id);
});

on_both!(lists_are_filtered_and_paged, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let ann = user(&mut tx, "ann", &[admin]).await;
    let bob = user(&mut tx, "bob", &[]).await;
    let eva = user(&mut tx, "Évà", &[]).await;
    let odd = UserPatch { email: Some("O_%Dd@example.com".try_into().unwrap()), ..UserPatch::default() };
    users::update(&mut tx, bob, &odd, at(1)).await.unwrap();
    let off = UserPatch { is_active: Some(false), ..UserPatch::default() };
    users::update(&mut tx, ann, &off, at(1)).await.unwrap();
    let gone = user(&mut tx, "gone", &[admin]).await;
    users::delete(&mut tx, gone, at(1)).await.unwrap();

    let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
    let of_role = |name: &str| Filter { role: Some(name.to_owned()), ..Filter::default() };
    let active = |is_active| Filter { is_active: Some(is_active), ..Filter::default() };
    for (filter, expected) in [
        (Filter::default(), vec![ann, bob, eva]),
        (search(""), vec![ann, bob, eva]),
        (search("EXAMPLE"), vec![ann, bob, eva]),
        (search("ÉVÀ"), vec![eva]),
        (search("_"), vec![bob]),
        (search("o_%d"), vec![bob]),
        (search("%n"), vec![]),
        (search("\\"), vec![]),
        (search("\0"), vec![]),
        (active(true), vec![bob, eva]),
        (active(false), vec![ann]),
        (of_role("admin"), vec![ann]),
        (of_role("Admin"), vec![]),
        (of_role("a\0"), vec![]),
    ] {
        let found = users::list(&mut tx, &filter, Page::ALL, at(9)).await.unwrap();
        assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(users::count(&mut tx, &filter, at(9)).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
    for (skip, limit, expected) in [(1, 1, vec![bob]), (0, 0, vec![]), (2, 9, vec![eva]), (-1, -1, vec![])] {
        let found = users::list(&mut tx, &Filter::default(), Page { skip, limit }, at(9)).await.unwrap();
        assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), expected);
    }
    let whole = users::list(&mut tx, &Filter::default(), Page::ALL, at(9)).await.unwrap();
    assert_eq!(whole[0], users::get(&mut tx, ann, at(9)).await.unwrap().unwrap());
});

on_both!(a_patch_changes_what_it_names, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = user(&mut tx, "ann", &[]).await;
    let before = users::credentials_of(&mut tx, id).await.unwrap().unwrap();
    assert!(users::update(&mut tx, id, &UserPatch::default(), at(5)).await.unwrap());
    assert_eq!(users::credentials_of(&mut tx, id).await.unwrap().unwrap(), before);
    assert_eq!(users::get(&mut tx, id, at(9)).await.unwrap().unwrap().updated_at, Some(at(5)));

    let patch = UserPatch {
        username: Some("anna".try_into().unwrap()),
        email: Some("Anna@Example.com".try_into().unwrap()),
        password_hash: Some(Secret::new("new".to_owned())),
        is_active: Some(false),
        ..UserPatch::default()
    };
    assert!(users::update(&mut tx, id, &patch, at(6)).await.unwrap());
    let after = users::credentials(&mut tx, "ANNA@example.COM").await.unwrap().unwrap();
    assert_eq!((after.id, after.username.as_str(), after.is_active), (id, "anna", false));
    assert_eq!((after.password_hash.expose().as_str(), after.token_epoch), ("new", before.token_epoch + 1));
    assert_eq!(
        users::get(&mut tx, id, at(9)).await.unwrap().unwrap().email,
        Email::try_from("Anna@example.com").unwrap()
    );
});

on_both!(new_roles_replace_the_old_and_keep_expiry, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let one = role(&mut tx, "one", &[]).await;
    let two = role(&mut tx, "two", &[]).await;
    let three = role(&mut tx, "three", &[]).await;
    let id = user(&mut tx, "ann", &[one]).await;
    assert!(users::assign(&mut tx, id, two, None, Expiry::At(at(60)), at(1)).await.unwrap());
    let patch = UserPatch { role_ids: Some(vec![three, two, RoleId(999)]), ..UserPatch::default() };
    users::update(&mut tx, id, &patch, at(2)).await.unwrap();
    assert_eq!(
        users::state(&mut tx, id).await.unwrap().unwrap().roles,
        [Assignment { role_id: two, expires_at: Some(at(60)) }, Assignment { role_id: three, expires_at: None }]
    );
    let kept = tx.query("SELECT granted_at FROM user_roles WHERE role_id = $1").bind(two);
    assert_eq!(kept.fetch_value::<cedargate::model::Timestamp>().await.unwrap(), at(1));
    let patch = UserPatch { role_ids: Some(Vec::new()), ..UserPatch::default() };
    users::update(&mut tx, id, &patch, at(3)).await.unwrap();
    assert!(users::get(&mut tx, id, at(9)).await.unwrap().unwrap().roles.is_empty());
});

on_both!(assignments_are_idempotent, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let ann = user(&mut tx, "ann", &[]).await;
    assert!(users::assign(&mut tx, ann, admin, Some(ann), Expiry::Kept, at(1)).await.unwrap());
    for expiry in [Expiry::Kept, Expiry::Never] {
        assert!(!users::assign(&mut tx, ann, admin, None, expiry, at(2)).await.unwrap());
    }
    assert!(users::assign(&mut tx, ann, admin, None, Expiry::At(at(9)), at(3)).await.unwrap());
    for expiry in [Expiry::Kept, Expiry::At(at(9))] {
        assert!(!users::assign(&mut tx, ann, admin, Some(ann), expiry, at(4)).await.unwrap());
    }
    assert!(!users::assign(&mut tx, ann, RoleId(999), None, Expiry::Kept, at(3)).await.unwrap());
    assert!(!users::assign(&mut tx, UserId(999), admin, None, Expiry::Kept, at(3)).await.unwrap());
    assert_eq!(roles::assigned(&mut tx, &[admin], at(8)).await.unwrap().len(), 1);
    let state = users::state(&mut tx, ann).await.unwrap().unwrap();
    assert_eq!(state.roles, [Assignment { role_id: admin, expires_at: Some(at(9)) }]);
    assert!(users::unassign(&mut tx, ann, admin).await.unwrap());
    assert!(!users::unassign(&mut tx, ann, admin).await.unwrap());
    assert_eq!(roles::assigned(&mut tx, &[admin], at(8)).await.unwrap().len(), 0);
    let refused = users::assign(&mut tx, ann, admin, Some(UserId(999)), Expiry::Kept, at(4)).await;
    assert!(matches!(refused, Err(Error::Reference)), "{refused:?}");
});

on_both!(credentials_are_found_by_either_name, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let mut new = new_user("ann", &[]);
    new.email = "Ann@bücher.example".try_into().unwrap();
    let id = users::insert(&mut tx, &new, at(0)).await.unwrap();
    for login in ["ann", "ANN", "ann@BÜCHER.example", "ann@xn--bcher-kva.example"] {
        let found = users::credentials(&mut tx, login).await.unwrap().unwrap();
        assert_eq!((found.id, found.token_epoch), (id, 1), "{login}");
        assert_eq!(found.password_hash.expose(), "hash of ann");
    }
    for login in ["", "an", "ann\0", "ann ", "%", "x@example.com"] {
        assert_eq!(users::credentials(&mut tx, login).await.unwrap(), None, "{login:?}");
    }
    assert_eq!(users::credentials_of(&mut tx, UserId(999)).await.unwrap(), None);
});

on_both!(a_new_password_voids_tokens_and_a_better_hash_does_not, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = user(&mut tx, "ann", &[]).await;
    let secret = |text: &str| Secret::new(text.to_owned());
    // A password that was set meanwhile does not give way to a hash of the one before.
    assert!(!users::rehash(&mut tx, id, &secret("another"), &secret("worse")).await.unwrap());
    assert!(users::rehash(&mut tx, id, &secret("hash of ann"), &secret("better")).await.unwrap());
    let found = users::credentials_of(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.password_hash.expose().as_str(), found.token_epoch), ("better", 1));
    assert!(users::set_password(&mut tx, id, &Secret::new("new".to_owned()), at(1)).await.unwrap());
    let found = users::credentials_of(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.password_hash.expose().as_str(), found.token_epoch), ("new", 2));
    assert!(users::delete(&mut tx, id, at(2)).await.unwrap());
    let epoch = tx.query("SELECT token_epoch FROM users WHERE id = $1").bind(id);
    assert_eq!(epoch.fetch_value::<i64>().await.unwrap(), 3);
    assert!(!users::set_password(&mut tx, id, &Secret::new("x".to_owned()), at(3)).await.unwrap());
    assert!(!users::rehash(&mut tx, id, &secret("new"), &secret("x")).await.unwrap());
});

on_both!(states_hold_undeleted_users_and_roles, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let kept = role(&mut tx, "kept", &[]).await;
    let dropped = role(&mut tx, "dropped", &[]).await;
    let ann = user(&mut tx, "ann", &[dropped, kept]).await;
    let bob = user(&mut tx, "bob", &[]).await;
    let gone = user(&mut tx, "gone", &[kept]).await;
    users::delete(&mut tx, gone, at(1)).await.unwrap();
    roles::delete(&mut tx, dropped, at(1)).await.unwrap();
    let states = users::states(&mut tx).await.unwrap();
    assert_eq!(states.iter().map(|state| state.id).collect::<Vec<_>>(), [ann, bob]);
    assert_eq!(states[0].roles, [Assignment { role_id: kept, expires_at: None }]);
    assert_eq!(users::state(&mut tx, ann).await.unwrap().as_ref(), Some(&states[0]));
    assert_eq!(users::state(&mut tx, gone).await.unwrap(), None);
    assert_eq!(users::get(&mut tx, ann, at(9)).await.unwrap().unwrap().roles.len(), 1);
});

on_both!(many_are_found_deactivated_and_deleted_at_once, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let ann = user(&mut tx, "ann", &[]).await;
    let bob = user(&mut tx, "bob", &[]).await;
    let all = [bob, UserId(999), ann];
    assert_eq!(users::existing(&mut tx, &all).await.unwrap(), [ann, bob]);
    assert_eq!(users::set_active(&mut tx, &[bob], false, at(1)).await.unwrap(), [bob]);
    assert_eq!(users::set_active(&mut tx, &all, false, at(2)).await.unwrap(), [ann]);
    let found = users::get(&mut tx, bob, at(9)).await.unwrap().unwrap();
    assert_eq!((found.is_active, found.updated_at), (false, Some(at(1))));
    let mut deleted = users::delete_each(&mut tx, &all, at(3)).await.unwrap();
    deleted.sort_unstable();
    assert_eq!(deleted, [ann, bob]);
    assert!(users::delete_each(&mut tx, &all, at(4)).await.unwrap().is_empty());
    assert!(users::existing(&mut tx, &all).await.unwrap().is_empty());
    assert!(users::set_active(&mut tx, &all, true, at(5)).await.unwrap().is_empty());
});

on_both!(a_deleted_user_is_listed_on_demand_and_comes_back, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let first = user(&mut tx, "ann", &[admin]).await;
    users::delete(&mut tx, first, at(1)).await.unwrap();
    let mut namesake = new_user("ann", &[]);
    namesake.email = "other@example.com".try_into().unwrap();
    let second = users::insert(&mut tx, &namesake, at(1)).await.unwrap();
    let all = Filter { include_deleted: true, ..Filter::default() };
    let listed = users::list(&mut tx, &all, Page::ALL, at(9)).await.unwrap();
    let brief: Vec<_> = listed.iter().map(|user| (user.id, user.deleted_at, user.roles.len())).collect();
    assert_eq!(brief, [(first, Some(at(1)), 1), (second, None, 0)]);
    assert_eq!(users::count(&mut tx, &all, at(9)).await.unwrap(), 2);
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    assert_conflict(users::restore(&mut tx, first, at(2)).await, Some("username"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    assert!(!users::restore(&mut tx, second, at(2)).await.unwrap());
    for _ in 0..2 {
        users::set_password(&mut tx, second, &Secret::new("new".to_owned()), at(3)).await.unwrap();
    }
    let epoch = users::credentials_of(&mut tx, second).await.unwrap().unwrap().token_epoch;
    users::delete(&mut tx, second, at(4)).await.unwrap();
    assert!(users::restore(&mut tx, first, at(5)).await.unwrap());
    assert!(!users::restore(&mut tx, UserId(999), at(5)).await.unwrap());
    let back = users::get(&mut tx, first, at(9)).await.unwrap().unwrap();
    assert_eq!((back.deleted_at, back.updated_at, back.roles.len()), (None, Some(at(5)), 1));
    let credentials = users::credentials(&mut tx, "ann").await.unwrap().unwrap();
    assert_eq!((credentials.id, credentials.token_epoch), (first, epoch + 1));
});
