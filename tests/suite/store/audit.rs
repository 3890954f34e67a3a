use cedargate::{
    model::{Timestamp, UserId},
    store::{
        Db, Kind, Page, Period, Tx,
        audit::{self, Filter, NewAuditRecord},
    },
};

use super::at;
use crate::support::migrated;

async fn record(tx: &mut Tx, actor: i64, resource: &'static str, now: Timestamp) {
    let new = NewAuditRecord {
        actor_id: Some(UserId(actor)),
        actor: Some("ann".to_owned()),
        action: "update",
        resource,
        resource_id: "7".to_owned(),
        before: serde_json::json!({ "name": "a" }),
        after: serde_json::json!({ "name": "b" }),
        ip: None,
        user_agent: Some("a\0b".to_owned()),
        request_id: None,
        revision: 3,
    };
    audit::insert(tx, new, now).await.unwrap();
}

on_both!(records_are_found_by_what_and_when, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    for second in 0..5 {
        record(&mut tx, second % 2, if second < 3 { "role" } else { "user" }, at(second)).await;
    }
    // Of one moment, the later is the newer.
    record(&mut tx, 9, "route", at(4)).await;
    let mut found = async |filter: Filter| {
        let listed = audit::list(&mut tx, &filter, Page::ALL).await.unwrap();
        assert_eq!(audit::count(&mut tx, &filter).await.unwrap(), i64::try_from(listed.len()).unwrap());
        listed.iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(found(Filter::default()).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(found(Filter { period: Period { from: Some(at(3)), to: None }, ..Filter::default() }).await, [6, 5, 4]);
    assert_eq!(found(Filter { period: Period { from: None, to: Some(at(3)) }, ..Filter::default() }).await, [3, 2, 1]);
    assert_eq!(found(Filter { period: Period { from: Some(at(1)), to: Some(at(4)) }, ..Filter::default() }).await, [4, 3, 2]);
    let of_one = Filter { actor_id: Some(UserId(0)), resource: Some("role".to_owned()), ..Filter::default() };
    assert_eq!(found(of_one).await, [3, 1]);
    assert_eq!(found(Filter { resource_id: Some("\0".to_owned()), ..Filter::default() }).await, [0; 0]);
    let page = audit::list(&mut tx, &Filter::default(), Page { skip: 1, limit: 2 }).await.unwrap();
    assert_eq!(page.iter().map(|record| record.id).collect::<Vec<_>>(), [5, 4]);
});

on_both!(the_oldest_records_are_removed_in_batches, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    // Not in the order of their ids.
    for second in [3, 1, 4, 0, 2] {
        record(&mut tx, 1, "role", at(second)).await;
    }
    let mut removed = Vec::new();
    for _ in 0..3 {
        removed.push(audit::purge(&mut tx, at(3), 2).await.unwrap());
    }
    assert_eq!(removed, [2, 1, 0]);
    let left = audit::list(&mut tx, &Filter::default(), Page::ALL).await.unwrap();
    assert_eq!(left.iter().map(|record| record.created_at).collect::<Vec<_>>(), [at(4), at(3)]);
});

on_both!(times_are_found_through_their_index, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    fill(&db, 20_000).await;
    let of_list = plan(
        &db,
        "SELECT id FROM audit_records
         WHERE ($1 IS NULL OR actor_id = $1) AND created_at >= $2 AND created_at < $3
         ORDER BY created_at DESC, id DESC LIMIT 100",
    )
    .await;
    let of_purge = plan(
        &db,
        "DELETE FROM audit_records WHERE id IN (
             SELECT id FROM audit_records WHERE $1 IS NULL AND $2 IS NOT NULL AND created_at < $3
             ORDER BY created_at LIMIT 100)",
    )
    .await;
    for plan in [of_list, of_purge] {
        assert!(plan.contains("audit_records_time"), "{plan}");
    }
});

/// Records of as many seconds, in one statement.
async fn fill(db: &Db, count: i64) {
    let mut tx = db.write().await.unwrap();
    record(&mut tx, 1, "role", at(0)).await;
    for second in 1..16 {
        record(&mut tx, 1, "role", at(second)).await;
    }
    let mut filled = 16;
    while filled < count {
        let double = "INSERT INTO audit_records (actor_id, action, resource, resource_id, success, created_at)
                      SELECT actor_id, action, resource, resource_id, success, created_at FROM audit_records";
        filled += i64::try_from(tx.query(double).execute().await.unwrap()).unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = db.write().await.unwrap();
    tx.query("ANALYZE").execute().await.unwrap();
    tx.commit().await.unwrap();
}

/// How the database would run a statement about one second.
async fn plan(db: &Db, sql: &str) -> String {
    let mut tx = db.write().await.unwrap();
    let explain = if db.kind() == Kind::Sqlite { "EXPLAIN QUERY PLAN " } else { "EXPLAIN " };
    let sql: &'static str = format!("{explain}{sql}").leak();
    let query = tx.query(sql).bind(None::<i64>).bind(at(3)).bind(at(4));
    match db.kind() {
        Kind::Sqlite => {
            let rows = query.fetch_all::<(i64, i64, i64, String)>().await.unwrap();
            rows.into_iter().map(|(.., detail)| detail + "\n").collect()
        }
        Kind::Postgres => query.fetch_values::<String>().await.unwrap().join("\n"),
    }
}
