use cedargate::{
    model::{HeaderRules, ModuleId, NewRoute, Operation, RoleId, RouteId, RoutePatch, RouteRate, UpstreamName},
    store::{Error, Page, roles, routes, routes::Filter},
};
use serde_json::json;

use super::{assert_conflict, at, module, new_route, role, route};
use crate::support::migrated;

fn rate(requests: u32, window_seconds: u32) -> RouteRate {
    serde_json::from_value(serde_json::json!({ "requests": requests, "window_seconds": window_seconds })).unwrap()
}

fn headers() -> HeaderRules {
    serde_json::from_value(json!({
        "request": { "set": { "X-Tenant": "a" }, "remove": ["Cookie"] },
        "response": { "set": { "Cache-Control": "no-store" } },
    }))
    .unwrap()
}

fn operations() -> Vec<Operation> {
    serde_json::from_value(json!([
        {"methods": ["GET", "HEAD"], "access": "permission", "permission": "article:read", "owner": "path.user_id"},
        {"methods": ["*"], "access": "public"},
    ]))
    .unwrap()
}

fn gateway_route(module: ModuleId) -> NewRoute {
    NewRoute {
        icon: Some("Layers".try_into().unwrap()),
        is_sidebar: false,
        priority: -2,
        host: Some("api.example.com".try_into().unwrap()),
        upstream: Some("blog".try_into().unwrap()),
        strip_prefix: Some("/articles".to_owned()),
        forward_authorization: false,
        rate_limit: Some(rate(100, 60)),
        max_body_bytes: Some(1 << 40),
        headers: headers(),
        operations: operations(),
        ..new_route(module, "/articles/{user_id}/ä")
    }
}

on_both!(a_route_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let gone = role(&mut tx, "gone", &[]).await;
    let home = module(&mut tx, "home", &[]).await;
    let new = NewRoute { role_ids: vec![gone, admin, RoleId(999)], ..gateway_route(home) };
    let id = routes::insert(&mut tx, &new, at(0)).await.unwrap();
    roles::delete(&mut tx, gone, at(1)).await.unwrap();
    let found = routes::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((&found.route, &found.label, &found.icon), (&new.route, &new.label, &new.icon));
    assert_eq!((found.is_active, found.is_sidebar, found.priority), (true, false, -2));
    assert_eq!((found.module_id, found.parent_id), (home, None));
    assert_eq!((&found.host, &found.upstream, &found.strip_prefix), (&new.host, &new.upstream, &new.strip_prefix));
    assert_eq!((found.forward_authorization, &found.operations), (false, &operations()));
    assert_eq!((found.rate_limit, found.max_body_bytes), (Some(rate(100, 60)), Some(1 << 40)));
    assert_eq!(found.headers, headers());
    assert_eq!((found.created_at, found.updated_at), (at(0), None));
    assert_eq!(routes::roles(&mut tx, id).await.unwrap().iter().map(|role| role.id).collect::<Vec<_>>(), [admin]);
    assert_eq!(routes::get(&mut tx, RouteId(999)).await.unwrap(), None);

    assert!(routes::update(&mut tx, id, &RoutePatch::default(), at(2)).await.unwrap());
    let touched = routes::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!(touched, cedargate::model::Route { updated_at: Some(at(2)), ..found });
});

on_both!(a_patch_sets_and_clears, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let home = module(&mut tx, "home", &[]).await;
    let other = module(&mut tx, "other", &[]).await;
    let parent = route(&mut tx, other, "/parent").await;
    let id = routes::insert(&mut tx, &gateway_route(home), at(0)).await.unwrap();
    let set = RoutePatch {
        route: Some("/new".to_owned().try_into().unwrap()),
        label: Some("New".try_into().unwrap()),
        icon: Some(None),
        is_active: Some(false),
        is_sidebar: Some(true),
        module_id: Some(other),
        parent_id: Some(Some(parent)),
        priority: Some(9),
        role_ids: Some(vec![admin]),
        host: Some(None),
        upstream: Some(None),
        strip_prefix: Some(None),
        forward_authorization: Some(true),
        rate_limit: Some(None),
        max_body_bytes: Some(None),
        headers: Some(HeaderRules::default()),
        operations: Some(Vec::new()),
    };
    assert!(routes::update(&mut tx, id, &set, at(1)).await.unwrap());
    let found = routes::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((found.route.as_str(), found.label.as_str(), &found.icon), ("/new", "New", &None));
    assert_eq!((found.is_active, found.is_sidebar, found.priority), (false, true, 9));
    assert_eq!((found.module_id, found.parent_id), (other, Some(parent)));
    assert_eq!((&found.host, &found.upstream, &found.strip_prefix), (&None, &None, &None));
    assert_eq!((found.forward_authorization, found.operations.len()), (true, 0));
    assert_eq!((found.rate_limit, found.max_body_bytes, found.headers), (None, None, HeaderRules::default()));
    assert_eq!(routes::roles(&mut tx, id).await.unwrap().len(), 1);
    let detach = RoutePatch { parent_id: Some(None), role_ids: Some(Vec::new()), ..RoutePatch::default() };
    assert!(routes::update(&mut tx, id, &detach, at(2)).await.unwrap());
    assert_eq!(routes::get(&mut tx, id).await.unwrap().unwrap().parent_id, None);
    assert_eq!(routes::roles(&mut tx, id).await.unwrap(), []);
    assert!(!routes::update(&mut tx, RouteId(999), &detach, at(2)).await.unwrap());
});

