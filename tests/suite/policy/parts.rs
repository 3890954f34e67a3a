//! Rules that are changed part by part are what they would be, had they been compiled at once.

use std::collections::{BTreeMap, BTreeSet};

use cedargate::{
    model::{
        ModuleId, PermissionId, PolicyId, RoleId, RouteId,
        rules::{ModuleRule, Part, PolicyRule, PolicyText, RouteRule, Rules},
    },
    policy::{CompileError, Compiled, Fixed, dump},
};
use proptest::prelude::*;

use super::world::World;

/// What the rules say of one thing each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Role(RoleId),
    Permission(PermissionId),
    Module(ModuleId),
    Route(RouteId),
    Policy(PolicyId),
}

fn things(rules: &Rules) -> BTreeSet<Thing> {
    let roles = rules.roles.iter().map(|row| Thing::Role(row.id));
    let permissions = rules.permissions.iter().map(|row| Thing::Permission(row.id));
    let modules = rules.modules.iter().map(|row| Thing::Module(row.id));
    let routes = rules.routes.iter().map(|row| Thing::Route(row.id));
    let policies = rules.policies.iter().map(|row| Thing::Policy(row.id));
    roles.chain(permissions).chain(modules).chain(routes).chain(policies).collect()
}

fn route(rules: &Rules, id: RouteId) -> Option<RouteRule> {
    let route = rules.routes.iter().find(|row| row.id == id)?.clone();
    Some(RouteRule { route, roles: rules.route_roles.get(&id).cloned().unwrap_or_default() })
}

/// What has become of `thing` in `rules`, as the store reads it.
fn part(rules: &Rules, thing: Thing) -> Part {
    match thing {
        Thing::Role(id) => {
            let row = rules.roles.iter().find(|row| row.id == id).cloned();
            let granted = rules.grants.iter().filter(|grant| grant.role_id == id).map(|grant| grant.permission_id);
            Part::Role(id, row.map(|row| (row, granted.collect())))
        }
        Thing::Permission(id) => {
            let row = rules.permissions.iter().find(|row| row.id == id).cloned();
            let holders = rules.grants.iter().filter(|grant| grant.permission_id == id).map(|grant| grant.role_id);
            Part::Permission(id, row.map(|row| (row, holders.collect())))
        }
        Thing::Module(id) => {
            let row = rules.modules.iter().find(|row| row.id == id).cloned();
            let own = rules.routes.iter().filter(|route| route.module_id == id).filter_map(|row| route(rules, row.id));
            Part::Module(id, row.map(|row| (row, own.collect())))
        }
        Thing::Route(id) => Part::Route(id, route(rules, id)),
        Thing::Policy(id) => {
            let row = rules.policies.iter().find(|row| row.id == id).cloned();
            Part::Policy(id, row.map(|row| row.text))
        }
    }
}

