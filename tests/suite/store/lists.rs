//! Orders, periods and numbers of lists.

use cedargate::{
    model::{Expiry, Timestamp, UserId, UserPatch},
    store::{MOST_COUNTED, Page, Period, Sort, SortKey, Total, Tx},
    store::{audit, modules, permissions, roles, routes, upstreams, users, users::Filter},
};

use super::{at, module, new_role, new_user, permission, role, route, upstream, user};
use crate::support::migrated;

fn orders(keys: &[SortKey]) -> impl Iterator<Item = Sort> {
    keys.iter().flat_map(|key| [false, true].map(|descending| Sort { key: *key, descending }))
}

async fn found(tx: &mut Tx, filter: &Filter) -> Vec<UserId> {
    users::list(tx, filter, Page::ALL, at(9)).await.unwrap().into_iter().map(|user| user.id).collect()
}

async fn total(tx: &mut Tx, filter: &Filter) -> Total {
    users::counted(tx, filter, Page { skip: 0, limit: 1 }, at(9)).await.unwrap().1
}

fn exactly(count: i64) -> Total {
    Total { count, is_capped: false }
}

on_both!(users_come_in_every_order, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    // Made at the same moment or not, changed or not, active or not, in all combinations and not in the order of names.
    for (index, name) in ["dora", "Änne", "bob", "carl", "ann", "zoe", "eve", "émile"].into_iter().enumerate() {
        let new = new_user(name, &[]);
        let id = users::insert(&mut tx, &new, at(i64::from(index % 4 == 3))).await.unwrap();
        if index % 3 == 0 {
            let patch = UserPatch { is_active: Some(index % 2 == 0), ..UserPatch::default() };
            users::update(&mut tx, id, &patch, at(5 + i64::from(index == 3))).await.unwrap();
        }
    }
    let whole = users::list(&mut tx, &Filter::default(), Page::ALL, at(9)).await.unwrap();
    assert!(whole.is_sorted_by_key(|user| user.id));
    for sort in orders(users::SORT_KEYS) {
        let mut expected = whole.clone();
        let key = |user: &cedargate::model::User| match sort.key.name {
            "id" => String::new(),
            "username" => user.username.to_string(),
            "email" => user.email.to_string().to_lowercase(),
            "is_active" => user.is_active.to_string(),
            "created_at" => user.created_at.to_string(),
            "updated_at" => user.updated_at.map(|time| time.to_string()).unwrap_or_default(),
            other => panic!("what is {other}?"),
        };
        expected.sort_by_key(|user| (key(user), user.id));
        if sort.descending {
            expected.reverse();
        }
        let filter = Filter { sort: Some(sort), ..Filter::default() };
        assert_eq!(users::list(&mut tx, &filter, Page::ALL, at(9)).await.unwrap(), expected, "{sort:?}");
        let mut paged = Vec::new();
        for skip in 0..4 {
            let page = Page { skip: skip * 2, limit: 2 };
            paged.extend(users::list(&mut tx, &filter, page, at(9)).await.unwrap());
        }
        assert_eq!(paged, expected, "{sort:?}");
        // With every filter beside it, the order is the same.
        let filter = Filter { search: Some("EXAMPLE".to_owned()), is_active: Some(true), ..filter };
        expected.retain(|user| user.is_active);
        assert_eq!(users::list(&mut tx, &filter, Page::ALL, at(9)).await.unwrap(), expected, "{sort:?}");
    }
});

on_both!(every_list_has_its_orders, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let home = module(&mut tx, "home", &[]).await;
    for name in ["b", "a", "c"] {
        role(&mut tx, name, &[]).await;
        permission(&mut tx, &format!("{name}:read")).await;
        module(&mut tx, name, &[]).await;
        route(&mut tx, home, &format!("/{name}")).await;
        upstream(&mut tx, name).await;
    }
    macro_rules! check {
        ($module:ident, |$filter:ident| $list:expr, |$row:ident| $id:expr) => {
            for pair in orders($module::SORT_KEYS).collect::<Vec<_>>().chunks(2) {
                let mut both = Vec::new();
                for sort in pair {
                    let $filter = $module::Filter { sort: Some(*sort), ..$module::Filter::default() };
                    both.push($list.await.unwrap().into_iter().map(|$row| $id).collect::<Vec<_>>());
                }
                assert!(both[0].len() >= 3);
                if pair[0].key.name == "id" {
                    assert!(both[0].is_sorted());
                }
                both[1].reverse();
                assert_eq!(both[0], both[1], "{pair:?}");
            }
        };
    }
    check!(roles, |filter| roles::list(&mut tx, &filter, Page::ALL), |row| row.id);
    check!(permissions, |filter| permissions::list(&mut tx, &filter, Page::ALL), |row| row.id);
    check!(modules, |filter| modules::list(&mut tx, &filter, Page::ALL, true), |row| row.module.id);
    check!(routes, |filter| routes::list(&mut tx, &filter, Page::ALL), |row| row.route.id);
    check!(upstreams, |filter| upstreams::list(&mut tx, &filter, Page::ALL), |row| row.upstream.id);
    let by_name = Sort { key: roles::SORT_KEYS[1], descending: true };
    let filter = roles::Filter { sort: Some(by_name), ..roles::Filter::default() };
    let names: Vec<String> =
        roles::list(&mut tx, &filter, Page::ALL).await.unwrap().iter().map(|role| role.name.to_string()).collect();
    assert_eq!(names, ["c", "b", "a"]);
});

