use std::collections::BTreeMap;

use super::*;
use crate::model::{Balance, Ejection, HashOn, HealthCheck, Protocol, Target, Timeouts};
use crate::telemetry::TargetFault;

fn upstream(targets: &[(&str, u32)]) -> Upstream {
    let target = |(address, weight): &(&str, u32)| Target { address: (*address).to_owned(), weight: *weight };
    Upstream {
        id: UpstreamId(1),
        name: "a".try_into().unwrap(),
        is_active: true,
        protocol: Protocol::Http1,
        targets: targets.iter().map(target).collect(),
        balance: Balance::RoundRobin,
        hash_on: HashOn::default(),
        tls: None,
        host_header: None,
        timeouts: Timeouts::default(),
        retries: 0,
        retry_budget_percent: Upstream::RETRY_BUDGET_PERCENT,
        health_check: None,
        ejection: Some(Ejection { failures: 2, ms: 60_000 }),
        max_body_bytes: None,
    }
}

const THREE: &[(&str, u32)] = &[("127.0.0.1:1", 1), ("127.0.0.1:2", 1), ("127.0.0.1:3", 1)];

fn upstreams() -> Upstreams {
    Upstreams::new(Vec::new(), Certificates::new(), Arc::new(Metrics::new("1").unwrap()))
}

fn counts(fleet: &Fleet, key: &[u8], times: usize) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let chosen = fleet.choose(key, &[]).unwrap();
        assert_ne!(chosen.stood, Stood::Trial);
        *counts.entry(chosen.index).or_default() += 1;
    }
    counts
}

fn fail(fleet: &Fleet, index: usize, times: usize) {
    for _ in 0..times {
        fleet.failed(Chosen { index, stood: Stood::Well }, "closed");
    }
}

#[test]
fn weights_share_the_turns() {
    let upstreams = upstreams();
    let fleet = upstreams.fleet(&Arc::new(upstream(&[("127.0.0.1:1", 1), ("127.0.0.1:2", 3)])), 1);
    assert_eq!(counts(&fleet, b"", 8), [(0, 2), (1, 6)].into());
    assert_eq!(fleet.choose(b"", &[1]).unwrap().index, 0);
    assert_eq!(fleet.choose(b"", &[0]).unwrap().index, 1);
    // Which costs nobody a turn.
    assert_eq!(counts(&fleet, b"", 8), [(0, 2), (1, 6)].into());
    // Who has nobody else to ask asks the same again.
    assert!(fleet.choose(b"", &[0, 1]).is_some());
}

#[test]
fn who_fails_is_left_out_and_the_others_share_its_work() {
    let upstreams = upstreams();
    let fleet = upstreams.fleet(&Arc::new(upstream(THREE)), 1);
    let (_, group) = fleet.place(0).unwrap();
    fail(&fleet, 0, 1);
    fleet.answered(Chosen { index: 0, stood: Stood::Well });
    fail(&fleet, 0, 1);
    assert_eq!(counts(&fleet, b"", 30).len(), 3);
    fail(&fleet, 0, 1);
    assert_eq!(counts(&fleet, b"", 60), [(1, 30), (2, 30)].into());
    assert_ne!(fleet.place(0).unwrap().1, group);
    fail(&fleet, 1, 2);
    assert_eq!(counts(&fleet, b"", 30), [(2, 30)].into());
    // The last one stays, whatever it does.
    fail(&fleet, 2, 20);
    assert_eq!(counts(&fleet, b"", 30), [(2, 30)].into());
    let out = upstreams.metrics.targets().out();
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|(name, target)| name == "a" && target.out.as_ref().unwrap().by == TargetFault::Requests));
}

#[test]
fn one_request_tries_who_was_left_out() {
    let upstreams = upstreams();
    let mut quick = upstream(THREE);
    quick.ejection = Some(Ejection { failures: 1, ms: 0 });
    let fleet = upstreams.fleet(&Arc::new(quick), 1);
    fail(&fleet, 0, 1);
    let trial = (0..9).map(|_| fleet.choose(b"", &[]).unwrap()).find(|chosen| chosen.index == 0).unwrap();
    assert_eq!(trial.stood, Stood::Trial);
    // Nobody else does meanwhile.
    assert_eq!(counts(&fleet, b"", 30).keys().collect::<Vec<_>>(), [&1, &2]);
    fleet.undecided(trial);
    let trial = (0..9).map(|_| fleet.choose(b"", &[]).unwrap()).find(|chosen| chosen.index == 0).unwrap();
    fleet.answered(trial);
    assert_eq!(counts(&fleet, b"", 30), [(0, 10), (1, 10), (2, 10)].into());
    assert_eq!(upstreams.metrics.targets().out(), []);
}

