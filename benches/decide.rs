//! What one request costs as rules and users grow: nothing here may follow the size of the whole.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod rules;

use std::hint::black_box;

use cedargate::model::{Timestamp, rules::PolicyRule};
use criterion::{Criterion, criterion_group, criterion_main};
use rules::{ask, claims, world};

fn decisions(criterion: &mut Criterion) {
    let now = Timestamp::now();
    for (group, policies) in [("decide", Vec::new()), ("slice", vec![rules::forbids_elsewhere()])] {
        decide(criterion, group, &policies, now);
    }
}

fn decide(criterion: &mut Criterion, group: &str, policies: &[PolicyRule], now: Timestamp) {
    let mut group = criterion.benchmark_group(group);
    for roles in [10, 1_000, 10_000] {
        let snapshot = world(roles, roles / 5, policies.to_vec());
        let path = "/part1/place1/2";
        // Users of whom one holds the permission and the other does not.
        for (name, allowed) in [("allow", true), ("deny", false)] {
            let claims = claims(&snapshot, roles * 10, path, allowed, now);
            let id = format!("{name}/{roles} roles, {} users", roles * 10);
            group.bench_function(id, |bencher| bencher.iter(|| ask(&snapshot, black_box(path), &claims, now)));
        }
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