/// The rules in which `things` are as `to` has them and all else is as in `from`; what belongs together stays together.
fn mixed(from: &Rules, to: &Rules, chosen: &BTreeSet<Thing>) -> Rules {
    let pick = |thing: Thing| if chosen.contains(&thing) { to } else { from };
    let all: BTreeSet<Thing> = things(from).union(&things(to)).copied().collect();
    let mut rules = Rules::default();
    for thing in all {
        let source = pick(thing);
        match thing {
            Thing::Role(id) => rules.roles.extend(source.roles.iter().find(|row| row.id == id).cloned()),
            Thing::Permission(id) => {
                rules.permissions.extend(source.permissions.iter().find(|row| row.id == id).cloned());
            }
            Thing::Module(id) => rules.modules.extend(source.modules.iter().find(|row| row.id == id).cloned()),
            Thing::Route(id) => {
                let found = route(source, id);
                rules.route_roles.extend(found.iter().map(|rule| (id, rule.roles.clone())));
                rules.routes.extend(found.map(|rule| rule.route));
            }
            Thing::Policy(id) => rules.policies.extend(source.policies.iter().find(|row| row.id == id).cloned()),
        }
    }
    // A grant changes with its role.
    let granted = |source: &Rules, id: RoleId| {
        source.grants.iter().filter(|grant| grant.role_id == id).copied().collect::<Vec<_>>()
    };
    let known: BTreeSet<PermissionId> = rules.permissions.iter().map(|row| row.id).collect();
    let roles: Vec<RoleId> = rules.roles.iter().map(|row| row.id).collect();
    for id in roles {
        let all = granted(pick(Thing::Role(id)), id).into_iter();
        rules.grants.extend(all.filter(|grant| known.contains(&grant.permission_id)));
    }
    // A deleted module's routes go with it, as the store has it.
    let modules: BTreeSet<ModuleId> = rules.modules.iter().map(|row| row.id).collect();
    rules.routes.retain(|route| modules.contains(&route.module_id));
    let left: BTreeSet<RouteId> = rules.routes.iter().map(|route| route.id).collect();
    rules.route_roles.retain(|id, _| left.contains(id));
    // Names are unique among roles and among permissions, whoever holds them.
    let mut names: BTreeMap<String, RoleId> = BTreeMap::new();
    rules.roles.retain(|row| names.insert(row.name.to_string(), row.id).is_none());
    rules
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever changes, however many things at once, and in whatever order they are told.
    #[test]
    fn parts_and_the_whole_agree(
        mut first in World::any(0),
        mut second in World::any(0),
        shift in 0..3_i64,
        steps in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..5), 1..6),
    ) {
        first.compile();
        second.compile();
        let mut second = second.rules;
        // Other names under the same ids, and some of them exchanged.
        let count = second.roles.len();
        let names: Vec<_> = second.roles.iter().map(|role| role.name.clone()).collect();
        for (index, role) in second.roles.iter_mut().enumerate() {
            role.name = names[(index + usize::try_from(shift).unwrap()) % count].clone();
        }
        let mut rules = first.rules.clone();
        let mut compiled = Compiled::new(rules.clone(), &Fixed::default(), None).unwrap();
        let mut worlds = [first.rules, second].into_iter().cycle().skip(1);
        for step in steps {
            let to = worlds.next().unwrap();
            let all: Vec<Thing> = things(&rules).union(&things(&to)).copied().collect();
            let chosen: BTreeSet<Thing> = step.iter().map(|index| all[index.index(all.len())]).collect();
            let next = mixed(&rules, &to, &chosen);
            let whole = Compiled::new(next.clone(), &Fixed::default(), None);
            // What else differs was changed along with it: a grant, a route of a deleted module.
            let differs = |thing: &Thing| part(&rules, *thing) != part(&next, *thing);
            let changed = all.iter().filter(|thing| chosen.contains(thing) || differs(thing));
            let parts: Vec<Part> = changed.rev().map(|thing| part(&next, *thing)).collect();
            match (compiled.with(parts, &[].into()), whole) {
                (Ok(by_parts), Ok(whole)) => {
                    prop_assert_eq!(dump(&by_parts), dump(&whole));
                    prop_assert_eq!(by_parts.rules(), whole.rules());
                    (compiled, rules) = (by_parts, next);
                }
                (Err(by_parts), Err(whole)) => {
                    let kind = |error: &CompileError| std::mem::discriminant(error);
                    prop_assert_eq!(kind(&by_parts), kind(&whole), "{} / {}", by_parts, whole);
                }
                (by_parts, whole) => {
                    let (by_parts, whole) = (by_parts.map(drop), whole.map(drop));
                    prop_assert!(false, "{by_parts:?} / {whole:?}");
                }
            }
        }
    }
}

/// Found by the test above: a module that was named in a condition is named in a scope.
#[test]
fn what_a_condition_named_is_found_when_a_scope_names_it() {
    let id = PolicyId(1);
    let text = |source: &str| PolicyText { name: "p".try_into().unwrap(), source: source.to_owned() };
    let first = text(r#"forbid (principal, action, resource) when { resource in Module::"m1" };"#);
    let second = text(r#"forbid (principal, action, resource in Module::"m1");"#);
    let operations = serde_json::json!([{ "methods": ["GET"], "access": "public" }]);
    let rules = |text: PolicyText| Rules {
        modules: vec![ModuleRule { id: ModuleId(1), name: "m1".try_into().unwrap(), is_active: true }],
        routes: vec![super::world::gateway_route(1, "/a", operations.clone())],
        policies: vec![PolicyRule { id, text }],
        ..Rules::default()
    };
    let compiled = |text| Compiled::new(rules(text), &Fixed::default(), None).unwrap();
    let by_parts = compiled(first).with(vec![Part::Policy(id, Some(second.clone()))], &[].into()).unwrap();
    assert_eq!(dump(&by_parts), dump(&compiled(second)));
}