on_both!(periods_begin_with_their_first_moment_and_end_before_the_last, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let mut made = Vec::new();
    for second in 0..4 {
        made.push(users::insert(&mut tx, &new_user(&format!("user{second}"), &[]), at(second)).await.unwrap());
        roles::insert(&mut tx, &new_role(&format!("role{second}"), &[]), at(second)).await.unwrap();
    }
    let time = |second: Option<i64>| second.map(at);
    for (from, to, expected) in [
        (None, None, 0..4),
        (Some(1), None, 1..4),
        (None, Some(1), 0..1),
        (Some(1), Some(3), 1..3),
        (Some(3), Some(3), 0..0),
        (Some(9), None, 0..0),
    ] {
        let created = Period { from: time(from), to: time(to) };
        let expected: Vec<UserId> = made[expected].to_vec();
        let number = i64::try_from(expected.len()).unwrap();
        for sort in [None].into_iter().chain(orders(users::SORT_KEYS).map(Some)) {
            let filter = Filter { created, sort, ..Filter::default() };
            let mut users = found(&mut tx, &filter).await;
            users.sort_unstable();
            assert_eq!(users, expected, "{filter:?}");
            assert_eq!(users::count(&mut tx, &filter, at(9)).await.unwrap(), number);
            assert_eq!(total(&mut tx, &filter).await, exactly(number));
        }
        let filter = roles::Filter { created, ..roles::Filter::default() };
        assert_eq!(roles::list(&mut tx, &filter, Page::ALL).await.unwrap().len(), expected.len());
        assert_eq!(roles::count(&mut tx, &filter).await.unwrap(), number);
        assert_eq!(roles::total(&mut tx, &filter).await.unwrap(), exactly(number));
    }
});

on_both!(the_numbers_of_users_are_kept, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (ann, bob) = (user(&mut tx, "ann", &[]).await, user(&mut tx, "bob", &[]).await);
    assert_kept(&mut tx, 2, 0).await;
    users::set_active(&mut tx, &[ann], false, at(1)).await.unwrap();
    assert_kept(&mut tx, 1, 1).await;
    users::delete_each(&mut tx, &[ann, bob], at(2)).await.unwrap();
    assert_kept(&mut tx, 0, 0).await;
    // One that is deleted counts for nothing, whatever becomes of it.
    tx.query("UPDATE users SET is_active = NOT is_active").execute().await.unwrap();
    assert_kept(&mut tx, 0, 0).await;
    users::restore(&mut tx, ann, at(3)).await.unwrap();
    assert_kept(&mut tx, 1, 0).await;
    fill(&mut tx, 500).await;
    assert_kept(&mut tx, 451, 50).await;
    tx.query("UPDATE users SET is_active = TRUE, updated_at = created_at").execute().await.unwrap();
    assert_kept(&mut tx, 501, 0).await;
    tx.query("DELETE FROM users WHERE username LIKE 'user%'").execute().await.unwrap();
    assert_kept(&mut tx, 1, 0).await;
    drop(tx);
    assert_kept(&mut db.write().await.unwrap(), 0, 0).await;
});

async fn assert_kept(tx: &mut Tx, active: i64, inactive: i64) {
    for (is_active, expected) in [(None, active + inactive), (Some(true), active), (Some(false), inactive)] {
        let filter = Filter { is_active, ..Filter::default() };
        assert_eq!(users::count(tx, &filter, at(9)).await.unwrap(), expected);
        assert_eq!(total(tx, &filter).await, exactly(expected));
        // The same, counted.
        let filter = Filter { created: Period { from: Some(at(-1)), to: None }, ..filter };
        assert_eq!(users::count(tx, &filter, at(9)).await.unwrap(), expected);
    }
}

