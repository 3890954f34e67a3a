use cedargate::{
    model::{ModuleId, NewModule, NewRoute, PermissionId, RoleId, RouteId, RoutePatch},
    store::{Tx, modules, navigation, route_permissions, routes},
};

use super::{at, module, new_module, new_route, permission, permission_rows, role, route};
use crate::support::migrated;

async fn insert(tx: &mut Tx, new: NewRoute) -> RouteId {
    routes::insert(tx, &new, at(0)).await.unwrap()
}

on_both!(menus_hold_what_is_on_and_meant_for_the_roles, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let [ann, bob] = [role(&mut tx, "ann", &[]).await, role(&mut tx, "bob", &[]).await];
    let late = NewModule { priority: 5, ..new_module("zz", &[ann, bob]) };
    let late = modules::insert(&mut tx, &late, at(0)).await.unwrap();
    let early = module(&mut tx, "early", &[ann]).await;
    let off = NewModule { is_active: false, ..new_module("off", &[ann]) };
    let off = modules::insert(&mut tx, &off, at(0)).await.unwrap();
    let gone = module(&mut tx, "gone", &[ann]).await;
    modules::delete(&mut tx, gone, at(1)).await.unwrap();
    let seen = async |tx: &mut Tx, roles: &[RoleId]| {
        let found = navigation::modules(tx, roles).await.unwrap();
        found.into_iter().map(|module| module.id).collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut tx, &[ann]).await, [early, late]);
    assert_eq!(seen(&mut tx, &[bob, RoleId(999)]).await, [late]);
    assert_eq!(seen(&mut tx, &[]).await, []);

    let of = |module, path: &str, roles: &[RoleId]| NewRoute { role_ids: roles.to_vec(), ..new_route(module, path) };
    let last = insert(&mut tx, NewRoute { priority: 9, ..of(early, "/last", &[ann, bob]) }).await;
    let first = insert(&mut tx, of(early, "/first", &[ann])).await;
    let below = insert(&mut tx, NewRoute { parent_id: Some(last), ..of(early, "/below", &[bob]) }).await;
    insert(&mut tx, NewRoute { is_active: false, ..of(early, "/off", &[ann]) }).await;
    insert(&mut tx, NewRoute { is_sidebar: false, ..of(early, "/hidden", &[ann]) }).await;
    let deleted = insert(&mut tx, of(early, "/deleted", &[ann])).await;
    routes::delete(&mut tx, deleted, at(1)).await.unwrap();
    let nobodys = insert(&mut tx, of(early, "/nobodys", &[])).await;
    insert(&mut tx, of(off, "/in-off", &[ann])).await;
    let elsewhere = insert(&mut tx, of(late, "/elsewhere", &[ann])).await;
    let ids = |found: &[navigation::Entry]| found.iter().map(|entry| entry.id).collect::<Vec<_>>();
    let entries = navigation::entries(&mut tx, &[early, ModuleId(999)], &[bob, ann]).await.unwrap();
    assert_eq!(ids(&entries), [first, below, last]);
    assert_eq!((entries[1].parent_id, entries[1].module_name.as_str()), (Some(last), "early"));
    assert_eq!((entries[2].priority, entries[2].module_id, entries[2].route.as_str()), (9, early, "/last"));
    assert_eq!(ids(&navigation::entries(&mut tx, &[early, late], &[bob]).await.unwrap()), [below, last]);
    assert_eq!(ids(&navigation::entries(&mut tx, &[], &[ann]).await.unwrap()), []);
    // By module and label, whatever the roles.
    let all = navigation::all_entries(&mut tx).await.unwrap();
    assert_eq!(ids(&all), [below, first, last, nobodys, elsewhere]);

    for (path, roles, expected) in [
        ("/first", vec![bob, ann], true),
        ("/first", vec![bob], false),
        ("/first", vec![], false),
        ("/First", vec![ann], false),
        ("/hidden", vec![ann], true),
        ("/off", vec![ann], false),
        ("/in-off", vec![ann], false),
        ("/deleted", vec![ann], false),
        ("/\0", vec![ann], false),
    ] {
        assert_eq!(navigation::shows(&mut tx, path, &roles).await.unwrap(), expected, "{path} {roles:?}");
    }
    let forwarded = NewRoute { upstream: Some("blog".try_into().unwrap()), ..of(early, "/forwarded", &[ann]) };
    insert(&mut tx, forwarded).await;
    assert!(!navigation::shows(&mut tx, "/forwarded", &[ann]).await.unwrap());
});

