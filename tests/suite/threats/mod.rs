//! Known attacks on proxies, against a whole server: what it answers, and what reaches the back end.
//!
//! A test's name begins with the attack's row in the threat catalogue. Whoever refuses must also let something
//! pass: each test sends a legitimate request too.

mod answers;
mod backends;
mod chunks;
mod floods;
mod following;
mod framing;
mod fuzz;
mod headers;
mod http2;
mod identity;
mod issuers;
mod origin;
mod origins;
mod parsing;
mod paths;
mod pipelines;
mod proxies;
mod routing;
mod secure;
mod slow;
mod start;
mod tokens;
mod ways;
mod wire;
mod world;

use world::World;

/// The rows of the catalogue that are tested here.
const ROWS: &[u32] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 61, 68,
];

#[test]
fn each_row_has_its_test() {
    let sources = [
        include_str!("chunks.rs"),
        include_str!("floods.rs"),
        include_str!("following.rs"),
        include_str!("framing.rs"),
        include_str!("headers.rs"),
        include_str!("http2.rs"),
        include_str!("identity.rs"),
        include_str!("issuers.rs"),
        include_str!("origins.rs"),
        include_str!("parsing.rs"),
        include_str!("paths.rs"),
        include_str!("proxies.rs"),
        include_str!("pipelines.rs"),
        include_str!("routing.rs"),
        include_str!("slow.rs"),
        include_str!("start.rs"),
        include_str!("tokens.rs"),
    ];
    let names = sources.iter().flat_map(|source| source.split("async fn row_").skip(1));
    let mut tested: Vec<u32> = names.map(|rest| rest.split('_').next().unwrap().parse().unwrap()).collect();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(tested, ROWS);
}
