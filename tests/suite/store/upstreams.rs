use cedargate::{
    model::{NewUpstream, Target, Timeouts, Tls, UpstreamId, UpstreamPatch},
    store::{Page, upstreams, upstreams::Filter},
};

use super::{assert_conflict, at, new_upstream, upstream};
use crate::support::migrated;

on_both!(an_upstream_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let new = NewUpstream {
        tls: Some(Tls { server_name: "blog.example.com".to_owned(), ca: None, client_certificate: None }),
        host_header: Some("blog".to_owned()),
        max_body_bytes: Some(1 << 40),
        ..new_upstream("blog")
    };
    let id = upstreams::insert(&mut tx, &new, at(0)).await.unwrap();
    let found = upstreams::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((&found.name, found.is_active, found.protocol), (&new.name, true, new.protocol));
    assert_eq!((&found.targets, found.balance, &found.tls), (&new.targets, new.balance, &new.tls));
    assert_eq!((&found.host_header, found.timeouts, found.retries), (&new.host_header, new.timeouts, 1));
    assert_eq!((&found.health_check, found.max_body_bytes), (&None, Some(1 << 40)));

    assert!(upstreams::update(&mut tx, id, &UpstreamPatch::default(), at(1)).await.unwrap());
    assert_eq!(upstreams::get(&mut tx, id).await.unwrap().unwrap(), found);
    let patch = UpstreamPatch {
        name: Some("news".try_into().unwrap()),
        is_active: Some(false),
        targets: Some(vec![Target { address: "back:1".to_owned(), weight: 1 }]),
        tls: Some(None),
        host_header: Some(None),
        timeouts: Some(Timeouts { connect_ms: 5, ..Timeouts::default() }),
        retries: Some(0),
        max_body_bytes: Some(None),
        ..UpstreamPatch::default()
    };
    assert!(upstreams::update(&mut tx, id, &patch, at(2)).await.unwrap());
    let changed = upstreams::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.is_active, changed.retries), ("news", false, 0));
    assert_eq!((changed.tls, changed.host_header, changed.max_body_bytes), (None, None, None));
    assert_eq!((changed.targets, changed.timeouts.connect_ms), (patch.targets.unwrap(), 5));
    assert_eq!(upstreams::get(&mut tx, UpstreamId(999)).await.unwrap(), None);
});

on_both!(a_name_is_unique_until_deleted, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let a = upstream(&mut tx, "a").await;
    let b = upstream(&mut tx, "b").await;
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    assert_conflict(upstreams::insert(&mut tx, &new_upstream("a"), at(1)).await, Some("name"));
    drop(tx);
    let mut tx = db.write().await.unwrap();
    let ids = |found: Vec<upstreams::UpstreamRow>| found.into_iter().map(|row| row.upstream.id).collect::<Vec<_>>();
    assert_eq!(ids(upstreams::list(&mut tx, &Filter::default(), Page::ALL).await.unwrap()), [a, b]);
    assert_eq!(ids(upstreams::list(&mut tx, &Filter::default(), Page { skip: 1, limit: 5 }).await.unwrap()), [b]);
    assert_eq!(upstreams::find(&mut tx, "a").await.unwrap(), Some(a));
    assert!(upstreams::delete(&mut tx, a, at(1)).await.unwrap());
    assert!(!upstreams::delete(&mut tx, a, at(1)).await.unwrap());
    assert_eq!(
        (upstreams::find(&mut tx, "a").await.unwrap(), upstreams::count(&mut tx, &Filter::default()).await.unwrap()),
        (None, 1)
    );
    let with_deleted = Filter { include_deleted: true, ..Filter::default() };
    let all = upstreams::list(&mut tx, &with_deleted, Page::ALL).await.unwrap();
    assert_eq!(all.iter().map(|row| row.deleted_at).collect::<Vec<_>>(), [Some(at(1)), None]);
    assert_eq!(upstreams::count(&mut tx, &with_deleted).await.unwrap(), 2);
    assert!(upstreams::restore(&mut tx, a, at(2)).await.unwrap());
    assert!(!upstreams::restore(&mut tx, a, at(2)).await.unwrap());
    assert_eq!(upstreams::find(&mut tx, "a").await.unwrap(), Some(a));
    assert!(upstreams::delete(&mut tx, a, at(3)).await.unwrap());
    assert_ne!(upstream(&mut tx, "a").await, a);
    assert_conflict(upstreams::restore(&mut tx, a, at(4)).await, Some("name"));
});
