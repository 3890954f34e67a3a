//! What is said without a request holds for every request; and matrix, search and difference say it of everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedargate::{
    model::{
        Claims, RoleId, Timestamp, UserId,
        rules::{Assignment, UserState},
    },
    policy::{
        Ask, Cell, CompiledOperation, Difference, Facts, Grant, Holder, MatrixBy, MatrixFilter, Opened, Reach,
        Snapshot, Subject, Wanted, difference, matrix, reach, who_can,
    },
};
use proptest::prelude::*;

use super::world::{Asked, World};

const REQUESTS: usize = 40;
const ALL: (usize, usize, usize) = (0, usize::MAX, usize::MAX);

/// A user of whom no policy speaks.
fn stranger(roles: &[RoleId]) -> UserState {
    UserState {
        id: UserId(50),
        username: "stranger".try_into().unwrap(),
        is_active: true,
        token_epoch: 0,
        roles: roles.iter().map(|role_id| Assignment { role_id: *role_id, expires_at: None }).collect(),
    }
}

fn operations(snapshot: &Snapshot) -> Vec<(i64, Arc<CompiledOperation>)> {
    let routes = snapshot.routes().routes();
    let all =
        routes.into_iter().flat_map(|route| route.operations().map(|operation| (route.id.0, Arc::clone(operation))));
    all.collect()
}

/// Whether the engine lets the user, by facts that need not belong together.
fn decides(
    snapshot: &Snapshot,
    state: Option<&UserState>,
    subject: Subject<'_>,
    asked: &Asked,
    owner: Option<&str>,
) -> bool {
    let caller = state.map(|state| {
        let all = asked.claims.as_object().unwrap().clone().into();
        let claims = Claims { user_id: Some(state.id), all, ..Claims::none(&state.username) };
        snapshot.assume(&Arc::new(state.clone()), Arc::new(claims), asked.now())
    });
    let facts = Facts {
        method: asked.method,
        path: asked.path,
        host: asked.host,
        params: &[("id", "1")],
        client_ip: asked.client_ip,
        now: asked.now(),
        client_certificate: asked.certificate.as_deref(),
        owner,
    };
    snapshot.decide(&Ask { caller: caller.as_ref(), subject, facts }).outcome.is_ok()
}