/// Makes this many users at once, every tenth of whom is inactive.
pub(super) async fn fill(tx: &mut Tx, number: i64) {
    tx.query(
        "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         INSERT INTO users (username, email, email_lower, password_hash, is_active, created_at)
         SELECT 'user' || CAST(i AS TEXT), 'user' || CAST(i AS TEXT) || '@example.com',
                'user' || CAST(i AS TEXT) || '@example.com', 'hash', i % 10 <> 0, $2 FROM n",
    )
    .bind(number)
    .bind(at(0))
    .execute()
    .await
    .unwrap();
}

on_both!(a_total_is_exact_up_to_a_bound, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    fill(&mut tx, MOST_COUNTED).await;
    let filter = Filter { search: Some("example".to_owned()), ..Filter::default() };
    assert_eq!(total(&mut tx, &filter).await, exactly(MOST_COUNTED));
    user(&mut tx, "onemore", &[]).await;
    let capped = Total { count: MOST_COUNTED, is_capped: true };
    assert_eq!(total(&mut tx, &filter).await, capped);
    assert_eq!(users::count(&mut tx, &filter, at(9)).await.unwrap(), MOST_COUNTED + 1);
    assert_eq!(total(&mut tx, &Filter::default()).await, exactly(MOST_COUNTED + 1));
});

on_both!(users_of_a_role_are_counted_without_those_who_lost_it, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let guest = role(&mut tx, "guest", &[]).await;
    let mut ids = Vec::new();
    for name in ["ann", "bob", "carl", "dora"] {
        ids.push(user(&mut tx, name, &[guest]).await);
    }
    users::delete(&mut tx, ids[0], at(1)).await.unwrap();
    users::unassign(&mut tx, ids[1], guest).await.unwrap();
    users::assign(&mut tx, ids[2], guest, None, Expiry::At(at(5)), at(1)).await.unwrap();
    let of_role = |name: &str| Filter { role: Some(name.to_owned()), ..Filter::default() };
    for (second, expected) in [(4, vec![ids[2], ids[3]]), (5, vec![ids[3]])] {
        for filter in [of_role("guest"), Filter { is_active: Some(true), ..of_role("guest") }] {
            let (found, total) = users::counted(&mut tx, &filter, Page::ALL, at(second)).await.unwrap();
            assert_eq!(found.iter().map(|user| user.id).collect::<Vec<_>>(), expected);
            assert_eq!(total, exactly(i64::try_from(expected.len()).unwrap()));
        }
    }
    assert_eq!(total(&mut tx, &of_role("nobody")).await, exactly(0));
});

on_both!(records_are_found_by_time, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for second in 0..6 {
        let record = audit::NewAuditRecord {
            actor_id: Some(UserId(1 + second % 2)),
            actor: None,
            action: if second < 3 { "create" } else { "update" },
            resource: if second == 5 { "role" } else { "user" },
            resource_id: (second % 3).to_string(),
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
            ip: None,
            user_agent: None,
            request_id: None,
            revision: second,
        };
        audit::insert(&mut tx, record, at(second)).await.unwrap();
    }
    let time = |second: i64| -> Option<Timestamp> { Some(at(second)) };
    let of = |actor: i64| Some(UserId(actor));
    let text = |text: &str| Some(text.to_owned());
    let none = audit::Filter::default;
    let oldest = Some(Sort { key: audit::SORT_KEYS[0], descending: false });
    for (filter, expected) in [
        (none(), vec![5, 4, 3, 2, 1, 0]),
        (audit::Filter { sort: oldest, ..none() }, vec![0, 1, 2, 3, 4, 5]),
        (audit::Filter { period: Period { from: time(2), to: time(4) }, ..none() }, vec![3, 2]),
        (audit::Filter { actor_id: of(1), ..none() }, vec![4, 2, 0]),
        (audit::Filter { actor_id: of(1), period: Period { from: time(1), to: None }, ..none() }, vec![4, 2]),
        (audit::Filter { resource: text("user"), action: text("update"), ..none() }, vec![4, 3]),
        (audit::Filter { resource: text("user"), resource_id: text("2"), ..none() }, vec![2]),
        (audit::Filter { resource_id: text("2"), ..none() }, vec![5, 2]),
        (audit::Filter { resource: text("nothing"), ..none() }, vec![]),
    ] {
        let records = audit::list(&mut tx, &filter, Page::ALL).await.unwrap();
        let revisions: Vec<i64> = records.iter().filter_map(|record| record.revision).collect();
        assert_eq!(revisions, expected, "{filter:?}");
        let total = exactly(i64::try_from(expected.len()).unwrap());
        assert_eq!(audit::total(&mut tx, &filter).await.unwrap(), total);
    }
});