on_both!(a_path_is_unique_in_module_and_host, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    let other = module(&mut tx, "other", &[]).await;
    let id = route(&mut tx, home, "/a").await;
    route(&mut tx, other, "/a").await;
    let hosted = NewRoute { host: Some("x.example.com".try_into().unwrap()), ..new_route(home, "/a") };
    routes::insert(&mut tx, &hosted, at(0)).await.unwrap();
    for (host, path, except, expected) in [
        (None, "/a", None, true),
        (None, "/a", Some(id), false),
        (Some("x.example.com"), "/a", Some(id), true),
        (Some("y.example.com"), "/a", None, false),
        (None, "/A", None, false),
    ] {
        assert_eq!(routes::same_path(&mut tx, home, host, path, except).await.unwrap(), expected);
    }
    tx.commit().await.unwrap();
    for taken in [new_route(home, "/a"), hosted] {
        let mut tx = db.write().await.unwrap();
        assert_conflict(routes::insert(&mut tx, &taken, at(1)).await, None);
    }
    let mut tx = db.write().await.unwrap();
    assert!(routes::delete(&mut tx, id, at(1)).await.unwrap());
    assert!(!routes::delete(&mut tx, id, at(1)).await.unwrap());
    assert!(!routes::same_path(&mut tx, home, None, "/a", None).await.unwrap());
    assert_ne!(route(&mut tx, home, "/a").await, id);
});

on_both!(module_and_parent_must_exist, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    tx.commit().await.unwrap();
    let orphan = NewRoute { parent_id: Some(RouteId(999)), ..new_route(home, "/a") };
    for refused in [new_route(ModuleId(999), "/a"), orphan] {
        let mut tx = db.write().await.unwrap();
        let outcome = routes::insert(&mut tx, &refused, at(1)).await;
        assert!(matches!(outcome, Err(Error::Reference)), "{outcome:?}");
    }
});

