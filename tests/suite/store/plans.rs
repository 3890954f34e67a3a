//! Large lists are read through indexes.

use cedargate::{
    model::RoleId,
    store::{Db, Kind, Page, Period, Sort, Tx},
    store::{audit, roles, users, users::Filter},
};

use super::{at, role};
use crate::support::{Guard, migrated};

/// As many users as make a planner want an index.
const USERS: i64 = 50_000;

/// A page somewhere, as people look at them.
const PAGE: Page = Page { skip: 300, limit: 100 };

/// Users of whom every tenth is inactive, one made each second: all have the role `everybody`, ten the role `few`.
async fn crowd(backend: crate::support::Backend) -> (Db, Guard) {
    let (db, guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let (everybody, few) = (role(&mut tx, "everybody", &[]).await, role(&mut tx, "few", &[]).await);
    super::lists::fill(&mut tx, USERS).await;
    // Not in the order of ids: no order may come by itself.
    let times = match db.kind() {
        Kind::Sqlite => {
            "UPDATE users SET created_at = strftime('%Y-%m-%dT%H:%M:%S+00:00', created_at, (id * 7919 % 50000) || ' seconds')"
        }
        Kind::Postgres => "UPDATE users SET created_at = created_at + (id * 7919 % 50000) * INTERVAL '1 second'",
    };
    tx.query(times).execute().await.unwrap();
    tx.query("UPDATE users SET updated_at = created_at WHERE id % 3 = 0").execute().await.unwrap();
    for (role, every) in [(everybody, 1), (few, USERS / 10)] {
        assign(&mut tx, role, every).await;
    }
    tx.query(
        "INSERT INTO audit_records (actor_id, action, resource, resource_id, success, created_at)
         SELECT id % 1000, CASE WHEN id % 2 = 0 THEN 'create' ELSE 'update' END, 'user', CAST(id % 5000 AS TEXT), TRUE,
                created_at FROM users",
    )
    .execute()
    .await
    .unwrap();
    tx.query(
        "INSERT INTO roles (name, description, created_at)
         SELECT 'role' || CAST(id AS TEXT), 'What department ' || CAST(id AS TEXT) || ' may', created_at
         FROM users WHERE id <= 20000",
    )
    .execute()
    .await
    .unwrap();
    // What PostgreSQL does by itself before long, and SQLite never.
    if db.kind() == Kind::Postgres {
        tx.query("ANALYZE").execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    (db, guard)
}

async fn assign(tx: &mut Tx, role: RoleId, every: i64) {
    tx.query("INSERT INTO user_roles (user_id, role_id, granted_at) SELECT id, $1, $2 FROM users WHERE id % $3 = 0")
        .bind(role)
        .bind(at(0))
        .bind(every)
        .execute()
        .await
        .unwrap();
}

/// That neither step looks at all of a table, nor puts it into order.
#[track_caller]
fn assert_no_scan(kind: Kind, what: &str, plan: &[String], in_order: bool) {
    let bad: &[&str] = match kind {
        // Reading a table by its ids is a scan to SQLite too; only for an order by id it ends with the page.
        Kind::Sqlite if in_order => &["SCAN users USING COVERING", "USE TEMP B-TREE"],
        Kind::Sqlite => &["SCAN users", "SCAN roles", "SCAN audit_records", "SCAN user_roles"],
        Kind::Postgres => &["Seq Scan"],
    };
    for step in plan {
        assert!(!bad.iter().any(|bad| step.contains(bad)), "{what}: {plan:#?}");
    }
}

on_both!(users_are_read_through_indexes, |backend| async move {
    let (db, _guard) = crowd(backend).await;
    let mut tx = db.read().await.unwrap();
    let kind = db.kind();
    // In each order, without a filter and with filters that nearly all users pass.
    for key in users::SORT_KEYS {
        for descending in [false, true] {
            let sort = Some(Sort { key: *key, descending });
            let of_all = || Filter { sort, ..Filter::default() };
            let most = [
                of_all(),
                Filter { is_active: Some(true), ..of_all() },
                Filter { search: Some("example".to_owned()), ..of_all() },
                Filter { role: Some("everybody".to_owned()), ..of_all() },
                Filter { created: Period { from: Some(at(10)), to: None }, ..of_all() },
                Filter {
                    search: Some("user".to_owned()),
                    is_active: Some(true),
                    role: Some("everybody".to_owned()),
                    ..of_all()
                },
            ];
            for filter in most {
                let plan = users::plan(&mut tx, &filter, PAGE, at(9)).await.unwrap();
                assert_no_scan(kind, &format!("{filter:?}"), &plan.rows, true);
            }
        }
    }
    // By what few users pass, in any order: those are found, and then sorted.
    for key in users::SORT_KEYS {
        let sort = Some(Sort { key: *key, descending: true });
        let of_all = || Filter { sort, ..Filter::default() };
        let few = [
            Filter { search: Some("user4321".to_owned()), ..of_all() },
            Filter { search: Some("321@EX".to_owned()), ..of_all() },
            Filter { search: Some("nobody".to_owned()), ..of_all() },
            Filter { role: Some("few".to_owned()), ..of_all() },
            Filter {
                role: Some("few".to_owned()),
                search: Some("example".to_owned()),
                is_active: Some(true),
                ..of_all()
            },
            Filter { role: Some("nothing".to_owned()), ..of_all() },
            Filter { created: Period { from: Some(at(49_900)), to: None }, ..of_all() },
            Filter { created: Period { from: Some(at(100)), to: Some(at(200)) }, is_active: Some(true), ..of_all() },
        ];
        for filter in few {
            let plan = users::plan(&mut tx, &filter, PAGE, at(9)).await.unwrap();
            assert_no_scan(kind, &format!("{filter:?}"), &plan.rows, false);
            assert_no_scan(kind, &format!("{filter:?}"), &plan.total, false);
        }
    }
    let inactive = Filter { is_active: Some(false), ..Filter::default() };
    let plan = users::plan(&mut tx, &inactive, PAGE, at(9)).await.unwrap();
    assert_no_scan(kind, "inactive", &plan.rows, true);
});

on_both!(other_large_lists_are_read_through_indexes, |backend| async move {
    let (db, _guard) = crowd(backend).await;
    let mut tx = db.read().await.unwrap();
    let kind = db.kind();
    for needle in ["department 1234", "ROLE777", "nothing"] {
        let filter = roles::Filter { search: Some(needle.to_owned()), ..roles::Filter::default() };
        let plan = roles::plan(&mut tx, &filter, PAGE).await.unwrap();
        assert_no_scan(kind, needle, &plan.rows, false);
        assert_no_scan(kind, needle, &plan.total, false);
    }
    let records = audit::Filter::default;
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        records(),
        audit::Filter { actor_id: Some(cedargate::model::UserId(7)), ..records() },
        audit::Filter { resource: text("user"), ..records() },
        audit::Filter { resource: text("user"), resource_id: text("77"), ..records() },
        audit::Filter { action: text("create"), ..records() },
        audit::Filter { period: Period { from: Some(at(100)), to: Some(at(200)) }, ..records() },
        audit::Filter { period: Period { from: Some(at(100)), to: None }, resource: text("user"), ..records() },
    ] {
        let plan = audit::plan(&mut tx, &filter, PAGE).await.unwrap();
        let what = format!("{filter:?}");
        assert_no_scan(kind, &what, &plan.rows, true);
        let uses_index = plan.rows.iter().any(|step| step.contains("audit_records_"));
        assert!(uses_index, "{what}: {:#?}", plan.rows);
    }
});