on_both!(a_way_leads_up_to_the_root, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    let mut way = vec![route(&mut tx, home, "/0").await];
    for number in 1..100 {
        let new = NewRoute { parent_id: way.last().copied(), ..new_route(home, &format!("/{number}")) };
        way.push(insert(&mut tx, new).await);
    }
    route(&mut tx, home, "/other").await;
    let mut up = navigation::ancestry(&mut tx, way[99]).await.unwrap();
    up.reverse();
    assert_eq!(up, way);
    assert_eq!(navigation::ancestry(&mut tx, way[0]).await.unwrap(), [way[0]]);
    assert_eq!(navigation::ancestry(&mut tx, RouteId(999)).await.unwrap(), []);
    // The API refuses this; the table does not.
    let patch = RoutePatch { parent_id: Some(Some(way[99])), ..RoutePatch::default() };
    routes::update(&mut tx, way[0], &patch, at(1)).await.unwrap();
    let round = navigation::ancestry(&mut tx, way[99]).await.unwrap();
    assert_eq!((round.len(), round[0], round[99]), (100, way[99], way[0]));
    routes::delete(&mut tx, way[50], at(1)).await.unwrap();
    assert_eq!(navigation::ancestry(&mut tx, way[52]).await.unwrap(), [way[52], way[51]]);
    assert_eq!(navigation::ancestry(&mut tx, way[50]).await.unwrap(), []);
});

on_both!(permissions_show_routes_too, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (read, other, gone) = (
        permission(&mut tx, "book:read").await,
        permission(&mut tx, "book:update").await,
        permission(&mut tx, "book:delete").await,
    );
    let (ann, bob) = (role(&mut tx, "ann", &[read, gone]).await, role(&mut tx, "bob", &[other]).await);
    let home = module(&mut tx, "home", &[]).await;
    let (shelf, bare) = (route(&mut tx, home, "/shelf").await, route(&mut tx, home, "/bare").await);
    route_permissions::replace(&mut tx, shelf, &[gone, read, PermissionId(999)]).await.unwrap();
    let bound = route_permissions::of(&mut tx, [shelf, bare]).await.unwrap();
    assert_eq!(bound, [(shelf, vec![read, gone])].into());
    let mut sees = async |role: RoleId| {
        let listed = navigation::entries(&mut tx, &[home], &[role]).await.unwrap();
        assert_eq!(navigation::shows(&mut tx, "/shelf", &[role]).await.unwrap(), !listed.is_empty());
        listed.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!((sees(ann).await, sees(bob).await), (vec![shelf], vec![]));
    // One that is inactive or deleted shows nothing.
    permission_rows::activate(&mut tx, &[read], false, at(1)).await.unwrap();
    assert!(navigation::shows(&mut tx, "/shelf", &[ann]).await.unwrap());
    permission_rows::delete(&mut tx, gone, at(1)).await.unwrap();
    assert!(!navigation::shows(&mut tx, "/shelf", &[ann]).await.unwrap());
    assert_eq!(route_permissions::of(&mut tx, [shelf]).await.unwrap(), [(shelf, vec![read])].into());
    route_permissions::replace(&mut tx, shelf, &[other]).await.unwrap();
    assert!(navigation::shows(&mut tx, "/shelf", &[bob]).await.unwrap());
    route_permissions::replace(&mut tx, shelf, &[]).await.unwrap();
    assert!(!navigation::shows(&mut tx, "/shelf", &[bob]).await.unwrap());
});