on_both!(lists_are_filtered, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let home = module(&mut tx, "home", &[]).await;
    let other = module(&mut tx, "other", &[]).await;
    let parent = NewRoute { role_ids: vec![admin], priority: 5, ..new_route(home, "/top_100%") };
    let parent = routes::insert(&mut tx, &parent, at(0)).await.unwrap();
    let child =
        |path, is_active| NewRoute { parent_id: Some(parent), is_active, is_sidebar: false, ..new_route(home, path) };
    let one = routes::insert(&mut tx, &child("/one", true), at(0)).await.unwrap();
    let two = routes::insert(&mut tx, &child("/two", false), at(0)).await.unwrap();
    let gone = routes::insert(&mut tx, &child("/gone", true), at(0)).await.unwrap();
    routes::delete(&mut tx, gone, at(1)).await.unwrap();
    let away = routes::insert(&mut tx, &NewRoute { priority: 9, ..gateway_route(other) }, at(0)).await.unwrap();
    let all = Filter::default;
    for (filter, expected) in [
        (all(), vec![one, two, parent, away]),
        (Filter { module_id: Some(home), ..all() }, vec![one, two, parent]),
        (Filter { parent_id: Some(parent), ..all() }, vec![one, two]),
        (Filter { top_level: true, ..all() }, vec![parent, away]),
        (Filter { search: Some("P_1".to_owned()), ..all() }, vec![parent]),
        (Filter { search: Some("t_1".to_owned()), ..all() }, vec![]),
        (Filter { search: Some("0%".to_owned()), ..all() }, vec![parent]),
        (Filter { search: Some("AT /ONE".to_owned()), ..all() }, vec![one]),
        (Filter { is_active: Some(false), ..all() }, vec![two]),
        (Filter { is_sidebar: Some(true), ..all() }, vec![parent]),
        (Filter { module_id: Some(ModuleId(999)), ..all() }, vec![]),
    ] {
        let found = routes::list(&mut tx, &filter, Page::ALL).await.unwrap();
        assert_eq!(found.iter().map(|row| row.route.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(routes::count(&mut tx, &filter).await.unwrap(), i64::try_from(expected.len()).unwrap());
    }
    let rows = routes::list(&mut tx, &all(), Page { skip: 1, limit: 2 }).await.unwrap();
    assert_eq!(rows[0].route, routes::get(&mut tx, two).await.unwrap().unwrap());
    assert_eq!((rows[0].module_name.as_deref(), rows[0].parent_route.as_deref()), (Some("home"), Some("/top_100%")));
    assert_eq!((rows[0].children_count, rows[0].shown_to.roles.len()), (0, 0));
    assert_eq!((rows[1].parent_route.as_deref(), rows[1].children_count), (None, 2));
    assert_eq!(rows[1].shown_to.roles, routes::roles(&mut tx, parent).await.unwrap());
    let ids = |found: Vec<cedargate::model::Route>| found.into_iter().map(|route| route.id).collect::<Vec<_>>();
    assert_eq!(ids(routes::children(&mut tx, parent).await.unwrap()), [one, two]);
    let both = routes::of_modules(&mut tx, &[home, other, ModuleId(999)]).await.unwrap();
    assert_eq!(both.iter().map(|(route, _)| route.id).collect::<Vec<_>>(), [one, two, parent, away]);
    assert_eq!(both.iter().map(|(_, shown_to)| shown_to.roles.len()).collect::<Vec<_>>(), [0, 0, 1, 0]);
    assert_eq!(routes::of_modules(&mut tx, &[other]).await.unwrap().len(), 1);
    let wanted = [two, gone, parent, RouteId(999)];
    assert_eq!(ids(routes::get_many(&mut tx, &wanted).await.unwrap()), [parent, two]);
    let mut some = routes::rows(&mut tx, &wanted).await.unwrap();
    some.sort_by_key(|row| row.route.priority);
    assert_eq!((some.len(), &some[0], &some[1]), (2, &rows[0], &rows[1]));
    assert_eq!(routes::children_of(&mut tx, &wanted).await.unwrap(), [(parent, one), (parent, two)]);
    let with_deleted = Filter { parent_id: Some(parent), include_deleted: true, ..all() };
    let shown = routes::list(&mut tx, &with_deleted, Page::ALL).await.unwrap();
    let shown: Vec<_> = shown.into_iter().map(|row| (row.route.id, row.deleted_at)).collect();
    assert_eq!(shown, [(one, None), (two, None), (gone, Some(at(1)))]);
    assert_eq!(routes::count(&mut tx, &with_deleted).await.unwrap(), 3);
    let blog = UpstreamName::try_from("blog").unwrap();
    assert_eq!(ids(routes::using_upstream(&mut tx, &blog).await.unwrap()), [away]);
});

on_both!(a_deletion_can_be_taken_back, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    let [one, two] = [route(&mut tx, home, "/one").await, route(&mut tx, home, "/two").await];
    assert_eq!(routes::delete_many(&mut tx, &[one, two, RouteId(999)], at(1)).await.unwrap(), 2);
    assert_eq!(routes::delete_many(&mut tx, &[one, two], at(1)).await.unwrap(), 0);
    assert!(routes::restore(&mut tx, one, at(2)).await.unwrap());
    assert!(!routes::restore(&mut tx, one, at(2)).await.unwrap());
    assert_eq!(routes::get(&mut tx, one).await.unwrap().unwrap().updated_at, Some(at(2)));
    route(&mut tx, home, "/two").await;
    assert_conflict(routes::restore(&mut tx, two, at(2)).await, None);
});

on_both!(several_are_switched_and_put_in_order, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    let [one, two, gone] =
        [route(&mut tx, home, "/1").await, route(&mut tx, home, "/2").await, route(&mut tx, home, "/3").await];
    routes::delete(&mut tx, gone, at(1)).await.unwrap();
    let all = [two, gone, one, RouteId(999)];
    assert_eq!(routes::set_active(&mut tx, &all[..1], false, at(2)).await.unwrap(), 1);
    assert_eq!(routes::set_active(&mut tx, &all, false, at(3)).await.unwrap(), 1);
    let places = [(two, 3), (one, 70), (gone, 1), (RouteId(999), 2)];
    assert_eq!(routes::reorder(&mut tx, &places, at(4)).await.unwrap(), 2);
    let found = routes::get_many(&mut tx, &all).await.unwrap();
    let seen: Vec<_> = found.iter().map(|row| (row.id, row.is_active, row.priority, row.updated_at)).collect();
    assert_eq!(seen, [(one, false, 70, Some(at(4))), (two, false, 3, Some(at(4)))]);
});

on_both!(roles_are_bound_one_by_one, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let admin = role(&mut tx, "admin", &[]).await;
    let home = module(&mut tx, "home", &[]).await;
    let id = route(&mut tx, home, "/one").await;
    assert!(routes::bind(&mut tx, id, admin).await.unwrap());
    assert!(!routes::bind(&mut tx, id, admin).await.unwrap());
    assert!(!routes::bind(&mut tx, id, RoleId(999)).await.unwrap());
    assert_eq!(routes::roles(&mut tx, id).await.unwrap().iter().map(|role| role.id).collect::<Vec<_>>(), [admin]);
    assert!(routes::unbind(&mut tx, id, admin).await.unwrap());
    assert!(!routes::unbind(&mut tx, id, admin).await.unwrap());
});