#[test]
fn all_are_asked_when_all_are_out() {
    let upstreams = upstreams();
    let mut checked = upstream(THREE);
    checked.health_check = Some(HealthCheck { unhealthy_after: 1, ..HealthCheck::default() });
    let fleet = upstreams.fleet(&Arc::new(checked), 1);
    (0..3).for_each(|index| fleet.checked(index, Err("status")));
    assert_eq!(counts(&fleet, b"", 30), [(0, 10), (1, 10), (2, 10)].into());
    assert_eq!(fleet.meter.all_out.get(), 30);
    fleet.checked(1, Ok(()));
    assert_eq!(counts(&fleet, b"", 30), [(1, 30)].into());
    assert_eq!((fleet.meter.checks_failed.get(), fleet.meter.checks_passed.get()), (3, 1));
}

#[test]
fn a_key_stays_where_it_is_and_moves_on_along_the_ring() {
    let upstreams = upstreams();
    let mut hashed = upstream(THREE);
    hashed.balance = Balance::ConsistentHash;
    let fleet = upstreams.fleet(&Arc::new(hashed), 1);
    let place = |key: u32| *counts(&fleet, &key.to_be_bytes(), 5).first_entry().unwrap().key();
    let before: Vec<usize> = (0..300).map(place).collect();
    assert_eq!((0..300).map(place).collect::<Vec<_>>(), before);
    fail(&fleet, 0, 2);
    let after: Vec<usize> = (0..300).map(place).collect();
    for (was, is) in before.iter().zip(&after) {
        assert!(*is != 0 && (was == is || *was == 0));
    }
    assert!(
        before.contains(&0)
            && [1, 2].iter().all(|index| before.iter().zip(&after).any(|(was, is)| *was == 0 && is == index))
    );
}

#[test]
fn what_is_known_of_targets_outlasts_changes() {
    let upstreams = upstreams();
    let first = Arc::new(upstream(THREE));
    let fleet = upstreams.fleet(&first, 1);
    fail(&fleet, 0, 2);
    let group = fleet.place(1).unwrap().1;
    let mut changed = upstream(&[THREE[1], THREE[0], ("127.0.0.1:4", 1)]);
    changed.timeouts.read_ms = 1;
    let changed = Arc::new(changed);
    let fleet = upstreams.fleet(&changed, 2);
    assert_eq!(fleet.place(0).unwrap(), (([127, 0, 0, 1], 2).into(), group));
    assert_eq!(counts(&fleet, b"", 18), [(0, 9), (2, 9)].into());
    // A request that was decided just before takes what there is now.
    assert!(Arc::ptr_eq(&upstreams.fleet(&first, 1), &fleet));
    // Other terms, other connections.
    let mut secure = Upstream::clone(&changed);
    secure.tls = Some(crate::model::Tls { server_name: "a.example".to_owned(), ca: None, client_certificate: None });
    let fleet = upstreams.fleet(&Arc::new(secure), 3);
    assert_ne!(fleet.place(0).unwrap().1, group);
    // Nobody is left out where nobody shall be.
    let mut lenient = upstream(THREE);
    lenient.ejection = None;
    assert_eq!(counts(&upstreams.fleet(&Arc::new(lenient), 4), b"", 30).len(), 3);
    assert_eq!(upstreams.metrics.targets().out(), []);
}

#[test]
fn retries_are_bounded_by_what_was_asked() {
    let upstreams = upstreams();
    let mut patient = upstream(THREE);
    (patient.retries, patient.retry_budget_percent) = (1, 50);
    let fleet = upstreams.fleet(&Arc::new(patient), 1);
    (0..40).for_each(|_| fleet.count(7));
    assert_eq!((0..100).filter(|_| fleet.may_retry(7)).count(), 20);
    assert_eq!((fleet.meter.retried.get(), fleet.meter.over_budget.get()), (20, 80));
}

