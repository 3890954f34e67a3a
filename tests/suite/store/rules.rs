use cedargate::{
    model::{
        NewPolicy, NewRoute, PolicyId, RolePatch, UserId,
        rules::{GrantRule, Part, PolicyRule, PolicyText, RouteRule, Rules},
    },
    store::{changes::Change, modules, permissions, policies, roles, routes, rules, upstreams},
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
    assert_eq!((found.roles[0].parents.len(), &found.roles[1].parents), (0, &vec![base, gone_role]));
    assert_eq!(found.permissions.iter().map(|permission| permission.id).collect::<Vec<_>>(), [read]);
    assert_eq!(found.grants, [GrantRule { role_id: editor, permission_id: read }]);
    assert_eq!(found.modules.iter().map(|module| module.id).collect::<Vec<_>>(), [home]);
    assert_eq!(found.routes.iter().map(|route| route.id).collect::<Vec<_>>(), [forwarded, unbound]);
    assert_eq!(found.routes[0], routes::get(&mut tx, forwarded).await.unwrap().unwrap());
    assert_eq!(found.route_roles.into_iter().collect::<Vec<_>>(), [(forwarded, vec![base, editor, gone_role])]);
    assert_eq!(found.upstreams, [upstreams::get(&mut tx, blog).await.unwrap().unwrap()]);
    let policy = |id, name: &str| PolicyRule {
        id: PolicyId(id),
        text: PolicyText { name: name.try_into().unwrap(), source: "permit;".to_owned() },
    };
    assert_eq!(found.policies, [policy(1, "second"), policy(2, "first")]);
});

// Each part is told as the whole tells it.
on_both!(parts_are_read_by_themselves, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (read, gone) = (permission(&mut tx, "a:read").await, permission(&mut tx, "a:gone").await);
    let base = role(&mut tx, "base", &[]).await;
    let editor = role(&mut tx, "editor", &[gone, read]).await;
    let gone_role = role(&mut tx, "gone", &[read]).await;
    assert!(roles::inherit(&mut tx, editor, gone_role).await.unwrap());
    assert!(roles::inherit(&mut tx, editor, base).await.unwrap());
    let (home, gone_module) = (module(&mut tx, "home", &[]).await, module(&mut tx, "gone", &[]).await);
    let blog = upstream(&mut tx, "blog").await;
    let to_blog = |path| NewRoute {
        upstream: Some("blog".try_into().unwrap()),
        role_ids: vec![editor, base],
        ..new_route(home, path)
    };
    let forwarded = routes::insert(&mut tx, &to_blog("/b"), at(0)).await.unwrap();
    let gone_route = routes::insert(&mut tx, &to_blog("/c"), at(0)).await.unwrap();
    let unseen = routes::insert(&mut tx, &new_route(home, "/navigation"), at(0)).await.unwrap();
    let policy = |is_active| NewPolicy {
        name: format!("p{is_active}").as_str().try_into().unwrap(),
        description: None,
        source: "permit;".to_owned(),
        is_active,
    };
    let deciding = policies::insert(&mut tx, &policy(true), at(0)).await.unwrap();
    let asleep = policies::insert(&mut tx, &policy(false), at(0)).await.unwrap();
    permissions::delete(&mut tx, gone, at(1)).await.unwrap();
    roles::delete(&mut tx, gone_role, at(1)).await.unwrap();
    modules::delete(&mut tx, gone_module, at(1)).await.unwrap();
    routes::delete(&mut tx, gone_route, at(1)).await.unwrap();
    let all = rules::load(&mut tx).await.unwrap();
    let route = RouteRule { route: all.routes[0].clone(), roles: all.route_roles[&forwarded].clone() };
    let parts = [
        (Change::Role(editor), Part::Role(editor, Some((all.roles[1].clone(), vec![read])))),
        (Change::Role(gone_role), Part::Role(gone_role, None)),
        (Change::Permission(read), Part::Permission(read, Some((all.permissions[0].clone(), vec![editor])))),
        (Change::Permission(gone), Part::Permission(gone, None)),
        (Change::Module(home), Part::Module(home, Some((all.modules[0].clone(), vec![route.clone()])))),
        (Change::Module(gone_module), Part::Module(gone_module, None)),
        (Change::Route(forwarded), Part::Route(forwarded, Some(route))),
        (Change::Route(gone_route), Part::Route(gone_route, None)),
        (Change::Route(unseen), Part::Route(unseen, None)),
        (Change::Policy(deciding), Part::Policy(deciding, Some(all.policies[0].text.clone()))),
        (Change::Policy(asleep), Part::Policy(asleep, None)),
        (Change::Upstream(blog), Part::Upstream(blog, Some(all.upstreams[0].clone()))),
    ];
    for (change, part) in parts {
        assert_eq!(rules::part(&mut tx, &change).await.unwrap(), Some(part));
    }
    upstreams::delete(&mut tx, blog, at(1)).await.unwrap();
    let none = rules::part(&mut tx, &Change::Upstream(blog)).await.unwrap();
    assert_eq!(none, Some(Part::Upstream(blog, None)));
    for change in [Change::Rules, Change::Files, Change::User(UserId(1)), Change::Revocation("k".to_owned())] {
        assert_eq!(rules::part(&mut tx, &change).await.unwrap(), None);
    }
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
