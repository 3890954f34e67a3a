use std::collections::{BTreeMap, BTreeSet};

use cedargate::model::{
    Balance, Ejection, HashOn, HeaderRules, HealthCheck, NewUpstream, Protocol, RouteId, Timeouts, Tls, Upstream,
    UpstreamId,
};
use cedargate::store::{Db, Error, Kind, migrate, routes, upstreams};
use serde_json::{Value, json};
use sqlx::types::Json;

use super::{at, module, new_upstream};

use crate::support::{Backend, POOL, fresh_database, migrated};

/// The newest migration.
const LATEST: i64 = 16;

on_both!(migrations_go_up_down_and_up, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let db = Db::open(&url, &POOL).await.unwrap();
    assert!(migrate::status(&db).await.unwrap().iter().all(|step| step.applied_at.is_none()));
    assert_eq!(tables(&db).await, BTreeSet::new());
    let versions = migrate::up(&db).await.unwrap();
    assert_eq!(versions, (1..=LATEST).collect::<Vec<_>>());
    assert!(migrate::up(&db).await.unwrap().is_empty());
    let whole = tables(&db).await;
    assert!(migrate::status(&db).await.unwrap().iter().all(|step| step.applied_at.is_some()));

    assert!(migrate::down(&db, 0).await.unwrap().is_empty());
    let undone = migrate::down(&db, u32::try_from(LATEST).unwrap() - 3).await.unwrap();
    assert_eq!(undone, (4..=LATEST).rev().collect::<Vec<_>>());
    let status = migrate::status(&db).await.unwrap();
    assert_eq!((status[2].name.as_str(), status[2].applied_at.is_some()), ("sessions", true));
    assert_eq!((status[3].name.as_str(), status[3].applied_at), ("audit", None));
    assert_eq!(migrate::down(&db, 99).await.unwrap(), [3, 2, 1]);
    assert!(migrate::down(&db, 1).await.unwrap().is_empty());
    assert_eq!(tables(&db).await, BTreeSet::new());
    assert_eq!(migrate::up(&db).await.unwrap(), versions);
    assert_eq!(tables(&db).await, whole);
});

on_both!(two_processes_may_migrate_at_once, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let one = Db::open(&url, &POOL).await.unwrap();
    let two = Db::open(&url, &POOL).await.unwrap();
    let (one, two) = tokio::join!(migrate::up(&one), migrate::up(&two));
    let mut versions = [one.unwrap(), two.unwrap()].concat();
    versions.sort_unstable();
    assert_eq!(versions, (1..=LATEST).collect::<Vec<_>>());
});

on_both!(a_newer_schema_is_refused, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    tx.query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 9999, 'future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
    for outcome in [migrate::up(&db).await.err(), migrate::down(&db, 1).await.err(), migrate::status(&db).await.err()] {
        assert!(matches!(outcome, Some(Error::Newer { version: 9999 })), "{outcome:?}");
    }
});

on_both!(what_was_stored_before_gets_the_defaults, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let db = Db::open(&url, &POOL).await.unwrap();
    migrate::up(&db).await.unwrap();
    migrate::down(&db, u32::try_from(LATEST).unwrap() - 15).await.unwrap();
    let mut tx = db.write().await.unwrap();
    let timeouts = json!({ "connect_ms": 5, "read_ms": 6, "write_ms": 7, "total_ms": 8 });
    let upstream: i64 = tx
        .query(
            "INSERT INTO upstreams (name, protocol, balance, targets, timeouts, created_at)
             VALUES ('old', $1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(Json(json!("http1")))
        .bind(Json(json!("round_robin")))
        .bind(Json(json!([{ "address": "127.0.0.1:9", "weight": 1 }])))
        .bind(Json(timeouts))
        .bind(at(0))
        .fetch_value()
        .await
        .unwrap();
    let home = module(&mut tx, "home", &[]).await;
    let route: i64 = tx
        .query("INSERT INTO routes (route, label, module_id, created_at) VALUES ('/old', 'Old', $1, $2) RETURNING id")
        .bind(home)
        .bind(at(0))
        .fetch_value()
        .await
        .unwrap();
    tx.commit().await.unwrap();
    migrate::up(&db).await.unwrap();
    let mut tx = db.read().await.unwrap();
    let upstream = upstreams::get(&mut tx, UpstreamId(upstream)).await.unwrap().unwrap();
    let plain = (Protocol::Http1, Balance::RoundRobin, HashOn::Client);
    assert_eq!((upstream.protocol, upstream.balance, upstream.hash_on), plain);
    assert_eq!(upstream.retry_budget_percent, Upstream::RETRY_BUDGET_PERCENT);
    assert_eq!((upstream.health_check, upstream.ejection), (None, Some(Ejection::default())));
    let timeouts =
        Timeouts { connect_ms: 5, read_ms: 6, write_ms: 7, total_ms: 8, idle_ms: Timeouts::default().idle_ms };
    assert_eq!(upstream.timeouts, timeouts);
    let route = routes::get(&mut tx, RouteId(route)).await.unwrap().unwrap();
    assert_eq!(route.headers, HeaderRules::default());
});

/// Protocol, balance, health check, TLS and timeouts of an upstream.
type Before = (Json<Value>, Json<Value>, Json<Value>, Json<Value>, Json<BTreeMap<String, u64>>);

on_both!(what_the_version_before_does_not_know_goes, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    let tls =
        Tls { server_name: "a".to_owned(), ca: Some("ca".to_owned()), client_certificate: Some("fleet".to_owned()) };
    let health_check = Some(HealthCheck {
        path: None,
        interval_ms: 1,
        timeout_ms: 2,
        healthy_after: 3,
        unhealthy_after: 4,
        status: Vec::new(),
    });
    let (protocol, balance) = (Protocol::Http2, Balance::ConsistentHash);
    let fleet = NewUpstream { protocol, balance, tls: Some(tls), health_check, ..new_upstream("fleet") };
    for new in [fleet, NewUpstream { tls: None, ..new_upstream("plain") }] {
        upstreams::insert(&mut tx, &new, at(0)).await.unwrap();
    }
    tx.commit().await.unwrap();
    migrate::down(&db, u32::try_from(LATEST).unwrap() - 15).await.unwrap();
    let mut tx = db.read().await.unwrap();
    let rows = tx.query("SELECT protocol, balance, health_check, tls, timeouts FROM upstreams ORDER BY name DESC");
    let rows: Vec<Before> = rows.fetch_all().await.unwrap();
    let tls = [Value::Null, json!({ "server_name": "a" })];
    assert_eq!(rows.len(), tls.len());
    for ((protocol, balance, check, found, timeouts), tls) in rows.into_iter().zip(tls) {
        assert_eq!((protocol.0, balance.0, check.0), (json!("http1"), json!("round_robin"), Value::Null));
        assert_eq!(found.0, tls);
        assert!(timeouts.keys().eq(["connect_ms", "read_ms", "total_ms", "write_ms"]), "{timeouts:?}");
    }
});

