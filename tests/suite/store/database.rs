use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use cedargate::{
    model::Timestamp,
    store::{Db, Error, Kind, PoolSettings, Record, changes},
};

use super::at;
use crate::support::{Backend, POOL, fresh_database, migrated};

on_both!(a_database_opens_and_closes, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let db = Db::open(&url, &POOL).await.unwrap();
    db.ping().await.unwrap();
    let kind = if backend == Backend::Sqlite { Kind::Sqlite } else { Kind::Postgres };
    assert_eq!((db.kind(), db.kind().as_str()), (kind, if kind == Kind::Sqlite { "sqlite" } else { "postgres" }));
    let pool = db.pool();
    assert_eq!((pool.max, pool.size), (4, 1));
    db.close().await;
    let outcome = db.ping().await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
});

on_both!(a_dropped_transaction_leaves_nothing, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.write().await.unwrap();
    changes::lock(&mut tx).await.unwrap();
    drop(tx);
    let mut tx = db.read().await.unwrap();
    assert_eq!(changes::current(&mut tx).await.unwrap().revision, 0);
});

on_both!(a_reader_sees_one_state, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut reader = db.read().await.unwrap();
    assert_eq!(changes::current(&mut reader).await.unwrap().revision, 0);
    let mut writer = db.write().await.unwrap();
    changes::lock(&mut writer).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(changes::current(&mut reader).await.unwrap().revision, 0);
    drop(reader);
    assert_eq!(changes::current(&mut db.read().await.unwrap()).await.unwrap().revision, 1);
});

on_both!(an_exhausted_pool_is_unavailable, |backend| async move {
    let (url, _guard) = fresh_database(backend).await;
    let settings = PoolSettings { max_connections: 1, acquire_timeout: Duration::from_millis(200) };
    let db = Db::open(&url, &settings).await.unwrap();
    let _held = db.read().await.unwrap();
    let outcome = db.read().await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
});

on_both!(times_round_trip_and_sort, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let whole: chrono::DateTime<chrono::Utc> = "2026-11-22T15:02:48Z".parse().unwrap();
    // Whole seconds, milliseconds and microseconds are written with different lengths.
    let steps = [0, 1, 500_000, 500_001, 501_000, 999_999, 1_000_000, 1_500_000, 86_400_000_000];
    let times = steps.map(|step| Timestamp::from(whole + chrono::TimeDelta::microseconds(step)));
    let mut tx = db.write().await.unwrap();
    for time in times.iter().rev() {
        tx.query("INSERT INTO changes (revision, kind, at) VALUES (1, 'rules', $1)")
            .bind(*time)
            .execute()
            .await
            .unwrap();
    }
    let sorted = tx.query("SELECT at FROM changes ORDER BY at").fetch_values::<Timestamp>().await.unwrap();
    assert_eq!(sorted, times);
    for (index, time) in times.into_iter().enumerate() {
        let before = tx.query("SELECT COUNT(*) FROM changes WHERE at < $1").bind(time);
        assert_eq!(before.fetch_value::<i64>().await.unwrap(), i64::try_from(index).unwrap());
    }
});

on_both!(the_bell_rings_at_commit, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let Some(mut bell) = db.bell().await.unwrap() else {
        assert_eq!(backend, Backend::Sqlite);
        db.write().await.unwrap().ring(1).await.unwrap();
        return;
    };
    let mut tx = db.write().await.unwrap();
    tx.ring(1).await.unwrap();
    tx.ring(2).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), bell.wait()).await.is_err());
    tx.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), bell.wait()).await.unwrap().unwrap();
    let mut lost = db.write().await.unwrap();
    lost.ring(3).await.unwrap();
    drop(lost);
});

on_both!(a_lost_bell_rings_and_is_made_again, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let Some(mut bell) = db.bell().await.unwrap() else { return };
    let mut tx = db.write().await.unwrap();
    let cut = tx.query(
        "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    assert_eq!(cut.fetch_value::<i64>().await.unwrap(), 1);
    bell.wait().await.unwrap();
    tx.ring(1).await.unwrap();
    tx.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), bell.wait()).await.unwrap().unwrap();
});

on_both!(missing_rows_are_told_apart, |backend| async move {
    let (db, _guard) = migrated(backend).await;
    let mut tx = db.read().await.unwrap();
    let none = tx.query("SELECT id FROM users WHERE id = $1").bind(1_i64);
    assert!(matches!(none.fetch_value::<i64>().await, Err(Error::NotFound)));
    let wrong = tx.query("SELECT nothing FROM users").fetch_all::<(i64,)>().await;
    assert!(matches!(wrong, Err(Error::Database(_))), "{wrong:?}");
});

fn is_record<T: Record>() {}

#[test]
fn tuples_are_records() {
    is_record::<(i64, Option<String>, bool, Timestamp)>();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_spellings_are_understood() {
    let (url, _guard) = fresh_database(Backend::Postgres).await;
    for driver in ["postgresql+psycopg2://", "postgresql+asyncpg://", "postgres://"] {
        let url = url.replace("postgresql://", driver);
        let db = Db::open(&url, &POOL).await.unwrap();
        assert_eq!(db.kind(), Kind::Postgres);
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_unavailable() {
    let settings = PoolSettings { max_connections: 1, acquire_timeout: Duration::from_millis(300) };
    let outcome = Db::open("postgresql://x@127.0.0.1:1/x", &settings).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    let outcome = Db::open("sqlite:///proc/nothing/here.db", &settings).await;
    assert!(matches!(outcome, Err(Error::File { .. })), "{outcome:?}");
    let outcome = Db::open("mysql://x", &settings).await;
    assert!(matches!(outcome, Err(Error::Database(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sqlite_file_is_private() {
    let (url, _guard) = fresh_database(Backend::Sqlite).await;
    let db = Db::open(&url, &POOL).await.unwrap();
    let file = Path::new(url.strip_prefix("sqlite://").unwrap());
    for (path, mode) in [(file, 0o600), (file.parent().unwrap(), 0o700)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
    }
    db.close().await;
    Db::open(&url, &POOL).await.unwrap().ping().await.unwrap();
    Db::open("sqlite::memory:", &POOL).await.unwrap().ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_waits_too_long_is_told_so() {
    let (db, _guard) = migrated(Backend::Sqlite).await;
    let _first = db.write().await.unwrap();
    let outcome = db.write().await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_durable_and_checks_references() {
    let (db, _guard) = migrated(Backend::Sqlite).await;
    let mut tx = db.read().await.unwrap();
    assert_eq!(tx.query("PRAGMA journal_mode").fetch_value::<String>().await.unwrap(), "wal");
    assert_eq!(tx.query("PRAGMA synchronous").fetch_value::<i64>().await.unwrap(), 2);
    assert_eq!(tx.query("PRAGMA foreign_keys").fetch_value::<i64>().await.unwrap(), 1);
    assert_eq!(tx.query("PRAGMA busy_timeout").fetch_value::<i64>().await.unwrap(), 5_000);
    assert_eq!(at(0).to_string(), "2026-11-22T15:02:48.834466Z");
}
