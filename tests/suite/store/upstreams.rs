use cedargate::{
    model::{
        Balance, Ejection, HashOn, HealthCheck, NewUpstream, Protocol, Target, Timeouts, Tls, Upstream, UpstreamId,
        UpstreamPatch,
    },
    store::{Page, upstreams, upstreams::Filter},
};

use super::{assert_conflict, at, new_upstream, upstream};
use crate::support::migrated;

fn fleet() -> NewUpstream {
    NewUpstream {
        protocol: Protocol::Http2,
        balance: Balance::ConsistentHash,
        hash_on: HashOn::Header("x-tenant".to_owned()),
        tls: Some(Tls {
            server_name: "blog.example.com".to_owned(),
            ca: Some("-----BEGIN CERTIFICATE-----".to_owned()),
            client_certificate: Some("fleet".to_owned()),
        }),
        host_header: Some("blog".to_owned()),
        timeouts: Timeouts { idle_ms: 7, ..Timeouts::default() },
        retry_budget_percent: 5,
        health_check: Some(HealthCheck {
            path: Some("/healthz".to_owned()),
            interval_ms: 1,
            timeout_ms: 2,
            healthy_after: 3,
            unhealthy_after: 4,
            status: vec![200, 503],
        }),
        ejection: None,
        max_body_bytes: Some(1 << 40),
        ..new_upstream("blog")
    }
}

/// What is found where `new` was stored.
fn stored(id: UpstreamId, new: NewUpstream) -> Upstream {
    let NewUpstream { name, is_active, protocol, targets, balance, hash_on, tls, host_header, timeouts, .. } = new;
    let NewUpstream { retries, retry_budget_percent, health_check, ejection, max_body_bytes, .. } = new;
    Upstream {
        id,
        name,
        is_active,
        protocol,
        targets,
        balance,
        hash_on,
        tls,
        host_header,
        timeouts,
        retries,
        retry_budget_percent,
        health_check,
        ejection,
        max_body_bytes,
    }
}

on_both!(an_upstream_round_trips, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let id = upstreams::insert(&mut tx, &fleet(), at(0)).await.unwrap();
    let found = upstreams::get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!(found, stored(id, fleet()));
    assert_eq!(upstreams::list(&mut tx, &Filter::default(), Page::ALL).await.unwrap()[0].upstream, found);

    assert!(upstreams::update(&mut tx, id, &UpstreamPatch::default(), at(1)).await.unwrap());
    assert_eq!(upstreams::get(&mut tx, id).await.unwrap().unwrap(), found);
    let other = NewUpstream {
        name: "news".try_into().unwrap(),
        is_active: false,
        targets: vec![Target { address: "back:1".to_owned(), weight: 1 }],
        hash_on: HashOn::Cookie("Session".to_owned()),
        timeouts: Timeouts { connect_ms: 5, ..Timeouts::default() },
        retries: 0,
        ejection: Some(Ejection { failures: 9, ms: 900 }),
        ..new_upstream("news")
    };
    let patch = UpstreamPatch {
        name: Some(other.name.clone()),
        is_active: Some(false),
        protocol: Some(other.protocol),
        targets: Some(other.targets.clone()),
        balance: Some(other.balance),
        hash_on: Some(other.hash_on.clone()),
        tls: Some(None),
        host_header: Some(None),
        timeouts: Some(other.timeouts),
        retries: Some(0),
        retry_budget_percent: Some(other.retry_budget_percent),
        health_check: Some(None),
        ejection: Some(other.ejection),
        max_body_bytes: Some(None),
    };
    assert!(upstreams::update(&mut tx, id, &patch, at(2)).await.unwrap());
    assert_eq!(upstreams::get(&mut tx, id).await.unwrap().unwrap(), stored(id, other));
    let without = UpstreamPatch { ejection: Some(None), ..UpstreamPatch::default() };
    assert!(upstreams::update(&mut tx, id, &without, at(3)).await.unwrap());
    assert_eq!(upstreams::get(&mut tx, id).await.unwrap().unwrap().ejection, None);
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