/// Search needs an extension that not everybody may create; who migrates is told what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_extension_is_named() {
    let (url, _guard) = fresh_database(Backend::Postgres).await;
    let owner = Db::open(&url, &POOL).await.unwrap();
    let mut tx = owner.write().await.unwrap();
    let name = format!("limited_{}", url.rsplit('_').next().unwrap());
    for command in [format!("CREATE ROLE {name} LOGIN"), format!("GRANT ALL ON SCHEMA public TO {name}")] {
        tx.query(command.leak()).execute().await.unwrap();
    }
    tx.commit().await.unwrap();
    let limited = Db::open(&url.replace("postgres@", &format!("{name}@")), &POOL).await.unwrap();
    let error = migrate::up(&limited).await.unwrap_err().to_string();
    assert!(error.contains("search needs the extension pg_trgm, which this role may not create"), "{error}");
    let mut tx = owner.write().await.unwrap();
    tx.query("CREATE EXTENSION pg_trgm").execute().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(migrate::up(&limited).await.unwrap()[0], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_have_the_same_columns() {
    let (sqlite, _files) = migrated(Backend::Sqlite).await;
    let (postgres, _guard) = migrated(Backend::Postgres).await;
    let (ours, theirs) = (columns(&sqlite).await, columns(&postgres).await);
    assert!(ours.iter().any(|(table, column, ..)| table == "routes" && column == "operations"));
    assert_eq!(ours, theirs);
    assert_eq!(indexes(&sqlite).await, indexes(&postgres).await);
}

async fn tables(db: &Db) -> BTreeSet<String> {
    columns(db).await.into_iter().map(|(table, ..)| table).collect()
}

/// Table, column, kind of value, and whether NULL is allowed.
async fn columns(db: &Db) -> BTreeSet<(String, String, String, bool)> {
    let mut tx = db.read().await.unwrap();
    let query = match db.kind() {
        Kind::Sqlite => tx.query(
            r#"SELECT t.name, c.name, c.type, c."notnull" = 0 AND c.pk = 0
               FROM sqlite_master t JOIN pragma_table_info(t.name) c
               WHERE t.type = 'table' AND t.name NOT LIKE '\_%' ESCAPE '\' AND t.name NOT LIKE 'sqlite%'"#,
        ),
        Kind::Postgres => tx.query(
            r"SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(CASE data_type
                         WHEN 'bigint' THEN 'INTEGER' WHEN 'boolean' THEN 'INTEGER' ELSE 'TEXT' END AS TEXT),
                     is_nullable = 'YES'
              FROM information_schema.columns
              WHERE table_schema = 'public' AND table_name NOT LIKE '\_%' ESCAPE '\'",
        ),
    };
    query.fetch_all().await.unwrap().into_iter().collect()
}

/// The indexes that have a name of ours; a name that begins with `_` is of one database alone.
async fn indexes(db: &Db) -> BTreeSet<String> {
    let mut tx = db.read().await.unwrap();
    let query = match db.kind() {
        Kind::Sqlite => tx.query(
            r"SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND name NOT LIKE '\_%' ESCAPE '\'",
        ),
        Kind::Postgres => tx.query(
            r"SELECT CAST(indexname AS TEXT) FROM pg_indexes
              WHERE schemaname = 'public' AND indexname NOT LIKE '%\_pkey' ESCAPE '\'
                AND indexname NOT LIKE '\_%' ESCAPE '\'",
        ),
    };
    query.fetch_values().await.unwrap().into_iter().collect()
}