#[test]
fn what_cannot_be_verified_is_not_asked() {
    let upstreams = upstreams();
    let fault = |tls: crate::model::Tls, id: i64| {
        let upstream = Upstream { id: UpstreamId(id), tls: Some(tls), ..upstream(THREE) };
        upstreams.fleet(&Arc::new(upstream), 1).secure.is_err()
    };
    let tls = crate::model::Tls { server_name: "a.example".to_owned(), ca: None, client_certificate: None };
    assert!(!fault(tls.clone(), 1));
    assert!(fault(crate::model::Tls { server_name: String::new(), ..tls.clone() }, 2));
    assert!(fault(crate::model::Tls { ca: Some("no certificate".to_owned()), ..tls.clone() }, 3));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    assert!(fault(crate::model::Tls { ca: Some(broken), ..tls.clone() }, 4));
    assert!(fault(crate::model::Tls { client_certificate: Some("unknown".to_owned()), ..tls }, 5));
}

#[tokio::test]
async fn nobody_waits_for_a_name_without_end() {
    let upstreams = upstreams();
    let mut named = upstream(&[("missing.invalid:7", 1)]);
    named.timeouts.connect_ms = 20;
    let named = Arc::new(named);
    // Nobody asks.
    assert_eq!(upstreams.ready(&named, 1).await.err(), Some(Unresolved));
    assert_eq!(
        upstreams.ready(&Arc::new(Upstream { id: UpstreamId(2), ..upstream(&[]) }), 1).await.err(),
        Some(Unresolved)
    );
    let out = upstreams.metrics.targets().of(1);
    assert_eq!(out[0].out.as_ref().unwrap().by, TargetFault::Name);
}

#[test]
fn who_answers_when_all_are_out_is_let_in() {
    let upstreams = upstreams();
    let mut checked = upstream(&THREE[..2]);
    checked.health_check = Some(HealthCheck { unhealthy_after: 1, ..HealthCheck::default() });
    let fleet = upstreams.fleet(&Arc::new(checked), 1);
    fail(&fleet, 1, 2);
    fleet.checked(0, Err("status"));
    // Not whom a check has just found unwell.
    let chosen = fleet.choose(b"", &[]).unwrap();
    assert_eq!(chosen, Chosen { index: 1, stood: Stood::LastResort });
    fleet.failed(chosen, "closed");
    fleet.answered(chosen);
    assert_eq!(counts(&fleet, b"", 10), [(1, 10)].into());
    assert_eq!(fleet.choose(b"", &[]).unwrap().stood, Stood::Well);
}

#[test]
fn nobody_stays_out_by_terms_that_are_gone() {
    let upstreams = upstreams();
    let before = upstreams.fleet(&Arc::new(upstream(THREE)), 1);
    let mut patient = upstream(THREE);
    patient.ejection = None;
    let after = upstreams.fleet(&Arc::new(patient), 2);
    // A request of before fails only now.
    let _left_out = before.endpoints[0].eject(Ejection { failures: 1, ms: 0 }, "closed");
    let trial = (0..9).map(|_| after.choose(b"", &[]).unwrap()).find(|chosen| chosen.index == 0).unwrap();
    assert_eq!(trial.stood, Stood::Trial);
    after.failed(trial, "closed");
    assert_eq!(counts(&after, b"", 30), [(0, 10), (1, 10), (2, 10)].into());
}

#[test]
fn connections_are_shared_on_the_same_terms_only() {
    let upstreams = upstreams();
    let plain = upstreams.fleet(&Arc::new(upstream(THREE)), 1);
    let mut other = upstream(THREE);
    other.retries = 3;
    let same = upstreams.fleet(&Arc::new(other.clone()), 2);
    assert_eq!(same.place(0), plain.place(0));
    other.protocol = Protocol::Http2;
    let changed = upstreams.fleet(&Arc::new(other), 3);
    let of_before = plain.place(0).unwrap().1;
    assert_ne!(changed.place(0).unwrap().1, of_before);
    // Who still asks on the terms of before, whatever has happened to the target meanwhile.
    fail(&changed, 0, 2);
    assert_ne!(plain.place(0).unwrap().1, changed.place(0).unwrap().1);
}
