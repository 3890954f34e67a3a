use cedargate::{
    model::{ModuleId, ModulePatch, NewModule, RoleId},
    store::{Page, modules, modules::Filter, roles, routes},
};

use super::{assert_conflict, at, module, new_module, role, route};
use crate::support::migrated;

on_both!(a_module_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let staff = role(&mut tx, "staff", &[]).await;
    let id = module(&mut tx, "dashboard", &[staff, admin, RoleId(999)]).await;
    let found = modules::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!(
        (found.name.as_str(), found.label.as_str(), found.route.as_str()),
        ("dashboard", "The dashboard", "/dashboard")
    );
    assert_eq!((found.icon.as_ref().unwrap().as_str(), found.priority, found.is_active), ("Boxes", 0, true));
    assert_eq!((found.created_at, found.updated_at), (at(0), None));
    let seen_by = modules::roles(&mut tx, id).await.unwrap();
    assert_eq!(seen_by.iter().map(|role| role.id).collect::<Vec<_>>(), [admin, staff]);

    let patch =
        ModulePatch { icon: Some(None), priority: Some(7), role_ids: Some(vec![staff]), ..ModulePatch::default() };
    assert!(modules::update(&mut tx, id, &patch, at(1)).await.unwrap());
    let changed = modules::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((changed.icon, changed.priority, changed.updated_at), (None, 7, Some(at(1))));
    assert_eq!(changed.label, found.label);
    roles::delete(&mut tx, staff, at(2)).await.unwrap();
    assert_eq!(modules::roles(&mut tx, id).await.unwrap(), []);
    assert_eq!(modules::get(&mut tx, ModuleId(999)).await.unwrap(), None);
    assert!(!modules::update(&mut tx, ModuleId(999), &patch, at(1)).await.unwrap());
});

on_both!(a_name_is_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = module(&mut tx, "one", &[]).await;
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(modules::insert(&mut tx, &new_module("one", &[]), at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    assert_eq!(modules::find(&mut tx, "one").await.unwrap(), Some(id));
    assert!(modules::delete(&mut tx, id, at(1)).await.unwrap());
    assert!(!modules::delete(&mut tx, id, at(1)).await.unwrap());
    assert_eq!(modules::find(&mut tx, "one").await.unwrap(), None);
    assert_ne!(module(&mut tx, "one", &[]).await, id);
});

on_both!(lists_come_by_priority, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let hidden = NewModule { priority: 5, is_active: false, ..new_module("a_b", &[]) };
    let last = modules::insert(&mut tx, &hidden, at(0)).await.unwrap();
    let first = module(&mut tx, "ab", &[admin]).await;
    let second = module(&mut tx, "axb", &[]).await;
    let page = route(&mut tx, first, "/one").await;
    route(&mut tx, first, "/two").await;
    routes::delete(&mut tx, page, at(1)).await.unwrap();
    let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
    for (filter, expected) in [
        (Filter::default(), vec![first, second, last]),
        (search("A_B"), vec![last]),
        (search("THE AX"), vec![second]),
        (search("/AB"), vec![first]),
        (Filter { is_active: Some(true), ..Filter::default() }, vec![first, second]),
    ] {
        let found = modules::list(&mut tx, &filter, Page::ALL, true).await.unwrap();
        assert_eq!(found.iter().map(|row| row.module.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(modules::count(&mut tx, &filter).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
    let rows = modules::list(&mut tx, &Filter::default(), Page { skip: 0, limit: 2 }, true).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].module, modules::get(&mut tx, first).await.unwrap().unwrap());
    assert_eq!((rows[0].route_count, rows[0].roles.clone()), (1, modules::roles(&mut tx, first).await.unwrap()));
    assert_eq!((rows[1].route_count, rows[1].roles.len()), (0, 0));
    assert_eq!(modules::route_count(&mut tx, first).await.unwrap(), 1);
    let uncounted = modules::list(&mut tx, &Filter::default(), Page::ALL, false).await.unwrap();
    assert!(uncounted.iter().all(|row| row.route_count == 0));
    assert_eq!(modules::occupied(&mut tx, &[last, second, first]).await.unwrap(), [first]);
});

on_both!(a_deletion_can_be_taken_back, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let [one, two, three] = [module(&mut tx, "one", &[admin]).await, module(&mut tx, "two", &[]).await, ModuleId(999)];
    assert_eq!(modules::deleted_name(&mut tx, one).await.unwrap(), None);
    assert_eq!(modules::delete_many(&mut tx, &[one, two, three], at(1)).await.unwrap(), 2);
    assert_eq!(modules::delete_many(&mut tx, &[one, two], at(2)).await.unwrap(), 0);
    let deleted = Filter { include_deleted: true, ..Filter::default() };
    let shown = modules::list(&mut tx, &deleted, Page::ALL, true).await.unwrap();
    assert_eq!(
        shown.iter().map(|row| (row.module.id, row.deleted_at)).collect::<Vec<_>>(),
        [(one, Some(at(1))), (two, Some(at(1)))]
    );
    assert_eq!(modules::count(&mut tx, &deleted).await.unwrap(), 2);
    assert_eq!(modules::count(&mut tx, &Filter::default()).await.unwrap(), 0);
    assert_eq!(modules::deleted_name(&mut tx, one).await.unwrap().unwrap().as_str(), "one");
    assert!(modules::restore(&mut tx, one, at(3)).await.unwrap());
    assert!(!modules::restore(&mut tx, one, at(3)).await.unwrap());
    assert!(!modules::restore(&mut tx, three, at(3)).await.unwrap());
    let found = modules::get(&mut tx, one).await.unwrap().unwrap();
    assert_eq!((found.updated_at, modules::roles(&mut tx, one).await.unwrap().len()), (Some(at(3)), 1));
    module(&mut tx, "two", &[]).await;
    assert_conflict(modules::restore(&mut tx, two, at(3)).await, Some("name"));
});

on_both!(several_are_switched_and_put_in_order, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let [one, two, gone] =
        [module(&mut tx, "one", &[]).await, module(&mut tx, "two", &[]).await, module(&mut tx, "gone", &[]).await];
    modules::delete(&mut tx, gone, at(1)).await.unwrap();
    let all = [two, gone, one, ModuleId(999)];
    assert_eq!(modules::set_active(&mut tx, &all[..1], false, at(2)).await.unwrap(), 1);
    assert_eq!(modules::set_active(&mut tx, &all, false, at(3)).await.unwrap(), 1);
    let places = [(two, 3), (one, i64::MAX), (gone, 1), (ModuleId(999), 2)];
    let found = modules::get_many(&mut tx, &all).await.unwrap();
    let seen = |found: &[cedargate::model::Module]| {
        found.iter().map(|row| (row.id, row.is_active, row.priority, row.updated_at)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&found), [(one, false, 0, Some(at(3))), (two, false, 0, Some(at(2)))]);
    assert_eq!(modules::reorder(&mut tx, &places, at(4)).await.unwrap(), 2);
    let found = modules::get_many(&mut tx, &all).await.unwrap();
    assert_eq!(seen(&found), [(one, false, i64::MAX, Some(at(4))), (two, false, 3, Some(at(4)))]);
    assert_eq!(modules::reorder(&mut tx, &[], at(5)).await.unwrap(), 0);
});
