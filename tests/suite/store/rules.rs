use cedargate::{
    model::{
        NewRoute, RolePatch,
        rules::{GrantRule, PolicyRule, Rules},
    },
    store::{modules, permissions, roles, routes, rules, upstreams},
};

use super::{at, module, new_route, permission, role, upstream};
use crate::support::migrated;

on_both!(an_empty_database_has_no_rules, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    assert_eq!(rules::load(&mut db.read().await.unwrap()).await.unwrap(), Rules::default());
});

on_both!(rules_hold_what_is_not_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let read = permission(&mut tx, "a:read").await;
    let gone_permission = permission(&mut tx, "a:gone").await;
    let base = role(&mut tx, "base", &[]).await;
    let editor = role(&mut tx, "editor", &[gone_permission, read]).await;
    let gone_role = role(&mut tx, "gone", &[read]).await;
    assert!(roles::inherit(&mut tx, editor, gone_role).await.unwrap());
    assert!(roles::inherit(&mut tx, editor, base).await.unwrap());
    assert!(!roles::inherit(&mut tx, editor, base).await.unwrap());
    assert!(roles::inherit(&mut tx, gone_role, base).await.unwrap());
    let home = module(&mut tx, "home", &[]).await;
    let gone_module = module(&mut tx, "gone", &[]).await;
    let blog = upstream(&mut tx, "blog").await;
    let gone_upstream = upstream(&mut tx, "gone").await;
    let to_blog = |module, path| NewRoute {
        upstream: Some("blog".try_into().unwrap()),
        role_ids: vec![gone_role, editor, base],
        ..new_route(module, path)
    };
    let forwarded = routes::insert(&mut tx, &to_blog(home, "/b"), at(0)).await.unwrap();
    let unbound = NewRoute { role_ids: Vec::new(), ..to_blog(home, "/a") };
    let unbound = routes::insert(&mut tx, &unbound, at(0)).await.unwrap();
    let gone_route = routes::insert(&mut tx, &to_blog(home, "/c"), at(0)).await.unwrap();
    routes::insert(&mut tx, &to_blog(gone_module, "/d"), at(0)).await.unwrap();
    routes::insert(&mut tx, &new_route(home, "/navigation"), at(0)).await.unwrap();
    for (name, is_active) in [("second", true), ("first", true), ("off", false)] {
        tx.query("INSERT INTO policies (name, source, is_active, created_at) VALUES ($1, 'permit;', $2, $3)")
            .bind(name)
            .bind(is_active)
            .bind(at(0))
            .execute()
            .await
            .unwrap();
    }
    permissions::delete(&mut tx, gone_permission, at(1)).await.unwrap();
    roles::delete(&mut tx, gone_role, at(1)).await.unwrap();
    modules::delete(&mut tx, gone_module, at(1)).await.unwrap();
    upstreams::delete(&mut tx, gone_upstream, at(1)).await.unwrap();
    routes::delete(&mut tx, gone_route, at(1)).await.unwrap();
    let off = RolePatch { is_active: Some(false), ..RolePatch::default() };
    roles::update(&mut tx, base, &off, at(1)).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let found = rules::load(&mut tx).await.unwrap();
    assert_eq!(found.roles.iter().map(|role| role.id).collect::<Vec<_>>(), [base, editor]);
    assert_eq!((found.roles[0].is_active, found.roles[1].is_active), (false, true));
    assert_eq!((found.roles[0].parents.len(), &found.roles[1].parents), (0, &vec![base]));
    assert_eq!(found.permissions.iter().map(|permission| permission.id).collect::<Vec<_>>(), [read]);
    assert_eq!(found.grants, [GrantRule { role_id: editor, permission_id: read }]);
    assert_eq!(found.modules.iter().map(|module| module.id).collect::<Vec<_>>(), [home]);
    assert_eq!(found.routes.iter().map(|route| route.id).collect::<Vec<_>>(), [forwarded, unbound]);
    assert_eq!(found.routes[0], routes::get(&mut tx, forwarded).await.unwrap().unwrap());
    assert_eq!(found.route_roles.into_iter().collect::<Vec<_>>(), [(forwarded, vec![base, editor])]);
    assert_eq!(found.upstreams, [upstreams::get(&mut tx, blog).await.unwrap().unwrap()]);
    let policy = |name: &str| PolicyRule { name: name.to_owned(), source: "permit;".to_owned() };
    assert_eq!(found.policies, [policy("second"), policy("first")]);
});

on_both!(inheritance_ends, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let base = role(&mut tx, "base", &[]).await;
    let editor = role(&mut tx, "editor", &[]).await;
    assert!(roles::inherit(&mut tx, editor, base).await.unwrap());
    assert!(roles::disinherit(&mut tx, editor, base).await.unwrap());
    assert!(!roles::disinherit(&mut tx, editor, base).await.unwrap());
    assert!(roles::inherit(&mut tx, editor, editor).await.is_err());
});