fn holds(found: Reach, allowed: bool) -> bool {
    match found {
        Reach::Denied => !allowed,
        Reach::Allowed => allowed,
        Reach::Conditional => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Allowed is allowed and denied is denied, whatever the request says: to roles, to users, to nobody.
    #[test]
    fn what_is_certain_is_so_for_every_request(mut world in World::any(REQUESTS), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..3)) {
        let (snapshot, _) = world.compile();
        let compiled = snapshot.compiled();
        let roles: Vec<RoleId> = picks.iter().map(|pick| world.rules.roles[pick.index(world.rules.roles.len())].id).collect();
        let stranger = stranger(&roles);
        let operations = operations(&snapshot);
        for (number, asked) in world.asked.iter().enumerate() {
            let owners = [None, Some("50"), Some("1"), Some("2"), Some("007")];
            let owner = owners[number % owners.len()];
            let mut people: Vec<(Holder<'_>, Option<&UserState>)> =
                world.users.iter().map(|user| (Holder::of_user(&snapshot, user, asked.now()), Some(user))).collect();
            people.push((Holder::of_roles(compiled, &roles), Some(&stranger)));
            people.push((Holder::anonymous(compiled), None));
            for (holder, state) in &people {
                for (route, operation) in &operations {
                    let found = reach(holder, Subject::Operation(operation));
                    let owner = owner.filter(|_| operation.owner.is_some());
                    let allowed = decides(&snapshot, *state, Subject::Operation(operation), asked, owner);
                    prop_assert!(holds(found, allowed), "{found:?}, but {allowed}: {route} {} {state:?} {asked:?}", operation.label);
                }
                for permission in ["article:read", "article:update:own", "order:ship:now", "plain", "none:such"] {
                    let found = reach(holder, Subject::Permission(permission));
                    let allowed = decides(&snapshot, *state, Subject::Permission(permission), asked, owner);
                    prop_assert!(holds(found, allowed), "{found:?}, but {allowed}: {permission} {state:?} {asked:?}");
                }
            }
        }
    }

    /// The matrix says of every role what is said of a user with that role alone.
    #[test]
    fn the_matrix_has_every_role(mut world in World::any(0)) {
        let (snapshot, _) = world.compile();
        let compiled = snapshot.compiled();
        let operations = operations(&snapshot);
        let cells = cells(&snapshot);
        for role in &world.rules.roles {
            let holder = Holder::of_roles(compiled, &[role.id]);
            for (route, operation) in &operations {
                let key = (role.name.to_string(), *route, operation.method.clone());
                let expected = reach(&holder, Subject::Operation(operation));
                prop_assert_eq!(reach_of(cells.get(&key).copied()), expected, "{:?}", key);
            }
        }
        prop_assert!(cells.keys().all(|(name, ..)| world.rules.roles.iter().any(|role| role.name.as_str() == name)));
        // Pages make up the whole.
        let all = matrix(compiled, MatrixBy::Operation, &MatrixFilter::default(), ALL);
        prop_assert_eq!((all.total, all.is_capped), (all.cells.len(), false));
        let mut paged: Vec<Cell> = Vec::new();
        for skip in (0..all.total).step_by(3) {
            let page = matrix(compiled, MatrixBy::Operation, &MatrixFilter::default(), (skip, 3, usize::MAX));
            prop_assert_eq!(page.total, all.total);
            paged.extend(page.cells);
        }
        prop_assert_eq!(&paged, &all.cells);
        if all.total > 1 {
            let capped = matrix(compiled, MatrixBy::Operation, &MatrixFilter::default(), (0, 9, all.total - 1));
            prop_assert!(capped.is_capped && capped.total == all.total - 1);
        }
    }

    /// The search finds those who are told so when they are asked about by themselves.
    #[test]
    fn the_search_finds_everybody(mut world in World::any(1)) {
        let (snapshot, _) = world.compile();
        let Some(now) = world.asked.first().map(Asked::now) else { return Ok(()) };
        for (_, operation) in operations(&snapshot) {
            let (found, total) = who_can(&snapshot, Wanted::Operation(&operation), now, (0, usize::MAX));
            let found: Vec<serde_json::Value> = found.iter().map(|row| serde_json::to_value(row).unwrap()).collect();
            let expected: Vec<(i64, bool)> = world.users.iter().filter_map(|user| {
                let found = reach(&Holder::of_user(&snapshot, user, now), Subject::Operation(&operation));
                (found != Reach::Denied).then_some((user.id.0, found == Reach::Conditional))
            }).collect();
            let shown: Vec<(i64, bool)> =
                found.iter().map(|row| (row["user_id"].as_i64().unwrap(), row["conditional"] == true)).collect();
            prop_assert_eq!(&shown, &expected, "{}", operation.label);
            prop_assert_eq!(total, expected.len());
        }
    }

    /// The difference lists the cells in which two matrices differ, and counts the users' pairs.
    #[test]
    fn the_difference_is_that_of_the_matrices(mut first in World::any(1), mut second in World::any(0), shared in any::<[bool; 4]>()) {
        // Worlds that have most in common, and those that have nothing.
        let [roles, policies, routes, users] = shared;
        if roles { second.rules.roles.clone_from(&first.rules.roles); second.rules.grants.retain(|grant| first.rules.roles.iter().any(|role| role.id == grant.role_id)); }
        if policies { second.rules.policies.clone_from(&first.rules.policies); }
        if routes { second.rules.routes.clone_from(&first.rules.routes); second.rules.route_roles.clone_from(&first.rules.route_roles); }
        let known: BTreeSet<RoleId> = second.rules.roles.iter().map(|role| role.id).collect();
        for roles in second.rules.route_roles.values_mut() { roles.retain(|role| known.contains(role)); }
        if users { second.users.clone_from(&first.users); }
        let Some(now) = first.asked.first().map(Asked::now) else { return Ok(()) };
        let (before, _) = first.compile();
        let (after, _) = second.compile();
        let found = difference(&before, &after, now);
        let (was, is) = (cells(&before), cells(&after));
        let keys: BTreeSet<_> = was.keys().chain(is.keys()).cloned().collect();
        let mut expected: [BTreeSet<_>; 4] = Default::default();
        for key in keys {
            match (reach_of(was.get(&key).copied()), reach_of(is.get(&key).copied())) {
                (Reach::Denied, Reach::Allowed | Reach::Conditional) => expected[0].insert(key),
                (Reach::Allowed | Reach::Conditional, Reach::Denied) => expected[1].insert(key),
                (Reach::Allowed, Reach::Conditional) => expected[2].insert(key),
                (Reach::Conditional, Reach::Allowed) => expected[3].insert(key),
                _ => false,
            };
        }
        prop_assert_eq!(listed(&found), expected);
        prop_assert!(!found.truncated);
        let (open_before, open_after) = (opened(&before), opened(&after));
        let listed = |list: &[Opened]| list.iter().map(|one| (one.route_id.0, one.method.clone())).collect::<BTreeSet<_>>();
        prop_assert_eq!(listed(&found.anonymous.gained), &open_after - &open_before);
        prop_assert_eq!(listed(&found.anonymous.lost), &open_before - &open_after);
        prop_assert_eq!((found.users.gained, found.users.lost), pairs(&[(&before, &first.users), (&after, &second.users)], now));
        prop_assert!(difference(&after, &after, now).is_empty());
    }
}

fn cells(snapshot: &Snapshot) -> BTreeMap<(String, i64, String), Grant> {
    let all = matrix(snapshot.compiled(), MatrixBy::Operation, &MatrixFilter::default(), ALL);
    let key =
        |cell: &Cell| (cell.role.to_string(), cell.route_id.unwrap().0, cell.method.as_deref().unwrap().to_owned());
    all.cells.iter().map(|cell| (key(cell), cell.grant)).collect()
}

/// What somebody without credentials may reach.
fn opened(snapshot: &Snapshot) -> BTreeSet<(i64, String)> {
    let nobody = Holder::anonymous(snapshot.compiled());
    let all = operations(snapshot).into_iter();
    let reached = all.filter(|(_, operation)| reach(&nobody, Subject::Operation(operation)) != Reach::Denied);
    reached.map(|(route, operation)| (route, operation.method.clone())).collect()
}

fn reach_of(grant: Option<Grant>) -> Reach {
    match grant {
        None => Reach::Denied,
        Some(Grant::Conditional) => Reach::Conditional,
        Some(Grant::Direct | Grant::Inherited) => Reach::Allowed,
    }
}

fn listed(found: &Difference) -> [BTreeSet<(String, i64, String)>; 4] {
    [&found.gained, &found.lost, &found.narrowed, &found.widened]
        .map(|list| list.iter().map(|cell| (cell.role.to_string(), cell.route_id.0, cell.method.clone())).collect())
}

/// Counted by asking about each user and each operation.
fn pairs(sides: &[(&Snapshot, &Vec<UserState>); 2], now: Timestamp) -> (u64, u64) {
    let [before, after] = sides.map(|(snapshot, users)| {
        let mut reached: BTreeSet<(i64, i64, String)> = BTreeSet::new();
        for user in users {
            let holder = Holder::of_user(snapshot, user, now);
            for (route, operation) in operations(snapshot) {
                if reach(&holder, Subject::Operation(&operation)) != Reach::Denied {
                    reached.insert((user.id.0, route, operation.method.clone()));
                }
            }
        }
        reached
    });
    (after.difference(&before).count() as u64, before.difference(&after).count() as u64)
}
